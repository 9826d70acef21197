"""What is kept is the text after its edits; what was not kept says why."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from pretrain import shards
from pretrain.curate.run import run
from pretrain.errors import DataError
from pretrain.flow import Stage


def test_an_exact_copy_of_a_near_duplicate_names_the_one_that_is_kept(
    stage: Callable[..., Stage], rows: list[dict[str, Any]]
) -> None:
    draw = random.Random(1)
    words = [f"word{draw.randrange(900)}" for _ in range(300)]
    longer, shorter = " ".join([*words, "tail"]), " ".join(words)
    made_of = [longer, shorter, shorter, shorter]
    some = [r | {"text": t} for r, t in zip(rows, made_of, strict=False)]
    made = stage({"rules": {}}, rows=some, n_shards=2)
    run(made)
    decisions = shards.read_all(sorted(made.folder.glob("decisions/*"))).to_pylist()
    (kept,) = (r for r in decisions if r["keep"])
    assert kept["id"] == some[0]["id"]
    assert (kept["copies"], kept["cluster"], kept["reason"]) == (4, kept["id"], None)
    gone = [r for r in decisions if not r["keep"]]
    assert sorted(r["reason"] for r in gone) == ["exact_duplicate"] * 2 + ["near_duplicate"]
    assert {r["duplicate_of"] for r in gone} == {kept["id"]}
    assert {(r["cluster"], r["copies"]) for r in gone} == {(None, 0)}


def test_too_many_duplicates_of_one_source_stop_with_what_to_do(
    stage: Callable[..., Stage], rows: list[dict[str, Any]]
) -> None:
    base = rows[0]
    many = [base | {"id": f"{i:032x}", "offset": i} for i in range(1200)]
    with pytest.raises(DataError) as error:
        run(stage({"rules": {}}, rows=many))
    message = str(error.value)
    assert (
        "dedup removed 100% of source 'web' (1,199 of 1,200 documents); the limit is 90%" in message
    )
    assert "curate.sources.web.max_removed" in message
    allowed = {"rules": {}, "sources": {"web": {"max_removed": 1.0}}}
    assert run(stage(allowed))["documents"] == 1


def test_bytes_out_are_those_of_the_kept_texts(stage: Callable[..., Stage]) -> None:
    made = stage()
    counts = run(made)
    for path in sorted(made.folder.glob("kept/*")):
        decided = {
            r["id"]: r for r in shards.read(made.folder / "decisions" / path.name).to_pylist()
        }
        for row in shards.read(path).to_pylist():
            assert decided[row["id"]]["n_bytes_out"] == len(row["text"].encode())
    assert counts["bytes"] > 0


def test_paragraphs_that_stood_before_are_cut_and_the_edits_say_so(
    stage: Callable[..., Stage], rows: list[dict[str, Any]]
) -> None:
    draw = random.Random(2)
    prose = [" ".join(f"w{draw.randrange(5000)}" for _ in range(40)) for _ in range(6)]
    notice = "This very notice stands at the foot of every single page of the whole collection."
    texts = [f"{prose[i]}\n\n{notice}\n\n{prose[5 - i]}" for i in range(3)] + [notice]
    some = [r | {"text": t} for r, t in zip(rows, texts, strict=False)]
    made = stage({"rules": {}, "duplicates": {"paragraphs": True}}, rows=some, n_shards=2)
    counts = run(made)
    kept = shards.read_all(sorted(made.folder.glob("kept/*"))).to_pylist()
    assert sum(notice in r["text"] for r in kept) == 1
    assert counts["edits"]["duplicate_paragraph"] >= 2
    left = counts["reasons"].get("nothing_left", 0)
    assert len(kept) + left == 4
