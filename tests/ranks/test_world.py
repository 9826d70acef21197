"""Two ranks train as one does: the same samples in the same order, losses equal to 1e-5."""

import os
import subprocess
import sys

import pytest
import torch

from pretrain import store
from pretrain.ranks.world import World, device_of, from_environment
from pretrain.train import checkpoint
from tests.conftest import ROOT, TINY, write_corpus
from tests.parallel import ranks


def test_one_process_needs_no_group(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    world = from_environment()
    assert world == World(0, 1)
    tensor = torch.ones(3)
    world.sum_([tensor])
    assert tensor.tolist() == [1, 1, 1]
    assert world.broadcast({"a": 1}) == {"a": 1}
    assert world.gather(3) == [3]
    assert world.total(3) == 3
    world.close()
    assert device_of().type in ("cpu", "cuda")


def sums(rank):
    """Sums over all and over pairs, plain and by the tree, and everyone's word."""
    import torch.distributed as dist

    world = World(rank, 4)
    pairs = [dist.new_group([0, 2]), dist.new_group([1, 3])]
    found = []
    for tree in (False, True):
        tensors = [torch.full((2,), 10.0**rank), torch.full((1,), 10.0**rank).double()]
        world.sum_(tensors, tree)
        some = [torch.full((3,), 10.0**rank)]
        world.sum_(some, tree, pairs[rank % 2])
        found.append([t.tolist() for t in (*tensors, *some)])
    return found, world.gather({"rank": rank}), world.total(rank)


@pytest.mark.multi
def test_sums_over_all_ranks_and_over_some():
    for rank, (found, said, total) in enumerate(ranks.run(4, sums)):
        some = 101.0 if rank % 2 == 0 else 1010.0
        assert found == [[[1111.0] * 2, [1111.0], [some] * 3]] * 2
        assert said == [{"rank": r} for r in range(4)]
        assert total == 6


def torchrun(n, *words):
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n}",
        "-m", "pretrain", *map(str, words),
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.slow  # torchrun itself; forked ranks in tests/train, `pretrain launch` in tests/launch
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
