"""`pretrain curate RECIPE --what-if KEY=VALUE`: what another setting would keep, without a text.

The stored columns are judged again by the changed recipe and compared with what the run decided:
documents, bytes and tokens by source and language, which reasons take more or less, and samples of
what would come and go. It writes nothing.

Exact for everything that `judge` decides; close for a higher threshold of near-duplicates, where
what comes back might remove another. What would come in anew has never been compared for
duplicates, and a duplicate of what would go may take its place: both are counted, and only a run
settles them. Tokens are bytes times the tokens a byte of the source in this run.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pretrain import settings, shards, store
from pretrain.curate import judge, rules
from pretrain.errors import DataError, UsageError

N_SAMPLES = 5
TOP_LANGUAGES = 12
# What of the recipe may differ; everything else needs the texts.
JUDGED = ("rules", "sources", "languages", "language_score", "language_scores", "block_domains")

Totals = dict[str, np.ndarray]  # name -> documents, bytes before; documents, bytes after


@dataclass
class Answer:
    by_source: Totals = field(default_factory=dict)
    by_language: Totals = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)  # taken after, less taken before
    never_compared: int = 0  # would come, and may be duplicates
    survivors: int = 0  # would go, and stand for others
    come: list[dict[str, Any]] = field(default_factory=list)
    go: list[dict[str, Any]] = field(default_factory=list)


def what_if(run_folder: Path, ran: Any, asked: Any, choice: Any) -> Answer:
    """Compare the run's `curate` settings with those asked for; `choice` makes judge's arguments.

    Raises: DataError where the stage is not complete; UsageError where texts would be needed.
    """
    folder = run_folder / "curate"
    manifest = store.read_json_or_none(folder / "manifest.json")
    if manifest is None:
        raise DataError(
            f"curate: {folder} is not complete, so there is nothing to ask; run `pretrain curate "
            "RECIPE` first"
        )
    _check(ran, asked)
    arguments = choice(asked)
    ruled = judge.compiled(arguments)
    new = Judged(
        folder, arguments, ruled, judge.reasons(arguments, ruled),
        asked.duplicates.threshold, _changed(judge.compiled(choice(ran)), ruled),
    )  # fmt: skip
    answer = Answer()
    for name in sorted(manifest["outputs"]):
        if name.startswith("decisions/"):
            _add(answer, new, Path(name).name)
    for samples in (answer.come, answer.go):
        samples.sort(key=lambda s: s.pop("draw"))
        del samples[N_SAMPLES:]
    return answer


@dataclass(frozen=True)
class Judged:
    folder: Path
    arguments: dict[str, Any]
    rules: Sequence[Any]
    reasons: list[str]
    threshold: float
    signals: list[str]  # that the changed rules read: shown with samples


def render(answer: Answer, tokens_per_byte: dict[str, float]) -> str:
    """The answer as tables in plain text."""
    known = bool(tokens_per_byte)
    heads = ["", "documents", "would be", "text", "would be", "tokens", "would be"]
    lines = [_line(heads if known else heads[:5])]
    rows = [("all", sum(answer.by_source.values(), np.zeros(4, np.int64)))]
    rows += sorted(answer.by_source.items())
    rates = dict(tokens_per_byte)
    for name, row in rows:
        cells = _cells(row)
        if known:
            parts = answer.by_source.items() if name == "all" else [(name, row)]
            sums = [sum(r[k] * rates.get(s, 0.0) for s, r in parts) for k in (1, 3)]
            cells += [f"{n:,.0f}" for n in sums]
        lines.append(_line([name, *cells]))
    lines += ["", _line(["language", *heads[1:5]])]
    order = sorted(answer.by_language.items(), key=lambda item: (-item[1][0], item[0]))
    for name, row in order[:TOP_LANGUAGES]:
        lines.append(_line([name, *_cells(row)]))
    changed = {r: n for r, n in answer.reasons.items() if n}
    lines += ["", "taken by"] if changed else ["", "nothing would change"]
    for reason, n in sorted(changed.items(), key=lambda item: (-abs(item[1]), item[0])):
        lines.append(f"  {n:+10,}  {reason}")
    if answer.never_compared:
        n = answer.never_compared
        lines.append(f"\n{n:,} that would come were never compared for duplicates")
    if answer.survivors:
        n = answer.survivors
        lines.append(f"{n:,} that would go stand for duplicates; one may take its place")
    for title, samples in (("would come", answer.come), ("would go", answer.go)):
        for sample in samples:
            values = ", ".join(f"{n} = {v:.4g}" if isinstance(v, float) else f"{n} = {v}"
                               for n, v in sample["values"].items())  # fmt: skip
            lines += [
                "",
                f"{title}: {sample['id']}  {sample['source']}  {sample['path']}  {values}",
            ]
            lines.append("    " + " ".join(sample["excerpt"].split())[:160])
    return "\n".join(lines)


def tokens_per_byte(run_folder: Path) -> dict[str, float]:
    """Tokens a byte of each source's kept text, where the run has tokens."""
    tokenized = store.read_json_or_none(run_folder / "tokenize" / "manifest.json")
    curated = store.read_json_or_none(run_folder / "curate" / "manifest.json")
    if not tokenized or not curated:
        return {}
    n_bytes = {s: row["bytes"] for s, row in curated["counts"]["by_source"].items()}
    return {
        source: n / n_bytes[source]
        for source, n in tokenized["counts"]["by_source"].items()
        if n_bytes.get(source)
    }


def _check(ran: Any, asked: Any) -> None:
    """Only what columns can answer may differ."""
    old, new = settings.resolved(ran), settings.resolved(asked)
    for key in sorted(old.keys() | new.keys()):
        if key in JUDGED or old.get(key) == new.get(key):
            continue
        if key == "sensitive":
            continue  # what is found is counted whatever the policy
        if key == "duplicates" and _only_higher(old[key], new[key]):
            continue
        raise UsageError(
            f"curate: --what-if cannot answer a change of curate.{key} from stored columns; "
            f"must be one of {', '.join(JUDGED)}, sensitive, or a higher duplicates.threshold; "
            "run `pretrain curate` with it instead (only what it changes runs again)"
        )


def _only_higher(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether only the limit and the threshold differ, and the threshold is not lower."""
    free = {"threshold": 0, "max_removed": 0}
    return {**old, **free} == {**new, **free} and new["threshold"] >= old["threshold"]


def _changed(old: Iterable[Any], new: Iterable[Any]) -> list[str]:
    """The signals of the rules that are not the same in both."""
    before, after = ({(r.name, r.expression) for r in rules} for rules in (old, new))
    return sorted({n for _, e in before ^ after for n in rules.signals_of(e)})


def _add(answer: Answer, new: Judged, name: str) -> None:
    """Add one shard."""
    folder = new.folder
    needed = {n for rule in new.rules for n in rules.signals_of(rule.expression)}
    needed |= {"source", "language", "language_score", "empty", "domain"}
    needed |= {f"n_{kind}" for kind in new.arguments["drop_kinds"]}
    table = judge.read_columns(folder, name, sorted(needed))
    decided = shards.read(
        folder / "decisions" / name,
        ["id", "keep", "reason", "similarity", "n_bytes", "n_bytes_out", "copies"],
    )
    contaminated = judge.contaminated(folder, name, new.arguments, len(table))
    taken = judge.takes(table, new.arguments, new.rules, contaminated)
    first = np.where(taken.any(axis=0), taken.argmax(axis=0), -1)
    reason = np.array([*new.reasons, None], object)[first]
    old = shards.as_numpy(decided["reason"])
    later = (*rules.TWINS, rules.NOTHING_LEFT, None)
    by_judge = np.array([reason not in later for reason in old], bool)
    similar = np.nan_to_num(shards.as_numpy(decided["similarity"]))
    stays = (old == rules.EXACT_DUPLICATE) | (old == rules.NOTHING_LEFT)
    stays |= (old == rules.NEAR_DUPLICATE) & (similar >= new.threshold)
    reason = np.where((first < 0) & stays, old, reason)
    before, after = old == None, reason == None  # noqa: E711  elementwise
    n_bytes = shards.as_numpy(decided["n_bytes"])
    out = np.where(before, shards.as_numpy(decided["n_bytes_out"]), n_bytes)
    answer.never_compared += int((after & by_judge).sum())
    answer.survivors += int((before & ~after & (shards.as_numpy(decided["copies"]) > 1)).sum())
    answer.reasons.update(r for r in reason if r)
    answer.reasons.subtract(r for r in old if r)
    for key, totals in (("source", answer.by_source), ("language", answer.by_language)):
        values = shards.as_numpy(table[key])
        for value in set(values.tolist()):
            rows = values == value
            sums = [f(mask) for mask in (rows & before, rows & after)
                    for f in (np.sum, lambda m: out[m].sum())]  # fmt: skip
            totals[value] = totals.get(value, np.zeros(4, np.int64)) + np.array(sums, np.int64)
    for rows, samples in ((after & ~before, answer.come), (before & ~after, answer.go)):
        if rows.any():
            samples += _samples(new, name, np.flatnonzero(rows))


def _samples(new: Judged, name: str, rows: np.ndarray) -> list[dict[str, Any]]:
    columns = ["id", "path", "source", "draw", "excerpt", *new.signals]
    table = judge.read_columns(new.folder, name, columns)
    few = [row for _, row in judge.drawn(rows, shards.as_numpy(table["draw"]), N_SAMPLES)]
    result = []
    for row in table.take(pa.array(few)).to_pylist():
        row["values"] = {n: row.pop(n) for n in new.signals if n in row}
        result.append(row)
    return result


def _cells(row: np.ndarray) -> list[str]:
    sizes = [f"{row[k] / 1e6:,.2f} MB" for k in (1, 3)]
    return [f"{row[0]:,}", f"{row[2]:,}", *sizes]


def _line(cells: Sequence[str]) -> str:
    return f"{cells[0]:<16}" + "".join(f"{cell:>14}" for cell in cells[1:])
