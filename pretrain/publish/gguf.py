"""GGUF, the file that llama.cpp reads, in f16 and q8_0, for Llama, Qwen3 and GPT-2; and back.

    f16     matrices rounded to half precision, vectors in fp32
    q8_0    matrices in blocks of 32: a scale d = max|x| / 127 in half precision and 32 bytes, so a
            number is off by at most d/2 and what d is rounded by; vectors in fp32

Llama's rows of q and k are re-ordered within each head (pairs that a rotation turns lie side by
side there, halves apart here); Qwen3's and GPT-2's are not. The tokenizer goes along as byte-level
BPE with the name llama.cpp has for its splitting expression. Written tensor by tensor.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pretrain import store
from pretrain.errors import DataError
from pretrain.model import families, hf, mapping
from pretrain.model.settings import Shape
from pretrain.model.transformer import Transformer
from pretrain.tokenize.bpe import PATTERNS
from pretrain.tokenize.encode import Encoder
from pretrain.train.load import from_tensors

BLOCK = 32  # numbers of q8_0 that share a scale
_PRE = {"gpt2": "gpt-2", "llama3": "llama-bpe", "qwen2": "qwen2"}
_NORMAL, _CONTROL, _USER, _UNUSED = 1, 3, 4, 5  # kinds of token
_WHOLE = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    "transformer.wte": "token_embd", "transformer.wpe": "position_embd",
    "transformer.ln_f": "output_norm",
}  # fmt: skip
_LAYER = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "ln_1": "attn_norm", "ln_2": "ffn_norm", "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down",
}  # fmt: skip


def write(
    model: Transformer, encoder: Encoder, length: int, name: str, kind: str, path: Path
) -> None:
    """Write one file; kind: 'f16' or 'q8_0'.

    Raises: DataError for another family or tokenizer, or without the package `gguf`.
    """
    gguf = _package()
    shape = model.shape
    family = _family(shape)
    wanted = gguf.GGMLQuantizationType[kind.upper()]
    tensors = hf.each_tensor(shape, model.state_dict(), torch.float32)

    def made(theirs: str) -> tuple[np.ndarray, Any]:
        array = _turned(shape, family, theirs, tensors[theirs](), out=True).numpy()
        fits = array.ndim > 1 and (kind == "f16" or array.shape[-1] % BLOCK == 0)
        small = gguf.GGMLQuantizationType.F16 if array.ndim > 1 else gguf.GGMLQuantizationType.F32
        dtype = wanted if fits else small
        return gguf.quants.quantize(np.ascontiguousarray(array), dtype), dtype

    with store.atomic(path) as temporary:
        writer = gguf.GGUFWriter(temporary, family)
        _describe(writer, gguf, shape, family, length, name, wanted)
        _tokens(writer, encoder, shape.vocab_size)
        for theirs in tensors:
            array, dtype = made(theirs)
            writer.add_tensor_info(
                _name(theirs), array.shape, array.dtype, array.nbytes, raw_dtype=dtype
            )
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for theirs in tensors:
            writer.write_tensor_data(made(theirs)[0])
        writer.close()


def read(path: Path) -> Transformer:
    """Our model with the values a GGUF file of ours holds, in fp32. Raises: DataError."""
    gguf = _package()
    try:
        reader = gguf.GGUFReader(path)
    except (ValueError, OSError) as error:
        raise DataError(f"gguf: {path} is no GGUF file or cut ({error})") from error
    facts = {key: field.contents() for key, field in reader.fields.items()}
    family = facts["general.architecture"]
    arrays = {t.name: (t.data, t.tensor_type) for t in reader.tensors}
    shape = _shape(facts, tied="output.weight" not in arrays)
    theirs = {}
    for entry in hf.entries(shape):
        if _name(entry.theirs) not in arrays:
            raise DataError(f"gguf: {path} lacks {_name(entry.theirs)}")
        data, dtype = arrays[_name(entry.theirs)]
        array = np.array(gguf.quants.dequantize(data, dtype), np.float32)
        theirs[entry.theirs] = _turned(shape, family, entry.theirs, torch.from_numpy(array), False)
    return from_tensors(shape, mapping.to_ours(hf.entries(shape), theirs), "cpu")


def compare(model: Transformer, path: Path) -> float:
    """Largest difference of logits between a model and a GGUF file of it, on random tokens."""
    generator = torch.Generator().manual_seed(0)
    n = min(64, model.shape.max_length or 64)
    tokens = torch.randint(0, model.shape.vocab_size, (2, n), generator=generator)
    with torch.inference_mode():
        return float((model.cpu()(tokens) - read(path)(tokens)).abs().max())


def _package() -> Any:
    try:
        import gguf
    except ImportError as error:
        raise DataError(
            "gguf: the package gguf is not installed; must be: pip install 'pretrain[gguf]'"
        ) from error
    return gguf


def _family(shape: Shape) -> str:
    kind = hf.kind_of(shape)
    if kind not in families.GGUF_KINDS:
        must = ", ".join(families.GGUF_KINDS)
        raise DataError(f"gguf: the model is a {kind!r}; must be one of {must}")
    return kind


def _name(theirs: str) -> str:
    """The name in a GGUF file of a tensor of `transformers`."""
    stem, _, end = theirs.rpartition(".")
    if found := re.fullmatch(r"(?:model\.layers|transformer\.h)\.(\d+)\.(.+)", stem):
        return f"blk.{found[1]}.{_LAYER[found[2]]}.{end}"
    return f"{_WHOLE[stem]}.{end}"


def _turned(shape: Shape, family: str, theirs: str, tensor: Tensor, out: bool) -> Tensor:
    """A tensor in the layout of the other side: out of `transformers`', or back."""
    if family == "gpt2" and tensor.ndim == 2 and ".h." in theirs:
        return tensor.t().contiguous()
    if family != "llama" or not theirs.endswith(("q_proj.weight", "k_proj.weight")):
        return tensor
    heads = shape.heads if "q_proj" in theirs else shape.kv_heads
    halves = (2, shape.head_width // 2) if out else (shape.head_width // 2, 2)
    parts = tensor.reshape(heads, *halves, tensor.shape[1]).transpose(1, 2)
    return parts.reshape(tensor.shape).contiguous()


def _describe(
    writer: Any, gguf: Any, shape: Shape, family: str, length: int, name: str, wanted: Any
) -> None:
    writer.add_name(name)
    writer.add_file_type(getattr(gguf.LlamaFileType, f"MOSTLY_{wanted.name}"))
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_context_length(shape.max_length or length)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_vocab_size(shape.vocab_size)
    if family == "gpt2":
        writer.add_layer_norm_eps(shape.norm_epsilon)
        return
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_rope_freq_base(shape.rope_theta)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_key_length(shape.head_width)
    writer.add_value_length(shape.head_width)


def _tokens(writer: Any, encoder: Encoder, n_rows: int) -> None:
    """The tokenizer; the list is as long as the embedding, what is left over is unused."""
    file = encoder.file
    vocabulary = {i: text for text, i in file["model"]["vocab"].items()}
    added = {t["id"]: t for t in file["added_tokens"]}
    tokens, kinds = [], []
    for i in range(n_rows):
        if i in added:
            tokens.append(added[i]["content"])
            kinds.append(_CONTROL if added[i]["special"] else _USER)
        else:
            tokens.append(vocabulary.get(i, f"[PAD{i}]"))
            kinds.append(_NORMAL if i in vocabulary else _UNUSED)
    merges = [m if isinstance(m, str) else " ".join(m) for m in file["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre_tokenizer(file))
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(encoder.end_of_text)
    writer.add_eos_token_id(encoder.end_of_text)
    pad = encoder.specials[encoder.roles.get("<|pad|>", encoder.separator)]
    writer.add_pad_token_id(pad)
    writer.add_add_bos_token(False)


def pre_tokenizer(file: dict[str, Any]) -> str:
    """llama.cpp's name of how a tokenizer.json cuts text. Raises: DataError where it has none."""
    if file["model"].get("type") == "BPE" and not file.get("normalizer"):
        before = file.get("pre_tokenizer") or {}
        if before.get("type") == "ByteLevel" and before.get("use_regex", True):
            return _PRE["gpt2"]
        steps = before.get("pretokenizers") or [{}]
        pattern = (steps[0].get("pattern") or {}).get("Regex")
        found = next((name for name, known in PATTERNS.items() if known == pattern), None)
        if found and [s.get("type") for s in steps] == ["Split", "ByteLevel"]:
            return _PRE[found]
    raise DataError(
        "gguf: llama.cpp has no name for how tokenizer.json cuts text; must be byte-level BPE with "
        f"one of the expressions {', '.join(PATTERNS)} (recipe key tokenize.pattern)"
    )


def _shape(facts: dict[str, Any], tied: bool) -> Shape:
    family = facts["general.architecture"]

    def get(key: str) -> Any:
        return facts[f"{family}.{key}"]

    heads = get("attention.head_count")
    n_rows = len(facts["tokenizer.ggml.tokens"])
    sizes = (get("block_count"), get("embedding_length"), heads)
    if family == "gpt2":
        return families.gpt2(
            Shape(
                *sizes, heads, get("feed_forward_length"), n_rows,
                norm_epsilon=_short(get("attention.layer_norm_epsilon")),
                max_length=get("context_length"),
            )
        )  # fmt: skip
    shape = Shape(
        *sizes, get("attention.head_count_kv"), get("feed_forward_length"), n_rows,
        get("attention.key_length"), _short(get("rope.freq_base")),
        _short(get("attention.layer_norm_rms_epsilon")), qk_norm=family == "qwen3",
    )  # fmt: skip
    return replace(shape, tied=tied)


def _short(number: float) -> float:
    """A number that was rounded to fp32, as it was written in decimals."""
    return float(f"{number:.7g}")
