"""Two ranks train as one does: the same samples in the same order, losses equal to 1e-5."""

import os
import subprocess
import sys

import pytest
import torch

from pretrain import store
from pretrain.parallel.world import World, device_of, from_environment
from pretrain.train import checkpoint
from tests.conftest import ROOT, TINY, write_corpus


def test_one_process_needs_no_group(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    world = from_environment()
    assert world == World(0, 1)
    tensor = torch.ones(3)
    world.sum_([tensor])
    assert tensor.tolist() == [1, 1, 1]
    assert world.broadcast({"a": 1}) == {"a": 1}
    world.close()
    assert device_of().type in ("cpu", "cuda")


def torchrun(n, *words):
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n}",
        "-m", "pretrain", *map(str, words),
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.multi
def test_two_ranks_equal_one(tmp_path):
    write_corpus(tmp_path / "corpus")
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(TINY.replace("{folder}", str(tmp_path / "corpus")))
    metrics, weights = [], []
    for n in (1, 2):
        done = torchrun(n, "run", recipe, "--runs", tmp_path / str(n), "--workers", 1, "--quiet")
        assert done.returncode == 0, done.stderr[-3000:]
        train = tmp_path / str(n) / "tiny" / "train"
        metrics.append([m for m in store.read_lines(train / "metrics.jsonl") if "loss" in m])
        final = train / "checkpoints" / "step-00000012"
        weights.append(checkpoint.load_part(final, "model"))
    one, two = metrics
    assert [m["samples"] for m in one] == [m["samples"] for m in two]
    assert [m["loss"] for m in one] == pytest.approx([m["loss"] for m in two], rel=1e-5)
    assert [m["grad_norm"] for m in one] == pytest.approx([m["grad_norm"] for m in two], rel=1e-4)
    for name, tensor in weights[0].items():
        assert torch.allclose(tensor, weights[1][name], atol=1e-4), name
