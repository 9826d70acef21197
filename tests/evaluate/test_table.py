"""Suites are means of their tasks with errors; what has no score says why; items are all there."""

import pytest

from pretrain.evaluate import table
from pretrain.evaluate.settings import Task
from pretrain.evaluate.suites import Suite

from .test_scoring import CHOICE, Known, subject_of, write


def suite(names, mean="accuracy", n_tasks=None):
    tasks = {f"s/{n}": Task(path="x", format="cloze") for n in names}
    return Suite("s", "about", mean, n_tasks or len(tasks), tasks)


def row(accuracy, error, limited=False, **centred):
    about = {"centred": centred, "limited": limited, "probability": "log-probability"}
    return {"accuracy": accuracy, "accuracy_error": error} | about


def test_a_suite_is_the_mean_of_its_tasks_by_version():
    rows = {
        "s/a": row(0.5, 0.1, v1=[0.2, 0.03], v2=[0.1, 0.04]),
        "s/b": row(0.7, 0.2, v1=[0.4, 0.04], v2=[0.3, 0.03]),
    }
    found = table.suite_row(suite("ab", "centred"), rows)
    assert found["scores"] == {"v1": [0.3, 0.025], "v2": [0.2, 0.025]}
    assert found["complete"]
    assert table.suite_row(suite("ab"), rows)["scores"] == {
        "accuracy": [0.6, pytest.approx(0.1118, abs=1e-4)]
    }
    assert table.suite_row(suite("ab", "none"), rows) is None
    assert table.suite_row(suite("cd"), rows) is None


@pytest.mark.parametrize(
    ("names", "n_tasks", "limited"), [("abc", None, False), ("ab", 22, False), ("ab", None, True)]
)
def test_a_suite_is_whole_only_with_all_tasks_and_items(names, n_tasks, limited):
    rows = {f"s/{n}": row(0.5, 0.1, limited, v1=[0.2, 0.03]) for n in "ab"}
    found = table.suite_row(suite(names, n_tasks=n_tasks), rows)
    assert not found["complete"]
    assert found["missing"] == [f"s/{n}" for n in names if n == "c"]
    assert table.suite_line("core", found).startswith("core, mean of 2 of ")


def test_all_tasks_are_scored_or_say_why_not(tmp_path):
    good = write(tmp_path / "good.jsonl", CHOICE)
    bad = write(tmp_path / "bad.jsonl", [{"query": "x"}])
    choice = {"format": "multiple_choice"}
    tasks = {
        "good": Task(path=str(good), **choice),
        "bad": Task(path=str(bad), **choice),
        "optional": Task(path=str(bad), required=False, **choice),
        "absent": Task(path=f"{tmp_path}/none*", **choice),
        "code": Task(path=str(good), format="code", program="x"),
    }
    said = []
    found = table.score_all(
        subject_of(Known()), tasks, [], tmp_path / "kept", allow_code=False, say=said.append
    )
    assert found.rows.keys() == {"good"}
    assert found.failed.keys() == {"bad"}
    assert found.skipped.keys() == {"optional", "absent", "code"}
    assert "allow_code" in found.skipped["code"]
    assert all(any(line.startswith(f"{name}:") for line in said) for name in tasks)
    page = table.page(found.summary())
    assert all(name in page for name in tasks)
    items = found.items().to_pylist()
    assert {(r["task"], r["file"], r["item"]) for r in items} == {
        ("good", "good", i) for i in range(len(CHOICE))
    }
    assert sum(r["value"] for r in items if r["score"] == "acc") == pytest.approx(
        found.rows["good"]["accuracy"] * len(CHOICE), abs=1e-5
    )


def test_programs_are_run_only_where_allowed_and_the_locks_are_said(tmp_path):
    records = [{"prompt": "def f():\n", "test": "assert f() == 4"}]
    path = write(tmp_path / "code.jsonl", records)
    task = Task(
        path=str(path), format="code", delimiter="", program="{prompt}{completion}\n{test}\n"
    )
    said = []
    found = table.score_all(
        subject_of(Known({"": "    return 4"})), {"code": task}, [], tmp_path / "kept",
        allow_code=True, say=said.append,
    )  # fmt: skip
    assert found.rows["code"]["accuracy"] == 1
    assert found.rows["code"]["locks"]["memory"]
    assert "locks that held: " in said[0]
