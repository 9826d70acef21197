"""Closed-form counts equal the model's own parameters, torch's FLOP counter and published sizes."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from pretrain.model import count
from pretrain.model.attention import Context
from pretrain.model.init import build
from pretrain.model.sizes import SIZES
from pretrain.model.transformer import Transformer
from pretrain.train import optimizers
from pretrain.train.settings import Settings

LLAMA_3 = {"8b": 8_030_261_248, "70b": 70_553_706_496, "405b": 405_853_388_800}


def real_count(shape):
    with torch.device("meta"):
        model = Transformer(shape)
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("size", SIZES)
def test_parameters_equal_the_models_own_count(size):
    base = replace(SIZES[size], vocab_size=512)
    for shape in (base, replace(base, qk_norm=True), replace(base, tied=not base.tied)):
        assert count.n_parameters(shape) == real_count(shape)
    wide = replace(base, head_dim=2 * base.head_width, embedding_norm=not base.tied)
    assert count.n_parameters(wide) == real_count(wide)


def test_each_part_is_counted_where_it_belongs():
    shape = replace(SIZES["1m"], vocab_size=320, qk_norm=True)
    kinds = {
        "embedding": "embed.", "attention": (".q.", ".k.", ".v.", ".o."),
        "feed_forward": (".gate.", ".up.", ".down."), "norms": "norm.", "head": "head.",
    }  # fmt: skip
    found = dict.fromkeys(kinds, 0)
    for name, parameter in build(shape, 0).named_parameters():
        (kind,) = [k for k, parts in kinds.items() if any(p in name for p in _tuple(parts))]
        found[kind] += parameter.numel()
    assert count.parameters(shape) == found


def _tuple(value):
    return value if isinstance(value, tuple) else (value,)


@pytest.mark.parametrize("size", LLAMA_3)
def test_llama_3_has_its_published_size(size):
    shape = replace(SIZES[size], vocab_size=128_256)
    assert count.n_parameters(shape) == LLAMA_3[size]


def test_llama_3_2_has_its_published_size():
    # meta-llama/Llama-3.2-1B and 3B, model.safetensors
    assert count.n_parameters(replace(SIZES["1b"], vocab_size=128_256)) == 1_235_814_400
    assert count.n_parameters(replace(SIZES["3b"], vocab_size=128_256)) == 3_212_749_824


def test_the_largest_model_is_built_on_meta():
    assert real_count(replace(SIZES["405b"], vocab_size=128_256)) == LLAMA_3["405b"]


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(("heads", "kv_heads", "head_dim"), [(4, 4, 0), (4, 2, 0), (4, 1, 48)])
def test_matmul_flops_equal_torchs_counter(tied, heads, kv_heads, head_dim):
    shape = replace(SIZES["1m"], layers=2, vocab_size=320, heads=heads, kv_heads=kv_heads,
                    head_dim=head_dim, tied=tied)  # fmt: skip
    model = build(shape, 0)
    tokens = torch.randint(0, 320, (2, 16), generator=torch.Generator().manual_seed(0))
    with FlopCounterMode(display=False) as counter:
        torch.nn.functional.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten()).backward()
    products = {str(op): n for op, n in counter.get_flop_counts()["Global"].items()}
    matmul = sum(n for op, n in products.items() if "attention" not in op)
    assert matmul == 2 * 16 * 6 * count.matmul_parameters(shape)


ROWS = {
    "bert-base": ({"max_length": 64}, 16, 0, 5),
    "t5-small": ({"head_dim": 16, "encoder_layers": 3}, 8, 24, None),
    "mixtral-8x7b": ({"experts": 4, "expert_hidden": 48, "kv_heads": 2}, 16, 0, None),
    "1m": ({"ahead": 2}, 16, 0, None),
}


@pytest.mark.parametrize("size", ROWS)
def test_the_products_of_a_row_equal_torchs_counter(size):
    """Head only at targets, an encoder over its source, experts as chosen, blocks further ahead."""
    given, n_tokens, n_source, n_targets = ROWS[size]
    small = {"layers": 2, "width": 64, "heads": 4, "kv_heads": 4, "hidden": 96, "vocab_size": 320}
    shape = replace(SIZES[size], **(small | given))
    model = build(shape, 0)
    tokens = torch.randint(0, 320, (1, n_tokens), generator=torch.Generator().manual_seed(0))
    source = torch.randint(0, 320, (1, n_source)) if n_source else None
    context = Context(shape.causal, looks_ahead=bool(shape.ahead))
    with FlopCounterMode(display=False) as counter:
        hidden = model.hidden(tokens, source_BS=source, context=context)[0, :n_targets]
        states = [hidden, *(further[0] for further in context.ahead)]
        logits = torch.cat(states) @ model.head_weight.t()
        logits.logsumexp(dim=-1).sum().backward()
    found = counter.get_flop_counts()["Global"].items()
    matmul = sum(n for op, n in found if str(op) in ("aten.mm", "aten.addmm"))
    blocks = shape.layers + shape.ahead
    pairs = 6 * blocks * n_tokens**2 * (1 if shape.causal else 2)
    if n_source:
        pairs += 12 * (shape.layers * n_tokens * n_source + shape.encoder_layers * n_source**2)
    whole = count.flops_per_row(shape, n_tokens, n_source, n_targets)
    assert whole - pairs * shape.heads * shape.head_width == matmul


def test_attention_flops_equal_torchs_counter_of_plain_products():
    """All pairs, forward and backward, counted on the two matrix products of attention."""
    shape = replace(SIZES["1m"], vocab_size=320)
    length, c = 24, shape.head_width
    q, k, v = (torch.randn(shape.heads, length, c, requires_grad=True) for _ in range(3))
    with FlopCounterMode(display=False) as counter:
        ((q @ k.mT).softmax(-1) @ v).sum().backward()
    every = shape.layers * counter.get_total_flops() / length
    products = 6 * count.matmul_parameters(shape)
    assert count.flops_per_token(shape, length, causal=False) - products == every
    assert count.flops_per_token(shape, length) - products == every / 2


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("tied", [False, True])
def test_state_bytes_equal_the_real_tensors(optimizer, tied):
    shape = replace(SIZES["1m"], vocab_size=320, qk_norm=True, tied=tied)
    parameters = dict(build(shape, 0).named_parameters())
    state = optimizers.build(parameters, Settings(optimizer=optimizer)).state
    weights = sum(p.nbytes for p in parameters.values())
    assert count.state_bytes(shape, optimizer) == {
        "weights": weights,
        "gradients": weights,
        "optimizer": sum(t.nbytes for t in state.values()),
    }


def test_conventions_are_the_published_formulas():
    """6N, 6N + 12 L d S, and Megatron-Bridge's FLOPs of Llama 3 70B and 405B."""
    told = {"70b": 4.492e11, "405b": 2.524e12}
    for name, flops in told.items():
        shape = replace(SIZES[name], vocab_size=128_256)
        found = count.conventions(shape, 8192)
        n = count.n_parameters(shape)
        assert found["6N"] == 6 * n
        assert found["6N + 12LdS"] == 6 * n + 12 * shape.layers * shape.width * 8192
        assert found["causal, without embedding"] == pytest.approx(flops, rel=1e-3)
        assert list(found)[-1] == count.NAME
        assert count.CONVENTION.startswith(count.NAME)
        assert found[count.NAME] == count.flops_per_token(shape, 8192)


def test_conventions_of_a_pair_count_both_stacks():
    """Pairs of an encoder, of a decoder with itself and with the encoder, rows of one length."""
    shape = replace(SIZES["t5-small"], vocab_size=512)
    found = count.conventions(shape, 128)
    d = shape.heads * shape.head_width
    stacks = 2 * shape.layers + shape.encoder_layers
    assert found["6N + 12LdS"] - found["6N"] == 12 * stacks * d * 128
    assert found[count.NAME] == pytest.approx(found["6N + 12LdS"], rel=0.15)
