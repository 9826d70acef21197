"""The end of a run in a few lines for the terminal."""

from collections.abc import Sequence
from pathlib import Path

from pretrain.report.forecast import time_line
from pretrain.report.formats import count, known, n_bytes
from pretrain.report.markup import visible
from pretrain.report.records import Records, read

_MOST_SOURCES = 12


def summary(run_folder: Path) -> str:
    """Documents and tokens of each stage, bits per byte beside compressors, tasks, time."""
    records = read(run_folder)
    blocks = [_stages(records), _held_out(records), _tasks(records)]
    used = time_line(records)
    if used:
        blocks.append([f"{'time':>9}  {used}"])
    return visible("\n\n".join("\n".join(lines) for lines in blocks if lines))


def _stages(records: Records) -> list[str]:
    lines = []
    collect, curate = records.counts("collect"), records.counts("curate")
    tokenize, mix, train = (records.counts(s) for s in ("tokenize", "mix", "train"))
    if collect:
        refused = collect["dropped"] + collect["quarantined"]
        text = f"{count(collect['documents'])} documents of {count(collect['records_in'])} records"
        lines.append(("collect", f"{text}, {count(refused)} refused"))
    if curate:
        text = f"{count(curate['documents'])} documents kept of {count(curate['documents_in'])}"
        lines.append(("curate", f"{text}, {n_bytes(curate['bytes'])}"))
    if tokenize:
        text = f"{count(tokenize['tokens'])} tokens, {tokenize['bytes_per_token']:.2f} bytes each"
        lines.append(("tokenize", text))
    if mix:
        text = f"{count(mix['windows'])} windows, {count(mix['held_out_tokens'])} tokens held out"
        lines.append(("mix", text))
    if train:
        text = f"{count(train['tokens'])} tokens in {count(train['steps'])} steps"
        lines.append(("train", f"{text}, {count(train['parameters'])} parameters"))
    elif records.steps:
        lines.append(("train", f"step {count(records.steps[-1]['step'])}, not finished"))
    return [f"{name:>9}  {text}" for name, text in lines]


def _held_out(records: Records) -> list[str]:
    found = (records.scores or {}).get("held_out") or {}
    if not found:
        return []
    order = sorted(found, key=lambda s: (s == "all", -found[s]["n_bytes"], s))
    shown = order if len(order) <= _MOST_SOURCES else [*order[: _MOST_SOURCES - 1], "all"]
    rows = [["bits per byte", "model", "xz -9e", "zstd+dict"]]
    for source in shown:
        row = found[source]
        figures = [row["bits_per_byte"], row.get("xz"), row.get("zstd")]
        rows.append([source, *(f"{v:.3f}" if known(v) else "–" for v in figures)])
    return _aligned(rows)


def _tasks(records: Records) -> list[str]:
    found = (records.scores or {}).get("tasks") or {}
    if not found:
        return []
    rows = [["task", "accuracy", "± error", "chance"]]
    for name, row in found.items():
        rows.append([name, *(f"{row[k]:.3f}" for k in ("accuracy", "accuracy_error", "chance"))])
    return _aligned(rows)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
