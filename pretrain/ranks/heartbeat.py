"""A rank that died or hangs is found and named, stacks of all ranks are written, all ranks end.

    each rank, a thread, twice a second:  ranks/rank-N.json    step, phase, beats
    dead     its process is gone (same host), or its heart stood still after a sum over ranks failed
    hung     a rank got no further in a step for longer than steps take (pace.py), or elsewhere for
             `hang_seconds`: who is to blame says verdict.py
    then     the first to know writes ranks/verdict.json; all ranks write stacks/rank-N.txt and end
    slow     a rank works 1.3 times as long as the median of ranks: an event names it

Files, since all ranks share the run folder anyway and a stopped process answers no question. No
clocks of two machines are compared: hearts are looked at twice, and time is counted in a rank's own
beats, so a job that was suspended as a whole goes on. Where the thread itself cannot run, because
something keeps the interpreter's lock, faulthandler's timer writes the stacks. One process has
neither thread nor files.
"""

import contextlib
import faulthandler
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pretrain import store
from pretrain.errors import PretrainError, RankError
from pretrain.events import Log
from pretrain.ranks import pace
from pretrain.ranks.verdict import SILENT, WAITS, Record, is_gone, message, process, suspects
from pretrain.ranks.world import World

_BEATS = 5  # so many beats of one's own without one of another rank: its heart stands still
_FAR_BEATS = 60  # the same for one of another host, whose files a shared disk may show late
_SLOW_BEATS = 20  # between two looks for slow ranks
_IN_STEP = ("data", "gradients", WAITS, "update")  # what takes about as long in each step


class Heartbeat(contextlib.AbstractContextManager["Heartbeat"]):
    """Watches over the ranks while the context is open; `at` says where this one is.

    A step hangs after `hang_factor` times its p99, `hang_seconds` at the latest; 0: only then.
    changes: steps, counted from 1, from which on they take another time. log: that of rank 0.
    """

    def __init__(
        self, world: World, folder: Path, hang_seconds: float, hang_factor: float = 0.0,
        changes: Collection[int] = (), log: Log | None = None,
    ) -> None:  # fmt: skip
        self.world, self.hang_seconds, self.hang_factor = world, hang_seconds, hang_factor
        self.changes, self.log, self.pace = changes, log, pace.Pace()
        self.ranks, self.stacks = folder / "ranks", folder / "stacks"
        self.interval = max(min(0.5, hang_seconds / 8), world.size / 200)  # spares a shared disk
        _, started = process(os.getpid())
        self.record = Record(0, world.rank, socket.gethostname(), os.getpid(), started)
        self._since = 0  # beats when the phase began
        self._slow: set[int] = set()  # ranks that were named
        self._suspects: dict[int, str] = {}
        self._over = threading.Event()
        # The launcher numbers the ranks of a host in a row.
        first = world.rank - int(os.environ.get("LOCAL_RANK", world.rank))
        n = int(os.environ.get("LOCAL_WORLD_SIZE", world.size))
        self._neighbours = set(range(first, min(first + n, world.size))) - {world.rank}

    def at(self, step: int, phase: str) -> None:
        """This rank begins a phase of a step, counted from 1."""
        self.record.step, self.record.phase, self._since = step, phase, self.record.beats
        if self.world.size == 1:
            return
        if phase == "data":
            if step in self.changes:
                self.pace.forget()
            self.pace.begin()
        elif phase in _IN_STEP:
            self.pace.mark(busy=phase != WAITS)
        else:
            self.pace.end()

    def __enter__(self) -> "Heartbeat":
        if self.world.size == 1:
            return self
        self.ranks.mkdir(parents=True, exist_ok=True)
        self.stacks.mkdir(exist_ok=True)
        if self.world.rank == 0:
            for path in self.ranks.iterdir():
                store.remove(path)
        self.record.attempt = self.world.broadcast(time.time_ns())
        self._file = open(self.stacks / f"rank-{self.world.rank}.txt", "a")
        self._beat()
        self._thread = threading.Thread(target=self._watch, name="heartbeat", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if self.world.size == 1:
            return
        self._over.set()
        self._thread.join()
        faulthandler.cancel_dump_traceback_later()
        crashed = isinstance(error, Exception) and not isinstance(error, PretrainError)
        verdict = self._fell_out() if crashed and self.record.phase == WAITS else None
        self.record.left = True
        if verdict:
            first = self._claim(verdict)
            self._write_stacks("".join(traceback.format_exception(error)))
            self._file.close()
            raise RankError(verdict if first else verdict.partition("\n")[0]) from error
        if isinstance(error, RankError) and not verdict:
            self._suspects = dict.fromkeys(error.ranks, "is not as the others are")
            self._claim(str(error))
        if crashed:
            self.record.error = f"{type(error).__name__}: {error}"
        self._beat()
        self._file.close()

    def _watch(self) -> None:
        while not self._over.wait(self.interval):
            self._beat()
            faulthandler.dump_traceback_later(self._limit() + self.interval, file=self._file)
            self._name_slow()
            verdict = self._known() or self._dead(self._neighbours) or self._hung()
            if verdict and not self._over.is_set():
                self._end(verdict)

    def _beat(self) -> None:
        self.record.beats += 1
        self.record.seconds = round((self.record.beats - self._since) * self.interval, 1)
        self.record.busy = self.pace.busy()
        with contextlib.suppress(OSError):  # a shared disk may fail for a moment
            store.replace_json(self._path(self.world.rank), asdict(self.record))

    def _dead(self, ranks: set[int]) -> str | None:
        """The message where a process of some ranks is gone."""
        host = self.record.host
        gone = {n for n in ranks if (record := self._read(n)) and is_gone(record, host)}
        return self._message(gone, ()) if gone else None

    def _limit(self) -> float:
        """Seconds after which a rank that got no further in its phase may hang."""
        usual = self.pace.patience(self.hang_factor) if self.hang_factor else None
        in_step = usual is not None and self.record.phase in _IN_STEP
        return min(self.hang_seconds, usual or 0.0) if in_step else self.hang_seconds

    def _hung(self) -> str | None:
        """The message where this rank has got no further for too long."""
        limit = self._limit()
        if self.record.seconds <= limit:
            return None
        silent = self._silent()
        if self.record.seconds <= limit:
            return None
        there = [r for r in self._all().values() if r and not r.left]
        others_elsewhere = any(r.phase not in _IN_STEP for r in there)  # a look may take long
        if others_elsewhere and not silent and self.record.seconds <= self.hang_seconds:
            return None
        return self._known() or self._message((), silent)

    def _fell_out(self) -> str | None:
        """The message after a sum over ranks failed; None where no rank seems to be dead."""
        everyone = set(range(self.world.size)) - {self.world.rank}
        for _ in range(2):
            verdict = self._known() or self._dead(everyone)
            if verdict:
                return verdict
            silent = self._silent()
            if silent:
                return self._known() or self._message((), silent)
        return None

    def _silent(self) -> set[int]:
        """The ranks that train and whose hearts stand still while this one beats."""
        before, still = self._all(), set(range(self.world.size))
        for beats in range(_FAR_BEATS):
            time.sleep(self.interval)
            self._beat()
            now = {n: self._read(n) for n in still}
            still = {n for n, r in now.items() if r and not r.left and r == before[n]}
            near = {n for n in still if (r := now[n]) and r.host == self.record.host}
            if not still or (beats + 1 >= _BEATS and near):
                return near
        return still

    def _message(self, gone: Collection[int], silent: Collection[int]) -> str:
        records = self._all()
        self._suspects = suspects(records, gone, silent)
        return message(records, gone, silent, self.stacks)

    def _name_slow(self) -> None:
        """Record ranks that work longer than the others in each step, each one once."""
        if not self.log or self.world.rank or self.record.beats % _SLOW_BEATS:
            return
        there = {n: r for n, r in self._all().items() if r}
        found = pace.slow({n: r.busy for n, r in there.items()})
        for n in found.keys() - self._slow:
            host, times = there[n].host, round(found[n], 2)
            self.log.event("slow_rank", rank=n, host=host, times=times, step=self.record.step)
            self.log.say("train", f"rank {n} ({host}) works {times} times as long as the others")
        self._slow = {*found}

    def _end(self, verdict: str) -> None:
        """Write stacks, say the verdict where no other rank did, end this process."""
        first = self._claim(verdict)
        self.record.left = True
        self._write_stacks("")
        if first:
            print(f"error: {verdict}", file=sys.stderr, flush=True)
            self._end_neighbours()
        os._exit(RankError.exit_code)

    def _end_neighbours(self) -> None:
        """End what is left of the run on this host: a process that hangs would keep its device.

        Those that can write their stacks and end by themselves have some beats for it; whoever
        gave no sign of life has had them.
        """
        left: dict[int, Record] = {}
        for _ in range(_BEATS):
            there = {n: r for n in self._neighbours if (r := self._read(n))}
            left = {n: r for n, r in there.items() if not r.left and not is_gone(r, r.host)}
            if all(self._suspects.get(n) == SILENT for n in left):
                break
            time.sleep(self.interval)
            self._beat()
        for n, record in left.items():
            if not is_gone(record, record.host):
                state, _ = process(record.pid)
                with open(self.stacks / f"rank-{n}.txt", "a") as file:
                    file.write(f"{_now()} rank {n} does not answer: process state {state}, ended\n")
                with contextlib.suppress(ProcessLookupError):
                    os.kill(record.pid, signal.SIGKILL)

    def _write_stacks(self, error: str) -> None:
        """Append the stacks of all threads, and the error that was raised, to this rank's file."""
        record = self.record
        self._file.write(f"{_now()} rank {record.rank}, step {record.step:,}, {record.phase}\n")
        self._file.write(error)
        self._file.flush()
        faulthandler.dump_traceback(self._file)
        self._beat()

    def _claim(self, verdict: str) -> bool:
        """Whether this rank is the first to know."""
        own = self.ranks / f"verdict-{self.world.rank}.json"
        told = {"attempt": self.record.attempt, "verdict": verdict, "suspects": self._suspects}
        store.replace_json(own, told)
        try:
            os.link(own, self.ranks / "verdict.json")
        except FileExistsError:
            return False
        finally:
            store.remove(own)
        return True

    def _known(self) -> str | None:
        found = self._read_json(self.ranks / "verdict.json")
        return found["verdict"] if found else None

    def _all(self) -> dict[int, Record | None]:
        return {n: self._read(n) for n in range(self.world.size)}

    def _read(self, rank: int) -> Record | None:
        found = self._read_json(self._path(rank))
        return Record(**found) if found else None

    def _read_json(self, path: Path) -> dict[str, Any] | None:
        """A file of this attempt; what an older one left counts for nothing."""
        try:
            found: dict[str, Any] = json.loads(path.read_bytes())
        except (OSError, ValueError):
            return None
        return found if found["attempt"] == self.record.attempt else None

    def _path(self, rank: int) -> Path:
        return self.ranks / f"rank-{rank}.json"


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")
