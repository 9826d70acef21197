"""Intervals of one's own law hold the runs that were left out as often as they say."""

import math

import numpy as np
import pytest

from pretrain.plan import fit
from pretrain.plan.fit import Form, Law
from pretrain.plan.study import predict_own, study

from ..conftest import DATA

TRUE = Law(Form(), 1.8, (400.0, 2000.0), (0.34, 0.37))


def runs(seed, noise=0.01, sizes=7):
    x = np.array([(n, n * r) for n in np.geomspace(2e7, 2e9, sizes) for r in (5, 20, 80, 200)])
    rng = np.random.default_rng(seed)
    return x, TRUE(*x.T) * np.exp(noise * rng.standard_normal(len(x)))


def test_left_out_errors_are_those_of_fits_without_the_run():
    x, loss = runs(1, sizes=5)
    found = study(x, loss, Form(), draws=4)
    for i in (0, 7, len(loss) - 1):
        rest = np.arange(len(loss)) != i
        law = fit.fit(x[rest], loss[rest], Form())
        assert found.left_out[i] == pytest.approx(math.log(loss[i] / law(*x[i])), abs=2e-4)


def test_the_interval_is_as_wide_as_the_noise_and_wider_far_away():
    x, loss = runs(2)
    found = study(x, loss, Form(), draws=40)
    near, far = predict_own(found, 2e8, 4e9), predict_own(found, 1e11, 2e12)
    assert near.loss == pytest.approx(float(TRUE(2e8, 4e9)), rel=0.01)
    assert 0.008 < math.log(near.high / near.low) / 2 < 0.025
    assert far.high / far.low > near.high / near.low
    assert "an extrapolation" in far.note
    assert not near.note


def test_runs_of_another_kind_are_counted():
    x, loss = runs(3)
    loss[4] *= 1.5
    loss[9] *= 1.4
    assert study(x, loss, Form(), draws=2).far_off == 2
    assert study(*runs(3), Form(), draws=2).far_off == 0


def test_one_run_fewer_than_enough_leaves_the_largest_error_open():
    x, loss = runs(4)
    pick = [0, 6, 13, 18, 27]
    assert math.isnan(study(x[pick], loss[pick], Form(), draws=2).largest)


@pytest.mark.skipif(not (DATA / "scaling").is_dir(), reason="no shared/data/scaling")
def test_intervals_on_public_sets_hold_what_they_say():
    """Each run against an interval made of the others' errors: 75 to 85 % over the sets."""
    from pretrain.plan import verify_laws

    sets = verify_laws.public_sets(DATA / "scaling")
    held = []
    for family in ("gadre", "datablations", "olmo", "steplaw"):
        for x, loss in sets[family]:
            found = study(x, loss, Form(), draws=30)
            draws = found.draws
            logs = [
                np.log(draws["floor"] + (draws["factors"] * at ** -draws["exponents"]).sum(axis=1))
                for at in x
            ]
            off = np.abs(found.left_out)
            scatter = [np.quantile(np.delete(off, i), 0.8) for i in range(len(off))]
            half = np.hypot(scatter, 1.2816 * np.std(logs, axis=1))
            held.append(float(np.mean(off <= half)))
    assert 0.75 <= np.mean(held) <= 0.85
