"""The shape that a released config.json describes, for every family of `transformers` we compute.

    decoders            Llama, Mistral, Qwen3, Mixtral, Qwen3-MoE, dots.llm1, GPT-2
    encoders            BERT, ModernBERT
    encoder–decoders    T5, Marian

A key that would change what is computed and that no shape of ours can say is refused, with the
value `transformers` takes where the file is silent: to read on would give other logits, no error.
"""

from collections.abc import Mapping
from typing import Any

from pretrain.errors import DataError
from pretrain.model.settings import Shape

LLAMA_LIKE = ("llama", "mistral", "qwen3", "mixtral", "qwen3_moe", "dots1")
KINDS = (*LLAMA_LIKE, "gpt2", "bert", "modernbert", "t5", "marian")
GGUF_KINDS = ("llama", "qwen3", "gpt2")  # of which GGUF files are written

# kind -> key -> (what transformers takes where it is absent, what it must be).
_DENSE = {
    "attention_bias": (False, False), "mlp_bias": (False, False), "hidden_act": ("silu", "silu"),
    "partial_rotary_factor": (1.0, 1.0),
}  # fmt: skip
_ONLY: dict[str, dict[str, tuple[Any, Any]]] = {
    "qwen3": {"use_sliding_window": (False, False)},
    "qwen3_moe": {
        "use_sliding_window": (False, False), "norm_topk_prob": (False, True),
        "decoder_sparse_step": (1, 1), "mlp_only_layers": ([], []),
    },
    "mixtral": {"sliding_window": (None, None)},
    "dots1": {
        "n_group": (1, 1), "topk_group": (1, 1), "norm_topk_prob": (False, True),
        "sliding_window": (4096, None),
    },
    "gpt2": {
        "activation_function": ("gelu_new", "gelu_new"), "scale_attn_weights": (True, True),
        "scale_attn_by_inverse_layer_idx": (False, False), "add_cross_attention": (False, False),
        "tie_word_embeddings": (True, True),
    },
    "bert": {
        "hidden_act": ("gelu", "gelu"), "position_embedding_type": ("absolute", "absolute"),
        "is_decoder": (False, False), "tie_word_embeddings": (True, True),
    },
    "modernbert": {
        "hidden_activation": ("gelu", "gelu"), "norm_bias": (False, False),
        "attention_bias": (False, False), "mlp_bias": (False, False),
        "decoder_bias": (True, True), "classifier_bias": (False, False),
        "classifier_activation": ("gelu", "gelu"), "tie_word_embeddings": (True, True),
    },
    "t5": {
        "relative_attention_num_buckets": (32, 32), "relative_attention_max_distance": (128, 128),
    },
    "marian": {
        "activation_function": ("gelu", "relu"), "scale_embedding": (False, True),
        "share_encoder_decoder_embeddings": (True, True),
    },
}  # fmt: skip
_T5_FORWARDS = ("relu", "gated-gelu")


def shape_of(config: Mapping[str, Any]) -> Shape:
    """The shape a config.json describes.

    Raises: DataError for another family, a missing key, or what no shape of ours computes.
    """
    kind = config.get("model_type")
    if kind not in KINDS:
        raise DataError(f"model: model_type is {kind!r}; must be one of {', '.join(KINDS)}")
    for table in _rope_tables(config):
        scaled = table.get("rope_type") or table.get("type", "default")  # "type" until 4.43
        if scaled != "default":
            raise DataError(
                f"model: the rotary embedding is scaled ({scaled!r}); must be of type 'default'"
            )
        if table.get("partial_rotary_factor", 1.0) != 1.0:
            raise DataError("model: only a part of each head is rotated; must be all of it")
    if config.get("quantization_config"):
        raise DataError("model: the weights are quantised; must be float32, float16 or bfloat16")
    only = (_DENSE if kind in LLAMA_LIKE else {}) | _ONLY.get(kind, {})
    for key, (absent, must) in only.items():
        found = config.get(key, absent)
        if (list(found) if isinstance(found, tuple) else found) != must:
            raise DataError(f"model: {key} is {found!r}; must be {must!r} for {kind!r}")
    try:
        return _sound(_SHAPES[kind](config))
    except KeyError as error:
        raise DataError(f"model: config.json of a {kind!r} has no key {error}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError(f"model: config.json of a {kind!r} cannot be read: {error}") from error


def _sound(shape: Shape) -> Shape:
    """The shape, if its sizes are numbers. Raises: ValueError."""
    sizes = ("layers", "width", "heads", "kv_heads", "hidden", "vocab_size", "head_width")
    for name in sizes:
        value = getattr(shape, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} is {value!r}; must be a whole number above 0")
    if shape.heads % shape.kv_heads:
        raise ValueError(f"{shape.kv_heads} key heads do not divide {shape.heads} heads")
    return shape


def _rope_tables(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Every table that may scale a rotary embedding; ModernBERT has one for each kind of layer."""
    tables = []
    for key in ("rope_parameters", "rope_scaling"):
        table = config.get(key) or {}
        if not isinstance(table, Mapping):
            raise DataError(f"model: {key} is {table!r}; must be a table")
        tables += [table, *(t for t in table.values() if isinstance(t, Mapping))]
    return tables


def gpt2(shape: Shape) -> Shape:
    """The GPT-2 of a shape's sizes."""
    return Shape(
        shape.layers, shape.width, shape.heads, shape.heads, shape.hidden, shape.vocab_size,
        norm_epsilon=shape.norm_epsilon, positions="learned", max_length=shape.max_length,
        norm="layer", activation="gelu_tanh", gated=False, biased=True, tied=True,
    )  # fmt: skip


def bert(shape: Shape) -> Shape:
    """The BERT of a shape's sizes."""
    return Shape(
        shape.layers, shape.width, shape.heads, shape.heads, shape.hidden, shape.vocab_size,
        positions="learned", max_length=shape.max_length, norm="layer", norm_place="after",
        norm_epsilon=shape.norm_epsilon, activation="gelu", gated=False, biased=True, tied=True,
        causal=False, input_norm=True, n_segments=shape.n_segments, head_transform=True,
    )  # fmt: skip


def modernbert(shape: Shape) -> Shape:
    """The ModernBERT of a shape's sizes."""
    return Shape(
        shape.layers, shape.width, shape.heads, shape.heads, shape.hidden, shape.vocab_size,
        rope_theta=shape.rope_theta, local_theta=shape.local_theta, window=shape.window,
        global_every=shape.global_every, norm="layer", norm_epsilon=shape.norm_epsilon,
        first_norm=False, activation="gelu", tied=True, causal=False, input_norm=True,
        head_transform=True,
    )  # fmt: skip


def t5(shape: Shape) -> Shape:
    """The T5 of a shape's sizes, in the version that its gate tells."""
    return Shape(
        shape.layers, shape.width, shape.heads, shape.heads, shape.hidden, shape.vocab_size,
        shape.head_width, positions="relative", norm_epsilon=shape.norm_epsilon,
        activation="gelu_tanh" if shape.gated else "relu", gated=shape.gated, tied=shape.tied,
        logit_scale=shape.width**-0.5 if shape.tied else 1.0, encoder_layers=shape.encoder_layers,
    ) if shape.head_dim else Shape(0, 0, 0, 0, 0)  # fmt: skip


def marian(shape: Shape) -> Shape:
    """The Marian of a shape's sizes."""
    return Shape(
        shape.layers, shape.width, shape.heads, shape.heads, shape.hidden, shape.vocab_size,
        positions="sinusoidal", norm="layer", norm_place="after", activation="relu", gated=False,
        biased=True, tied=True, embedding_scale=shape.width**0.5,
        encoder_layers=shape.encoder_layers,
    )  # fmt: skip


def _llama_like(config: Mapping[str, Any]) -> Shape:
    kind = config["model_type"]
    more: dict[str, Any] = {}
    if kind == "mistral":
        more["window"] = config.get("sliding_window") or 0
    if kind in ("mixtral", "qwen3_moe", "dots1"):
        many = "n_routed_experts" if kind == "dots1" else "num_local_experts"
        many = many if many in config else "num_experts"  # as Qwen3-MoE's was named in version 4
        width = config["intermediate_size" if kind == "mixtral" else "moe_intermediate_size"]
        more = {
            "experts": config[many], "expert_hidden": width,
            "experts_per_token": config["num_experts_per_tok"],
        }  # fmt: skip
    if kind == "dots1":
        more |= {
            "shared_hidden": (config.get("n_shared_experts") or 0) * width,
            "dense_layers": config["first_k_dense_replace"], "router": "sigmoid",
            "expert_scale": config["routed_scaling_factor"],
        }  # fmt: skip
    rope = config.get("rope_parameters") or {}
    return Shape(
        layers=config["num_hidden_layers"],
        width=config["hidden_size"],
        heads=config["num_attention_heads"],
        kv_heads=config.get("num_key_value_heads") or config["num_attention_heads"],
        hidden=config["intermediate_size"],
        vocab_size=config["vocab_size"],
        head_dim=config.get("head_dim") or (128 if kind == "qwen3" else 0),
        rope_theta=float(rope.get("rope_theta", config.get("rope_theta", 10_000.0))),
        norm_epsilon=config["rms_norm_eps"],
        qk_norm=kind in ("qwen3", "qwen3_moe", "dots1"),
        tied=config.get("tie_word_embeddings", False),
        **more,
    )


def _gpt2(config: Mapping[str, Any]) -> Shape:
    width, heads = config["n_embd"], config["n_head"]
    sizes = (config["n_layer"], width, heads, heads, config.get("n_inner") or 4 * width)
    epsilon = config.get("layer_norm_epsilon", 1e-5)
    longest = config["n_positions"]
    return gpt2(Shape(*sizes, config["vocab_size"], norm_epsilon=epsilon, max_length=longest))


def _encoder_sizes(config: Mapping[str, Any]) -> tuple[int, int, int, int, int, int]:
    heads = config["num_attention_heads"]
    return (
        config["num_hidden_layers"], config["hidden_size"], heads, heads,
        config["intermediate_size"], config["vocab_size"],
    )  # fmt: skip


def _bert(config: Mapping[str, Any]) -> Shape:
    return bert(
        Shape(
            *_encoder_sizes(config),
            max_length=config["max_position_embeddings"],
            norm_epsilon=config.get("layer_norm_eps", 1e-12),
            n_segments=config.get("type_vocab_size", 2),
        )
    )


def _modernbert(config: Mapping[str, Any]) -> Shape:
    rope = config.get("rope_parameters") or {}
    full, local = rope.get("full_attention") or {}, rope.get("sliding_attention") or {}
    kinds = config.get("layer_types") or []
    every = kinds[1:].index("full_attention") + 1 if "full_attention" in kinds[1:] else len(kinds)
    shape = modernbert(
        Shape(
            *_encoder_sizes(config),
            rope_theta=full.get("rope_theta", config.get("global_rope_theta", 160_000.0)),
            local_theta=local.get("rope_theta", config.get("local_rope_theta", 10_000.0)),
            window=config["local_attention"],
            global_every=config.get("global_attn_every_n_layers") or every,
            norm_epsilon=config["norm_eps"],
        )
    )
    said = [
        "sliding_attention" if shape.window_of(i) else "full_attention" for i in range(shape.layers)
    ]
    if kinds and list(kinds) != said:
        raise DataError("model: layer_types is not periodic; must be full attention every n layers")
    return shape


def _t5(config: Mapping[str, Any]) -> Shape:
    forward = config.get("feed_forward_proj", "relu")
    if forward not in _T5_FORWARDS:
        raise DataError(
            f"model: feed_forward_proj is {forward!r}; must be one of {', '.join(_T5_FORWARDS)}"
        )
    heads = config["num_heads"]
    return t5(
        Shape(
            config.get("num_decoder_layers") or config["num_layers"],
            config["d_model"],
            heads,
            heads,
            config["d_ff"],
            config["vocab_size"],
            head_dim=config["d_kv"],
            gated=forward == "gated-gelu",
            norm_epsilon=config.get("layer_norm_epsilon", 1e-6),
            tied=config.get("scale_decoder_outputs", config.get("tie_word_embeddings", True)),
            encoder_layers=config["num_layers"],
        )
    )


def _marian(config: Mapping[str, Any]) -> Shape:
    heads = config["decoder_attention_heads"]
    return marian(
        Shape(
            config["decoder_layers"],
            config["d_model"],
            heads,
            heads,
            config["decoder_ffn_dim"],
            config["vocab_size"],
            encoder_layers=config["encoder_layers"],
        )
    )


_SHAPES = dict.fromkeys(LLAMA_LIKE, _llama_like) | {
    "gpt2": _gpt2, "bert": _bert, "modernbert": _modernbert, "t5": _t5, "marian": _marian,
}  # fmt: skip
