"""Section 'Where the time went': the ledger of a training over its attempts (train/clock.py)."""

from pretrain.report.formats import count, percent, seconds, some
from pretrain.report.markup import Markup, element, missing, section
from pretrain.report.records import Records
from pretrain.report.tables import table
from pretrain.train import clock

_MEANING = {
    "useful": "steps that count: forward, backward, update",
    "lost": "steps that were computed again, after a fault or a rollback",
    "saving": "steps that waited for a checkpoint or a replica",
    "data": "steps that waited for a batch",
    "looking": "held-out loss and samples",
    "restarting": "from the start of a process to its first step, and going back after spikes",
    "waiting": "nothing ran: between two attempts",
    "elsewhere": "other stages of the same process",
}


def goodput(records: Records) -> Markup:
    """Seconds of each kind; they add up to the wall time from the first attempt to the last."""
    path = records.folder / "train" / "clock.jsonl"
    lines = clock.attempts(path)
    title = "Where the time went"
    if not lines:
        return section("goodput", title, missing("the clock", "train"))
    found = clock.ledger(path)
    whole = sum(found.values())
    ours = whole - found["elsewhere"]
    told = (
        f"{seconds(whole)} in {some(len(lines), 'attempt')}, up to step "
        f"{count(max(line['step'] for line in lines))}. Goodput, the useful share of all but "
        f"other stages, is {percent(found['useful'], ours)}."
    )
    rows = [
        [kind, seconds(found[kind]), percent(found[kind], whole), meaning]
        for kind, meaning in _MEANING.items()
    ]
    rows.append(["all", seconds(whole), percent(whole, whole), "wall time"])
    return section(
        "goodput",
        title,
        element("p", told),
        table("lrrw", ["Kind", "Time", "Share", "What it is"], rows),
    )
