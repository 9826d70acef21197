"""Each rule of vLLM's layout is broken once, and seen."""

import json
import re
from dataclasses import replace

import pytest
import torch

from pretrain.model import hf, released
from pretrain.model.init import build
from pretrain.model.sizes import SIZES
from pretrain.publish import serving, weights
from pretrain.tokenize.encode import Encoder
from tests.publish.test_gguf import encoder_of


@pytest.fixture
def folder(tmp_path):
    encoder = encoder_of(tmp_path)
    shape = replace(SIZES["1m"], layers=1, vocab_size=encoder.vocab_size, head_dim=32)
    state = build(shape, 0).state_dict()
    weights.write(shape, state, torch.float32, 64, 1 << 30, lambda name: tmp_path / name)
    config = hf.config(shape, 64, 0, 1, "float32")
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "<|endoftext|>"}')
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [0, 1]}')
    return tmp_path


def faults(folder):
    return serving.faults(released.read(folder), Encoder(folder / "tokenizer.json"))


def test_a_sound_folder_breaks_no_rule(folder):
    assert faults(folder) == []


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("config.json", {"architectures": ["LlamaModel"]}, "architectures is"),
        ("config.json", {"architectures": None}, "architectures is None"),
        ("config.json", {"dtype": "int8"}, "dtype is 'int8'"),
        ("config.json", {"max_position_embeddings": None}, "no longest position"),
        ("tokenizer_config.json", {"eos_token": "</none>"}, "eos_token '</none>' is not in"),
        ("tokenizer_config.json", {"pad_token": {"content": "[P]"}}, "pad_token '\\[P\\]'"),
        ("generation_config.json", {"eos_token_id": [0, 9999]}, "9999, outside"),
    ],
)
def test_a_broken_rule_is_named(folder, name, change, message):
    table = json.loads((folder / name).read_text()) | change
    (folder / name).write_text(json.dumps(table))
    (found,) = faults(folder)
    assert re.search(message, found)


def test_a_missing_tokenizer_configuration_is_named(folder):
    (folder / "tokenizer_config.json").unlink()
    assert "is missing" in faults(folder)[0]


@pytest.mark.parametrize(("width", "fits"), [(16, False), (32, True), (48, False), (128, True)])
def test_widths_of_heads(folder, width, fits):
    found = released.read(folder)
    found = replace(found, shape=replace(found.shape, head_dim=width))
    assert (serving.faults(found, Encoder(folder / "tokenizer.json")) == []) == fits
