"""Starts the ranks of this host again and again until the run is done or hopeless.

    it ends      well, on request, or because of what would come again (outcome.py): all is over
    a fault      the other ranks have some seconds to write their stacks, then all are ended and
                 started anew: at once after progress, else after 1, 2, 4 … 60 s
    a loop       CRASHES faults at the same step, or IDLE without a new one: the end, a diagnosis
    elastic      a rank that ended two attempts in a row is left out of the next one, once

Nothing here imports torch or touches a device. On several hosts there is one attempt: whoever
started the hosts starts them all again.
"""

import contextlib
import signal
import sys
import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

from pretrain import store
from pretrain.errors import RankError, Stopped
from pretrain.events import Log
from pretrain.launch import memory, outcome
from pretrain.launch.session import SIGNALS, Fleet, Main, Session

CRASHES, IDLE = 3, 10
_LONGEST_WAIT = 60.0


@dataclass
class Supervisor:
    """Runs `main(words)` on every rank. suspect: says what a step trains on."""

    main: Main
    fleet: Fleet
    run_folder: Path
    log: Log
    suspect: Callable[[int], str] = lambda step: ""
    stopped: int = 0  # the signal that asked to stop
    _session: Session | None = field(default=None, repr=False)
    _memory: Mapping[str, str] = field(default_factory=dict, repr=False)

    def run(self, words: Sequence[str], again: Sequence[str]) -> int:
        """The exit code of the run. again: the words of every attempt but the first.

        Raises: LockedError where another supervisor of this host has the run; it is left alone.
        """
        own = self.run_folder / "launch" / f"host-{self.fleet.host}"
        steps: list[int] = []  # of the faults so far
        blamed: list[int] = []  # slots, of the last attempts in a row with all ranks
        furthest, idle, left_out = outcome.last_step(self.run_folder), 0, -1
        with self._forwarding(), store.locked(own), memory.kept(own) as self._memory:
            while True:
                slots = self._slots(left_out)
                ended = self._attempt(len(steps), slots, again if steps else words)
                if isinstance(ended, int):
                    return ended
                reached = max(ended.step, outcome.last_step(self.run_folder))
                idle = 0 if reached > furthest else idle + 1
                furthest = max(furthest, reached)
                steps.append(ended.step)
                # Once one was left out, the next attempt has all ranks again.
                blamed = [*blamed, slots[ended.rank % len(slots)]] if left_out < 0 else []
                left_out = blamed[-1] if blamed[-2:] == 2 * blamed[-1:] and len(blamed) > 1 else -1
                same = len(list(takewhile(lambda step: step == steps[-1], reversed(steps))))
                if same >= CRASHES or idle >= IDLE or self.fleet.hosts > 1:
                    return self._give_up(ended, same)
                wait = min(_LONGEST_WAIT, 2.0 ** (idle - 1)) if idle else 0.0
                when = f"again in {wait:.0f} s" if wait else "again"
                self.log.say("launch", f"step {ended.step:,}: {ended.how}; starting {when}")
                if not self._sleep(wait):
                    return Stopped.exit_code

    def _slots(self, left_out: int) -> list[int]:
        """The places of this host that take part, in the order of their ranks."""
        fleet = self.fleet
        if left_out >= 0 and fleet.fewest:
            for n in range(fleet.ranks - 1, fleet.fewest - 1, -1):
                if fleet.fits(n):
                    self.log.say("launch", f"going on with {n} ranks, without number {left_out}")
                    return [slot for slot in range(fleet.ranks) if slot != left_out][:n]
        return list(range(fleet.ranks))

    def _attempt(
        self, number: int, slots: Sequence[int], words: Sequence[str]
    ) -> int | outcome.Fault:
        """The exit code with which all is over, or the fault that ended an attempt."""
        since = time.time_ns()
        self.log.event("attempt_start", attempt=number, slots=list(slots))
        self._session = Session(self.fleet, slots, self.run_folder, self._memory)
        try:
            self._session.start(self.main, words)
            if self.stopped:  # while ranks were being started
                self._session.signal(self.stopped)
            codes = self._session.watch()
        finally:
            self._session.end()
        code = outcome.verdict(codes)
        if codes.get(0) == 0:
            code = 0  # rank 0 has written every receipt: how a follower leaves is no loss
        if code is None and self.stopped:
            code = Stopped.exit_code
        fault = outcome.fault(codes, self.run_folder, since) if code is None else None
        told = {"step": fault.step, "rank": fault.rank, "how": fault.how} if fault else {}
        self.log.event("attempt_end", attempt=number, codes=codes, **told)
        return fault if code is None and fault else code or 0

    def _sleep(self, seconds: float) -> bool:
        """Whether nobody asked to stop meanwhile."""
        until = time.monotonic() + seconds
        while not self.stopped and time.monotonic() < until:
            time.sleep(0.05)
        return not self.stopped

    def _give_up(self, fault: outcome.Fault, same: int) -> int:
        """Say why no other attempt is made. Returns the exit code."""
        batch = self.suspect(fault.step)
        text = f"launch: {fault.how}, at step {fault.step:,}"
        text += f", {same} attempts in a row" if same > 1 else ""
        told = [text, *fault.lines]
        told += [f"step {fault.step:,} trains on {batch}"] if batch else []
        told.append(
            f"Last words of all ranks are in {self.run_folder / 'launch'}, stacks in "
            f"{self.run_folder / 'train' / 'stacks'}. The last checkpoint stays: run the same "
            "command to go on"
        )
        what = {"step": fault.step, "rank": fault.rank, "how": fault.how, "batch": batch}
        self.log.event("crash_loop", **what)
        path = self.run_folder / "launch" / "crash.json"
        store.write_json(path, what | {"lines": list(fault.lines)})
        print("error: " + "\n  ".join(told), file=sys.stderr, flush=True)
        return fault.code if 0 < fault.code < 128 else RankError.exit_code

    @contextlib.contextmanager
    def _forwarding(self) -> Iterator[None]:
        """Signals that ask to stop go on to every rank, which saves and ends."""

        def forward(number: int, frame: types.FrameType | None) -> None:
            self.stopped = number
            if self._session:
                self._session.signal(number)

        previous = {number: signal.signal(number, forward) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
