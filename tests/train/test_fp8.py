"""The code of the GPU with emulated products: how far fp8 is from fp32, and where it applies."""

import pytest
import torch

from pretrain.errors import RecipeError
from pretrain.train import fp8, kernels
from tests.train.test_gradients import case_of, gradients_of

# The compiler warns of what it does itself while it reads a block.
pytestmark = pytest.mark.filterwarnings("default")

# e4m3 has 3 bits behind the point, e5m2 two: half a step is 1/16 or 1/8 of a value at most, and its
# root mean square a third of that; a product's error is that of both its factors.
FORWARD_ERROR, BACKWARD_ERROR = 0.045, 0.08


def error(found, wanted):
    return float((found.float() - wanted).norm() / wanted.norm())


@pytest.mark.parametrize(("dtype", "most"), [(fp8.FORWARD, 1 / 16), (fp8.BACKWARD, 1 / 8)])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_values_are_rounded_to_the_format_whatever_their_size(dtype, most, size):
    x = torch.randn(64, 64, generator=torch.Generator().manual_seed(1)) * size
    rounded, scale = fp8.quantised(x, dtype)
    assert rounded.dtype == dtype
    back = rounded.float() * scale
    near_zero = x.abs() < x.abs().max() / 2**9  # below the format's normal numbers
    assert ((back - x).abs() <= most * x.abs() * 1.001)[~near_zero].all()
    assert back.abs().max() == pytest.approx(float(x.abs().max()), rel=1e-6)


def test_zeros_stay_zero_and_what_is_not_finite_does_not_hide():
    rounded, scale = fp8.quantised(torch.zeros(16, 16), fp8.FORWARD)
    assert not rounded.float().any()
    assert scale > 0
    bad = torch.ones(16, 16)
    bad[3, 4] = float("nan")
    rounded, scale = fp8.quantised(bad, fp8.FORWARD)
    assert not torch.isfinite(rounded.float() * scale).all()


@pytest.mark.parametrize("biased", [False, True])
def test_products_are_near_those_of_fp32(biased):
    generator = torch.Generator().manual_seed(2)
    plain = torch.nn.Linear(128, 64, bias=biased)
    ours = fp8._converted(plain)
    x = torch.randn(4, 16, 128, generator=generator).requires_grad_()
    slope = torch.randn(4, 16, 64, generator=generator)
    found = []
    for layer in (ours, plain):
        y = layer(x)
        y.backward(slope)
        found.append((y.detach(), x.grad, plain.weight.grad, plain.bias.grad if biased else None))
        x.grad = plain.weight.grad = None
        if biased:
            plain.bias.grad = None
    assert ours.weight is plain.weight
    (y, dx, dw, db), (y_plain, dx_plain, dw_plain, db_plain) = found
    assert 0.005 < error(y, y_plain) < FORWARD_ERROR
    assert 0.005 < error(dx, dx_plain) < BACKWARD_ERROR
    assert 0.005 < error(dw, dw_plain) < BACKWARD_ERROR
    if biased:
        torch.testing.assert_close(db, db_plain)


def test_evaluation_and_odd_rows_compute_as_before():
    plain = torch.nn.Linear(32, 16)
    ours = fp8._converted(plain)
    x = torch.randn(16, 32)
    with torch.no_grad():
        assert torch.equal(ours(x), plain(x))
    assert torch.equal(ours(x[:7]), plain(x[:7]))
    assert not torch.equal(ours(x), plain(x))


@pytest.mark.parametrize("name", ["next_token", "masked", "modern"])
@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_model_keeps_its_names_and_nearly_its_gradients(name, compiled):
    model, settings, _, rows = case_of(name)
    sums, wanted = gradients_of(model, settings, rows, 6)
    names, parameters = list(model.state_dict()), list(model.parameters())
    n_linear = sum(type(m) is torch.nn.Linear for b in model.blocks for m in b.modules())
    assert fp8.convert(model) >= n_linear
    if compiled:
        torch._dynamo.reset()
        kernels.compile_blocks(model, "on", torch.device("cpu"), "aot_eager")
    again, found = gradients_of(model, settings, rows, 6)
    assert list(model.state_dict()) == names
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    loss, loss_8 = (s.by_source[0].sum() / s.by_source[1].sum() for s in (sums, again))
    assert 0 < abs(float(loss_8 / loss) - 1) < 0.01
    flat, flat_8 = (torch.cat([g[n].flatten() for n in wanted]) for g in (wanted, found))
    assert float(torch.cosine_similarity(flat, flat_8, dim=0)) > 0.9  # widths of 32 average little


def test_a_processor_is_refused():
    with pytest.raises(RecipeError, match="precision 'fp8' on a processor"):
        fp8.check(torch.device("cpu"))
