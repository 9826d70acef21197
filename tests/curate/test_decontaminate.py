"""Overlap with benchmarks is found however it is set, and both sides are told."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from safetensors import numpy as safetensors

from pretrain import shards, store
from pretrain.curate import decontaminate
from pretrain.curate.run import run
from pretrain.flow import Stage

DRAW = random.Random(1)
QUESTION = " ".join(f"word{DRAW.randrange(9000)}" for _ in range(30))
SHORT = "ten words that are no more than ten words long"
AROUND = " ".join(f"other{i}" for i in range(40))


def index(folder: Path, items: list[Any], n_words: int = 13) -> Any:
    path = folder / "quiz.jsonl"
    path.write_text("".join(json.dumps(i) + "\n" for i in items))
    arguments = {"benchmarks": {"quiz": [str(path)]}, "n_words": n_words}
    counts = decontaminate.build_task(folder, arguments)
    return safetensors.load((folder / decontaminate.INDEX[0]).read_bytes()), counts


def found(texts: list[str], built: Any) -> list[list[int]]:
    return decontaminate.overlaps(pa.array(texts, pa.large_string()), built).tolist()


@pytest.mark.parametrize(
    "set_otherwise",
    [
        lambda q: q,
        str.upper,
        lambda q: q.replace(" ", "\n"),
        lambda q: q.replace(" ", ", "),
        lambda q: " ".join(q.split()[:15]),
        lambda q: " ".join(q.split()[12:]),
    ],
)
def test_an_item_is_found_however_it_is_set(tmp_path: Path, set_otherwise: Any) -> None:
    built, _ = index(tmp_path, [{"q": "something else of no matter at all here"}, {"q": QUESTION}])
    planted = set_otherwise(QUESTION)
    text = f"{AROUND} {planted} {AROUND}"
    ((row, start, end, item, _),) = found([AROUND, text], built)
    assert (row, item) == (1, 1)
    assert text.encode()[start:end].decode() == planted


def test_a_few_words_are_no_overlap_and_a_short_item_is_whole(tmp_path: Path) -> None:
    built, counts = index(tmp_path, [{"q": QUESTION}, {"q": SHORT}, {"q": "too short"}])
    assert counts["benchmarks"]["quiz"] == {"items": 3, "too_short": 1, "prompt_runs": 0}
    assert found([" ".join(QUESTION.split()[:12])], built) == []
    assert [r[3] for r in found([f"so {SHORT} it is"], built)] == [1]
    assert found([" ".join(SHORT.split()[:9])], built) == []


def test_a_prompt_that_all_items_share_is_not_content(tmp_path: Path) -> None:
    prompt = "Answer the following question with one of the letters that stand before the answers:"
    items = [{"q": f"{prompt} {i} " + " ".join(f"q{i}w{k}" for k in range(20))} for i in range(20)]
    built, counts = index(tmp_path, items)
    assert counts["benchmarks"]["quiz"]["prompt_runs"] > 0
    assert found([prompt], built) == []
    assert [r[3] for r in found([items[7]["q"]], built)] == [7]


def test_cuts_reach_out_to_white_space_and_are_merged() -> None:
    text = "ä" * 5 + " word" * 200
    data = text.encode()
    ((start, end),) = decontaminate.cuts(text, [(500, 510), (700, 705)])
    assert start <= 300
    assert end >= 905
    assert data[start - 1 : start].isspace()
    assert data[end : end + 1].isspace()
    assert decontaminate.cuts("short", [(1, 2)]) == [(0, 5)]


@pytest.mark.parametrize("what", ["drop", "cut", "report"])
def test_the_stage_drops_cuts_or_reports(
    stage: Callable[..., Stage], rows: list[dict[str, Any]], tmp_path: Path, what: str
) -> None:
    (tmp_path / "quiz.jsonl").write_text(json.dumps({"q": QUESTION}) + "\n")
    prose = rows[1]["text"]
    planted = f"{prose}\n{AROUND}\n{QUESTION}\n{prose[::-1]}"
    some = [rows[1] | {"text": planted}, rows[2]]
    own = {"benchmarks": {"quiz": str(tmp_path / "quiz.jsonl")}, "what": what}
    made = stage({"rules": {}, "decontaminate": own}, rows=some, n_shards=2)
    counts = run(made)
    kept = {r["id"]: r for r in shards.read_all(sorted(made.folder.glob("kept/*"))).to_pylist()}
    report = store.read_json(made.folder / "funnel.json")["contamination"]["benchmarks"]["quiz"]
    assert (report["items"], report["items_hit"], report["documents_hit"]) == (1, 1, 1)
    assert report["samples"][0]["id"] == some[0]["id"]
    if what == "drop":
        assert counts["reasons"] == {"contamination": 1}
    else:
        text = kept[some[0]["id"]]["text"]
        assert (QUESTION in text) == (what == "report")
        assert text.startswith(prose[:200])
    if what == "cut":
        (edit,) = kept[some[0]["id"]]["edits"]
        assert (edit["what"], edit["by"]) == ("contamination", "decontaminate 13: quiz")


def test_no_items_and_no_texts(tmp_path: Path) -> None:
    built, _ = index(tmp_path, [{"q": "short"}])
    assert found(["any text"], built) == []
    built, _ = index(tmp_path, [{"q": QUESTION}])
    assert found(["", "!"], built) == []
    assert decontaminate.overlaps(pa.array([], pa.large_string()), built).dtype == np.int64
