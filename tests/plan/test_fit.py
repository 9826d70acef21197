"""Fits that find the law that made the runs, and say when they cannot."""

import numpy as np
import pytest

from pretrain.errors import DataError
from pretrain.plan import fit
from pretrain.plan.fit import Form, Law

TRUE = Law(Form(), 1.8, (400.0, 2000.0), (0.34, 0.37))


def grid(n_sizes=5, ratios=(5, 20, 80), noise=0.0, seed=0):
    sizes = np.geomspace(2e7, 2e9, n_sizes)
    x = np.array([(n, n * r) for n in sizes for r in ratios])
    loss = TRUE(x[:, 0], x[:, 1])
    return x, loss * np.exp(noise * np.random.default_rng(seed).standard_normal(len(x)))


def test_a_law_without_noise_is_found_exactly():
    x, loss = grid()
    law = fit.fit(x, loss, Form())
    assert law.floor == pytest.approx(1.8, rel=1e-4)
    assert law.factors == pytest.approx(TRUE.factors, rel=1e-3)
    assert law.exponents == pytest.approx(TRUE.exponents, rel=1e-4)
    assert law.spread < 1e-5
    assert not law.warnings


def test_wild_runs_do_not_bend_it():
    """Huber with a small threshold: a fifth of the runs are 30 % too high."""
    x, loss = grid(8, (3, 10, 30, 100))
    loss[::5] *= 1.3
    law = fit.fit(x, loss, Form())
    np.testing.assert_allclose(law(x[:, 0], x[:, 1]), TRUE(x[:, 0], x[:, 1]), rtol=2e-3)


@pytest.mark.parametrize(
    "form",
    [
        Form(("C",)),
        Form(("C",), floor=False),
        Form(("C",), on="loss", delta=np.inf),
        Form(tied=True),
        Form(tied=True, on="loss", delta=np.inf),
        Form(floor=False),
    ],
)
def test_every_form_finds_its_own_law(form):
    exponents = (0.3,) * len(form.names) if form.tied or len(form.names) == 1 else (0.3, 0.2)
    true = Law(form, 1.5 * form.floor, (120.0, 300.0)[: len(form.names)], exponents)
    x, _ = grid()
    x = x[:, : len(form.names)]
    law = fit.fit(x, true(*x.T), form)
    np.testing.assert_allclose(law(*x.T), true(*x.T), rtol=1e-5)
    assert law.exponents == pytest.approx(true.exponents, rel=1e-2)


@pytest.mark.parametrize("form", [Form(), Form(tied=True, on="loss"), Form(delta=np.inf)])
def test_the_gradient_is_that_of_differences(form):
    x, loss = grid(noise=0.01)
    centre = np.log(x).mean(axis=0)
    objective = fit._objective(x, loss, form, centre, np.ones((1, len(loss))))
    theta = np.array([[0.5, 0.3, -0.7, -1.1, -0.9][: form.n_free]])
    rows = np.array([0])
    _, slope = objective(theta, rows)
    for i in range(form.n_free):
        up, down = theta.copy(), theta.copy()
        up[0, i] += 1e-6
        down[0, i] -= 1e-6
        difference = (objective(up, rows)[0] - objective(down, rows)[0]) / 2e-6
        assert slope[0, i] == pytest.approx(difference[0], rel=1e-4, abs=1e-6)


def test_the_bootstrap_holds_the_truth():
    """Of repeated noisy experiments, nearly all intervals of two deviations hold the exponent."""
    inside = 0
    for seed in range(8):
        x, loss = grid(6, (5, 20, 80), noise=0.004, seed=seed)
        law = fit.fit(x, loss, Form())
        draws = fit.bootstrap(x, loss, Form(), law, 20, seed)
        inside += bool(abs(law.exponents[0] - 0.34) < 2 * draws["exponents"][:, 0].std() + 1e-3)
    assert inside >= 6


def test_a_bootstrap_draw_is_a_fit_of_the_drawn_runs():
    x, loss = grid(5, noise=0.01)
    law = fit.fit(x, loss, Form())
    draws = fit.bootstrap(x, loss, Form(), law, 4, seed=3)
    counts = np.random.default_rng(3).multinomial(len(loss), np.full(len(loss), 1 / len(loss)), 4)
    again = fit.fit(np.repeat(x, counts[1], axis=0), np.repeat(loss, counts[1]), Form())
    assert draws["floor"][1] == pytest.approx(again.floor, rel=2e-3)


def test_the_largest_run_is_forecast_without_it():
    x, loss = grid()
    assert fit.largest_left_out(x, loss, Form()) == pytest.approx(0, abs=1e-5)
    loss[-1] *= 1.1  # the largest
    assert fit.largest_left_out(x, loss, Form()) == pytest.approx(1 / 1.1 - 1, abs=1e-4)


def test_runs_at_one_ratio_are_told_to_be_too_little():
    x, loss = grid(6, (20,))
    law = fit.fit(x, loss, Form())
    assert "E and the two terms cannot be told apart" in " ".join(law.warnings)
    assert law.condition > 10 * fit.fit(*grid(6), Form()).condition


@pytest.mark.parametrize(
    ("x", "loss", "says"),
    [
        (grid(2)[0], grid(2)[1], "3 to say how"),
        (grid(3, (20,))[0], grid(3, (20,))[1], "3 runs for 5 constants"),
        (grid()[0] * -1, grid()[1], "above 0"),
        (grid()[0], grid()[1] * np.nan, "finite"),
    ],
)
def test_what_cannot_be_fitted_is_refused(x, loss, says):
    with pytest.raises(DataError, match=says):
        fit.fit(x, loss, Form())


def test_far_from_the_runs_is_said():
    law = fit.fit(*grid(), Form())
    assert law.outside(1e8, 2e9) == 1
    assert law.outside(2e10, 4e10) == pytest.approx(10, rel=1e-6)
    assert law.outside(2e5, 4e10) == pytest.approx(100, rel=1e-6)
