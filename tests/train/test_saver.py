"""A save takes the values of its step, waits for the one before, and never loses the last good."""

import errno
import resource
import subprocess
import sys
import threading

import pytest
import torch

from pretrain import store
from pretrain.errors import DiskError
from pretrain.train import checkpoint
from pretrain.train.saver import Saver
from tests.conftest import ROOT

TENSORS = {"w": torch.ones(300)}


def steps(folder):
    return [checkpoint.step_of(p) for p in sorted(folder.glob("step-*"))]


@pytest.fixture
def held(monkeypatch):
    """Holds every write back until the event is set."""
    go, real = threading.Event(), checkpoint.save

    def save(*arguments):
        assert go.wait(20)
        return real(*arguments)

    monkeypatch.setattr(checkpoint, "save", save)
    return go


def test_what_is_written_is_the_state_when_save_was_called(tmp_path, held):
    weights, state = {"w": torch.ones(300)}, {"health": {"losses": [1.0], "rollbacks": []}}
    with Saver(tmp_path, 2, 1 << 20) as saver:
        saver.save(1, weights, {"m": weights["w"]}, state)
        weights["w"].zero_()  # the next step's update
        state["health"]["losses"].append(2.0)
        assert steps(tmp_path) == []
        held.set()
    model, optimizer, saved = checkpoint.load(tmp_path / "step-00000001")
    assert model["w"].tolist() == optimizer["m"].tolist() == [1.0] * 300
    assert saved["health"]["losses"] == [1.0]


def test_a_second_save_waits_for_the_first(tmp_path, held):
    with Saver(tmp_path, 2, 1 << 20) as saver:
        saver.save(1, TENSORS, {}, {})
        threading.Timer(0.2, held.set).start()
        saver.save(2, TENSORS, {}, {})
        assert steps(tmp_path)[0] == 1
    assert steps(tmp_path) == [1, 2]


def full(path, data):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_raised_at_the_next_step_and_costs_nothing_older(tmp_path, monkeypatch):
    with Saver(tmp_path, 2, 1 << 20) as saver:
        saver.save(1, TENSORS, {}, {})
        saver.save(2, TENSORS, {}, {})
        saver.wait()
        monkeypatch.setattr(store, "write_bytes", full)
        saver.save(3, TENSORS, {}, {})
        assert saver._writing.exception(20)
        with pytest.raises(DiskError, match="No space left"):
            saver.check()
    assert steps(tmp_path) == [1, 2]
    assert not any(checkpoint.damage(p) for p in tmp_path.iterdir())
    assert DiskError.exit_code == 74


def test_an_error_of_the_last_save_is_raised_on_leaving(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "write_bytes", full)
    with pytest.raises(DiskError), Saver(tmp_path, 2, 1 << 20) as saver:
        saver.save(3, TENSORS, {}, {})


def test_an_error_under_way_is_not_hidden(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "write_bytes", full)

    def fails():
        with Saver(tmp_path, 2, 1 << 20) as saver:
            saver.save(3, TENSORS, {}, {})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()


def test_older_ones_stay_when_the_new_one_reads_back_damaged(tmp_path, monkeypatch):
    real = checkpoint.save

    def rots(*arguments):
        folder = real(*arguments)
        if arguments[1] == 3:
            path = folder / "state.json"
            path.write_bytes(path.read_bytes().replace(b"3", b"4"))
        return folder

    monkeypatch.setattr(checkpoint, "save", rots)
    with Saver(tmp_path, 2, 1000) as saver:
        for step in (1, 2, 3):
            saver.save(step, TENSORS, {}, {})
        with pytest.raises(DiskError, match="reads back damaged"):
            saver.wait()
    assert steps(tmp_path) == [1, 2, 3]
    assert checkpoint.newest(tmp_path, lambda text: None).name == "step-00000002"


LIMITED = """
import resource, sys, torch
from pathlib import Path
from pretrain.train.saver import Saver
saver = Saver(Path(sys.argv[1]), 2, 1 << 30)
with saver:
    saver.save(1, {"w": torch.ones(10)}, {}, {})
    saver.wait()
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    saver.save(2, {"v": torch.ones(100_000)}, {}, {})
"""


def test_a_limit_on_file_sizes_is_a_disk_error(tmp_path):
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 0
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "DiskError: store: cannot write" in done.stderr
    assert steps(tmp_path) == [1]
    assert checkpoint.damage(tmp_path / "step-00000001") is None
