"""How long this rank's steps take, and how long it is busy in them while others need not wait.

    step     from its begin to its end, without looks and saves     tells a hang
    busy     of it, all but the wait for the others                 tells a slow rank

    patience = 2 · p99 of the last steps + a second, once STEPS were seen    (heartbeat.py)
    slow     = median of the last STEPS busy seconds over 1.3 x that of the ranks

On CUDA the host only hands work out, so what lies between two marks is timed by events on the
device; they are read a step later, when they are long over, and nothing waits for them.
"""

import statistics
import sys
import time
from collections import deque
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

STEPS = 20  # before anything is told
SLOW = 1.3
_REMEMBERED = 256
_MARGIN_SECONDS = 1.0


class Pace:
    """Seconds of the last steps; `mark` says what begins."""

    def __init__(self) -> None:
        self._steps: deque[float] = deque(maxlen=_REMEMBERED)
        self._busy: deque[float] = deque(maxlen=STEPS)
        self._began: float | None = None  # of the step
        self._marks: list[tuple[bool, Any]] = []  # (busy, moment), of the step
        self._before: list[tuple[bool, Any]] = []

    def forget(self) -> None:
        """Steps will take another time from here on."""
        self._steps.clear()
        self._busy.clear()
        self._began, self._marks, self._before = None, [], []

    def begin(self) -> None:
        """A step begins."""
        self._began, self._marks = time.monotonic(), []
        self.mark(busy=True)

    def mark(self, busy: bool) -> None:
        """Another part of the step begins, in which this rank works or waits."""
        if self._began is not None:
            self._marks.append((busy, _moment()))

    def end(self) -> None:
        """The step is over; what follows belongs to none."""
        if self._began is None:
            return
        self.mark(busy=False)
        self._steps.append(time.monotonic() - self._began)
        if self._before:
            self._busy.append(_busy(self._before))
        self._before, self._began = self._marks, None

    def patience(self, factor: float) -> float | None:
        """Seconds after which a step is too long; None where too few were seen."""
        steps = sorted(self._steps.copy())  # another thread asks
        if len(steps) < STEPS:
            return None
        return factor * steps[(99 * (len(steps) - 1) + 99) // 100] + _MARGIN_SECONDS

    def busy(self) -> float:
        """Median busy seconds of the last STEPS steps; 0 where there are fewer."""
        seconds = self._busy.copy()
        return statistics.median(seconds) if len(seconds) == STEPS else 0.0


def slow(busy: Mapping[int, float]) -> dict[int, float]:
    """Rank -> times the median over ranks, of those that hold the others up."""
    if not busy or not all(busy.values()):
        return {}
    middle = statistics.median_low(busy.values())  # of two ranks the faster one
    return {n: seconds / middle for n, seconds in busy.items() if seconds > SLOW * middle}


def _moment() -> Any:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return time.monotonic()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _busy(marks: list[tuple[bool, Any]]) -> float:
    seconds = 0.0
    for (busy, at), (_, then) in pairwise(marks):
        if busy:
            seconds += then - at if isinstance(at, float) else at.elapsed_time(then) / 1000
    return seconds
