"""Two runs are compared item by item where both were asked the same, and their recipes said."""

import random

import pytest

from pretrain import shards, store
from pretrain.errors import DataError
from pretrain.evaluate import compare, statistics, table
from pretrain.evaluate.scoring import Result, row
from pretrain.evaluate.settings import Task

TASKS = {
    "pairs": Task(path="x", format="minimal_pairs"),
    "cloze": Task(path="x", format="cloze"),
}


def run_of(folder, seed, digest="same", n_items=200, better=0.0, weight=1.0):
    """A run's folder with scores drawn by a seed; `better` of the wrong answers become right."""
    rng, lift = random.Random(0), random.Random(seed)
    found = table.Scored()
    for name, task in TASKS.items():
        scores = []
        for _ in range(n_items):
            right = rng.random() < 0.5
            right = right or lift.random() < better
            bits = rng.uniform(5, 9) - better
            scores.append({"acc": float(right), "gold_bits": bits, "gold_bytes": 4.0})
        result = Result(scores, [0.5] * n_items, n_items, digest=digest)
        found.parts[name] = {"f": result}
        found.rows[name] = row(task, found.parts[name])
    held_out = {"all": {"bits_per_byte": 2.0 - better}}
    store.write_json(folder / "evaluate" / "scores.json", {"held_out": held_out} | found.summary())
    shards.write_table(folder / "evaluate" / "items.parquet", found.items())
    recipe = {"mix": {"sources": {"a": {"weight": weight}}}, "train": {"lr": 1}, "name": str(seed)}
    store.write_json(folder / "recipe.json", recipe)
    return folder


def test_differences_are_paired(tmp_path):
    a, b = run_of(tmp_path / "a", 1), run_of(tmp_path / "b", 2, better=0.2, weight=2.0)
    found = compare.compare(a, b)
    pairs = found["tasks"]["pairs"]
    assert pairs["worse"] == 0
    assert pairs["difference"] == pytest.approx(pairs["better"] / 200)
    assert pairs["p"] < 1e-3
    assert pairs["low"] > 0
    assert pairs["gold"]["difference"] == pytest.approx(-0.05, abs=1e-5)  # 0.2 bits of 4 bytes
    assert found["tasks"]["cloze"]["score"] == "bits_per_byte"
    assert found["tasks"]["cloze"]["difference"] == pytest.approx(-0.05, abs=1e-5)
    assert found["held_out"] == {"all": [2.0, 1.8]}
    assert found["data"] == ["mix.sources.a.weight: 1.0 → 2.0"]
    assert found["rest"] == []
    text = compare.render(found)
    assert "mix.sources.a.weight" in text
    assert f"{pairs['difference']:+.4f}" in text


def test_a_run_does_not_differ_from_itself(tmp_path):
    a = run_of(tmp_path / "a", 1)
    for task in compare.compare(a, a)["tasks"].values():
        assert (task["difference"], task["low"], task["high"], task["p"]) == (0, 0, 0, 1)


def test_what_was_asked_otherwise_is_not_compared(tmp_path):
    a, b = run_of(tmp_path / "a", 1), run_of(tmp_path / "b", 2, digest="other")
    found = compare.compare(a, b)
    assert found["tasks"] == {}
    assert found["not_compared"].keys() == TASKS.keys()
    assert "not compared" in compare.render(found)


def test_only_items_of_both_are_compared(tmp_path):
    a, b = run_of(tmp_path / "a", 1), run_of(tmp_path / "b", 1, n_items=50)
    assert compare.compare(a, b)["tasks"]["pairs"]["items"] == 50


def test_holm_bounds_the_chance_of_any_false_finding():
    assert compare.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert compare.holm([0.5, 0.9]) == [1.0, 1.0]
    assert compare.holm([]) == []
    rng = random.Random(0)
    ps = [[rng.random() for _ in range(5)] for _ in range(4000)]
    assert sum(min(compare.holm(p)) < 0.05 for p in ps) / 4000 == pytest.approx(0.05, abs=0.012)


def test_a_folder_without_scores_is_named(tmp_path):
    a = run_of(tmp_path / "a", 1)
    with pytest.raises(DataError, match=r"none has no scores\.json"):
        compare.compare(a, tmp_path / "none")


def test_the_means_are_those_of_the_items(tmp_path):
    a = run_of(tmp_path / "a", 1)
    scores = store.read_json(a / "evaluate" / "scores.json")
    found = compare.compare(a, a)["tasks"]["pairs"]
    assert found["a"] == pytest.approx(scores["tasks"]["pairs"]["accuracy"], abs=1e-6)
    assert statistics.RESAMPLES >= 1000
