"""The chunked loss equals torch's cross-entropy, value and gradients."""

import math

import pytest
import torch
import torch.nn.functional as F

from pretrain.model import loss


def case(n, d, v, dtype=torch.float32):
    generator = torch.Generator().manual_seed(n)
    x = torch.randn(n, d, generator=generator).to(dtype)
    weight = (torch.randn(v, d, generator=generator) * 0.3).to(dtype)
    targets = torch.randint(0, v, (n,), generator=generator)
    return x, weight, targets


def reference(x, weight, targets):
    """(sum of losses, gradient of x, gradient of weight, loss of each token) by torch, fp64."""
    x, weight = (t.double().detach().requires_grad_() for t in (x, weight))
    each = F.cross_entropy(x @ weight.t(), targets, reduction="none")
    each.sum().backward()
    return each.sum().item(), x.grad, weight.grad, each.detach()


def ours(x, weight, targets, losses=None, scale=1.0):
    x, weight = (t.detach().clone().requires_grad_() for t in (x, weight))
    total = loss.cross_entropy_sum(x, weight, targets, losses)
    (total * scale).backward()
    return total, x.grad, weight.grad


@pytest.fixture(params=[1, 4 * 300 * 50, 32 << 20], ids=["16 rows", "50 rows", "one chunk"])
def chunk_bytes(request, monkeypatch):
    monkeypatch.setattr(loss, "CHUNK_BYTES", request.param)


@pytest.mark.parametrize(("n", "d", "v"), [(1, 8, 300), (16, 8, 300), (137, 24, 300), (200, 3, 7)])
def test_it_equals_cross_entropy(chunk_bytes, n, d, v):
    x, weight, targets = case(n, d, v)
    total, grad_x, grad_weight, each = reference(x, weight, targets)
    losses = torch.full((n,), -1.0)
    value, our_x, our_weight = ours(x, weight, targets, losses)
    assert value.dtype == our_x.dtype == our_weight.dtype == torch.float32
    assert value.item() == pytest.approx(total, rel=1e-5)
    torch.testing.assert_close(our_x.double(), grad_x, atol=2e-6, rtol=1e-4)
    torch.testing.assert_close(our_weight.double(), grad_weight, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(losses.double(), each, atol=1e-5, rtol=1e-5)
    alone = loss.token_losses(x, weight, targets)
    torch.testing.assert_close(alone.double(), each, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("cap", [0.0, 3.0])
@pytest.mark.parametrize("z", [0.0, 1e-2])
@pytest.mark.parametrize("biased", [False, True])
def test_bias_cap_and_z_equal_autograd(chunk_bytes, biased, z, cap):
    x, weight, targets = case(40, 8, 50)
    bias = torch.linspace(-1, 1, 50) if biased else None
    inputs = [t.clone().requires_grad_() for t in (x, weight, bias) if t is not None]
    plain = [t.double().detach().requires_grad_() for t in inputs]
    logits = plain[0] @ plain[1].t() + (plain[2] if biased else 0.0)
    logits = cap * torch.tanh(logits / cap) if cap else logits
    each = F.cross_entropy(logits, targets, reduction="none")
    (each.sum() + z * logits.logsumexp(1).square().sum()).backward()
    head = loss.Head(inputs[2] if biased else None, cap, z)
    losses = torch.empty(40)
    value = loss.cross_entropy_sum(inputs[0], inputs[1], targets, losses, head)
    value.backward()
    for ours, theirs in zip(inputs, plain, strict=True):
        torch.testing.assert_close(ours.grad.double(), theirs.grad, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(losses.double(), each.detach(), atol=1e-5, rtol=1e-5)
    alone = loss.token_losses(x, weight, targets, loss.Head(bias, cap, z))
    torch.testing.assert_close(alone, losses, atol=1e-5, rtol=1e-5)


def test_several_chunks_were_really_used(monkeypatch):
    monkeypatch.setattr(loss, "CHUNK_BYTES", 1)
    assert [len(c) for c in loss._chunks(torch.empty(300, 8), torch.empty(137, 8))[0]][:2] == [
        16,
        16,
    ]


def test_the_gradient_scales_with_what_comes_after(chunk_bytes):
    x, weight, targets = case(60, 8, 300)
    _, grad_x, grad_weight, _ = reference(x, weight, targets)
    _, our_x, our_weight = ours(x, weight, targets, scale=0.25)
    torch.testing.assert_close(our_x.double(), grad_x / 4, atol=2e-6, rtol=1e-4)
    torch.testing.assert_close(our_weight.double(), grad_weight / 4, atol=2e-5, rtol=1e-4)


def test_a_second_backward_pass_is_refused():
    """Gradients are scaled in place: passing twice must fail, not scale twice."""
    x, weight, targets = case(20, 8, 300)
    total = loss.cross_entropy_sum(x.requires_grad_(), weight, targets)
    total.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        total.backward()


@pytest.mark.parametrize("needs", ["x", "weight", "none"])
def test_only_wanted_gradients_are_made(needs):
    x, weight, targets = case(20, 8, 300)
    x.requires_grad_(needs == "x")
    weight.requires_grad_(needs == "weight")
    total = loss.cross_entropy_sum(x, weight, targets)
    assert total.requires_grad == (needs != "none")
    if needs != "none":
        total.backward()
    assert (x.grad is not None) == (needs == "x")
    assert (weight.grad is not None) == (needs == "weight")


def test_autocast_is_close_to_fp32_and_keeps_the_dtypes(chunk_bytes):
    x, weight, targets = case(137, 24, 300)
    total, grad_x, grad_weight, each = reference(x, weight, targets)
    losses = torch.empty(137)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value, our_x, our_weight = ours(x, weight, targets, losses)
        alone = loss.token_losses(x, weight, targets)
    assert our_x.dtype == our_weight.dtype == torch.float32
    assert value.item() == pytest.approx(total, rel=5e-3)
    assert (losses - each).abs().max() < 0.05
    assert (alone - each).abs().max() < 0.05
    for our, their in ((our_x, grad_x), (our_weight, grad_weight)):
        assert (our - their).norm() / their.norm() < 0.02
        assert (our - their).norm() > 0  # it did run in bf16


def test_bf16_tensors_give_bf16_gradients_close_to_exact():
    x, weight, targets = case(100, 16, 64, torch.bfloat16)
    total, grad_x, grad_weight, _ = reference(x, weight, targets)
    value, our_x, our_weight = ours(x, weight, targets)
    assert value.dtype == torch.float32
    assert our_x.dtype == our_weight.dtype == torch.bfloat16
    assert value.item() == pytest.approx(total, rel=5e-3)
    for our, their in ((our_x, grad_x), (our_weight, grad_weight)):
        assert (our - their).norm() / their.norm() < 0.02


def test_large_logits_stay_finite_and_a_zero_head_is_log_of_the_vocabulary():
    x, weight, targets = case(10, 8, 300)
    value, grad_x, grad_weight = ours(x * 1000, weight * 1000, targets)
    assert all(torch.isfinite(t).all() for t in (value, grad_x, grad_weight))
    value, _, _ = ours(x, weight * 0, targets)
    assert value.item() == pytest.approx(10 * math.log(300), rel=1e-6)


@pytest.mark.parametrize("cap", [0.0, 1.5])
def test_branches_of_a_row_equal_rows_of_their_own(monkeypatch, cap):
    monkeypatch.setattr(loss, "CHUNK_BYTES", 4 * 13 * 16)  # of the least size, 16 rows
    draw = torch.Generator().manual_seed(0)
    x, weight = torch.randn(40, 8, generator=draw), torch.randn(13, 8, generator=draw)
    places = torch.randint(0, 40, (90,), generator=draw).sort().values
    targets = torch.randint(0, 13, (90,), generator=draw)
    head = loss.Head(torch.randn(13, generator=draw), cap)
    found, right = loss.branch_losses(x, weight, places, targets, head)
    wanted_right = torch.empty(90, dtype=torch.bool)
    wanted = loss.token_losses(x[places], weight, targets, head, wanted_right)
    torch.testing.assert_close(found, wanted)
    assert torch.equal(right, wanted_right)
    assert 0 < right.sum() < 90
