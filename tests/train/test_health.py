"""A spike is seen, a NaN never enters the statistics, a rollback passes over exactly its data."""

import dataclasses
import json
import math
import random

import pytest

from pretrain.errors import DataError
from pretrain.train import health
from pretrain.train.settings import Settings

NOTE = Settings(spike_window=16)
BACK = dataclasses.replace(NOTE, on_spike="rollback", checkpoint_every=50)


def calm(settings, n=40):
    """The state after n usual steps."""
    state, rng = health.fresh(), random.Random(1)
    for _ in range(n):
        health.judge(state, rng.gauss(3, 0.05), rng.gauss(0.5, 0.02), settings)
    return state


def test_usual_steps_are_fine_and_only_the_last_ones_count():
    state, rng = health.fresh(), random.Random(1)
    wrong = [health.judge(state, 9 - i / 20 + rng.gauss(0, 0.05), 1, NOTE) for i in range(100)]
    assert wrong == [[]] * 100
    assert len(state["losses"]) == len(state["norms"]) == 16


@pytest.mark.parametrize(
    ("loss", "norm", "wrong"),
    [
        (5.0, 0.5, ["loss"]),
        (3.0, 9.0, ["grad_norm"]),
        (5.0, 9.0, ["loss", "grad_norm"]),
        (1.0, 0.01, []),
        (math.nan, 0.5, ["not finite"]),
        (3.0, math.inf, ["not finite"]),
    ],
)
def test_what_is_flagged_stays_out_of_the_statistics(loss, norm, wrong):
    state = calm(NOTE)
    before = json.dumps([state["losses"], state["norms"]])
    assert health.judge(state, loss, norm, NOTE) == wrong
    if wrong:
        assert json.dumps([state["losses"], state["norms"]]) == before


def test_a_nan_does_not_blind_what_follows():
    """OLMo-core's window holds the NaN, and no later value can be compared with it."""
    state = calm(NOTE)
    health.judge(state, math.nan, math.nan, NOTE)
    assert health.judge(state, 3.0, 0.5, NOTE) == []
    assert health.judge(state, 6.0, 0.5, NOTE) == ["loss"]


def test_the_limit_is_the_formula():
    values = [1.0, 2.0, 3.0, 4.0, 100.0]
    settings = dataclasses.replace(NOTE, spike_window=8, spike_threshold=2.0)
    assert health.limit(values, settings) == pytest.approx(3 + 2 * 1.4826 * 1)
    assert health.limit(values[:3], settings) == math.inf
    assert health.limit([2.0] * 8, settings) == pytest.approx(2.004)  # no spread: a thousandth


@pytest.mark.parametrize("on_spike", ["note", "skip"])
def test_a_level_that_lasts_is_no_spike(on_spike):
    settings = dataclasses.replace(NOTE, on_spike=on_spike)
    state = calm(settings)
    wrong = [bool(health.judge(state, 6.0, 0.5, settings)) for _ in range(50)]
    assert wrong == [True] * settings.spikes_before_rollback + [False] * 47


def test_the_state_survives_json_exactly():
    state = calm(BACK)
    again = json.loads(json.dumps(state))
    for loss in (3.0, 9.0, math.nan, 9.0, 3.0123456789):
        assert health.judge(state, loss, 0.5, BACK) == health.judge(again, loss, 0.5, BACK)
    assert state == again


def test_rollback_after_some_in_a_row_only():
    state = calm(BACK)
    for loss in (9.0, 9.0, 3.0, 9.0, 9.0):
        health.judge(state, loss, 0.5, BACK)
        assert not health.must_roll_back(state, BACK)
    health.judge(state, 9.0, 0.5, BACK)
    assert health.must_roll_back(state, BACK)


def test_the_target_is_a_regular_checkpoint_far_enough_back():
    targets = [health.rollback_target(step, BACK) for step in (3, 100, 149, 150, 199, 200, 251)]
    assert targets == [0, 0, 0, 50, 50, 100, 150]


def test_two_rollbacks_pass_over_one_range():
    """Step n trains on data step n + shift; what is passed over and what is used add up."""
    then = health.fresh() | {"passed_over": [[7, 8]]}
    first = health.rolled_back(health.fresh(), then, step=230, to=100)
    assert (first["shift"], first["passed_over"]) == (130, [[7, 8], [100, 230]])
    second = health.rolled_back(dict(first), first, step=240, to=100)
    assert (second["shift"], second["passed_over"]) == (270, [[7, 8], [100, 370]])
    assert [r["from"] for r in second["rollbacks"]] == [230, 240]
    assert then["passed_over"] == [[7, 8]]


def test_going_back_again_and_again_is_an_error():
    state = health.fresh()
    for _ in range(health.MOST_ROLLBACKS):
        state = health.rolled_back(state, state, 230, 100)
    with pytest.raises(DataError, match="rolled back 5 times to step 100"):
        health.rolled_back(state, state, 230, 100)


def test_nothing_finite_for_long_is_an_error():
    state = health.fresh()
    for _ in range(9):
        health.judge(state, math.nan, 1.0, NOTE)
    with pytest.raises(DataError, match="no finite gradient for 10 steps"):
        health.judge(state, math.nan, 1.0, NOTE)
