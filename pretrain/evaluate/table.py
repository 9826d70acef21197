"""Many tasks scored one after another, suites made of them, and both as files and as a page.

A suite's score is the mean of its tasks' (`centred`: of (score - baseline) / (1 - baseline), by
version of the baselines). It bears the suite's name only when all tasks are there and no limit was
set; otherwise it says of how many tasks and which are missing.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from pretrain.errors import DataError
from pretrain.evaluate import execution, items, scoring, statistics
from pretrain.evaluate.settings import Task
from pretrain.evaluate.subject import PSEUDO, Subject
from pretrain.evaluate.suites import Suite
from pretrain.events import Advance

_SCHEMA = pa.schema(
    [
        ("task", pa.dictionary(pa.int32(), pa.string())),
        ("file", pa.dictionary(pa.int32(), pa.string())),
        ("hash", pa.dictionary(pa.int32(), pa.string())),
        ("item", pa.int32()),
        ("score", pa.dictionary(pa.int32(), pa.string())),
        ("value", pa.float64()),
    ]
)


@dataclass
class Scored:
    """What came of all tasks: rows by task, scores by item, and why some have none."""

    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    parts: dict[str, dict[str, scoring.Result]] = field(default_factory=dict)
    suites: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        return {
            "tasks": self.rows,
            "suites": self.suites,
            "failed": self.failed,
            "skipped": self.skipped,
        }

    def items(self) -> pa.Table:
        """task, file, hash of what was asked, item, score, value."""
        columns: dict[str, list[Any]] = {name: [] for name in _SCHEMA.names}
        for task, parts in self.parts.items():
            for part, result in parts.items():
                for i, scores in enumerate(result.scores):
                    for score, value in scores.items():
                        row = (task, part, result.digest, i, score, round(value, 6))
                        for name, cell in zip(columns, row, strict=True):
                            columns[name].append(cell)
        return pa.table(columns, schema=_SCHEMA)


def score_all(
    subject: Subject,
    tasks: dict[str, Task],
    suites: Sequence[Suite],
    kept: Path,
    allow_code: bool,
    say: Callable[[str], None],
    advance: Advance | None = None,
) -> Scored:
    """All tasks' scores; what cannot be scored is in `failed`, or `skipped` where not required."""
    scored = Scored()
    locks: dict[str, bool] | None = None
    for n_done, (name, task) in enumerate(tasks.items()):
        if why := subject.refuses(task):
            scored.skipped[name] = why
        elif task.format == "code" and not allow_code:
            scored.skipped[name] = "runs what the model writes; needs allow_code = true"
        elif not (found := items.find(task)):
            scored.skipped[name] = f"no file matches {task.path}"
        else:
            if task.format == "code" and locks is None:
                locks = execution.locks()
            try:
                _score(scored, subject, name, task, found, kept, n_done, advance)
                _say_kept(scored.parts[name].values(), name, say)
                if task.format == "code":
                    scored.rows[name]["locks"] = locks
            except DataError as error:
                scored.rows.pop(name, None)
                scored.parts.pop(name, None)
                (scored.failed if task.required else scored.skipped)[name] = str(error)
        if name in scored.rows:
            say(line(name, scored.rows[name]))
        else:
            say(f"{name}: no score: {scored.skipped.get(name) or scored.failed[name]}")
    for suite in suites:
        summary = suite_row(suite, scored.rows)
        if summary:
            scored.suites[suite.name] = summary
            say(suite_line(suite.name, summary))
    return scored


def suite_row(suite: Suite, rows: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """The mean of a suite's tasks that have a score; None where the suite has none."""
    own = {name: rows[name] for name in suite.tasks if name in rows}
    if not own or suite.mean == "none":
        return None
    if suite.mean == "centred":
        versions = list(dict.fromkeys(v for row in own.values() for v in row["centred"]))
        scores = {
            v: [tuple(r["centred"][v]) for r in own.values() if v in r["centred"]] for v in versions
        }
    else:
        scores = {"accuracy": [(r["accuracy"], r["accuracy_error"]) for r in own.values()]}
    missing = [name for name in suite.tasks if name not in rows]
    limited = any(row["limited"] for row in own.values())
    return {
        "about": suite.about,
        "mean": suite.mean,
        "probability": next(iter(own.values()))["probability"],
        "scores": {
            v: [round(x, 6) for x in statistics.mean_of(values)] for v, values in scores.items()
        },
        "tasks": len(own),
        "of": suite.n_tasks,
        "missing": missing,
        "limited": limited,
        "complete": len(own) == suite.n_tasks and not missing and not limited,
    }


def line(name: str, row: dict[str, Any]) -> str:
    """One task in one line."""
    text = (
        f"{name}: {row['metric'] if row['metric'] != 'bits_per_byte' else 'acc'} "
        f"{row['accuracy']:.3f} ± {row['accuracy_error']:.3f} (chance {row['chance']:.3f}, "
        f"{row['items']:,} items"
    )
    if row["probability"] == PSEUDO:
        text += f", by {PSEUDO}"
    if row["truncated"]:
        text += f", {row['truncated']:,} of {row['requests']:,} requests cut to the window"
    if "locks" in row:
        held = [lock for lock, holds in row["locks"].items() if holds]
        text += f"; locks that held: {', '.join(held) or 'none'}"
    return text + ")"


def suite_line(name: str, row: dict[str, Any]) -> str:
    what = name.upper() if row["complete"] else f"{name}, mean of {row['tasks']} of {row['of']}"
    if row["limited"]:
        what += ", first items only"
    if row["probability"] == PSEUDO:
        what += f", by {PSEUDO}"
    scores = ", ".join(f"{v} {value:.4f} ± {e:.4f}" for v, (value, e) in row["scores"].items())
    return f"{what}: {scores}"


def page(summary: dict[str, Any]) -> str:
    """scores.json as a table for the terminal."""
    head = ("task", "score", "", "± error", "chance", "bits/byte", "items", "cut")
    rows = [head]
    for name, row in summary["tasks"].items():
        bits = row["scores"].get("bits_per_byte")
        rows.append(
            (
                name,
                row["metric"],
                f"{row['accuracy']:.4f}",
                f"{row['accuracy_error']:.4f}",
                f"{row['chance']:.3f}",
                f"{bits[0]:.4f}" if bits else "",
                f"{row['items']:,}",
                f"{row['truncated']:,}",
            )
        )
    lines = aligned(rows) if len(rows) > 1 else []
    if any(row["probability"] == PSEUDO for row in summary["tasks"].values()):
        lines.append(f"scores by {PSEUDO}: every token hidden alone, one after another")
    lines += [suite_line(name, row) for name, row in summary["suites"].items()]
    lines += _harness_lines(summary.get("harness"))
    for kind in ("skipped", "failed"):
        lines += [f"{kind}: {name}: {why}" for name, why in summary[kind].items()]
    return "\n".join(lines)


def _harness_lines(found: dict[str, Any] | None) -> list[str]:
    if not found:
        return []
    rows = [("task of lm-eval", "score", "", "± error", "shots", "items")]
    for name, row in found["tasks"].items():
        counts = ["" if row[k] is None else f"{row[k]:,}" for k in ("shots", "items")]
        for metric, (value, error) in row["scores"].items():
            shown = "" if error is None else f"{error:.4f}"
            rows.append((name, metric.removesuffix(",none"), f"{value:.4f}", shown, *counts))
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of cells; all but the first two columns to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _say_kept(results: Iterable[scoring.Result], name: str, say: Callable[[str], None]) -> None:
    results = list(results)
    if n_kept := sum(r.n_kept for r in results):
        say(f"{name}: the answers of {n_kept:,} items were there already")
    if n_broken := sum(r.n_broken for r in results):
        say(f"{name}: {n_broken:,} broken lines of kept answers were dropped")


def _score(
    scored: Scored,
    subject: Subject,
    name: str,
    task: Task,
    found: dict[str, str],
    kept: Path,
    n_done: int,
    advance: Advance | None,
) -> None:
    parts: dict[str, scoring.Result] = {}
    for i, (part, path) in enumerate(found.items()):

        def tell(n_items: int, part: str, before: float = n_done + i / len(found)) -> None:
            if advance is not None:
                advance(before, name, f"{part}, {n_items:,} items")

        parts[part] = scoring.score_file(subject, task, part, path, kept, tell)
    scored.parts[name] = parts
    scored.rows[name] = scoring.row(task, parts) | {"probability": subject.probability}
