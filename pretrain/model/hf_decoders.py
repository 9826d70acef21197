"""Decoders of `transformers`: Llama, Mistral, Qwen3, Mixtral, Qwen3-MoE, dots.llm1, GPT-2.

Llama                       plain             MixtralForCausalLM   experts
Mistral                     a window          Qwen3MoeForCausalLM  experts and QK-norm
Qwen3                       QK-norm           Dots1ForCausalLM     and shared experts, sigmoid
"""

from typing import Any

from pretrain.model import families
from pretrain.model.mapping import Entry, entry, linear
from pretrain.model.settings import Shape

_ATTENTION = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "o": "o_proj"}
_FORWARD = {"gate": "gate_proj", "up": "up_proj", "down": "down_proj"}
_MIXTRAL = {"gate": "w1", "down": "w2", "up": "w3"}
_CLASSES = {
    "llama": "Llama", "mistral": "Mistral", "qwen3": "Qwen3", "mixtral": "Mixtral",
    "qwen3_moe": "Qwen3Moe", "dots1": "Dots1",
}  # fmt: skip


def kind_of(shape: Shape) -> str | None:
    """The model_type of a decoder, or None where no class is exactly it."""
    if shape == families.gpt2(shape):
        return "gpt2"
    plain = Shape(
        shape.layers, shape.width, shape.heads, shape.kv_heads, shape.hidden, shape.vocab_size,
        shape.head_dim, shape.rope_theta, shape.norm_epsilon, shape.qk_norm, shape.tied,
        shape.embedding_norm,
    )  # fmt: skip
    if shape == plain:
        return "qwen3" if shape.qk_norm else "llama"
    given = {name: getattr(shape, name) for name in _EXPERT_FIELDS}
    if shape == Shape(**{**vars(plain), "window": shape.window}) and not shape.qk_norm:
        return "mistral"
    if shape != Shape(**{**vars(plain), **given}):
        return None
    if (
        shape.router == "sigmoid"
        and shape.qk_norm
        and shape.shared_hidden % shape.expert_hidden == 0
    ):
        return "dots1"
    simple = shape.router == "softmax" and not shape.shared_hidden and shape.expert_scale == 1.0
    if simple and not shape.dense_layers:
        return "qwen3_moe" if shape.qk_norm else "mixtral"
    return None


_EXPERT_FIELDS = (
    "experts", "experts_per_token", "expert_hidden", "shared_hidden", "dense_layers", "router",
    "expert_scale",
)  # fmt: skip


def config(shape: Shape, kind: str, length: int) -> dict[str, Any]:
    """What is particular to these classes in config.json."""
    if kind == "gpt2":
        return {
            "architectures": ["GPT2LMHeadModel"],
            "n_embd": shape.width, "n_layer": shape.layers, "n_head": shape.heads,
            "n_positions": shape.max_length, "n_inner": shape.hidden,
            "activation_function": "gelu_new", "layer_norm_epsilon": shape.norm_epsilon,
            "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0,
        }  # fmt: skip
    table: dict[str, Any] = {
        "architectures": [f"{_CLASSES[kind]}ForCausalLM"],
        "hidden_size": shape.width, "intermediate_size": shape.hidden,
        "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads, "head_dim": shape.head_width, "hidden_act": "silu",
        "max_position_embeddings": length, "rms_norm_eps": shape.norm_epsilon,
        "rope_theta": shape.rope_theta, "rope_scaling": None,
        "rope_parameters": {"rope_type": "default", "rope_theta": shape.rope_theta},
        "attention_bias": False, "mlp_bias": False, "attention_dropout": 0.0,
    }  # fmt: skip
    if kind == "mistral":
        table["sliding_window"] = shape.window
    if shape.experts:
        table |= {"num_experts_per_tok": shape.experts_per_token, "sliding_window": None}
    if kind == "mixtral":
        table |= {"num_local_experts": shape.experts, "intermediate_size": shape.expert_hidden}
    elif kind == "qwen3_moe":
        table |= {
            "num_experts": shape.experts, "num_local_experts": shape.experts,
            "moe_intermediate_size": shape.expert_hidden,
            "norm_topk_prob": True, "decoder_sparse_step": 1, "mlp_only_layers": [],
        }  # fmt: skip
    elif kind == "dots1":
        table |= {
            "n_routed_experts": shape.experts, "moe_intermediate_size": shape.expert_hidden,
            "n_shared_experts": shape.shared_hidden // shape.expert_hidden or None,
            "first_k_dense_replace": shape.dense_layers, "norm_topk_prob": True,
            "routed_scaling_factor": shape.expert_scale, "n_group": 1, "topk_group": 1,
            "layer_types": ["full_attention"] * shape.layers,
        }  # fmt: skip
    return table


def entries(shape: Shape, kind: str) -> list[Entry]:
    if kind == "gpt2":
        return _gpt2_entries(shape)
    found = [entry("model.embed_tokens.weight", "embed.weight")]
    found.append(entry("model.norm.weight", "norm.weight"))
    if not shape.tied:
        found.append(entry("lm_head.weight", "head.weight"))
    for i in range(shape.layers):
        ours, theirs = f"blocks.{i}", f"model.layers.{i}"
        found.append(entry(f"{theirs}.input_layernorm.weight", f"{ours}.attention_norm.weight"))
        name = f"{theirs}.post_attention_layernorm.weight"
        found.append(entry(name, f"{ours}.feed_forward_norm.weight"))
        norms = {n: n for n in ("q_norm", "k_norm") if shape.qk_norm}
        for part, name in (_ATTENTION | norms).items():
            found.append(
                entry(f"{theirs}.self_attn.{name}.weight", f"{ours}.attention.{part}.weight")
            )
        if shape.experts and i >= shape.dense_layers:
            found += _experts(shape, kind, f"{ours}.feed_forward", theirs)
        else:
            for part, name in _FORWARD.items():
                found.append(
                    entry(f"{theirs}.mlp.{name}.weight", f"{ours}.feed_forward.{part}.weight")
                )
    return found


def _experts(shape: Shape, kind: str, ours: str, layer: str) -> list[Entry]:
    theirs = f"{layer}.block_sparse_moe" if kind == "mixtral" else f"{layer}.mlp"
    names = _MIXTRAL if kind == "mixtral" else _FORWARD
    found = [entry(f"{theirs}.gate.weight", f"{ours}.router.weight")]
    for part, name in names.items():
        found += [
            Entry(f"{theirs}.experts.{e}.{name}.weight", (f"{ours}.{part}",), "slice", index=e)
            for e in range(shape.experts)
        ]
    if shape.router == "sigmoid":
        found.append(entry(f"{theirs}.gate.e_score_correction_bias", f"{ours}.choice_bias"))
    if shape.shared_hidden:
        found += [
            entry(f"{theirs}.shared_experts.{name}.weight", f"{ours}.shared.{part}.weight")
            for part, name in _FORWARD.items()
        ]
    return found


def _gpt2_entries(shape: Shape) -> list[Entry]:
    found = [
        entry("transformer.wte.weight", "embed.weight"),
        entry("transformer.wpe.weight", "position.weight"),
        *linear("transformer.ln_f", "norm", True),
    ]
    rows = (shape.width,) * 3
    for i in range(shape.layers):
        ours, theirs = f"blocks.{i}", f"transformer.h.{i}"
        qkv = [f"{ours}.attention.{part}" for part in "qkv"]
        weights, biases = ([f"{name}.{what}" for name in qkv] for what in ("weight", "bias"))
        found += [
            *linear(f"{theirs}.ln_1", f"{ours}.attention_norm", True),
            *linear(f"{theirs}.ln_2", f"{ours}.feed_forward_norm", True),
            entry(f"{theirs}.attn.c_attn.weight", *weights, how="join-turn", rows=rows),
            entry(f"{theirs}.attn.c_attn.bias", *biases, how="join", rows=rows),
            *linear(f"{theirs}.attn.c_proj", f"{ours}.attention.o", True, "turn"),
            *linear(f"{theirs}.mlp.c_fc", f"{ours}.feed_forward.up", True, "turn"),
            *linear(f"{theirs}.mlp.c_proj", f"{ours}.feed_forward.down", True, "turn"),
        ]
    return found
