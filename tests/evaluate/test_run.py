"""The evaluate stage: tasks that are missing or bad, suites, and what a second call keeps."""

import gzip
import json
import shutil

import pytest

from pretrain import shards, store
from pretrain.errors import DataError, RecipeError

from ..conftest import run_stages, tiny_recipe


@pytest.fixture(scope="module")
def scores(tiny_run):
    return store.read_json(tiny_run / "evaluate" / "scores.json")


def test_tasks_are_those_of_the_recipe(scores):
    assert scores["tasks"].keys() == {"pairs", "choices"}
    assert scores["tasks"]["pairs"]["items"] == 6
    assert scores["tasks"]["choices"]["chance"] == 0.5
    for row in scores["tasks"].values():
        (file,) = row["files"].values()
        assert row["accuracy"] == file["accuracy"]


@pytest.fixture
def copied(tiny_run, tmp_path):
    run_folder = tmp_path / "run"
    shutil.copytree(tiny_run, run_folder)

    def evaluated(*overrides):
        run_stages(tiny_recipe(tmp_path / "corpus", *overrides), run_folder, "evaluate")
        return store.read_json(run_folder / "evaluate" / "scores.json")

    return evaluated


def test_a_missing_required_task_names_its_key_and_an_optional_one_is_skipped(copied):
    path = "evaluate.tasks.pairs.path=/nowhere/*.jsonl"
    with pytest.raises(RecipeError, match=r"recipe key evaluate\.tasks\.pairs\.path"):
        copied(path)
    assert copied(path, "evaluate.tasks.pairs.required=false")["tasks"].keys() == {"choices"}


def test_the_batch_size_changes_no_score_and_the_overlap_no_count(copied, scores):
    small = copied("evaluate.batch_tokens=1")["held_out"]
    for source, row in scores["held_out"].items():
        assert small[source]["bits_per_byte"] == pytest.approx(row["bits_per_byte"], rel=1e-5)
    other = copied("evaluate.overlap=0.0")["held_out"]["all"]
    assert other["n_tokens"] == scores["held_out"]["all"]["n_tokens"]
    assert other["bits_per_byte"] != scores["held_out"]["all"]["bits_per_byte"]


def test_a_bad_file_costs_no_other_tasks_scores(copied, tmp_path):
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"query": "x", "choices": ["a"], "gold": 3}\n')
    path = f"evaluate.tasks.choices.path={bad}"
    with pytest.raises(DataError, match=r"1 of 2 tasks failed.*choices.*gold 3"):
        copied(path)
    left = store.read_json(tmp_path / "run" / "evaluate" / "scores.json")
    assert left["tasks"].keys() == {"pairs"}
    assert "gold 3" in left["failed"]["choices"]
    assert not (tmp_path / "run" / "evaluate" / "manifest.json").exists()
    scores = copied(path, "evaluate.tasks.choices.required=false")
    assert scores["tasks"].keys() == {"pairs"}
    assert "gold 3" in scores["skipped"]["choices"]
    assert scores["failed"] == {}


@pytest.fixture
def bench(tmp_path):
    """A data folder with a little of two suites."""
    folder = tmp_path / "bench"
    (folder / "blimp").mkdir(parents=True)
    pair = {"sentence_good": "The river runs.", "sentence_bad": "River the runs zq."}
    for name in ("a", "b"):
        data = "".join(json.dumps(pair) + "\n" for _ in range(4))
        (folder / "blimp" / f"{name}.jsonl.gz").write_bytes(gzip.compress(data.encode()))
    place = folder / "llm-foundry" / "commonsense_reasoning"
    place.mkdir(parents=True)
    copa = [{"query": f"The old river {i},", "choices": ["it ran.", "zq."], "gold": i % 2}
            for i in range(6)]  # fmt: skip
    (place / "copa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in copa))
    return folder


def test_suites_say_of_how_many_tasks_they_are(copied, bench):
    scores = copied(f"evaluate.data={bench}", 'evaluate.suites=["core", "blimp"]')
    assert {"core/copa", "blimp", "pairs", "choices"} == scores["tasks"].keys()
    core, blimp = scores["suites"]["core"], scores["suites"]["blimp"]
    assert core["tasks"] == 1
    assert core["of"] == 22
    assert len(core["missing"]) == 21
    assert not core["complete"]
    copa = scores["tasks"]["core/copa"]
    for version in ("v1", "v2"):
        assert core["scores"][version] == copa["centred"][version]
        assert core["scores"][version][0] == pytest.approx((copa["accuracy"] - 0.5) / 0.5, abs=1e-5)
    assert blimp["complete"]
    assert copa["contaminated"]["n_gram"] == 13  # where suites are given
    assert copa["contaminated"]["items"] == 0
    assert copa["contaminated"]["clean"] == [copa["accuracy"], copa["accuracy_error"]]
    assert scores["tasks"]["blimp"]["files"].keys() == {"a", "b"}
    given = ["evaluate.suites=['blimp']", "evaluate.limit=2", "evaluate.contamination=false"]
    limited = copied(f"evaluate.data={bench}", *given)
    assert "contaminated" not in limited["tasks"]["blimp"]
    assert limited["tasks"]["blimp"]["items"] == 4
    assert not limited["suites"]["blimp"]["complete"]


def test_suites_without_data_are_an_error_or_skipped(copied, tmp_path):
    given = [f"evaluate.data={tmp_path / 'none'}", "evaluate.suites=['core']"]
    with pytest.raises(RecipeError, match=r"no data of suite 'core'.*recipe key evaluate\.data"):
        copied(*given)
    scores = copied(*given, "evaluate.required=false")
    assert scores["suites"] == {}
    assert len(scores["skipped"]) == 22


def test_every_item_is_in_the_table_and_a_second_call_asks_nothing(copied, tiny_run, tmp_path):
    items = shards.read(tiny_run / "evaluate" / "items.parquet").to_pylist()
    scores = store.read_json(tiny_run / "evaluate" / "scores.json")
    for name, row in scores["tasks"].items():
        values = [r["value"] for r in items if (r["task"], r["score"]) == (name, "acc")]
        assert len(values) == row["items"]
        assert sum(values) / len(values) == pytest.approx(row["accuracy"], abs=1e-6)
    kept = sorted((tmp_path / "run" / "answers").glob("*.jsonl"))
    assert len(kept) == 2
    before = [path.read_bytes() for path in kept]
    assert copied("evaluate.overlap=0.25")["tasks"] == scores["tasks"]
    assert [path.read_bytes() for path in kept] == before
