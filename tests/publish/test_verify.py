"""Verification loads what was written, and sees one wrong number in it."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from pretrain.errors import DataError
from pretrain.publish import verify
from pretrain.train.load import load_run


@pytest.fixture(scope="module")
def trained(tiny_run):
    return load_run(tiny_run)


@pytest.fixture
def folder(tiny_run, tmp_path):
    shutil.copytree(tiny_run / "publish" / "model", tmp_path / "model")
    return tmp_path / "model"


def test_a_folder_is_checked_without_its_run(folder):
    found = {}
    for check in verify.checks(folder):
        found.setdefault(check.name, []).append(check)
    assert {n: c[0].state for n, c in found.items()} == {
        "checksums": "ok", "tensors": "ok", "transformers": "ok", "vLLM": "note",
    }  # fmt: skip
    (note,) = found["vLLM"]
    assert "16 wide" in note.detail
    (folder / "config.json").write_bytes((folder / "config.json").read_bytes() + b" ")
    with pytest.raises(DataError, match="checksum"):
        list(verify.checks(folder))


def _change(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def test_an_untouched_folder_is_equal(folder, trained):
    import transformers

    found = verify.compare(folder, *trained, "float32")
    assert found["transformers"] == transformers.__version__
    assert found["class"] == "Qwen3ForCausalLM"
    assert 0 <= found["largest_logit_difference"] < 1e-4
    assert found["token_ids_equal"] is True


def _add(name, *at):
    def change(weights):
        weights[name] = weights[name].clone()
        weights[name][at] += 0.5

    return change


@pytest.mark.parametrize(
    "change",
    [
        _add("lm_head.weight", 300, 5),
        _add("model.layers.1.self_attn.q_norm.weight", 3),
        _add("model.norm.weight", 0),
        _add("model.layers.0.mlp.down_proj.weight", 0, 0),
    ],
)
def test_one_changed_weight_is_seen(folder, trained, change):
    _change(folder, change)
    with pytest.raises(DataError, match="logits differ by"):
        verify.compare(folder, *trained, "float32")


def test_a_weight_that_is_not_a_number_is_seen(folder, trained):
    def spoil(weights):
        weights["model.norm.weight"] = torch.full_like(weights["model.norm.weight"], float("nan"))

    _change(folder, spoil)
    with pytest.raises(DataError, match="logits differ by nan"):
        verify.compare(folder, *trained, "float32")


def test_a_missing_and_an_extra_weight_are_seen(folder, trained):
    def rename(weights):
        weights["other"] = weights.pop("model.layers.1.mlp.up_proj.weight")

    _change(folder, rename)
    with pytest.raises(DataError, match="finds other weights"):
        verify.compare(folder, *trained, "float32")


def test_another_tokenizer_is_seen(folder, trained):
    content = json.loads((folder / "tokenizer.json").read_bytes())
    content["model"]["merges"] = content["model"]["merges"][:10]
    (folder / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="other ids"):
        verify.compare(folder, *trained, "float32")


def test_another_base_of_the_rotary_embedding_is_seen(folder, trained):
    config = json.loads((folder / "config.json").read_bytes())
    config["rope_theta"] = config["rope_parameters"]["rope_theta"] = 500_000.0
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match="logits differ by"):
        verify.compare(folder, *trained, "float32")
