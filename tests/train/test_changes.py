"""A change is refused with what differs, or accepted and recorded; some cannot be accepted."""

import shutil

import pytest

from pretrain import cli, flow, store
from pretrain.errors import DataError, RecipeError
from pretrain.events import Log
from pretrain.train import replay
from tests.conftest import tiny_recipe
from tests.train.test_run import stage

LR = "train.lr=0.001"


@pytest.fixture
def half(tiny_run, tmp_path):
    """(corpus, run) whose training was killed after the checkpoint of step 8 of 12."""
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run, ignore=shutil.ignore_patterns("evaluate", "publish"))
    interrupt(run)
    return tiny_run.parents[1] / "corpus", run


def interrupt(run):
    store.remove(run / "train" / "manifest.json")
    store.remove(run / "train" / "checkpoints" / "step-00000012")


def test_an_accepted_change_is_recorded_with_its_step(half, tiny_run, monkeypatch):
    corpus, run = half
    changed = tiny_recipe(corpus, LR)
    with pytest.raises(RecipeError, match=r"train.lr: 0.003 → 0.001[\s\S]*--accept-changes"):
        stage(changed, run)
    assert stage(changed, run, accept=True)
    wanted = [{"step": 8, "differs": ["settings.train.lr: 0.003 → 0.001"]}]
    assert store.read_json(run / "train" / "result.json")["changes"] == wanted
    manifest = store.read_json(run / "train" / "manifest.json")
    assert manifest["counts"]["changes"] == 1
    assert "result.json" in manifest["outputs"]
    (change,) = store.read_json(run / "train" / "started.json")["changes"]
    assert change["key"] == store.read_json(tiny_run / "train" / "manifest.json")["key"]
    assert change["time"] > 1.7e9

    old, new = (store.read_lines(f / "train" / "metrics.jsonl") for f in (tiny_run, run))
    assert [m["step"] for m in new if "loss" in m] == list(range(1, 13))
    assert [m for m in new if m["step"] <= 8] == [m for m in old if m["step"] <= 8]
    assert [m for m in new if m["step"] > 10] != [m for m in old if m["step"] > 10]

    flow.record_recipe(changed, run)
    assert all(a == b for _, a, b in replay.replay(run, 10, Log(quiet=True)))
    with pytest.raises(DataError, match=r"changed at step 8 .* must be a step after 8"):
        replay.replay(run, 6, Log(quiet=True))

    # Accepted once it goes on as it is; another change, here of a library, is one more.
    interrupt(run)
    assert stage(changed, run)
    interrupt(run)
    monkeypatch.setattr(flow, "_version", lambda library: "9.9")
    with pytest.raises(RecipeError, match=r"libraries.torch: .* → 9.9"):
        stage(changed, run)
    assert stage(changed, run, accept=True)
    told = store.read_json(run / "train" / "result.json")["changes"]
    assert [c["step"] for c in told] == [8, 8]
    assert told[1]["differs"][0].startswith("libraries.torch: ")


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("model.width=32", "model.width: 64 → 32: the weights have the shapes of the old model"),
        ("train.optimizer=adamw", "the checkpoint holds the state of the old one"),
        ("train.average=ema", "the checkpoint holds the state of the old one"),
        ("train.batch_tokens=128", "the samples of the 8 steps so far would be other ones"),
        ("seed=6", "order and draws of the data so far follow from it"),
    ],
)
def test_what_the_weights_rest_upon_cannot_be_accepted(half, override, why):
    corpus, run = half
    before = (run / "train" / "started.json").read_bytes()
    with pytest.raises(RecipeError, match="cannot go on with what changed") as caught:
        stage(tiny_recipe(corpus, override, LR), run, accept=True)
    assert why in str(caught.value)
    assert "train.lr" not in str(caught.value)
    assert (run / "train" / "started.json").read_bytes() == before
    assert stage(tiny_recipe(corpus), run)


def test_another_tokenizer_cannot_be_accepted(half):
    corpus, run = half
    manifest = store.read_json(run / "tokenize" / "manifest.json")
    manifest["outputs"]["tokenizer.json"] = "0" * 32
    store.write_json(run / "tokenize" / "manifest.json", manifest)
    with pytest.raises(RecipeError, match=r"parents.tokenize: .* tokens stand for other text"):
        stage(tiny_recipe(corpus), run, accept=True)


def test_a_longer_run_can_be_accepted(half):
    """Its samples so far are those of the shorter one."""
    corpus, run = half
    assert stage(tiny_recipe(corpus, "train.steps=16"), run, accept=True)
    result = store.read_json(run / "train" / "result.json")
    assert result["seen"] == result["planned"]
    assert result["changes"][0]["differs"] == ["settings.train.steps: 12 → 16"]


def test_the_command_takes_the_option():
    for command in ("run", "train"):
        assert cli.parser().parse_args([command, "r.toml", "--accept-changes"]).accept_changes
