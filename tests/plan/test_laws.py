"""The ensemble: what moves a forecast which way, and that its intervals hold what they say."""

import math

import numpy as np
import pytest

from pretrain.errors import UsageError
from pretrain.plan import laws
from pretrain.plan.fit import Form, Law

from ..conftest import DATA


def test_more_of_anything_is_better_and_less_certain_far_away():
    small, large = laws.predict(1e9, 2e10), laws.predict(2e9, 4e10)
    assert small.low < small.loss < small.high
    assert large.loss < small.loss
    near, far = laws.predict(1e9, 1e11), laws.predict(1e14, 1e16)
    assert far.high / far.low > near.high / near.low
    assert "an extrapolation, no forecast" in far.note
    assert "an extrapolation" not in near.note


def test_the_forecast_is_the_mean_of_the_families():
    by_hand: dict[str, list[float]] = {}
    for row in laws.ensemble():
        by_hand.setdefault(row.family, []).append(math.log(float(row.law(3e8, 1e10))))
    means = [np.mean(values) for values in by_hand.values()]
    told = laws.predict(3e8, 1e10)
    assert told.loss == pytest.approx(math.exp(np.mean(means)))
    half = 1.476 * np.std(means, ddof=1) * math.sqrt(1 + 1 / 6)
    assert math.log(told.high / told.low) == pytest.approx(2 * half)


def test_repeats_cost_loss_up_to_what_no_data_would_give():
    once = laws.predict(1e9, 1e11)
    assert laws.predict(1e9, 1e11, 1e11) == once
    assert laws.predict(1e9, 1e11, 1e13) == once
    repeated = laws.predict(1e9, 1e11, 1e10)
    assert once.loss < repeated.loss < laws.predict(1e9, 1e10).loss
    assert "10 passes" in repeated.note
    assert "beyond the 44 passes" in laws.predict(1e9, 1e12, 1e10).note


def test_a_run_of_ones_own_is_passed_through_and_narrows():
    told = laws.predict(1e9, 2e10, anchor=(1e9, 2e10, 2.2))
    assert told.loss == pytest.approx(2.2)
    further = laws.predict(2e9, 4e10, anchor=(1e9, 2e10, 2.2))
    assert further.loss < 2.2
    plain = laws.predict(2e9, 4e10)
    assert further.high / further.low < plain.high / plain.low


@pytest.mark.parametrize("given", [(0, 1e9), (1e9, -1), (math.nan, 1e9), (1e9, 1e9, 0)])
def test_numbers_that_cannot_be_are_refused(given):
    with pytest.raises(UsageError, match="must be above 0"):
        laws.predict(*given)


def test_the_optimum_of_a_law_is_its_closed_form():
    law = Law(Form(), 1.7, (406.4, 410.7), (0.34, 0.28))
    g = (0.34 * 406.4 / (0.28 * 410.7)) ** (1 / 0.62)
    for flops in (1e18, 1e21, 5.76e23):
        n, d = laws.optimum(flops, law)
        assert n == pytest.approx(g * (flops / 6) ** (0.28 / 0.62), rel=1e-3)
        assert 6 * n * d == pytest.approx(flops)


def test_the_shared_optimum_is_near_what_large_runs_chose():
    """Chinchilla, 70 B at 5.76e23; Llama 3's own fit, 402 B at 3.8e25: within a factor of two."""
    for flops, chosen in ((5.76e23, 70e9), (3.8e25, 402e9)):
        n, d = laws.optimum(flops)
        assert 6 * n * d == pytest.approx(flops)
        assert 0.5 < n / chosen < 2
        sizes = [size for size, _ in laws.optima(flops).values()]
        assert min(sizes) < n < max(sizes)
    n, d = laws.optima(3.8e25)["llama-3"]
    assert d == pytest.approx(16.3e12, rel=0.01)


def test_the_parametric_row_is_the_minimum_of_its_law():
    law = next(row.law for row in laws.ensemble() if row.name == "chinchilla")
    assert laws.optima(1e22)["chinchilla-parametric"][0] == pytest.approx(
        laws.optimum(1e22, law)[0], rel=2e-3
    )


def test_trades_are_made_at_the_ensembles_loss():
    law = laws.reference(7e9, 1.4e11)
    assert float(law(7e9, 1.4e11)) == pytest.approx(laws.predict(7e9, 1.4e11).loss)


def test_no_budget_is_refused():
    with pytest.raises(UsageError, match="above 0"):
        laws.optimum(0)


def test_tasks_are_told_only_where_that_worked():
    assert "within about 2.7 %" in laws.downstream("social_iqa")
    assert laws.downstream("arc_challenge").startswith("not predictable")
    assert laws.downstream("hellaswag").startswith("not predictable")


@pytest.mark.skipif(not (DATA / "scaling").is_dir(), reason="no shared/data/scaling")
def test_every_shipped_refit_is_what_the_fit_finds():
    """Constants of the table against a fit of the public runs, by the losses they give."""
    from pretrain.plan import fit, verify_laws

    sets = verify_laws.public_sets(DATA / "scaling")
    rows = {}
    for row in laws.ensemble():
        rows.setdefault(row.family, []).append(row)
    for family in ("gadre", "datablations", "olmo", "steplaw"):
        for row, (x, loss) in zip(rows[family], sets[family], strict=True):
            found = fit.fit(x, loss, Form())
            np.testing.assert_allclose(row.law(*x.T), found(*x.T), rtol=2e-3, err_msg=row.name)
            assert row.law.n_runs == len(loss)
