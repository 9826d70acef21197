"""A half-done training is never joined to another one, and a finished one is never lost."""

import pytest

from pretrain import flow, store
from pretrain.errors import RecipeError
from pretrain.events import Log
from tests.conftest import run_stages, tiny_recipe

BEFORE = ("collect", "curate", "tokenize", "mix")


@pytest.fixture
def prepared(tmp_path):
    run_folder = tmp_path / "runs" / "tiny"
    run_stages(tiny_recipe(tmp_path / "corpus", "train.steps=8"), run_folder, *BEFORE)
    return tmp_path / "corpus", run_folder


def stage(recipe, run_folder, restart=False, accept=False):
    log = Log(run_folder, quiet=True)
    return flow.run_stage("train", recipe, run_folder, 1, log, restart, None, accept)


def half_done(corpus, run_folder, monkeypatch):
    """Train to step 8 and take the end away, as a crash after the checkpoint of step 8 would."""
    stage(tiny_recipe(corpus, "train.steps=8"), run_folder)
    (run_folder / "train" / "manifest.json").unlink()
    store.remove(run_folder / "train" / "checkpoints" / "step-00000008")


def test_a_half_done_training_refuses_another_recipe(prepared, monkeypatch):
    corpus, run_folder = prepared
    half_done(corpus, run_folder, monkeypatch)
    with pytest.raises(RecipeError) as caught:
        stage(tiny_recipe(corpus, "train.steps=8", "train.lr=0.001"), run_folder)
    assert "settings.train.lr: 0.003 → 0.001" in str(caught.value)
    assert "--restart" in str(caught.value)
    assert stage(tiny_recipe(corpus, "train.steps=8"), run_folder)


def test_another_layout_goes_on_by_itself(prepared, monkeypatch):
    corpus, run_folder = prepared
    half_done(corpus, run_folder, monkeypatch)
    key = store.read_json(run_folder / "train" / "started.json")["key"]
    stage(tiny_recipe(corpus, "train.steps=8", "train.layout.recompute=full"), run_folder)
    assert store.read_json(run_folder / "train" / "manifest.json")["key"] == key
    assert "changes" not in store.read_json(run_folder / "train" / "result.json")


def test_restart_keeps_the_old_folder(prepared, monkeypatch):
    corpus, run_folder = prepared
    half_done(corpus, run_folder, monkeypatch)
    changed = tiny_recipe(corpus, "train.steps=8", "train.lr=0.001")
    assert stage(changed, run_folder, restart=True)
    kept = list((run_folder / "previous").glob("train-*"))
    assert len(kept) == 1
    assert (kept[0] / "checkpoints" / "step-00000004").exists()


def test_a_second_restart_keeps_both(prepared):
    corpus, run_folder = prepared
    recipe = tiny_recipe(corpus, "train.steps=4")
    for n_kept in range(3):
        assert stage(recipe, run_folder, restart=n_kept > 0)
        assert len(list((run_folder / "previous").glob("train-*"))) == n_kept
        (run_folder / "train" / f"of-{n_kept}").touch()
    kept = {path.name for path in (run_folder / "previous").glob("*/of-*")}
    assert kept == {"of-0", "of-1"}


def test_a_finished_training_is_set_aside_when_the_recipe_changes(prepared):
    corpus, run_folder = prepared
    stage(tiny_recipe(corpus, "train.steps=8"), run_folder)
    first = (run_folder / "train" / "metrics.jsonl").read_bytes()
    assert stage(tiny_recipe(corpus, "train.steps=4"), run_folder)
    kept = list((run_folder / "previous").glob("train-*"))
    assert (kept[0] / "metrics.jsonl").read_bytes() == first
    assert store.read_json(run_folder / "train" / "result.json")["steps"] == 4


def test_outputs_are_the_final_checkpoint_and_the_records(tiny_run):
    outputs = set(store.read_json(tiny_run / "train" / "manifest.json")["outputs"])
    final = {f"checkpoints/step-00000012/{n}" for n in (
        "model-00001-of-00001.safetensors", "model.safetensors.index.json",
        "optimizer-00001-of-00001.safetensors", "optimizer.safetensors.index.json",
        "state.json", "hashes.json")}  # fmt: skip
    assert outputs == final | {"metrics.jsonl", "samples.jsonl", "result.json"}
