"""Multipliers: found again from runs, believed without them, moved by one."""

from dataclasses import replace

import numpy as np
import pytest

from pretrain.errors import UsageError
from pretrain.plan import accuracy, calibrate, facts, network, published, steptime
from pretrain.plan.steptime import Layouts, Multipliers
from tests.conftest import DATA

FOLDER = DATA / "scaling"

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
    belief = calibrate.Belief(np.zeros(4), 0.25 * np.eye(4))
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


def test_an_interval_is_narrow_where_it_was_measured_and_wider_elsewhere():
    board = facts.board("H100 SXM")
    here = steptime.costs(NET, board, 2048, Layouts(data=8, shard=8))
    belief = calibrate.believed("eager")
    after = calibrate.shrink(belief, here, steptime.seconds(here, belief.multipliers))
    assert (belief.n_steps, after.n_steps) == (0, 1)
    far = steptime.costs(NET, board, 2048, Layouts(data=8, tensor=8, micro_rows=1))
    widths = [high / low for low, high in (
        calibrate.interval(after, here), calibrate.interval(after, far),
        calibrate.interval(belief, here),
    )]  # fmt: skip
    assert 1.1 < widths[0] < 1.12
    assert widths[0] < 0.9 * widths[1]
    assert widths[1] <= widths[2]


def test_what_steps_say_of_each_other_is_left_in_the_interval():
    found = steptime.costs(NET, facts.board("H100 SXM"), 2048, Layouts(data=8, shard=8))
    belief = calibrate.believed("eager")
    told = float(steptime.seconds(found, belief.multipliers))
    assert calibrate.left_out(belief, [found], [told]) == 0
    assert calibrate.left_out(belief, [found] * 3, [told] * 3) < 1e-6
    left = calibrate.left_out(belief, [found, found], [told / 1.2, told * 1.2])
    assert left == pytest.approx(np.log(1.44), rel=0.1)  # each is told as the other
    for share in (0.1, 0.5):
        after = calibrate.shrink(replace(belief, left=share), found, told)
        low, high = calibrate.interval(after, found)
        assert np.log(high) == pytest.approx(calibrate.Z * share, rel=0.05)
        assert np.log(low) == pytest.approx(-calibrate.Z * share, rel=0.05)


def test_two_steps_one_after_the_other_are_two_steps_together():
    found = runs()
    both = [calibrate.Costs(**{k: np.atleast_1d(v)[i] for k, v in vars(found).items()})
            for i in (1, 4)]  # fmt: skip
    start = calibrate.believed()
    seconds = [1.03 * float(steptime.seconds(one, start.multipliers)) for one in both]
    in_turn = calibrate.shrink(calibrate.shrink(start, both[0], seconds[0]), both[1], seconds[1])
    at_once = calibrate.shrink(start, calibrate.together(both), seconds)
    assert in_turn.mean == pytest.approx(at_once.mean, abs=0.005)
    assert in_turn.spread == pytest.approx(at_once.spread, rel=0.05)
    assert in_turn.n_steps == at_once.n_steps == 2


SOUND = {"products": 1.0, "kernels": 2.0, "messages": 1.0, "fixed": 1.0, "n_steps": 1, "left": 0.0,
         "covariance": (0.01 * np.eye(4)).tolist()}  # fmt: skip


def test_a_board_with_multipliers_is_believed_as_its_file_says():
    board = replace(facts.board("H100 SXM"), multipliers=SOUND)
    found = calibrate.believed("megatron", board)
    assert found.multipliers == pytest.approx((1, 2, 1, 1))
    assert found.spread == pytest.approx([0.1] * 4)
    assert found.n_steps == 1


@pytest.mark.parametrize(
    "wrong",
    [{"products": 0}, {"products": -1}, {"kernels": "much"}, {"covariance": [[1.0]]},
     {"covariance": np.zeros((4, 4)).tolist()}, {"n_steps": 0}, {"left": -1},
     {"fixed": float("nan")}],
    ids=str,
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*encountered in log")
def test_multipliers_that_cannot_be_are_refused(wrong):
    board = replace(facts.board("H100 SXM"), multipliers=SOUND | wrong)
    with pytest.raises(UsageError, match="multipliers of 'H100 SXM' are not whole"):
        calibrate.believed("compiled", board)


@pytest.mark.skipif(not FOLDER.exists(), reason="../shared/data/scaling is not here")
def test_after_one_row_of_its_setting_80_percent_of_rows_lie_inside():
    """Of any network and layout; and of the nearest row, by which `open` was not chosen."""
    cases = published.cases(FOLDER)
    found = [accuracy.costs_of(case) for case in cases]
    for by, low, high in ((lambda c: c.setting, 0.74, 0.86), (lambda c: c.family, 0.74, 0.88)):
        inside = []
        for own in accuracy.groups(cases, by).values():
            for i, j in zip(own[::2], np.random.default_rng(0).permutation(own)[::2], strict=True):
                if i != j:
                    before = calibrate.believed(accuracy.software(cases[i]))
                    after = calibrate.shrink(before, found[j], cases[j].seconds)
                    told = steptime.seconds(found[i], after.multipliers)
                    ends = calibrate.interval(after, found[i])
                    inside.append(ends[0] <= cases[i].seconds / told <= ends[1])
        assert len(inside) > 150
        assert low <= np.mean(inside) <= high
