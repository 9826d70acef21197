"""Multipliers: found again from runs, believed without them, moved by one."""

import numpy as np
import pytest

from pretrain.plan import calibrate, facts, network, published, steptime
from pretrain.plan.steptime import Layouts, Multipliers

NET = network.of(published.gpt(32, 4096, 32, 50432))
TRUE = Multipliers(1.3, 1.6, 0.7, 1.2)


def runs():
    """Runs whose time is made of different parts."""
    board = facts.board("H100 SXM")
    layouts = [
        Layouts(data=8, shard=8, micro_rows=4, n_micro=4),
        Layouts(data=1, tensor=8, micro_rows=4, n_micro=4),
        Layouts(data=1, tensor=8, micro_rows=1, kernels_again=1.0),
        Layouts(data=8, micro_rows=1, scores=1),
        Layouts(data=512, shard=512, micro_rows=1),
    ]
    return calibrate.together([
        steptime.costs(NET, board, length, at) for at in layouts for length in (64, 2048, 16384)
    ])  # fmt: skip


def test_runs_say_what_is_true():
    found = runs()
    belief = calibrate.Belief(np.zeros(4), np.full(4, 0.5))
    after = calibrate.shrink(belief, found, steptime.seconds(found, TRUE), 0.001)
    assert np.exp(after.mean) == pytest.approx(TRUE, rel=0.02)
    assert (after.spread < belief.spread / 5).all()


def test_one_run_is_told_right_afterwards():
    found = steptime.costs(NET, facts.board("H100 SXM"), 2048, Layouts(data=8, shard=8))
    belief = calibrate.believed("eager")
    before = float(steptime.seconds(found, belief.multipliers))
    after = calibrate.shrink(belief, found, 1.2 * before)
    told = float(steptime.seconds(found, after.multipliers))
    assert 1.15 < told / before < 1.2
    assert (after.spread <= belief.spread + 1e-12).all()


def test_a_run_as_believed_changes_nothing():
    found = runs()
    belief = calibrate.believed("megatron")
    after = calibrate.shrink(belief, found, steptime.seconds(found, belief.multipliers))
    assert after.mean == pytest.approx(belief.mean, abs=1e-9)


def test_a_pool_lies_between_its_groups():
    found = runs()
    groups = [(found, steptime.seconds(found, Multipliers(*[m] * 4))) for m in (1.0, 2.0)]
    assert (
        (np.exp(calibrate.pool(groups).mean) > 1.1) & (np.exp(calibrate.pool(groups).mean) < 1.9)
    ).all()


@pytest.mark.parametrize("is_calibrated", [False, True])
def test_intervals_hold_the_step(is_calibrated):
    low, high = calibrate.interval(2.0, is_calibrated)
    assert low < 2.0 < high
