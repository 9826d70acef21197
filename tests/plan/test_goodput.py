"""Goodput: the interval loses least, failures by hand, quantiles in order."""

import numpy as np
import pytest

from pretrain.errors import UsageError
from pretrain.plan import goodput


@pytest.mark.parametrize("stop", [2.0, 30.0])
@pytest.mark.parametrize("mean", [3600.0, 11_124.0, 1e6])
def test_no_interval_loses_less(stop, mean):
    best = goodput.best_interval(stop, mean)
    others = [goodput.lost(stop, t, mean, 600) for t in best * np.geomspace(0.2, 5, 41)]
    assert goodput.lost(stop, best, mean, 600) <= min(others) + 1e-12


def test_failures_by_hand():
    assert goodput.hours_between_failures(0.474, 16384) == pytest.approx(3.09, rel=1e-3)
    with pytest.raises(UsageError, match="above 0"):
        goodput.hours_between_failures(0, 8)


def test_a_lost_share_is_what_a_simulation_loses():
    """Failures drawn one by one: work since the last checkpoint is done again."""
    stop, mean, restart = 10.0, 20_000.0, 300.0
    interval = goodput.best_interval(stop, mean)
    rng = np.random.default_rng(3)
    clock = done = 0.0
    while clock < 3e7:
        alive = rng.exponential(mean)
        done += alive // (interval + stop) * interval
        clock += alive + restart
    assert 1 - done / clock == pytest.approx(goodput.lost(stop, interval, mean, restart), abs=0.006)


def test_quantiles_rise_with_boards_and_repeat():
    few, many = (goodput.goodput(100, n, 1e9) for n in (64, 16384))
    for found in (few, many):
        assert 0 < found.goodput_hours[0] <= found.goodput_hours[1] <= found.goodput_hours[2]
        assert all(b >= g for b, g in zip(found.billed_hours, found.goodput_hours, strict=True))
        assert all(g > s for g, s in zip(found.goodput_hours, found.steps_hours, strict=True))
        assert found.steps_hours == pytest.approx((95, 100, 105), rel=0.01)
    assert many.failures > few.failures
    assert many.goodput_hours[1] > few.goodput_hours[1]
    assert goodput.goodput(100, 64, 1e9) == few
    ratio = few.billed_hours[1] / few.ideal_hours
    assert 1.17 <= ratio <= 1.7  # what long runs were billed


def test_research_is_told_by_name():
    assert goodput.research_ratio("low") < goodput.research_ratio("middle")
    with pytest.raises(UsageError, match="nearest"):
        goodput.research_ratio("midle")
