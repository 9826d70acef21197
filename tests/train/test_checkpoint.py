"""A checkpoint is whole or absent; every changed byte is found; the one before takes over."""

import random

import pytest
import torch

from pretrain import store
from pretrain.errors import DataError
from pretrain.train import checkpoint


def save(folder, step):
    generator = torch.Generator().manual_seed(step)
    tensors = {
        "w": torch.randn(7, 5, generator=generator),
        "b": torch.randn(5, generator=generator),
    }
    return checkpoint.save(folder, step, tensors, {"m.w": tensors["w"] * 2}, {"key": "k"})


def test_round_trip(tmp_path):
    path = save(tmp_path, 12)
    model, optimizer, state = checkpoint.load(path)
    assert path.name == "step-00000012"
    assert state == {"step": 12, "key": "k"}
    assert torch.equal(optimizer["m.w"], model["w"] * 2)
    assert checkpoint.damage(path) is None


def test_equal_state_gives_equal_bytes(tmp_path):
    a, b = save(tmp_path / "a", 3), save(tmp_path / "b", 3)
    for name in (*checkpoint.FILES, "hashes.json"):
        assert (a / name).read_bytes() == (b / name).read_bytes()


@pytest.mark.parametrize("name", [*checkpoint.FILES, "hashes.json"])
@pytest.mark.parametrize("how", ["flip", "truncate", "remove", "empty", "swap"])
def test_damage_is_found_named_and_the_one_before_used(tmp_path, name, how):
    save(tmp_path, 1)
    save(tmp_path, 2)
    path = tmp_path / "step-00000002" / name
    data = bytearray(path.read_bytes())
    if how == "flip":
        position = random.Random(name).randrange(len(data))
        data[position] ^= 4
        path.write_bytes(data)
    elif how == "truncate":
        path.write_bytes(data[:-3])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "swap":
        path.write_bytes((tmp_path / "step-00000001" / name).read_bytes())
    else:
        path.unlink()
    said = []
    assert checkpoint.newest(tmp_path, said.append).name == "step-00000001"
    assert "step-00000002 is damaged" in said[0]


def test_every_single_flipped_bit_of_the_weights_is_found(tmp_path):
    path = save(tmp_path, 1) / "model.safetensors"
    data = path.read_bytes()
    for position in range(0, len(data), 7):
        changed = bytearray(data)
        changed[position] ^= 1
        path.write_bytes(changed)
        assert checkpoint.damage(path.parent), position


def test_nothing_but_damaged_ones_is_an_error_not_a_fresh_start(tmp_path):
    (save(tmp_path, 1) / "state.json").unlink()
    with pytest.raises(DataError, match="all 1 checkpoints"):
        checkpoint.newest(tmp_path, lambda text: None)
    assert checkpoint.newest(tmp_path / "none", lambda text: None) is None


def test_prune_keeps_the_newest(tmp_path):
    for step in (1, 2, 10, 9):
        save(tmp_path, step)
    checkpoint.prune(tmp_path, 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000009", "step-00000010"]


def test_a_crash_while_saving_leaves_the_older_ones(tmp_path, monkeypatch):
    save(tmp_path, 1)

    def crash(path, value):
        raise RuntimeError("power")

    monkeypatch.setattr(store, "write_json", crash)
    with pytest.raises(RuntimeError):
        save(tmp_path, 2)
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]
