"""RMSNorm equals PyTorch's, value and gradients."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.model.norms import RMSNorm, rms_norm

SIZES = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 70))


def case(size, seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    x, dy = (torch.randn(size, generator=generator, dtype=dtype) for _ in range(2))
    return x, torch.randn(size[-1], generator=generator, dtype=dtype), dy


@settings(max_examples=50)
@given(SIZES, st.integers(0, 1000), st.sampled_from([1e-5, 1.0]))
def test_value_and_gradients_equal_the_formula(size, seed, eps):
    x, weight, dy = case(size, seed)
    ours = [t.float().requires_grad_() for t in (x, weight)]
    plain = [t.requires_grad_() for t in (x, weight)]
    y = rms_norm(*ours, eps)
    expected = plain[0] * (plain[0].square().mean(-1, keepdim=True) + eps).rsqrt() * plain[1]
    torch.testing.assert_close(y.double(), expected, atol=1e-5, rtol=1e-5)
    y.backward(dy.float())
    expected.backward(dy)
    for a, b in zip(ours, plain, strict=True):
        scale = float(b.grad.abs().max()) + 1.0
        torch.testing.assert_close(a.grad.double() / scale, b.grad / scale, atol=2e-5, rtol=0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_equals_pytorch_on_heads_that_lie_apart(dtype):
    x, weight, _ = case((2, 5, 3, 16), 1, torch.float32)
    x, weight = x.transpose(1, 2).to(dtype), weight.to(dtype)
    torch.testing.assert_close(
        rms_norm(x, weight, 1e-5), F.rms_norm(x, (16,), weight, 1e-5), atol=1e-6, rtol=1e-5
    )


@pytest.mark.parametrize("frozen", ["x", "weight"])
def test_only_wanted_gradients_are_made(frozen):
    x, weight, dy = case((2, 8), 2, torch.float32)
    x.requires_grad_(frozen != "x")
    weight.requires_grad_(frozen != "weight")
    rms_norm(x, weight, 1e-5).backward(dy)
    assert (x.grad is None, weight.grad is None) == (frozen == "x", frozen == "weight")


def test_the_module_names_its_weight_as_pytorch_does():
    assert list(RMSNorm(4, 1e-5).state_dict()) == list(torch.nn.RMSNorm(4).state_dict())
