"""What is computed again has the same bits, and is computed again: products only where all is."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pretrain.model.attention import Context
from pretrain.model.init import build
from pretrain.model.layers import Block
from pretrain.model.sizes import SIZES
from pretrain.parallel.recompute import recompute

SMALL = {
    "layers": 2, "width": 32, "heads": 2, "kv_heads": 2, "hidden": 48, "vocab_size": 90,
    "head_dim": 16,
}  # fmt: skip
CASES = {
    "plain": ("1m", {}), "after": ("bert-base", {"max_length": 32}),
    "experts": ("mixtral-8x7b", {"experts": 3, "expert_hidden": 20, "experts_per_token": 2}),
    "pair": ("t5-small", {"encoder_layers": 1}),
}  # fmt: skip


class Calls(TorchDispatchMode):
    """Counts what is computed, by name."""

    def __init__(self):
        super().__init__()
        self.n = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.n[function.name()] += 1
        return function(*args, **(kwargs or {}))


def passes(case, choice, dropout=0.0):
    """(calls forward, calls backward, hidden states, gradients, reports) of one pass."""
    size, given = CASES[case]
    model = build(replace(SIZES[size], **(SMALL | given)), 3)
    with torch.no_grad():
        for i, p in enumerate(model.parameters()):
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(i)), alpha=0.1)
    recompute(model, choice)
    tokens = torch.arange(40).view(2, 20)
    context = Context(model.shape.causal, dropout=dropout)
    source = tokens.flip(1) if model.shape.encoder_layers else None
    torch.manual_seed(4)
    with Calls() as forward:
        hidden = model.hidden(tokens, source_BS=source, context=context)
    reports = [load.tolist() for _, load in context.balance]
    with Calls() as backward:
        hidden.square().sum().backward()
    grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return forward.n, backward.n, hidden, grads, reports


def products(calls):
    return sum(calls[f"aten::{name}"] for name in ("mm", "addmm", "bmm"))


def attentions(calls):
    return calls["aten::_scaled_dot_product_flash_attention_for_cpu"]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("choice", ["selective", "full"])
def test_what_is_computed_again_has_the_same_bits(case, choice):
    for dropout in (0.0, 0.2):
        _, _, hidden, grads, reports = passes(case, "none", dropout)
        _, _, again, other, told = passes(case, choice, dropout)
        assert torch.equal(hidden, again)
        assert told == reports
        assert grads.keys() == other.keys()
        for name, grad in grads.items():
            assert torch.equal(grad, other[name]), name


def test_products_and_attention_are_computed_again_only_in_full():
    kept, _, _, _, _ = passes("plain", "none")
    backward = {choice: passes("plain", choice)[1] for choice in ("none", "selective", "full")}
    assert attentions(kept) == 2
    assert products(backward["selective"]) == products(backward["none"])
    assert attentions(backward["selective"]) == attentions(backward["none"]) == 0
    assert backward["selective"]["aten::silu"] == backward["full"]["aten::silu"] == 2
    assert backward["none"]["aten::silu"] == 0
    assert attentions(backward["full"]) == 2
    # The last product of a block is not wanted again: nothing behind it was kept.
    assert products(kept) - 2 <= products(backward["full"]) - products(backward["none"])


def test_a_pass_without_gradients_is_as_it_was():
    model = build(replace(SIZES["1m"], **SMALL), 3)
    tokens = torch.arange(40).view(2, 20)
    with torch.no_grad():
        plain = model.hidden(tokens)
        recompute(model, "full")
        assert torch.equal(model.hidden(tokens), plain)
    names = list(model.state_dict())
    assert names == list(build(replace(SIZES["1m"], **SMALL), 3).state_dict())
    assert all(isinstance(block, Block) for block in model.blocks)
