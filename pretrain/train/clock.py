"""Where the wall time of an attempt goes: seconds by part, which add up to the whole.

    useful       forward, backward, update
    saving       what steps wait for checkpoints, and the last one
    data         waiting for a batch
    looking      held-out loss and samples
    restarting   from the start of the process to the first step: imports, model, checkpoint, and
                 going back after spikes
    elsewhere    other stages of the same process

Each lap is charged to one part, so nothing is counted twice or left out. `clock.jsonl` has a line
every few seconds with the sums of the attempt so far: a killed attempt is known up to the last one.
Steps that a later attempt or a rollback computes again are called lost when sums are made; what
lies between attempts is lost (to the end that a supervisor saw), restarting (from its next start)
or waiting, so that the ledger of a run adds up to its wall time too.
"""

import contextlib
import json
import os
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from pretrain import store

PARTS = ("useful", "saving", "data", "looking", "restarting", "elsewhere")
LINE_SECONDS = 10.0


class Clock(contextlib.AbstractContextManager["Clock"]):
    """The laps of one attempt; without a folder it writes nothing."""

    def __init__(self, run_folder: Path | None) -> None:
        self.path = run_folder / "train" / "clock.jsonl" if run_folder else None
        self.attempt, self.process = time.time(), process_start()
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self.first = self.step = self.lost = 0
        began = self.process
        if run_folder:
            before = self._keep_last_lines()
            if before and abs(before[-1]["process"] - self.process) < 1:
                began = before[-1]["time"]  # an earlier attempt of this very process
            events = store.read_lines(run_folder / "events.jsonl")
            ended = [e for e in events if e["event"] == "stage_end" and e["time"] > began]
            self.seconds["elsewhere"] = sum(float(e["seconds"]) for e in ended)
            self.seconds["restarting"] = -self.seconds["elsewhere"]  # the first lap holds both
        self._mark = time.monotonic() - (self.attempt - began)
        self._written = self._mark

    def lap(self, part: str) -> float:
        """Charge the time since the last lap to a part. Returns its seconds."""
        now = time.monotonic()
        seconds, self._mark = now - self._mark, now
        self.seconds[part] += seconds
        return seconds

    def at(self, step: int) -> None:
        """So many steps are done; writes a line now and then."""
        self.step = step
        if self._mark - self._written > LINE_SECONDS:
            self._write()

    def begin(self, step: int) -> None:
        """The first step is about to begin."""
        self.first = self.step = step
        self.lap("restarting")
        self._write()

    def back(self, step: int) -> None:
        """Went back to a step: those after it are lost."""
        self.lost += self.step - step
        self.step = step
        self.lap("restarting")

    def __exit__(self, *error: object) -> None:
        self.lap("saving")
        self._write()

    def _write(self) -> None:
        self._written = self._mark
        if self.path:
            line = {
                "attempt": round(self.attempt, 3),
                "process": round(self.process, 2),
                "time": round(time.time() - (time.monotonic() - self._mark), 3),
                "first": self.first,
                "step": self.step,
                "lost": self.lost,
                "seconds": {part: round(s, 4) for part, s in self.seconds.items()},
            }
            store.append_line(self.path, json.dumps(line))

    def _keep_last_lines(self) -> list[dict[str, Any]]:
        assert self.path
        lines = attempts(self.path)
        text = "".join(json.dumps(line) + "\n" for line in lines)
        store.write_bytes(self.path, text.encode())
        return lines


def process_start() -> float:
    """When this process began, in seconds since 1970."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        uptime = float(Path("/proc/uptime").read_text().split()[0])
    except OSError:
        return time.time() - time.process_time()  # at least what it has computed
    return time.time() - uptime + int(fields[19]) / os.sysconf("SC_CLK_TCK")


def attempts(path: Path) -> list[dict[str, Any]]:
    """The last line of each attempt, in order."""
    return list({line["attempt"]: line for line in store.read_lines(path)}.values())


def summary(path: Path) -> dict[str, Any]:
    """Sums over all attempts: seconds by part and in all, seconds lost, goodput.

    lost: the share of useful seconds whose steps were computed again;
    goodput: (useful - lost) / (all - elsewhere).
    """
    lines = attempts(path)
    seconds = {part: sum(line["seconds"][part] for line in lines) for part in PARTS}
    lost = 0.0
    for line, after in zip(lines, [*lines[1:], None], strict=True):
        n_lost = line["lost"] + (max(0, line["step"] - after["first"]) if after else 0)
        n_steps = line["step"] - line["first"] + line["lost"]
        lost += line["seconds"]["useful"] * min(1.0, n_lost / max(1, n_steps))
    whole = sum(seconds.values())
    ours = whole - seconds["elsewhere"]
    return {
        "attempts": len(lines),
        "seconds": seconds,
        "whole": whole,
        "lost": lost,
        "goodput": (seconds["useful"] - lost) / ours if ours > 0 else 0.0,
    }


def ledger(path: Path) -> dict[str, float]:
    """Seconds of each kind from the first attempt's begin to the last one's end.

    They add up to that time: useful (of steps that count), lost, saving, data, looking, restarting,
    waiting (nothing runs), elsewhere.
    """
    lines, told = attempts(path), summary(path)
    found: dict[str, float] = told["seconds"] | {"lost": told["lost"], "waiting": 0.0}
    found["useful"] -= told["lost"]
    events = store.read_lines(path.parents[1] / "events.jsonl")
    for line, after in pairwise(lines):
        end, begin = line["time"], after["time"] - sum(after["seconds"].values())
        between = [e for e in events if end <= e["time"] <= begin]
        died = next((e["time"] for e in between if e["event"] == "attempt_end"), end)
        starts = [e["time"] for e in between if e["event"] == "attempt_start"]
        again = starts[-1] if starts and starts[-1] >= died else begin
        counts = _behind(path, line, after)
        fits = min(1.0, (died - end) / (sum(counts.values()) or 1.0))
        for part, seconds in counts.items():
            found[part] += fits * seconds
        found["lost"] += died - end - fits * sum(counts.values())
        found["waiting"] += again - died
        found["restarting"] += begin - again
    return found


def _behind(path: Path, line: dict[str, Any], after: dict[str, Any]) -> dict[str, float]:
    """Seconds of steps after an attempt's last line that count: the next one went on from them."""
    found = dict.fromkeys(("useful", "data", "looking", "saving"), 0.0)
    if after["first"] > line["step"]:  # from memory (replicas.py)
        for row in store.read_lines(path.parent / "speed.jsonl"):
            if line["step"] < row["step"] <= after["first"]:
                data = row["data_seconds"]
                parts = (row["seconds"] - data, data, row["look_seconds"], row["save_seconds"])
                found = {k: s + more for (k, s), more in zip(found.items(), parts, strict=True)}
    return found


def render(path: Path) -> str:
    """Two lines for `pretrain status`; nothing before training began."""
    if not path.exists():
        return ""
    found = ledger(path)
    whole = sum(found.values())
    parts = ", ".join(f"{part} {seconds:,.1f}" for part, seconds in found.items())
    ours = whole - found["elsewhere"]
    goodput = found["useful"] / ours if ours > 0 else 0.0
    return (
        f"{'time':>9}  {whole:,.1f} s in {len(attempts(path))} attempts: {parts}\n"
        f"{'goodput':>9}  {100 * goodput:.1f} % ({found['lost']:,.1f} s were computed in vain)\n"
    )
