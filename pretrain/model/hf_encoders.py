"""Encoders of `transformers`, for masked language modelling: BERT and ModernBERT."""

from typing import Any

from pretrain.model import families
from pretrain.model.mapping import Entry, entry, linear
from pretrain.model.settings import Shape


def kind_of(shape: Shape) -> str | None:
    if shape == families.bert(shape):
        return "bert"
    return "modernbert" if shape == families.modernbert(shape) else None


def config(shape: Shape, kind: str, length: int) -> dict[str, Any]:
    table = {
        "hidden_size": shape.width, "intermediate_size": shape.hidden,
        "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads,
    }  # fmt: skip
    if kind == "bert":
        return table | {
            "architectures": ["BertForMaskedLM"], "max_position_embeddings": shape.max_length,
            "type_vocab_size": shape.n_segments, "layer_norm_eps": shape.norm_epsilon,
            "hidden_act": "gelu", "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
        }  # fmt: skip
    is_global = [shape.window_of(i) == 0 for i in range(shape.layers)]
    thetas = {"full_attention": shape.rope_theta, "sliding_attention": shape.local_theta}
    return table | {
        "architectures": ["ModernBertForMaskedLM"], "max_position_embeddings": length,
        "norm_eps": shape.norm_epsilon, "norm_bias": False, "attention_bias": False,
        "mlp_bias": False, "decoder_bias": True, "classifier_bias": False,
        "hidden_activation": "gelu", "classifier_activation": "gelu",
        "local_attention": shape.window, "global_attn_every_n_layers": shape.global_every,
        "layer_types": ["full_attention" if g else "sliding_attention" for g in is_global],
        "global_rope_theta": shape.rope_theta, "local_rope_theta": shape.local_theta,
        "rope_parameters": {
            k: {"rope_type": "default", "rope_theta": v} for k, v in thetas.items()
        },
        "attention_dropout": 0.0, "embedding_dropout": 0.0, "mlp_dropout": 0.0,
    }  # fmt: skip


def entries(shape: Shape, kind: str) -> list[Entry]:
    return _bert_entries(shape) if kind == "bert" else _modernbert_entries(shape)


def _bert_entries(shape: Shape) -> list[Entry]:
    head = "cls.predictions"
    found = [
        entry("bert.embeddings.word_embeddings.weight", "embed.weight"),
        entry("bert.embeddings.position_embeddings.weight", "position.weight"),
        entry("bert.embeddings.token_type_embeddings.weight", "segment.weight"),
        *linear("bert.embeddings.LayerNorm", "input_norm", True),
        *linear(f"{head}.transform.dense", "transform", True),
        *linear(f"{head}.transform.LayerNorm", "transform_norm", True),
        entry(f"{head}.bias", "head_bias"),
    ]
    names = {
        "attention.q": "attention.self.query", "attention.k": "attention.self.key",
        "attention.v": "attention.self.value", "attention.o": "attention.output.dense",
        "attention_norm": "attention.output.LayerNorm", "feed_forward.up": "intermediate.dense",
        "feed_forward.down": "output.dense", "feed_forward_norm": "output.LayerNorm",
    }  # fmt: skip
    for i in range(shape.layers):
        for ours, theirs in names.items():
            found += linear(f"bert.encoder.layer.{i}.{theirs}", f"blocks.{i}.{ours}", True)
    return found


def _modernbert_entries(shape: Shape) -> list[Entry]:
    found = [
        entry("model.embeddings.tok_embeddings.weight", "embed.weight"),
        entry("model.embeddings.norm.weight", "input_norm.weight"),
        entry("model.final_norm.weight", "norm.weight"),
        entry("head.dense.weight", "transform.weight"),
        entry("head.norm.weight", "transform_norm.weight"),
        entry("decoder.bias", "head_bias"),
    ]
    for i in range(shape.layers):
        ours, theirs = f"blocks.{i}", f"model.layers.{i}"
        qkv = [f"{ours}.attention.{part}.weight" for part in "qkv"]
        pair = [f"{ours}.feed_forward.{part}.weight" for part in ("gate", "up")]
        if i:
            found.append(entry(f"{theirs}.attn_norm.weight", f"{ours}.attention_norm.weight"))
        found += [
            entry(f"{theirs}.attn.Wqkv.weight", *qkv, how="join", rows=(shape.width,) * 3),
            entry(f"{theirs}.attn.Wo.weight", f"{ours}.attention.o.weight"),
            entry(f"{theirs}.mlp_norm.weight", f"{ours}.feed_forward_norm.weight"),
            entry(f"{theirs}.mlp.Wi.weight", *pair, how="join", rows=(shape.hidden,) * 2),
            entry(f"{theirs}.mlp.Wo.weight", f"{ours}.feed_forward.down.weight"),
        ]
    return found
