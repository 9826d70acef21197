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


SWEEP = """
import os, sys, torch
from pathlib import Path
from pretrain import store
from pretrain.train import checkpoint
from pretrain.train.saver import Saver

def dies_at(n):  # at the n-th call that changes the disk
    left = [n]
    for name in ("fsync", "replace", "unlink", "rmdir", "mkdir"):
        real = getattr(os, name)
        def call(*a, real=real, **k):
            left[0] -= 1
            if left[0] == 0:
                os._exit(9)
            return real(*a, **k)
        setattr(os, name, call)

def child(folder, n, told):
    dies_at(n)
    with Saver(folder, 2, 1000) as saver:
        for step in range(1, 5):
            saver.save(step, {"w": torch.full((9,), step)}, {}, {})
            saver.wait()
            os.write(told, bytes([step]))
    os._exit(0)

base, n, code = Path(sys.argv[1]), 0, 9
while code == 9:
    n += int(sys.argv[2])
    folder = base / str(n) / "checkpoints"
    here, told = os.pipe()
    if not (pid := os.fork()):
        child(folder, n, told)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(told)
    said = max(os.read(here, 99), default=0)
    os.close(here)
    store.sweep(base / str(n))
    newest = checkpoint.newest(folder, lambda text: print("damaged", n, text))
    step = checkpoint.step_of(newest) if newest else 0
    assert step in (said, said + 1), (n, step, said)
    assert not newest or checkpoint.load(newest)[0]["w"].tolist() == [step] * 9
    assert not any(p.name.startswith(".tmp") for p in base.rglob("*")), n
print(code, n)
"""


@pytest.mark.multi
@pytest.mark.parametrize("every", [11, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_any_call_that_changes_the_disk_the_last_good_one_is_there(tmp_path, every):
    """What was waited for is there, whole; nothing half-written is ever under a step's name."""
    done = subprocess.run(
        [sys.executable, "-c", SWEEP, str(tmp_path), str(every)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    *damaged, last = done.stdout.splitlines()
    assert damaged == []
    code, n_calls = map(int, last.split())
    assert code == 0
    assert n_calls > 100
