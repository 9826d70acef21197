"""What the end of an attempt means: read from exit codes and from what the run left on the disk.

    0                 every rank ended well
    64 65 73 74 75 78 the end: usage, data, lock, disk, stopped, recipe; the same would come again
    anything else     a fault: a signal, a crash, 69 (a rank that saw another one die or hang)

Who is to blame: whom the ranks themselves named (ranks/verdict.json), else the first that ended
with a fault of its own. Where: the step its heart told last, else the one after the last that is in
metrics.jsonl.
"""

import json
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretrain import store
from pretrain.errors import (
    DataError,
    DiskError,
    LockedError,
    RankError,
    RecipeError,
    Stopped,
    UsageError,
)

FINAL = tuple(
    kind.exit_code for kind in (UsageError, RecipeError, LockedError, DiskError, DataError, Stopped)
)
_DEAD = "is dead"  # as verdict.py says it
_TAIL_BYTES = 1 << 16
_LINES = 8


@dataclass(frozen=True)
class Fault:
    """The end of an attempt that is worth another one."""

    step: int  # counted from 1
    rank: int
    how: str
    lines: tuple[str, ...]  # the last that the rank wrote
    code: int


def verdict(codes: Mapping[int, int]) -> int | None:
    """The exit code of a run whose ranks ended so; None: a fault, to be tried again."""
    if not any(codes.values()):
        return 0
    found = {*codes.values()}
    return next((code for code in FINAL if code in found), None)


def fault(codes: Mapping[int, int], run_folder: Path, since_ns: int) -> Fault:
    """Who ended an attempt, where and how. codes: in the order in which ranks ended."""
    told = _of_attempt(run_folder / "train" / "ranks" / "verdict.json", since_ns) or {}
    passive = (0, RankError.exit_code, Stopped.exit_code)
    active = [rank for rank, code in codes.items() if code not in passive]
    named = {int(n): what for n, what in told.get("suspects", {}).items() if int(n) in codes}
    rank = next(iter(named or active or codes))
    lines = _last_words(errors_of(run_folder, rank))
    what = named.get(rank, _DEAD)
    how = f"rank {rank} {ending(codes[rank]) if what == _DEAD else what}"
    record = _of_attempt(run_folder / "train" / "ranks" / f"rank-{rank}.json", since_ns)
    step = int(record["step"]) if record and record["step"] else last_step(run_folder) + 1
    return Fault(step, rank, how, lines, codes[rank])


def ending(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"ended with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = " (as the kernel does when memory is full)" if code == -signal.SIGKILL else ""
    return f"was killed by {name}{hint}"


def last_step(run_folder: Path) -> int:
    """The last step in metrics.jsonl; 0 where there is none."""
    for line in reversed(last_lines(run_folder / "train" / "metrics.jsonl", 4)):
        try:
            return int(json.loads(line)["step"])
        except (ValueError, KeyError, TypeError):
            continue  # cut by a crash
    return 0


def errors_of(run_folder: Path, rank: int) -> Path:
    """Where a rank under the supervisor writes what went wrong."""
    return run_folder / "launch" / f"rank-{rank}.txt"


def last_lines(path: Path, n: int) -> tuple[str, ...]:
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ()
    return tuple([line for line in text.splitlines() if line.strip()][-n:])


def _last_words(path: Path) -> tuple[str, ...]:
    """How a rank's file ends; of a fatal error the beginning, which says where it was."""
    lines = last_lines(path, 200)
    fatal = [i for i, line in enumerate(lines) if line.startswith("Fatal Python error")]
    begun = [i for i, line in enumerate(lines) if " rank " in line and line[:1].isdigit()]
    if fatal and fatal[-1] > max(begun, default=-1):
        return lines[fatal[-1] :][:_LINES]
    return lines[max(begun, default=-1) + 1 :][-_LINES:]


def _of_attempt(path: Path, since_ns: int) -> dict[str, Any] | None:
    """A file of the heartbeat, unless an earlier attempt left it."""
    found = store.read_json_or_none(path)
    return found if found and found["attempt"] >= since_ns else None
