"""What vLLM asks of a folder's layout, checked by rule: vLLM itself is not run.

Rules, as read in vllm-project/vllm (Apache-2.0): model_executor/models/registry.py at 0002bff
(classes), v1/attention/backends/flash_attn.py at 0084b78 (head sizes, dtypes). The other rules are
those of `transformers`' own layout, which vLLM's loaders take over: names of tensors, shards named
by the index, tokenizer files, the longest position.
"""

from pathlib import Path
from typing import Any

from pretrain import store
from pretrain.model.released import Released
from pretrain.tokenize.encode import Encoder

CLASSES = (
    "LlamaForCausalLM", "MistralForCausalLM", "Qwen3ForCausalLM", "MixtralForCausalLM",
    "Qwen3MoeForCausalLM", "Dots1ForCausalLM", "GPT2LMHeadModel",
)  # fmt: skip
HEAD_WIDTHS = (32, 64, 96, 128, 160, 192, 224, 256)  # FlashAttention's; others take FlexAttention


def faults(released: Released, encoder: Encoder) -> list[str]:
    """What keeps vLLM from serving the folder as it is; empty where no rule is broken."""
    config, shape, folder = released.config, released.shape, released.folder
    named = config.get("architectures")
    found = []
    if not isinstance(named, list) or len(named) != 1 or named[0] not in CLASSES:
        found.append(f"architectures is {named}; vLLM generates with {', '.join(CLASSES)}")
    if shape.head_width not in HEAD_WIDTHS:
        found.append(
            f"heads are {shape.head_width} wide; FlashAttention takes {HEAD_WIDTHS}, others need "
            "VLLM_ATTENTION_BACKEND=FLEX_ATTENTION"
        )
    if shape.heads % shape.kv_heads:
        found.append(f"{shape.kv_heads} key heads do not divide {shape.heads} heads")
    dtype = config.get("dtype", config.get("torch_dtype"))
    if dtype not in ("float32", "float16", "bfloat16"):
        found.append(f"dtype is {dtype!r}; must be float32 (cast on loading), float16 or bfloat16")
    if not released.sequence_length:
        found.append("config.json states no longest position (max_position_embeddings)")
    if encoder.vocab_size > shape.vocab_size:
        found.append(f"{encoder.vocab_size:,} tokens for {shape.vocab_size:,} rows")
    spelled = sorted(n for n, there in released.names.items() if n != there)
    if spelled:
        found.append(f"tensors have old names: {', '.join(spelled[:3])} ({len(spelled)} in all)")
    return found + _tokenizer_faults(folder, encoder) + _generation_faults(folder, shape.vocab_size)


def _tokenizer_faults(folder: Path, encoder: Encoder) -> list[str]:
    table = store.read_json_or_none(folder / "tokenizer_config.json")
    if not isinstance(table, dict):
        return ["tokenizer_config.json is missing: the tokenizer's class is not told"]
    known = {t["content"] for t in encoder.file["added_tokens"]} | set(_pieces(encoder))
    found = []
    for role in ("bos_token", "eos_token", "pad_token", "mask_token", "unk_token"):
        token = table.get(role)
        token = token.get("content") if isinstance(token, dict) else token
        if token is not None and token not in known:
            found.append(f"tokenizer_config.json: {role} {token!r} is not in tokenizer.json")
    return found


def _pieces(encoder: Encoder) -> list[str]:
    vocabulary: Any = encoder.file["model"]["vocab"]
    return [piece for piece, *_ in vocabulary] if isinstance(vocabulary, list) else [*vocabulary]


def _generation_faults(folder: Path, n_rows: int) -> list[str]:
    table = store.read_json_or_none(folder / "generation_config.json") or {}
    found = []
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        ids = table.get(key)
        for one in ids if isinstance(ids, list) else [ids]:
            if one is not None and not 0 <= one < n_rows:
                found.append(f"generation_config.json: {key} is {one}, outside the vocabulary")
    return found
