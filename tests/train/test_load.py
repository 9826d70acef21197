"""What a finished run loads as: its last weights, verified."""

import shutil

import pytest
import torch

from pretrain.errors import DataError
from pretrain.train import checkpoint
from pretrain.train.load import load_run


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
