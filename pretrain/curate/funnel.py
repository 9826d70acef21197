"""The funnel: what each step and each rule took, alone and together with the others, with samples.

    funnel.json     steps (documents and bytes before and after, overall and by source), rules,
                    overlap, duplicates, edits, languages, domains, licenses
    funnel.parquet  the same steps by source, language, domain and licence, a row each: the table
                    to ask with DuckDB or Polars (docs/FORMATS.md)

Rules: removes_first (what the funnel shows), removes_alone (were it the only rule), removes_only
(no other rule takes the same document). Everything is a sum of what the tasks counted shard by
shard; no column of the whole corpus is ever in memory, except one counter a domain. Samples are
those with the smallest hash of their id: a fair draw that is the same in every run.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pretrain import shards
from pretrain.curate.judge import N_SAMPLES
from pretrain.curate.rules import EDIT, LINES, NORMALIZE, NOTHING_LEFT, Rule

TOP = 20  # languages, domains and licences in funnel.json
TOP_DOMAINS = 1000  # in funnel.parquet; the rest is one row
OTHER = "(other)"
DIMENSIONS = ("source", "language", "license", "domain")
_SUMS = ("documents", "n_bytes_collected", "n_bytes_normalized", "n_bytes", "n_bytes_out")

FUNNEL = pa.schema(
    [
        ("by", pa.string()),  # all, source, language, license or domain
        ("name", pa.string()),
        ("position", pa.int64()),
        ("step", pa.string()),
        *[(f"{n}_{side}", pa.int64()) for side in ("in", "out") for n in ("documents", "bytes")],
    ]
)

Cube = dict[str, np.ndarray]  # reason -> _SUMS


def step_names(reasons: Sequence[str], lines: bool) -> list[str]:
    """The steps in order; a step is what stands before the first dot of a reason."""
    before = [NORMALIZE, LINES] if lines else [NORMALIZE]
    return [*before, *dict.fromkeys(r.partition(".")[0] for r in reasons), EDIT]


def merge(paths: Iterable[Path]) -> dict[str, dict[str, Cube]]:
    """dimension -> name -> cube, summed over the shards' funnel files; 'all' has one name, ''."""
    result: dict[str, dict[str, Cube]] = {d: {} for d in ("all", *DIMENSIONS)}
    for path in paths:
        table = shards.read(path)
        table = table.set_column(0, "reason", pc.fill_null(table["reason"], ""))
        for dimension, cubes in result.items():
            keys = ["reason"] if dimension == "all" else ["reason", dimension]
            grouped = table.group_by(keys).aggregate([(n, "sum") for n in _SUMS])
            names = [""] * len(grouped) if dimension == "all" else grouped[dimension].to_pylist()
            sums = np.stack([grouped[f"{n}_sum"].to_numpy() for n in _SUMS], axis=1)
            for name, reason, row in zip(names, grouped["reason"].to_pylist(), sums, strict=True):
                cube = cubes.setdefault(name or ("" if dimension == "all" else "(none)"), {})
                cube[reason] = cube[reason] + row if reason in cube else row
    return result


def steps(cube: Cube, names: Sequence[str]) -> list[dict[str, Any]]:
    """Documents and bytes before and after each step."""
    totals = {name: np.zeros(len(_SUMS), np.int64) for name in [*names, ""]}
    for reason, row in cube.items():
        where = reason.partition(".")[0]
        totals[EDIT if reason == NOTHING_LEFT else where] += row
    left = np.sum(list(totals.values()), axis=0)
    rows = []
    for name in names:
        documents, collected, normalized, measured, out = (int(n) for n in left)
        left = left - totals[name]
        after = (int(left[0]), int(left[3]))
        if name == NORMALIZE:
            ends = (documents, collected, documents, normalized)
        elif name == LINES:
            ends = (documents, normalized, documents, measured)
        else:
            ends = (documents, measured, after[0], out if name == EDIT else after[1])
        keys = ("documents_in", "bytes_in", "documents_out", "bytes_out")
        rows.append({"step": name, **dict(zip(keys, ends, strict=True))})
    return rows


def table(cubes: Mapping[str, Mapping[str, Cube]], names: Sequence[str]) -> pa.Table:
    """funnel.parquet."""
    rows = []
    for by, groups in cubes.items():
        shown = _limited(groups, TOP_DOMAINS) if by == "domain" else groups
        for name in sorted(shown):
            for position, step in enumerate(steps(shown[name], names)):
                rows.append({"by": by, "name": name, "position": position, **step})
    return pa.Table.from_pylist(rows, schema=FUNNEL)


def summary(cubes: Mapping[str, Mapping[str, Cube]], names: Sequence[str]) -> dict[str, Any]:
    """The part of funnel.json that the counts by group tell."""
    by_source = {source: steps(cube, names) for source, cube in sorted(cubes["source"].items())}
    rows = steps(cubes["all"].get("", {}), names)
    for i, row in enumerate(rows):
        row["by_source"] = {
            source: {k: v for k, v in own[i].items() if k != "step"}
            for source, own in by_source.items()
        }
    top = {"languages": "language", "domains": "domain", "licenses": "license"}
    return {"steps": rows} | {key: _top(cubes[by], names, by) for key, by in top.items()}


def rules(
    ruled: Sequence[Rule], judged: Sequence[Mapping[str, Any]], samples: Sequence[list[Any]]
) -> dict[str, Any]:
    """The part that the rules' counts of all shards tell."""
    n = len(ruled)
    alone, only = (_summed([j[k] for j in judged], (n,)) for k in ("alone", "only"))
    first: Counter[str] = Counter()
    for one in judged:
        first.update(one["reasons"])
    return {
        "rules": [
            {
                "rule": rule.name,
                "expression": rule.expression,
                "removes_first": first[rule.name],
                "removes_alone": int(alone[i]),
                "removes_only": int(only[i]),
                "samples": samples[i],
            }
            for i, rule in enumerate(ruled)
        ],
        "overlap": {
            "rules": [rule.name for rule in ruled],
            "counts": _summed([j["overlap"] for j in judged], (n, n)).tolist(),
        },
    }


def edits(written: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """what -> documents, edits, bytes taken out, samples; over all shards."""
    result: dict[str, Any] = {}
    for what in sorted({what for w in written for what in w["edits"]}):
        found = [w["edits"][what] for w in written if what in w["edits"]]
        samples = sorted((s for f in found for s in f["samples"]), key=lambda s: s["draw"])
        result[what] = {k: sum(f[k] for f in found) for k in ("documents", "edits", "bytes")}
        result[what]["samples"] = [
            {k: v for k, v in s.items() if k != "draw"} for s in samples[:N_SAMPLES]
        ]
    return result


def histogram(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Size -> how many, over all shards; sizes padded so that they sort as text."""
    total: Counter[int] = Counter()
    for one in counts:
        total.update({int(size): n for size, n in one.items()})
    width = len(str(max(total, default=1)))
    return {f"{size:0{width}d}": n for size, n in sorted(total.items())}


def _summed(values: Sequence[Any], shape: tuple[int, ...]) -> np.ndarray:
    total = np.zeros(shape, np.int64)
    for value in values:
        total += np.asarray(value, np.int64).reshape(shape)
    return total


def _size(cube: Cube) -> int:
    return int(sum(row[1] for row in cube.values()))


def _limited(groups: Mapping[str, Cube], most: int) -> dict[str, Cube]:
    """The largest groups, and all others as one."""
    order = sorted(groups, key=lambda name: (-_size(groups[name]), name))
    result = {name: groups[name] for name in order[:most]}
    other: Cube = {}
    for name in order[most:]:
        for reason, row in groups[name].items():
            other[reason] = other[reason] + row if reason in other else row
    return result | ({OTHER: other} if other else {})


def _top(groups: Mapping[str, Cube], names: Sequence[str], by: str) -> list[dict[str, Any]]:
    """The largest groups: what came in and what stayed."""
    rows = []
    for name, cube in _limited(groups, TOP).items():
        own = steps(cube, names)
        first, last = own[0], own[-1]
        rows.append(
            {
                by: name,
                "documents_in": first["documents_in"],
                "bytes_in": first["bytes_in"],
                "documents_out": last["documents_out"],
                "bytes_out": last["bytes_out"],
            }
        )
    return rows
