"""With one rank each axis gives what the plain model gives; tests/gpu does the same on NCCL."""

from dataclasses import replace
from zlib import crc32

import pytest
import torch

from pretrain.model.init import build
from pretrain.model.sizes import SIZES
from pretrain.parallel import pieces, tensor
from tests.parallel import alone, ranks

SHAPE = replace(
    SIZES["mixtral-8x7b"], layers=2, width=64, heads=4, kv_heads=2, hidden=96, vocab_size=256,
    experts=4, expert_hidden=48,
)  # fmt: skip


def gradients(model, tokens):
    """Of all parameters, whole; through the logits' sum of squares."""
    hidden = model.hidden(tokens)
    weight = model.head_weight
    weight = weight.full_tensor() if hasattr(weight, "full_tensor") else weight
    (hidden.float() @ weight.float().t()).square().mean().backward()
    tensor.settle(model.parameters())
    return {
        name: (g.full_tensor() if hasattr(g, "full_tensor") else g).float().cpu()
        for name, p in model.named_parameters()
        if (g := p.grad) is not None
    }


def stir(model):
    """No weight is zero: zeros would hide gradients."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            generator = torch.Generator().manual_seed(crc32(name.encode()))
            noise = torch.randn(p.shape, generator=generator) * 0.1
            pieces.local(p).add_(noise.to(p.device))
    return model


def compare(device, axis, prepare=lambda model: None, most=1e-5):
    tokens = torch.arange(128, device=device).view(2, 64)
    mesh = alone.mesh_on(device, axis)
    found = gradients(stir(alone.divided(SHAPE, 3, device, mesh, axis, prepare)), tokens)
    plain = stir(build(SHAPE, 3, device))
    prepare(plain)
    wanted = gradients(plain, tokens)
    assert found.keys() == wanted.keys() == dict(plain.named_parameters()).keys()
    for name, grad in wanted.items():
        assert grad.norm() > 0
        error = float((found[name] - grad).norm() / grad.norm())
        assert error <= most, (name, error)


def on_cpu(rank, axis):
    compare(torch.device("cpu"), axis)


@pytest.mark.multi
@pytest.mark.parametrize("axis", alone.AXES)
def test_one_rank_alone_is_the_plain_model(axis):
    ranks.run(1, on_cpu, axis)
