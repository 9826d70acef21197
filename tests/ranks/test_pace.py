"""Steps are timed without looks; a slow rank stands out; too few steps tell nothing."""

import pytest

from pretrain.ranks import pace
from tests.conftest import set_clock


class Clock:
    def __init__(self, monkeypatch):
        self.now = 100.0
        set_clock(monkeypatch, pace, monotonic=lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def step(timed, clock, works, waits, looks=5.0):
    timed.begin()
    clock.now += works
    timed.mark(busy=False)
    clock.now += waits
    timed.end()
    clock.now += looks


def test_patience_is_twice_the_slow_steps_and_a_second(clock):
    timed = pace.Pace()
    for i in range(pace.STEPS):
        assert timed.patience(2.0) is None
        step(timed, clock, 0.5, 1.0 if i == 7 else 0.25)
    assert timed.patience(2.0) == pytest.approx(2 * 1.5 + 1)
    for _ in range(256):  # the one long step is forgotten
        step(timed, clock, 0.5, 0.25)
    assert timed.patience(2.0) == pytest.approx(2 * 0.75 + 1)
    assert timed.patience(4.0) == pytest.approx(4 * 0.75 + 1)
    timed.forget()
    assert timed.patience(2.0) is None


def test_p99_of_many_steps_is_not_the_longest(clock):
    timed = pace.Pace()
    for i in range(200):
        step(timed, clock, 50.0 if i == 3 else 1.0, 0.0)
    assert timed.patience(2.0) == pytest.approx(3.0)


def test_busy_leaves_out_waits_and_looks(clock):
    timed = pace.Pace()
    for _ in range(pace.STEPS):
        assert timed.busy() == 0
        step(timed, clock, 0.5, 0.25)
    assert timed.busy() == 0  # a step is told when the next one is over
    step(timed, clock, 9.0, 0.25)
    assert timed.busy() == pytest.approx(0.5)


def test_what_is_marked_outside_a_step_counts_for_nothing(clock):
    timed = pace.Pace()
    timed.mark(busy=True)
    timed.end()
    assert timed.patience(2.0) is None


@pytest.mark.parametrize(
    ("busy", "found"),
    [
        ({0: 1.0, 1: 1.0, 2: 1.31, 3: 1.0}, {2: 1.31}),
        ({0: 1.0, 1: 1.0, 2: 1.29, 3: 1.0}, {}),
        ({0: 2.0, 1: 1.0}, {0: 2.0}),
        ({0: 0.0, 1: 5.0}, {}),  # one has not told yet
        ({0: 1.0, 1: 3.0, 2: 3.0}, {}),
        ({}, {}),
    ],
)
def test_who_is_slow(busy, found):
    assert pace.slow(busy) == pytest.approx(found)
