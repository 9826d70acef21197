"""The batch of a step is named as training recorded it."""

from pretrain import flow, store
from pretrain.launch import suspect
from tests.train import fleet


def test_samples_are_those_that_were_trained_on(tiny_run, tmp_path):
    run, recipe = fleet.fresh(tiny_run, tmp_path / "run"), flow.recorded_recipe(tiny_run)
    lines = store.read_lines(tiny_run / "train" / "metrics.jsonl")
    for line in [m for m in lines if "samples" in m]:
        found = suspect.batch(recipe, run, line["step"])
        assert found[0]["sample"] == line["first_sample"]
        assert found[-1]["sample"] == line["last_sample"]
        assert {f["source"] for f in found} == {*line["loss_by_source"]}
    said = suspect.write(recipe, run, 3)
    told = store.read_json(run / "launch" / "suspect.json")
    assert told == {"step": 3, "samples": suspect.batch(recipe, run, 3)}
    assert f"samples {told['samples'][0]['sample']} to" in said


def test_what_a_rollback_passed_over_is_counted_in(tiny_run, tmp_path):
    run, recipe = fleet.fresh(tiny_run, tmp_path / "run"), flow.recorded_recipe(tiny_run)
    state = run / "train" / "checkpoints" / "step-00000004-after-0001" / "state.json"
    store.write_json(state, {"step": 4, "health": {"shift": 2}})
    plain = suspect.batch(recipe, tiny_run, 8)
    assert suspect.batch(recipe, run, 6) == plain
    assert suspect.batch(recipe, run, 3) == suspect.batch(recipe, tiny_run, 3)


def test_before_the_data_are_mixed_nothing_is_told(tmp_path, tiny_run):
    recipe = flow.recorded_recipe(tiny_run)
    assert suspect.write(recipe, tmp_path, 1) == ""
    assert suspect.write(recipe, tiny_run, recipe.train.steps + 1) == ""
