"""Any layout goes on, bit for bit, from what any other wrote; a step's name means all parts."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from pretrain import store
from pretrain.errors import DiskError
from pretrain.events import Log
from pretrain.model.init import build
from pretrain.parallel import mesh as meshes
from pretrain.parallel import pieces
from pretrain.parallel.apply import apply
from pretrain.parallel.layout import Layout
from pretrain.parallel.pieces import Piece
from pretrain.train import average, checkpoint, optimizers, sharded_checkpoint
from pretrain.train.network import Network
from pretrain.train.resume import resume
from pretrain.train.saver import Saver
from pretrain.train.sharded_checkpoint import Held
from pretrain.train.tensor_files import load_whole
from tests.conftest import ROOT
from tests.parallel import ranks
from tests.parallel.test_apply import settings_of, shape_of

CHAIN = [
    (4, Layout(shard=4)), (2, Layout()), (4, Layout(shard=2)), (1, Layout()), (3, Layout(shard=3)),
]  # fmt: skip


def value(name, shape):
    """What a tensor holds, by its name alone: no two elements alike."""
    generator = torch.Generator().manual_seed(sum(map(ord, name)))
    return torch.randn(shape, generator=generator)


def pass_on(rank, n, layout, source, target, health):
    """Load a checkpoint, or begin, and save it again. Returns (step, whether all is as it was)."""
    mesh = meshes.build(layout, n)
    settings = settings_of("experts")
    model = build(
        shape_of("experts"), 1, "cpu", lambda m: apply(m, mesh, lambda m: None), pieces.put
    )
    parameters = dict(model.named_parameters())
    optimizer = optimizers.build(parameters, settings, None, mesh)
    optimizer.state |= average.start(parameters, settings)
    log = Log(quiet=True)
    with torch.no_grad():
        for name, tensor in (parameters | optimizer.state).items():
            filling = torch.zeros(tensor.shape) if source else value(name, tensor.shape)
            pieces.put(tensor, filling)
    step = 0
    if source is not None:
        step, _ = resume(mesh, Path(source), Network([model], 1), optimizer, log)
    same = all(
        torch.equal(pieces.local(t), value(name, t.shape)[pieces.piece(t).slices])
        for name, t in (model.state_dict() | optimizer.state).items()
    )
    with Saver(Path(target) / "checkpoints", 2, 4000, mesh) as saver:
        if rank == 0 or not mesh.is_whole:
            saver.save(step + 1, model.state_dict(), optimizer.state, {"health": health})
    return step, same


@pytest.mark.multi
def test_any_layout_goes_on_from_any_other(tmp_path):
    """AdamW's and Muon's state, averages and weights, 4 pieces to copies to both to 1 to 3."""
    source, health = None, {"rollbacks": []}
    for i, (n, layout) in enumerate(CHAIN):
        target = tmp_path / str(i)
        if n == 1:
            results = [pass_on(0, 1, layout, source, str(target), health)]
        else:
            results = ranks.run(n, pass_on, n, layout, source, str(target), health)
        assert results == [(i, True)] * n
        folder = target / "checkpoints" / f"step-{i + 1:08d}"
        assert checkpoint.damage(folder) is None
        assert checkpoint.state(folder)["step"] == i + 1
        for part in ("model", "optimizer"):
            for name, tensor in load_whole(folder, part).items():
                assert torch.equal(tensor, value(name, tensor.shape)), name
        written = [p.name for p in folder.glob("model-*.safetensors")]
        by_rank = {name.split("-")[2] for name in written if "rank" in name}
        assert len(by_rank) == (layout.shard if layout.shard > 1 else 0)  # copies do not write
        assert len(written) > len(by_rank)  # and files are bounded
        source = str(target)


def held(values, offset=(0,), shape=(6,)):
    return Held(torch.tensor(values), Piece(offset, (len(values),)), shape)


def test_a_rank_that_cannot_write_is_named_and_nothing_is_committed(tmp_path, monkeypatch):
    parts = {"model": {"w": held([1.0, 2.0])}, "optimizer": {}}
    names = {"model": ["w"], "optimizer": []}

    def full(path, data):
        raise DiskError("no space")

    target, given_up = tmp_path / "step-00000001", threading.Event()
    folder = store.begin_folder(target)
    real = checkpoint.write_hashed
    monkeypatch.setattr(checkpoint, "write_hashed", full)
    with pytest.raises(DiskError, match="no space"):
        sharded_checkpoint.write(folder, 1, parts, 1 << 20)
    monkeypatch.setattr(checkpoint, "write_hashed", real)

    def commit():
        with store.atomic_folder(target, folder):
            sharded_checkpoint.write(folder, 0, parts, 1 << 20)
            sharded_checkpoint.finish(folder, 2, names, {}, given_up)

    with pytest.raises(DiskError, match="rank 1: no space"):
        commit()
    assert list(tmp_path.iterdir()) == []


def test_waiting_for_a_rank_that_never_writes_can_be_given_up(tmp_path):
    given_up = threading.Event()
    threading.Timer(0.2, given_up.set).start()
    with pytest.raises(DiskError, match=r"rank-00000\.json was not written"):
        sharded_checkpoint.finish(tmp_path, 1, {"model": [], "optimizer": []}, {}, given_up)


def test_ranks_share_the_reading_of_hashes(tmp_path):
    tensors = {f"w{i}": torch.ones(40) for i in range(5)}
    folder = checkpoint.save(tmp_path, 1, tensors, {}, {}, 200)
    path = folder / "model-00003-of-00005.safetensors"
    path.write_bytes(path.read_bytes().replace(b"w2", b"w9"))
    said = [checkpoint.damage(folder, rank, 3) for rank in range(3)]
    assert sum(text is not None for text in said) == 1
    assert checkpoint.damage(folder) in said


# Steps that are seen before the kill, and sizes; copies are what they leave of four ranks.
LAYOUTS = [
    (4, ["pipeline=2", "tensor=2"]),
    (9, ["shard=2", "context=2"]),
]


@pytest.mark.slow
@pytest.mark.multi
@pytest.mark.parametrize("n", [1, len(LAYOUTS)])
def test_killed_and_gone_on_with_in_another_layout(tiny_run, tmp_path, n):
    """4 ranks, in a pipeline (then in shards), killed; 1 to the end: as one all along."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "tests.train.test_sharded_checkpoint"]
    done = subprocess.run(
        [*words, str(tiny_run), str(tmp_path / "changing"), str(n)], capture_output=True, text=True,
        env=environment, cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "killed": [True] * n,
        "codes": [0],
    }
    lines = [
        store.read_lines(folder / "train" / "metrics.jsonl")
        for folder in (tiny_run, tmp_path / "changing")
    ]
    straight, changing = ([m for m in some if "loss" in m] for some in lines)
    assert [m["step"] for m in changing] == list(range(1, 13))
    assert [m["samples"] for m in changing] == [m["samples"] for m in straight]
    for what in ("loss", "grad_norm"):
        wanted = [m[what] for m in straight]
        assert [m[what] for m in changing] == pytest.approx(wanted, rel=1e-4), what
    looks = [[m["held_out_loss"] for m in some if "held_out_loss" in m] for some in lines]
    assert looks[1] == pytest.approx(looks[0], rel=1e-5)
    assert len(looks[1]) == 2


def main(source: Path, run: Path, n: int):
    from tests.train import fleet

    fleet.fresh(source, run)
    killed = []
    for lines, sizes in LAYOUTS[:n]:
        keys = [f"train.layout.{key}" for key in sizes]
        there = fleet.Fleet(4, run, "train.micro_batch_tokens=64", *keys)
        killed.append(there.send(3, signal.SIGKILL, lines))
        there.wait()
    codes = fleet.Fleet(1, run, "train.layout.recompute=full").wait()
    return {"killed": killed, "codes": codes}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))))
