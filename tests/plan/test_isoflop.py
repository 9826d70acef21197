"""Best sizes read off made runs are those of the law that made them."""

import numpy as np
import pytest

from pretrain.errors import DataError
from pretrain.plan import isoflop
from pretrain.plan.fit import Form, Law

LAW = Law(Form(), 1.8, (480.0, 2000.0), (0.35, 0.37))
EXPONENT = 0.37 / 0.72
G = (0.35 * 480 / (0.37 * 2000)) ** (1 / 0.72)


def best_size(flops):
    return G * (flops / 6) ** EXPONENT


def budgets(n_sizes=9):
    rows = []
    for flops in (1e18, 1e19, 1e20, 1e21):
        for n in best_size(flops) * np.geomspace(0.2, 5, n_sizes):
            rows.append((n, flops, float(LAW(n, flops / 6 / n))))
    return np.array(rows).T


@pytest.mark.parametrize("method", ["parabola", "interpolation"])
def test_minima_at_equal_compute(method):
    found = isoflop.isoflop(*budgets(), method)
    assert found.exponent == pytest.approx(EXPONENT, abs=0.002)
    assert found.size(3e20) == pytest.approx(best_size(3e20), rel=0.06)
    assert len(found.points) == 4


def test_computes_that_are_nearly_one_are_one():
    n, flops, loss = budgets()
    rough = flops * np.random.default_rng(0).uniform(0.97, 1.03, len(flops))
    assert len(isoflop.isoflop(n, rough, loss).points) == 4


def test_a_budget_without_an_inner_minimum_is_named():
    n, flops, loss = budgets()
    keep = (flops != 1e19) | (n > best_size(1e19) * 1.3)
    found = isoflop.isoflop(n[keep], flops[keep], loss[keep])
    assert len(found.points) == 3
    assert found.left_out[0].startswith("C = 1e+19")


def test_the_envelope_of_curves():
    rows = []
    for n in np.geomspace(1e7, 1e10, 25):
        for d in np.geomspace(1e8, 1e12, 60):
            rows.append((n, 6 * n * d, float(LAW(n, d))))
    found = isoflop.envelope(*np.array(rows).T)
    assert found.exponent == pytest.approx(EXPONENT, abs=0.03)


def test_akima_passes_through_its_points_and_lines_stay_lines():
    x = np.array([0.0, 1.0, 2.5, 3.0, 4.2, 6.0])
    y = np.array([1.0, -2.0, 0.5, 0.5, 3.0, 2.0])
    curve = isoflop.akima(x, y)
    np.testing.assert_allclose(curve(x), y, atol=1e-12)
    np.testing.assert_allclose(isoflop.akima(x, 2 * x + 1)(np.linspace(0, 6, 50)),
                               2 * np.linspace(0, 6, 50) + 1, atol=1e-12)  # fmt: skip
    # The slope is continuous where pieces meet.
    for knot in x[1:-1]:
        left = (curve(np.array([knot])) - curve(np.array([knot - 1e-6]))) / 1e-6
        right = (curve(np.array([knot + 1e-6])) - curve(np.array([knot]))) / 1e-6
        np.testing.assert_allclose(left, right, atol=1e-4)


@pytest.mark.parametrize("method", ["parabola", "interpolation"])
def test_too_few_budgets_are_refused(method):
    n, flops, loss = budgets()
    one = flops == 1e19
    with pytest.raises(DataError, match="budgets"):
        isoflop.isoflop(n[one], flops[one], loss[one], method)


def test_too_few_curves_are_refused():
    with pytest.raises(DataError, match="curve"):
        isoflop.envelope(np.array([1e7, 1e7]), np.array([1e15, 1e16]), np.array([4.0, 3.0]))
