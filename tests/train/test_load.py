"""What a finished run loads as: its last weights, verified."""

import shutil

import pytest
import torch

from pretrain import cli, flow, store
from pretrain.errors import DataError
from pretrain.train import checkpoint
from pretrain.train.load import load, load_run, trained_recipe, window_of
from tests.conftest import tiny_recipe


def test_the_last_weights(tiny_run):
    model, encoder = load_run(tiny_run)
    weights, _, _ = checkpoint.load(tiny_run / "train" / "checkpoints" / "step-00000012")
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, weights[name])
    assert encoder.vocab_size == model.shape.vocab_size


def test_a_damaged_checkpoint_is_refused(tiny_run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(tiny_run, copy)
    path = copy / "train" / "checkpoints" / "step-00000012" / "model-00001-of-00001.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="does not have its recorded hash"):
        load_run(copy)


def test_a_run_without_training_says_so(tmp_path):
    with pytest.raises(DataError, match="no finished training"):
        load_run(tmp_path)


def test_an_average_that_was_not_kept_is_an_error(tiny_run):
    with pytest.raises(DataError, match=r"train\.average"):
        load_run(tiny_run, weights="average")


def test_the_averaged_weights(tiny_run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(tiny_run, copy)
    checkpoints = copy / "train" / "checkpoints"
    weights, moments, state = checkpoint.load(checkpoint.folder_of(checkpoints, 12))
    halves = {f"average.{n}": t / 2 for n, t in weights.items()}
    shutil.rmtree(checkpoint.folder_of(checkpoints, 12))
    del state["step"]
    checkpoint.save(checkpoints, 12, weights, moments | halves, state)
    model, _ = load_run(copy, weights="average")
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, weights[name] / 2)


def test_a_run_its_checkpoint_and_its_released_folder_are_one_model(tiny_run):
    result = store.read_json(tiny_run / "train" / "result.json")
    places = [tiny_run, tiny_run / "train" / result["checkpoint"], tiny_run / "publish" / "model"]
    ours, _ = load_run(tiny_run)
    tokens = torch.arange(40)[None]
    for place in places:
        model, encoder = load(place)
        with torch.inference_mode():
            assert torch.equal(model(tokens), ours(tokens))
        assert encoder.vocab_size == ours.shape.vocab_size
        assert window_of(place) == 32


def test_a_question_about_another_model_changes_nothing(tiny_run, tmp_path):
    """`pretrain plan` leaves its recipe in the run folder; heads give tensors of equal shapes."""
    runs = tmp_path / "runs"
    shutil.copytree(tiny_run, runs / "tiny")
    corpus = tiny_run.parents[1] / "corpus"
    words = ("model.heads=2", "model.kv_heads=1", "train.steps=20", "seed=9")
    tiny_recipe(corpus)
    asked = ["plan", str(corpus / "tiny.toml"), *words, "--runs", str(runs), "--quiet"]
    assert cli.command(asked) == 0
    assert flow.recorded_recipe(runs / "tiny").model.heads == 2
    before, now = load_run(tiny_run)[0], load_run(runs / "tiny")[0]
    assert now.shape == before.shape
    assert trained_recipe(runs / "tiny").train == flow.recorded_recipe(tiny_run).train
    assert trained_recipe(runs / "tiny").seed == 5
    assert cli.command(["replay", str(runs / "tiny"), "--step", "10"]) == 0
