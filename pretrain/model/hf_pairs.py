"""Encoder–decoders of `transformers`: T5 in both versions; Marian, as the first Transformer was."""

from typing import Any

import torch

from pretrain.model import families
from pretrain.model.mapping import Entry, entry, linear
from pretrain.model.settings import Shape
from pretrain.model.transformer import sinusoids


def kind_of(shape: Shape) -> str | None:
    if shape == families.t5(shape):
        return "t5"
    return "marian" if shape == families.marian(shape) else None


def config(shape: Shape, kind: str, length: int, pad: int) -> dict[str, Any]:
    if kind == "t5":
        return {
            "architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": True,
            "d_model": shape.width, "d_kv": shape.head_width, "d_ff": shape.hidden,
            "num_layers": shape.encoder_layers, "num_decoder_layers": shape.layers,
            "num_heads": shape.heads, "layer_norm_epsilon": shape.norm_epsilon,
            "feed_forward_proj": "gated-gelu" if shape.gated else "relu", "dropout_rate": 0.0,
            "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128,
            "decoder_start_token_id": pad, "scale_decoder_outputs": shape.tied,
        }  # fmt: skip
    return {
        "architectures": ["MarianMTModel"], "is_encoder_decoder": True, "d_model": shape.width,
        "encoder_layers": shape.encoder_layers, "decoder_layers": shape.layers,
        "encoder_attention_heads": shape.heads, "decoder_attention_heads": shape.heads,
        "encoder_ffn_dim": shape.hidden, "decoder_ffn_dim": shape.hidden,
        "max_position_embeddings": length, "activation_function": "relu", "scale_embedding": True,
        "static_position_embeddings": True, "share_encoder_decoder_embeddings": True,
        "decoder_start_token_id": pad, "decoder_vocab_size": shape.vocab_size, "dropout": 0.0,
        "attention_dropout": 0.0, "activation_dropout": 0.0,
    }  # fmt: skip


def entries(shape: Shape, kind: str, length: int) -> list[Entry]:
    return _t5_entries(shape) if kind == "t5" else _marian_entries(shape, length)


def _t5_entries(shape: Shape) -> list[Entry]:
    found = [entry("shared.weight", "embed.weight")]
    if not shape.tied:
        found.append(entry("lm_head.weight", "head.weight"))
    for ours, theirs, n in (
        ("", "decoder", shape.layers),
        ("encoder.", "encoder", shape.encoder_layers),
    ):
        bias = "SelfAttention.relative_attention_bias.weight"
        found.append(entry(f"{theirs}.final_layer_norm.weight", f"{ours}norm.weight"))
        found.append(entry(f"{theirs}.block.0.layer.0.{bias}", f"{ours}relative.weight"))
        parts = [("attention", "SelfAttention")]
        parts += [] if ours else [("cross_attention", "EncDecAttention")]
        for i in range(n):
            block, layer = f"{ours}blocks.{i}", f"{theirs}.block.{i}.layer"
            for k, (part, name) in enumerate(parts):
                found.append(entry(f"{layer}.{k}.layer_norm.weight", f"{block}.{part}_norm.weight"))
                found += [
                    entry(f"{layer}.{k}.{name}.{x}.weight", f"{block}.{part}.{x}.weight")
                    for x in "qkvo"
                ]
            last = f"{layer}.{len(parts)}"
            names = {"gate": "wi_0", "up": "wi_1"} if shape.gated else {"up": "wi"}
            found.append(entry(f"{last}.layer_norm.weight", f"{block}.feed_forward_norm.weight"))
            found += [
                entry(f"{last}.DenseReluDense.{b}.weight", f"{block}.feed_forward.{a}.weight")
                for a, b in (names | {"down": "wo"}).items()
            ]
    return found


def _marian_entries(shape: Shape, length: int) -> list[Entry]:
    def places() -> torch.Tensor:
        return sinusoids(torch.arange(length), shape.width)

    def zeros() -> torch.Tensor:
        return torch.zeros(1, shape.vocab_size)

    found = [
        entry("model.shared.weight", "embed.weight"),
        Entry("final_logits_bias", (), "fixed", value=zeros),
    ]
    own = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "o": "out_proj"}
    for ours, theirs, n in (
        ("", "decoder", shape.layers),
        ("encoder.", "encoder", shape.encoder_layers),
    ):
        name = f"model.{theirs}.embed_positions.weight"
        found.append(Entry(name, (), "fixed", value=places))
        parts = [("attention", "self_attn")]
        parts += [] if ours else [("cross_attention", "encoder_attn")]
        for i in range(n):
            block, layer = f"{ours}blocks.{i}", f"model.{theirs}.layers.{i}"
            for part, name in parts:
                found += linear(f"{layer}.{name}_layer_norm", f"{block}.{part}_norm", True)
                for a, b in own.items():
                    found += linear(f"{layer}.{name}.{b}", f"{block}.{part}.{a}", True)
            found += [
                *linear(f"{layer}.fc1", f"{block}.feed_forward.up", True),
                *linear(f"{layer}.fc2", f"{block}.feed_forward.down", True),
                *linear(f"{layer}.final_layer_norm", f"{block}.feed_forward_norm", True),
            ]
    return found
