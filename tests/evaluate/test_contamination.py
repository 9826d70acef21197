"""Items found in the training documents are those that a search word by word finds."""

import json
import random
import shutil

import pyarrow as pa
import pytest

from pretrain import shards, store
from pretrain.evaluate import contamination, scoring, statistics
from pretrain.evaluate.contamination import N_WORDS, contaminated, text_of
from pretrain.evaluate.prompts import Item
from pretrain.evaluate.settings import Task

from ..conftest import run_stages, tiny_recipe
from .test_scoring import write

WORDS = [f"{a}{b}" for a in "bcdfglmnprst" for b in ("an", "el", "ir", "os", "um")]


def runs(text, n):
    words = text.lower().replace(".", " ").replace(",", " ").split()
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def naive(text, documents):
    """Whether a document has N_WORDS words in a row of the text, or all words of a shorter one."""
    n = min(N_WORDS, len(text.split()))
    return n >= 8 and any(runs(text, n) & runs(document, n) for document in documents)


def results(paths, rng):
    """Random scores of all items of some files."""
    made = {}
    for path in paths:
        n = len(path.read_text().splitlines())
        scores = [{"acc": float(rng.random() < 0.5)} for _ in range(n)]
        made[path.stem] = scoring.Result(scores=scores, chances=[0.5] * n)
    return made


@pytest.mark.parametrize("seed", range(3))
def test_the_items_found_are_those_of_a_search_word_by_word(tmp_path, seed):
    rng = random.Random(seed)

    def text(n):
        return " ".join(rng.choice(WORDS) for _ in range(n))

    records = [
        {"query": text(rng.choice([2, 6, 9, 14, 30])), "choices": [text(4), text(4)], "gold": 1}
        for _ in range(40)
    ]
    documents = [text(60) for _ in range(20)]
    for i in range(0, 40, 3):  # a part of every third item stands in a document
        words = f"{records[i]['query']} {records[i]['choices'][1]}".split()
        n = rng.choice([7, 11, 12, 13, 20])
        piece = " ".join(words[-n:]).upper() + "."
        documents[i % 20] += f" {piece} {text(3)}"
    paths = [write(tmp_path / "a.jsonl", records[:15]), write(tmp_path / "b.jsonl", records[15:])]
    task = Task(path=f"{tmp_path}/*.jsonl", format="multiple_choice")
    parts = {"t": results(paths, rng)}
    chunks = [pa.array(documents[i : i + 6], pa.large_string()) for i in range(0, 20, 6)]
    row = contaminated({"t": task}, parts, chunks)["t"]
    texts = [f"{r['query']} {r['choices'][1]}" for r in records]
    wanted = [naive(t, documents) for t in texts]
    assert 0 < sum(wanted) < 40
    assert row["items"] == sum(wanted)
    assert row["share"] == pytest.approx(sum(wanted) / 40)
    assert row["too_short"] == sum(len(t.split()) < 8 for t in texts) > 0
    values = [s["acc"] for r in parts["t"].values() for s in r.scores]
    clean = [
        statistics.mean([v for v, hit in pairs if not hit])
        for pairs in (
            list(zip(values, wanted, strict=True))[:15],
            list(zip(values, wanted, strict=True))[15:],
        )
    ]
    assert row["clean"] == pytest.approx(list(statistics.mean_of(clean)), abs=1e-6)


def test_a_task_that_is_all_there_has_no_clean_score(tmp_path):
    text = " ".join(WORDS[:20])
    path = write(tmp_path / "a.jsonl", [{"sentence_good": text, "sentence_bad": "x"}])
    task = Task(path=str(path), format="minimal_pairs")
    parts = {"t": {"a": scoring.Result(scores=[{"acc": 1.0}], chances=[0.5])}}
    documents = [pa.array([f"and {text} then"], pa.large_string())]
    row = contaminated({"t": task}, parts, documents)["t"]
    assert row == {"items": 1, "share": 1.0, "n_gram": 13, "too_short": 0, "clean": None}


@pytest.mark.parametrize(
    ("format", "item", "wanted"),
    [
        ("multiple_choice", Item("q", ("a", "b"), 1), "q\nb"),
        ("schema", Item("", ("one", "two"), 1, ("rest",)), "two\nrest"),
        ("minimal_pairs", Item(choices=("good", "bad")), "good"),
        ("cloze", Item("q", answers=("a",)), "q\na"),
        ("generation", Item("q", answers=("a", "alias")), "q\na"),
        ("code", Item("def f():"), "def f():"),
    ],
)
def test_an_items_text_is_what_is_asked_and_its_answer(format, item, wanted):
    assert text_of(item, Task(path="x", format=format, program="x")) == wanted


def test_the_stage_looks_in_what_was_trained_on_alone(tiny_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    held = shards.read(run / "mix" / "held_out" / "prose.parquet")["id"].to_pylist()
    kept = shards.read_all(sorted((run / "curate" / "kept").glob("*.parquet"))).to_pylist()
    prose = [r for r in kept if r["source"] == "prose" and len(r["text"].split()) > 20]
    seen = next(r["text"] for r in prose if r["id"] not in held)
    unseen = next(r["text"] for r in prose if r["id"] in held)
    rows = [
        {"sentence_good": " ".join(text.split()[:20]), "sentence_bad": "zq"}
        for text in (seen, unseen)
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = f"evaluate.tasks.pairs.path={path}"
    run_stages(tiny_recipe(tmp_path / "corpus", given), run, "evaluate")
    assert "contaminated" not in store.read_json(run / "evaluate" / "scores.json")["tasks"]["pairs"]
    on = tiny_recipe(tmp_path / "corpus", given, "evaluate.contamination=true")
    run_stages(on, run, "evaluate")
    tasks = store.read_json(run / "evaluate" / "scores.json")["tasks"]
    texts = [r["text"] for r in prose if r["id"] not in held]
    wanted = sum(naive(row["sentence_good"], texts) for row in rows)
    assert tasks["pairs"]["contaminated"]["items"] == wanted == 1
    assert tasks["choices"]["contaminated"]["too_short"] == 4
    line = contamination.line("pairs", tasks["pairs"]["contaminated"], 2)
    assert line.startswith("pairs: 1 of 2 items share 13 words")
