"""Which rank holds the others up, told from what each of them last wrote about itself.

    gone or crashed  >  heart stands still  >  never began  >  does not wait while others do

Only the worst kind is named: ranks that wait for a dead one are not at fault.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

WAITS = "waiting for the others"
SILENT = "gives no sign of life"
_NAMED = 8  # ranks, and groups of ranks, that a message tells


@dataclass
class Record:
    """What a rank says of itself; beats count on while its process runs."""

    attempt: int
    rank: int
    host: str
    pid: int
    started: str  # of the process: a number is given to another one later
    beats: int = 0
    step: int = 0
    phase: str = "start"
    seconds: float = 0.0  # in this phase
    busy: float = 0.0  # seconds of a step in which it does not wait; 0: not known yet
    left: bool = False  # no longer trains: what its process does is no sign
    error: str = ""  # that it ended with, other than one that all ranks end with


def process(pid: int) -> tuple[str, str]:
    """(state, start) of a process of this machine, as proc(5) has them; ("", "") without one."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "", ""
    return fields[0], fields[19]


def is_gone(record: Record, host: str) -> bool:
    """Whether a rank crashed or its process, on this host, is dead."""
    if record.error:
        return True
    if record.left or record.host != host or not record.started:
        return False  # another machine, or one without /proc
    state, started = process(record.pid)
    return state in ("", "Z", "X") or started != record.started


def suspects(
    records: Mapping[int, Record | None], gone: Iterable[int], silent: Iterable[int]
) -> dict[int, str]:
    """Rank -> what is wrong with it; empty where all wait for each other."""
    if found := sorted(gone):
        errors = {n: r.error for n, r in records.items() if r}
        return {n: f"ended with {errors[n]}" if errors.get(n) else "is dead" for n in found}
    if found := sorted(silent):
        return dict.fromkeys(found, SILENT)
    if found := sorted(n for n, r in records.items() if not r):
        return dict.fromkeys(found, "has not begun to train")
    there = {n: r for n, r in records.items() if r and not r.left}
    busy = {n: r for n, r in there.items() if r.phase != WAITS}
    return {n: f"gets no further for {r.seconds:.0f} s" for n, r in busy.items()}


def message(
    records: Mapping[int, Record | None], gone: Collection[int], silent: Iterable[int], stacks: Path
) -> str:
    """Who holds the others up on the first line, where all ranks are, what to do."""
    wrong = suspects(records, gone, silent)
    named = [f"{_name(n, records[n])} {what}" for n, what in list(wrong.items())[:_NAMED]]
    if len(wrong) > _NAMED:
        named.append(f"and {len(wrong) - _NAMED:,} more ranks")
    if not named:
        named = ["every rank waits for the others: a device, or the network between them, hangs"]
    groups: dict[str, list[int]] = defaultdict(list)
    for n, record in records.items():
        seen = f"last seen at step {record.step:,}, {record.phase}" if record else "not begun"
        groups[seen].append(n)
    where = [f"{_ranges(ranks)}: {seen}" for seen, ranks in list(groups.items())[:_NAMED]]
    advice = f"Stacks are in {stacks}. The last checkpoint stays: run the same command to go on"
    if not gone:
        advice += ". If a rank only needs longer, raise recipe key train.hang_seconds"
    return "\n  ".join([f"train: {'; '.join(named)}", *where, advice])


def _name(n: int, record: Record | None) -> str:
    return f"rank {n} ({record.host}, process {record.pid})" if record else f"rank {n}"


def _ranges(ranks: list[int]) -> str:
    """0, 2-3 and the like, of ranks in order."""
    parts: list[list[int]] = []
    for rank in ranks:
        if parts and parts[-1][-1] == rank - 1:
            parts[-1] = [parts[-1][0], rank]
        else:
            parts.append([rank])
    word = "rank" if len(ranks) == 1 else "ranks"
    return f"{word} {', '.join('-'.join(map(str, part)) for part in parts)}"
