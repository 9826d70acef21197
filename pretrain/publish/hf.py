"""Names and configuration of `transformers`, both ways.

    Llama               LlamaForCausalLM
    Llama with QK-norm  Qwen3ForCausalLM

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

_BLOCK = {
    "attention_norm": "input_layernorm",
    "attention.q": "self_attn.q_proj",
    "attention.k": "self_attn.k_proj",
    "attention.v": "self_attn.v_proj",
    "attention.o": "self_attn.o_proj",
    "attention.q_norm": "self_attn.q_norm",
    "attention.k_norm": "self_attn.k_norm",
    "feed_forward_norm": "post_attention_layernorm",
    "feed_forward.gate": "mlp.gate_proj",
    "feed_forward.up": "mlp.up_proj",
    "feed_forward.down": "mlp.down_proj",
}
_TOP = {"embed": "model.embed_tokens", "norm": "model.norm", "head": "lm_head"}


def names(shape: Shape) -> dict[str, str]:
    """Our parameter name -> theirs."""
    table = {f"{ours}.weight": f"{theirs}.weight" for ours, theirs in _TOP.items()}
    if shape.tied:
        del table["head.weight"]
    for layer in range(shape.layers):
        for ours, theirs in _BLOCK.items():
            if shape.qk_norm or not ours.endswith(("q_norm", "k_norm")):
                name = f"model.layers.{layer}.{theirs}.weight"
                table[f"blocks.{layer}.{ours}.weight"] = name
    return table


def config(
    shape: Shape, sequence_length: int, separator: int, pad: int, dtype: str
) -> dict[str, Any]:
    """The content of config.json."""
    kind = "Qwen3" if shape.qk_norm else "Llama"
    return {
        "architectures": [f"{kind}ForCausalLM"],
        "model_type": kind.lower(),
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.width,
        "intermediate_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_width,
        "hidden_act": "silu",
        "max_position_embeddings": sequence_length,
        "rms_norm_eps": shape.norm_epsilon,
        "rope_theta": shape.rope_theta,
        "rope_scaling": None,
        "rope_parameters": {"rope_type": "default", "rope_theta": shape.rope_theta},
        "tie_word_embeddings": shape.tied,
        "attention_bias": False,
        "mlp_bias": False,
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "use_cache": True,
        "bos_token_id": separator,
        "eos_token_id": separator,
        "pad_token_id": pad,
        "torch_dtype": dtype,
        "dtype": dtype,
    }


def tensors(shape: Shape, ours: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Weights under their names. A normalised embedding is folded into the matrix, exactly."""
    result = {}
    for name, theirs in names(shape).items():
        tensor = ours[name]
        if name == "embed.weight" and shape.embedding_norm:
            tensor = F.rms_norm(tensor, (shape.width,), eps=shape.norm_epsilon)
        result[theirs] = tensor.to(dtype).contiguous()
    return result


def shape_of(config: dict[str, Any]) -> Shape:
    """The shape a config.json describes; DataError for what this family is not."""
    kind = config.get("model_type")
    if kind not in ("llama", "qwen3"):
        raise DataError(f"publish: model_type is {kind!r}; must be 'llama' or 'qwen3'")
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
    return Shape(
        layers=config["num_hidden_layers"],
        width=config["hidden_size"],
        heads=config["num_attention_heads"],
        kv_heads=config.get("num_key_value_heads", config["num_attention_heads"]),
        hidden=config["intermediate_size"],
        vocab_size=config["vocab_size"],
        head_dim=config.get("head_dim") or 0,
        rope_theta=float(rope.get("rope_theta", config.get("rope_theta", 10_000.0))),
        norm_epsilon=config["rms_norm_eps"],
        qk_norm=kind == "qwen3",
        tied=config.get("tie_word_embeddings", False),
    )


def from_tensors(shape: Shape, theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights under our names, fp32."""
    missing = [name for name in names(shape).values() if name not in theirs]
    if missing:
        raise DataError(
            f"publish: the weights lack {', '.join(missing[:3])} ({len(missing)} in all)"
        )
    return {ours: theirs[name].float() for ours, name in names(shape).items()}
