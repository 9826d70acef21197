"""A tiny ladder through the ordinary flow: data once, stopped and taken up, forecast written."""

import pytest

from pretrain import store
from pretrain.errors import DataError
from pretrain.plan import ladder, ladder_curve, ladder_run

from ..conftest import tiny_recipe

SMALL = ("model.width=64", "model.heads=8", "model.kv_heads=4", "model.layers=2",
         "model.hidden=96", "train.steps=40", "evaluate.tasks={}", "train.prompts=[]")  # fmt: skip


def planned(recipe):
    return {"seconds": ladder.flops_of(recipe) / 1e9}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    base = tmp_path_factory.mktemp("ladder")
    recipe = tiny_recipe(base / "corpus", *SMALL)
    whole = ladder.large(recipe)
    rungs = ladder.rungs(recipe, 1.0, 3, fewest_steps=1)
    folder = base / "runs"
    for rung in rungs:
        ladder_run.run_rung(rung, folder / rung.name, folder / "rung-1", 1, quiet=True)
    return recipe, whole, rungs, folder


def test_text_is_prepared_once(made):
    _, _, rungs, folder = made
    first = folder / "rung-1" / "mix" / "mixture.json"
    for rung in rungs[1:]:
        other = folder / rung.name / "mix" / "mixture.json"
        assert other.samefile(first)
        events = [e["stage"] for e in store.read_lines(folder / rung.name / "events.jsonl")
                  if e["event"] == "stage_start"]  # fmt: skip
        assert events == ["plan", "train", "evaluate"]


def test_what_has_run_is_not_run_again(made):
    _, _, rungs, folder = made
    path = folder / "rung-2" / "events.jsonl"
    before = len(store.read_lines(path))
    ladder_run.run_rung(rungs[1], folder / "rung-2", folder / "rung-1", 1, quiet=True)
    after = store.read_lines(path)[before:]
    assert not [e for e in after if e["event"] == "stage_start"]


def test_the_record_holds_what_the_runs_say(made):
    recipe, whole, rungs, folder = made
    record = ladder_run.summarise(rungs, whole, folder, planned(recipe))
    for row, rung in zip(record["rungs"], rungs, strict=True):
        scores = store.read_json(folder / rung.name / "evaluate" / "scores.json")
        assert row["loss"] == scores["held_out"]["all"]["loss"]
        steps = store.read_lines(folder / rung.name / "train" / "speed.jsonl")
        assert row["seconds"] >= sum(step["seconds"] for step in steps)
        assert row["flops"] == rung.flops
    assert record["loss"]["low"] < record["loss"]["loss"] < record["loss"]["high"]
    assert record["large"]["flops"] == whole.flops
    curve = record["curve"]
    looks = [ladder_curve.looks(folder / rung.name, rung.recipe.train.steps) for rung in rungs]
    assert [row["share"] for row in curve] == [s for s, _ in looks[-1] if s >= looks[-2][0][0]]
    losses = [rows[-1][1] for rows in looks]
    end = ladder.forecast([rung.flops for rung in rungs], losses, whole.flops)
    told = {"share": 1.0} | {key: end[key] for key in ("loss", "low", "high")}
    assert curve[-1] == pytest.approx(told)
    table = ladder_run.render(record)
    assert max(len(line) for line in table.splitlines()) <= 100
    assert "forecast" in table


def test_the_command_writes_its_record(made, tmp_path, monkeypatch):
    recipe, _, rungs, folder = made
    monkeypatch.setattr(ladder, "rungs", lambda *_: rungs)
    runs = tmp_path / "runs"
    (runs / "tiny-ladder").mkdir(parents=True)
    for rung in rungs:
        store.link_folder(folder / rung.name, runs / "tiny-ladder" / rung.name)
    record = ladder_run.run(recipe, runs, 1, 1.0, 3, True, planned)
    assert store.read_json(runs / "tiny-ladder" / "ladder.json") == record


def test_a_rung_without_held_out_text_is_said(made, tmp_path):
    with pytest.raises(DataError, match="no held-out loss"):
        ladder_run.measured(tmp_path)
