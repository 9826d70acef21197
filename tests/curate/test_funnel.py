import itertools
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pretrain import shards, store
from pretrain.curate import funnel, rules
from pretrain.curate.run import run
from pretrain.flow import Stage

Make = Callable[..., Stage]


@pytest.fixture
def made(stage: Make) -> tuple[Stage, dict[str, Any], list[dict[str, Any]], dict[str, Any]]:
    """(stage, funnel.json, the signals as rows, the counts of the stage)."""
    built = stage()
    counts = run(built)
    columns = list(shards.read(next(built.folder.glob("signals/*"))).column_names)
    columns = [n for n in columns if n not in ("signature", "content_hash", "lines", "sensitive")]
    rows = shards.read_all(sorted(built.folder.glob("signals/*")), columns).to_pylist()
    return built, store.read_json(built.folder / "funnel.json"), rows, counts


def test_each_step_takes_up_where_the_one_before_left(made: Any) -> None:
    _, report, rows, counts = made
    steps = report["steps"]
    assert [s["step"] for s in steps] == [
        *("normalize", "empty", "language", "gopher_quality", "own"),
        *("exact_duplicate", "near_duplicate", "edit"),
    ]
    assert steps[0]["documents_in"] == len(rows)
    assert steps[0]["bytes_in"] == sum(r["n_bytes_collected"] for r in rows)
    assert steps[0]["bytes_out"] == sum(r["n_bytes"] for r in rows)
    assert steps[-1]["documents_out"] == counts["documents"]
    assert steps[-1]["bytes_out"] == counts["bytes"]
    for before, after in itertools.pairwise(steps):
        for what in ("documents", "bytes"):
            assert before[f"{what}_out"] == after[f"{what}_in"]
    for step in steps:
        for what in ("documents_in", "documents_out", "bytes_in", "bytes_out"):
            assert step[what] == sum(s[what] for s in step["by_source"].values())


def test_rules_are_counted_first_alone_and_only(made: Any, curate: dict[str, Any]) -> None:
    built, report, rows, counts = made
    compiled = rules.compile_rules(curate["rules"], list(curate["rules"]))
    columns = {n: np.array([r[n] for r in rows]) for n in rules.SIGNALS if n in rows[0]}
    removes, _ = rules.judge(compiled, columns)
    dropped = shards.read_all(sorted(built.folder.glob("dropped/*")))["reason"].to_pylist()
    assert [r["rule"] for r in report["rules"]] == [r.name for r in compiled]
    for i, entry in enumerate(report["rules"]):
        assert entry["removes_first"] == dropped.count(entry["rule"])
        assert entry["removes_first"] == counts["reasons"].get(entry["rule"], 0)
        assert entry["removes_alone"] == removes[i].sum()
        others = np.delete(removes, i, axis=0).any(axis=0)
        assert entry["removes_only"] == (removes[i] & ~others).sum()
    expected = [[int((a & b).sum()) for b in removes] for a in removes]
    assert report["overlap"] == {"rules": [r.name for r in compiled], "counts": expected}


def test_samples_are_the_smallest_draws_and_show_the_values(made: Any) -> None:
    _, report, rows, _ = made
    (entry,) = (r for r in report["rules"] if r["rule"] == "gopher_quality.min_words")
    short = sorted((r for r in rows if r["n_words"] < 20), key=lambda r: r["draw"])[:3]
    assert len(short) == 3
    assert [s["id"] for s in entry["samples"]] == [r["id"] for r in short]
    for sample, row in zip(entry["samples"], short, strict=True):
        assert sample["values"] == {"n_words": row["n_words"]}
        assert sample["source"] == row["source"]
        assert len(sample["excerpt"]) <= 300


def test_duplicates_and_edits(made: Any) -> None:
    built, report, _, counts = made
    kept = shards.read_all(sorted(built.folder.glob("kept/*"))).to_pylist()
    assert sum(report["duplicates"]["copies"].values()) == len(kept)
    assert report["duplicates"]["copies"]["4"] == 1
    assert report["duplicates"]["split_clusters"] == {"1": len(kept) - 2, "2": 1}
    (pair,) = report["duplicates"]["samples"]
    assert 0.8 <= pair["jaccard"] < 1
    assert pair["removed"]["id"] != pair["kept"]["id"]
    assert {k: r["edits"] for k, r in report["edits"].items()} == counts["edits"]
    samples = [s for r in report["edits"].values() for s in r["samples"]]
    assert any("Write to" in s["excerpt"] for s in samples)


def test_groups_and_the_parquet_table_are_the_same_sums(made: Any) -> None:
    built, report, rows, counts = made
    for entry in report["languages"]:
        mine = [r for r in rows if r["language"] == entry["language"]]
        assert entry["documents_in"] == len(mine)
        assert entry["bytes_in"] == sum(r["n_bytes_collected"] for r in mine)
    assert sum(e["documents_out"] for e in report["languages"]) == counts["documents"]
    (domain,) = (d for d in report["domains"] if d["domain"] != "(none)")
    assert (domain["domain"], domain["documents_in"]) == ("x.example", 10)
    table = shards.read(built.folder / "funnel.parquet").to_pylist()
    for by in ("source", "language", "domain", "license"):
        last = [r for r in table if r["by"] == by and r["step"] == "edit"]
        assert sum(r["documents_out"] for r in last) == counts["documents"], by
        assert sum(r["bytes_out"] for r in last) == counts["bytes"], by
    whole = [r for r in table if r["by"] == "all"]
    keys = ("step", "documents_in", "bytes_in", "documents_out", "bytes_out")
    assert [{k: r[k] for k in keys} for r in whole] == [
        {k: s[k] for k in keys} for s in report["steps"]
    ]


def test_no_address_that_was_replaced_is_in_any_report(made: Any) -> None:
    built, report, _, counts = made
    everything = json.dumps([report, counts])
    for path in built.folder.glob("receipts/*.json"):
        everything += path.read_text()
    everything += json.dumps(shards.read_all(sorted(built.folder.glob("dropped/*"))).to_pylist())
    for address in ("jane.doe@mail.com", "max@firma.de", "85.214.132.117"):
        assert address not in everything


def test_a_thousand_groups_at_most_and_the_rest_as_one() -> None:
    cubes = {f"{i:04d}": {"": np.array([1, i, i, i, i])} for i in range(1500)}
    limited = funnel._limited(cubes, 1000)
    assert len(limited) == 1001
    assert next(iter(limited)) == "1499"
    assert limited[funnel.OTHER][""].tolist() == [500] + [sum(range(500))] * 4


def test_histograms_sort_by_size() -> None:
    assert list(funnel.histogram([{"1": 2, "10": 1}, {"2": 1, "1": 1, "10": 1}]).items()) == [
        ("01", 3), ("02", 1), ("10", 2),
    ]  # fmt: skip
    assert funnel.histogram([]) == {}
