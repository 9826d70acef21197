"""A checkpoint is whole or absent; every changed byte is found; the one before takes over."""

import random

import pytest
import torch

from pretrain import store
from pretrain.errors import DataError
from pretrain.train import checkpoint

FILES = [
    "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
    "model.safetensors.index.json", "optimizer-00001-of-00001.safetensors",
    "optimizer.safetensors.index.json", "state.json", "hashes.json",
]  # fmt: skip


def save(folder, step):
    generator = torch.Generator().manual_seed(step)
    tensors = {
        "w": torch.randn(7, 5, generator=generator),
        "b": torch.randn(5, generator=generator),
    }
    state = {"key": "k"}
    return checkpoint.save(folder, step, tensors, {"m.w": tensors["w"] * 2}, state, 150)


def test_round_trip(tmp_path):
    path = save(tmp_path, 12)
    model, optimizer, state = checkpoint.load(path)
    assert path.name == "step-00000012"
    assert state == {"step": 12, "key": "k"}
    assert torch.equal(optimizer["m.w"], model["w"] * 2)
    assert checkpoint.damage(path) is None


def test_equal_state_gives_equal_bytes(tmp_path):
    a, b = save(tmp_path / "a", 3), save(tmp_path / "b", 3)
    assert checkpoint.names(a) == [*sorted(FILES[:-1]), FILES[-1]]
    for name in FILES:
        assert (a / name).read_bytes() == (b / name).read_bytes()


@pytest.mark.parametrize("name", FILES)
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
        if path.read_bytes() == bytes(data):
            return  # the same in both
    else:
        path.unlink()
    said = []
    assert checkpoint.newest(tmp_path, said.append).name == "step-00000001"
    assert "step-00000002 is damaged" in said[0]


def test_every_single_flipped_bit_of_the_weights_is_found(tmp_path):
    path = save(tmp_path, 1) / "model-00001-of-00002.safetensors"
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
    checkpoint.prune(tmp_path, 2, newest=10, oldest=10)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000009", "step-00000010"]


def test_a_crash_while_saving_leaves_the_older_ones(tmp_path, monkeypatch):
    save(tmp_path, 1)

    def crash(path, value):
        raise RuntimeError("power")

    monkeypatch.setattr(store, "write_json", crash)  # of the hashes, the last file
    with pytest.raises(RuntimeError):
        save(tmp_path, 2)
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]


def test_a_damaged_chunk_is_named_by_file_and_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "CHUNK_BYTES", 64)
    folder = save(tmp_path, 1)
    path = folder / "model-00001-of-00002.safetensors"
    data = bytearray(path.read_bytes())
    data[130] ^= 1
    path.write_bytes(data)
    monkeypatch.setattr(checkpoint, "CHUNK_BYTES", 16 << 20)  # what is written down counts
    assert checkpoint.damage(folder) == (
        "model-00001-of-00002.safetensors does not have its recorded hash in bytes 128 to 192"
    )


def test_files_are_at_most_as_large_as_asked(tmp_path):
    tensors = {f"w{i}": torch.ones(100 + i) for i in range(10)}
    path = checkpoint.save(tmp_path, 1, tensors, {}, {}, 1000)
    sizes = [sum(tensors[n].nbytes for n in f) for f in checkpoint.split(tensors, 1000)]
    assert len(sizes) == 5
    assert max(sizes) <= 1000
    assert len(list(path.glob("model-0000?-of-00005.safetensors"))) == 5
    again = checkpoint.load_part(path, "model")
    assert again.keys() == tensors.keys()
    assert all(torch.equal(again[n], tensors[n]) for n in tensors)
    index = store.read_json(path / "model.safetensors.index.json")
    assert index["metadata"]["total_size"] == sum(sizes)


def test_newest_up_to_a_step_and_after_rollbacks(tmp_path):
    for step in (4, 8, 12):
        save(tmp_path, step)
    tensors = {"w": torch.ones(1)}
    state = {"health": {"rollbacks": [{"to": 4}, {"to": 8}]}}
    assert checkpoint.save(tmp_path, 8, tensors, {}, state).name == "step-00000008-after-0002"
    assert checkpoint.newest(tmp_path, print, 11).name == "step-00000008-after-0002"
    assert checkpoint.newest(tmp_path, print, 7).name == "step-00000004"
    assert checkpoint.newest(tmp_path, print, 3) is None
    checkpoint.remove_after(tmp_path, 4)
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000004"]


def test_prune_keeps_what_a_rollback_may_need(tmp_path):
    for step in (2, 4, 6, 8):
        save(tmp_path, step)
    checkpoint.prune(tmp_path, 2, newest=8, oldest=4)
    assert [checkpoint.step_of(p) for p in sorted(tmp_path.iterdir())] == [4, 6, 8]


def test_damaged_ones_that_were_passed_over_do_not_push_out_the_good_one(tmp_path):
    for step in (2, 3, 4, 8, 12):  # 8 and 12 are damaged, the run went on from 2
        save(tmp_path, step)
    checkpoint.prune(tmp_path, 2, newest=4, oldest=4)
    assert [checkpoint.step_of(p) for p in sorted(tmp_path.iterdir())] == [3, 4, 8, 12]
