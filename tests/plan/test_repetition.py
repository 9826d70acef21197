"""Repeats that are worth nothing, everything, and what the paper's code says."""

import numpy as np
import pytest

from pretrain.plan import repetition
from pretrain.plan.fit import Form, Law
from pretrain.plan.laws import optimum
from pretrain.plan.repetition import Decay

LAW = Law(Form(), 1.8, (480.0, 2000.0), (0.35, 0.37))


def test_the_published_formula_gives_the_published_number():
    """datablations 1370131, README: L(6.34e9, 242e9, 25e9)."""
    law, decay = repetition.published()
    found = law(*decay.effective(np.array(6.34e9), np.array(242e9), np.array(25e9), law))
    assert float(found) == pytest.approx(2.2256440889984477, rel=1e-12)


def test_one_pass_over_enough_data_changes_nothing():
    decay = Decay(15.0, 5.0)
    n, d = decay.effective(np.array(1e8), np.array(2e10), np.array(2e10), LAW)
    assert (float(n), float(d)) == pytest.approx((1e8, 2e10))
    more = decay.effective(np.array(1e8), np.array(2e10), np.array(9e10), LAW)
    assert float(more[1]) == pytest.approx(2e10)


def test_repeats_are_worth_less_and_less():
    decay = Decay(15.0, 5.0)
    passes = np.array([1.0, 2, 4, 16, 64, 1e6])
    d = decay.effective(np.full(6, 1e8), passes * 1e10, np.full(6, 1e10), LAW)[1]
    assert (np.diff(d) > 0).all()
    assert (d <= passes * 1e10 * (1 + 1e-12)).all()
    assert d[1] > 1.9e10  # the first repeat is nearly as good as new
    assert d[-1] == pytest.approx(1e10 * 16)  # at most U (1 + R*)


def test_the_size_for_tokens_is_the_optimum():
    n, d = optimum(1e21, LAW)
    assert float(repetition.size_for_tokens(LAW, np.array(d))) == pytest.approx(n, rel=1e-3)


def test_the_decay_of_made_runs_is_found():
    sizes, passes = np.array([2e7, 1e8, 5e8]), np.array([1, 3, 8, 20, 40])
    x = np.array([(n, p * u) for n in sizes for p in passes for u in (1e8, 1e9)])
    unique = np.array([u for _ in sizes for _ in passes for u in (1e8, 1e9)])
    loss = LAW(*Decay(12.0, 4.0).effective(*x.T, unique, LAW))
    found = repetition.fit_decay(x, unique, loss, LAW)
    assert (found.data, found.parameters) == pytest.approx((12, 4), rel=0.01)
