"""Names and configuration of `transformers`, both ways, for every family that it has a class for.

    decoders            Llama, Mistral, Qwen3, Mixtral, Qwen3-MoE, dots.llm1, GPT-2    hf_decoders
    encoders            BERT, ModernBERT                                               hf_encoders
    encoder–decoders    T5, Marian                                                     hf_pairs

config.json speaks both dialects: transformers 4 reads `rope_theta` and `torch_dtype`, 5 reads
`rope_parameters` and `dtype`; a file with only the new ones loads in 4.57 without an error and with
the wrong base. Our channel order of the rotary embedding is already theirs.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pretrain.errors import DataError
from pretrain.model.settings import Shape
from pretrain.publish import hf_decoders, hf_encoders, hf_pairs, mapping

KINDS = (*hf_decoders.LLAMA_LIKE, "gpt2", "bert", "modernbert", "t5", "marian")
_LONGEST = 512  # rows of Marian's computed table where nobody says how many


def kind_of(shape: Shape) -> str:
    """The model_type whose class computes exactly this shape.

    Raises: DataError where there is none.
    """
    if shape.encoder_layers:
        kind = hf_pairs.kind_of(shape)
    else:
        kind = hf_decoders.kind_of(shape) if shape.causal else hf_encoders.kind_of(shape)
    if kind is None:
        raise DataError(
            "publish: no class of transformers computes this shape; must be one of the families "
            f"{', '.join(KINDS)} without further options (recipe table model)"
        )
    return kind


def entries(shape: Shape, sequence_length: int = _LONGEST) -> list[mapping.Entry]:
    """Which of their tensors is made of which of ours."""
    kind = kind_of(shape)
    if kind in ("t5", "marian"):
        return hf_pairs.entries(shape, kind, sequence_length)
    module = hf_decoders if shape.causal else hf_encoders
    return module.entries(shape, kind)


def config(
    shape: Shape, sequence_length: int, separator: int, pad: int, dtype: str
) -> dict[str, Any]:
    """The content of config.json."""
    kind = kind_of(shape)
    if kind in ("t5", "marian"):
        own = hf_pairs.config(shape, kind, sequence_length, pad)
    else:
        own = (hf_decoders if shape.causal else hf_encoders).config(shape, kind, sequence_length)
    return own | {
        "model_type": kind,
        "vocab_size": shape.vocab_size,
        "tie_word_embeddings": shape.tied,
        "initializer_range": 0.02,
        "use_cache": True,
        "bos_token_id": separator,
        "eos_token_id": separator,
        "pad_token_id": pad,
        "torch_dtype": dtype,
        "dtype": dtype,
    }


def tensors(
    shape: Shape, ours: dict[str, Tensor], dtype: torch.dtype, sequence_length: int = _LONGEST
) -> dict[str, Tensor]:
    """Weights under their names. A normalised embedding is folded into the matrix, exactly."""
    if shape.embedding_norm:
        folded = F.rms_norm(ours["embed.weight"], (shape.width,), eps=shape.norm_epsilon)
        ours = ours | {"embed.weight": folded}
    made = mapping.to_theirs(entries(shape, sequence_length), ours)
    return {name: tensor.to(dtype).contiguous() for name, tensor in made.items()}


def shape_of(config: dict[str, Any]) -> Shape:
    """The shape a config.json describes; DataError for what these families are not."""
    kind = config.get("model_type")
    if kind not in KINDS:
        raise DataError(f"publish: model_type is {kind!r}; must be one of {', '.join(KINDS)}")
    if kind in ("t5", "marian"):
        return hf_pairs.shape_of(config)
    if kind in ("bert", "modernbert"):
        return hf_encoders.shape_of(config)
    rope = config.get("rope_parameters") or {}
    for table in (rope, config.get("rope_scaling") or {}):
        scaled = table.get("rope_type") or table.get("type", "default")  # "type" until 4.43
        if scaled != "default":
            raise DataError(
                f"publish: the rotary embedding is scaled ({scaled!r}); must be of type 'default'"
            )
    for key, only in (("attention_bias", False), ("mlp_bias", False), ("hidden_act", "silu")):
        if config.get(key, only) != only:
            raise DataError(f"publish: {key} is {config[key]!r}; must be {only!r}")
    theta = float(rope.get("rope_theta", config.get("rope_theta", 10_000.0)))
    return hf_decoders.shape_of(config, theta)


def from_tensors(shape: Shape, theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights under our names, fp32."""
    return mapping.to_ours(entries(shape), theirs)
