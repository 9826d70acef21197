"""The GPU's loss is the CPU's: values, gradients, what follows it, in chunks of any size."""

import pytest
import torch

from pretrain.model import fused_loss, loss


def case(n, d=8, v=50):
    generator = torch.Generator().manual_seed(n)
    x = torch.randn(n, d, generator=generator)
    weight = torch.randn(v, d, generator=generator) * 0.3
    return x, weight, torch.randint(0, v, (n,), generator=generator)


def run(function, x, weight, targets, bias, cap, z, scale=0.5):
    inputs = [t.clone().requires_grad_() for t in (x, weight)]
    bias = None if bias is None else bias.clone().requires_grad_()
    losses = torch.full((len(x),), -1.0)
    total = function(*inputs, targets, losses, loss.Head(bias, cap, z))
    (total * scale).backward()
    grads = [t.grad for t in inputs] + ([] if bias is None else [bias.grad])
    return [total.detach(), losses, *grads]


@pytest.mark.parametrize("chunk_bytes", [1, 4 * 50 * 50, 1 << 30])
@pytest.mark.parametrize("cap", [0.0, 3.0])
@pytest.mark.parametrize("z", [0.0, 1e-2])
@pytest.mark.parametrize("biased", [False, True])
def test_it_equals_the_chunked_loss(monkeypatch, chunk_bytes, biased, z, cap):
    monkeypatch.setattr(fused_loss, "CHUNK_BYTES", chunk_bytes)
    bias = torch.linspace(-1, 1, 50) if biased else None
    found = run(fused_loss.cross_entropy_sum, *case(137), bias, cap, z)
    wanted = run(loss.cross_entropy_sum, *case(137), bias, cap, z)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_autocast_is_close_and_keeps_the_dtypes():
    wanted = run(loss.cross_entropy_sum, *case(137), None, 0.0, 0.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = run(fused_loss.cross_entropy_sum, *case(137), None, 0.0, 0.0)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.dtype == theirs.dtype
        assert float((ours - theirs).norm() / theirs.norm()) < 0.02


def test_no_targets_at_all():
    x, weight, targets = case(0)
    total, _, grad_x, grad_weight = run(
        fused_loss.cross_entropy_sum, x, weight, targets, None, 0.0, 0.0
    )
    assert total == 0
    assert grad_x.shape == x.shape
    assert not grad_weight.any()
