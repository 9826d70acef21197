"""What was written is read back bit by bit; a file that is torn or changed anywhere is none."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch

from pretrain.errors import DiskError
from pretrain.ranks import blob


def tensors(seed=3):
    generator = torch.Generator().manual_seed(seed)
    return {
        "matrix": torch.randn(7, 5, generator=generator),
        "half": torch.randn(9, generator=generator).bfloat16(),
        "empty": torch.empty(0, 3),
        "step": torch.tensor(4, dtype=torch.int64),
        "turned": torch.randn(4, 6, generator=generator).t(),
        "long": torch.randn(600_000, generator=generator),
    }


def test_bits_come_back_from_every_place(tmp_path):
    paths = [tmp_path / "a", tmp_path / "b"]
    for seed, more in ((1, "x" * 500), (2, "")):  # the second is shorter than what it replaces
        n_bytes = blob.write(paths, tensors(seed), {"step": seed, "more": more})
        for path in paths:
            assert path.stat().st_size == n_bytes
            assert blob.told(path) == {"step": seed, "more": more}
            found = blob.read(path)
            assert list(found) == sorted(tensors())
            for name, wanted in tensors(seed).items():
                assert found[name].dtype == wanted.dtype
                assert torch.equal(found[name], wanted), name
    blob.put(tmp_path / "c", blob.raw(paths[0]))
    assert (tmp_path / "c").read_bytes() == paths[0].read_bytes()


def test_any_change_is_seen(tmp_path):
    path, rng = tmp_path / "a", random.Random(5)
    small = {name: t for name, t in tensors().items() if name != "long"}
    blob.write([path], small, {"step": 1})
    whole = path.read_bytes()
    for at in [*range(70), *rng.sample(range(len(whole)), 200), len(whole) - 1]:
        changed = bytearray(whole)
        changed[at] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        assert blob.told(path) is None, at
    for end in [0, 1, 31, 32, 63, 64, 65, len(whole) - 1, *rng.sample(range(len(whole)), 50)]:
        path.write_bytes(whole[:end])
        assert blob.told(path) is None, end
    path.write_bytes(whole + b"\0")
    assert blob.told(path) is None
    path.write_bytes(whole)
    assert blob.told(path) == {"step": 1}


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_killed_at_any_moment_it_is_the_new_one_or_none(tmp_path):
    """A process writes over one file again and again and is killed; zeros never pass for a hash."""
    path, found = tmp_path / "a", set()
    for i in range(12):
        child = os.fork()
        if not child:
            try:
                for step in range(100_000):
                    long = torch.full((400_000,), float(step))
                    blob.write([path], {"long": long}, {"step": step})
            finally:
                os._exit(1)
        time.sleep(0.03 + 0.0037 * i)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        told = blob.told(path) if path.exists() else None
        found.add(told is None)
        if told:
            assert set(blob.read(path)["long"].tolist()) == {told["step"]}
    assert True in found  # some were torn


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_memory_is_an_error_of_the_disk():
    with pytest.raises(DiskError, match="/dev/full"):
        blob.write([Path("/dev/full")], tensors(), {})
