"""Checkpoints of ranks: what a step waits for, how fast they reach the disk, and come back.

Saved by train/saver.py between steps of training, whole or in the pieces that ranks hold, each file
hashed, synced and read back; loaded by train/resume.py in the same layout and in others, with the
pages of the files dropped from memory before, so that they come from the disk.
"""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks import parallel_steps
from benchmarks.parallel_steps import LLAMA, TINY, Trainer, Work, begin, end, state_of, together
from pretrain.events import Log
from pretrain.parallel import pieces
from pretrain.parallel.layout import Layout
from pretrain.train import checkpoint, health
from pretrain.train.resume import resume
from pretrain.train.saver import Saver

# AdamW: two moments of every weight, 12 bytes a parameter.
LARGER = {"width": 384, "heads": 6, "kv_heads": 3, "hidden": 1024, "vocab_size": 4096}
ROUNDS = 3
# name: (ranks, layout)
LAYOUTS: dict[str, tuple[int, dict[str, Any]]] = {
    "one process": (1, {}),
    "copies 2": (2, {}),
    "shard 2": (2, {"shard": 2}),
    "tensor 2": (2, {"tensor": 2}),
    "shard 2 x replicate 2": (4, {"shard": 2}),
}
SAVED = ("one process", "copies 2", "shard 2", "shard 2 x replicate 2")
LOADED = (
    ("one process", "one process"), ("one process", "shard 2"),
    ("shard 2", "shard 2"), ("shard 2", "one process"), ("shard 2", "tensor 2"),
    ("shard 2", "shard 2 x replicate 2"),
)  # fmt: skip


def work_of(quick: bool) -> Work:
    """The network that is saved, and a step of it."""
    given = TINY | {"layers": 2} if quick else LARGER
    shape = replace(LLAMA, **given)
    return Work(shape, 4, 16, 1, "adamw") if quick else Work(shape, 16, 128, 2, "adamw")


def measure(scratch: Path, quick: bool) -> dict[str, Any]:
    """Every save and every load, on ranks of their own."""
    saves, loads = {}, {}
    for name in SAVED:
        n, layout = LAYOUTS[name]
        job = {"quick": quick, "layout": layout, "to": str(scratch / name)}
        told = parallel_steps.on_ranks(n, save, scratch / f"save {name}", job)
        saves[name] = {"ranks": n} | told[0]
        saves[name]["blocked_seconds"] = most(told, "blocked_seconds")
    for source, target in LOADED:
        n, layout = LAYOUTS[target]
        job = {"quick": quick, "layout": layout, "to": str(scratch / source)}
        told = parallel_steps.on_ranks(n, load, scratch / f"load {source} {target}", job)
        assert all(rank["equal"] for rank in told), f"{source} -> {target}: other values"
        loads[f"{source} -> {target}"] = {"ranks": n} | told[0]
    return {"saves": saves, "loads": loads}


def most(told: list[Any], key: str) -> list[float]:
    """Of the values of each round, that of the slowest rank."""
    return [max(values) for values in zip(*(rank[key] for rank in told), strict=True)]


def save(words: Sequence[str]) -> int:
    """What a rank runs: steps, and saves between them; first with nothing beside, then with steps.

    The first save of a run takes its memory; it is told apart.
    """
    folder, job = Path(words[0]), json.loads(words[1])
    trainer = begin(work_of(job["quick"]), Layout(**job["layout"]))
    mesh, checkpoints = trainer.mesh, Path(job["to"]) / "checkpoints"
    saves = mesh.rank == 0 or not mesh.is_whole
    step, steps, blocked, written, beside = 0, [], [], [], []
    timed_step(trainer, 0)
    with Saver(checkpoints, 2, 2 << 30, mesh) as saver:
        for _ in range(1 + ROUNDS):
            step += 1
            steps.append(timed_step(trainer, step))
            start = time.perf_counter()
            if saves:
                put(saver, trainer, step)
            blocked.append(time.perf_counter() - start)
            saver.wait()
            written.append(time.perf_counter() - start)
            together(mesh)
        for _ in range(ROUNDS):
            step += 1
            if saves:
                put(saver, trainer, step)
            beside.append(timed_step(trainer, step))
            saver.wait()
            together(mesh)
    newest = checkpoint.folder_of(checkpoints, step)
    result = {
        "n_bytes": sum(f.stat().st_size for f in newest.iterdir()) if mesh.rank == 0 else 0,
        "step_seconds": steps[1:],
        "first_blocked_seconds": blocked[0],
        "blocked_seconds": blocked[1:],
        "written_seconds": written[1:],
        "step_beside_seconds": beside,
    }
    end(folder, mesh, result)
    return 0


def put(saver: Saver, trainer: Trainer, step: int) -> None:
    state = {"key": "", "tokens": 0, "health": health.fresh()}
    saver.save(step, trainer.network.state_dict(), trainer.optimizer.state, state)


def timed_step(trainer: Trainer, step: int) -> float:
    rows = trainer.rows(step)
    together(trainer.mesh)
    start = time.perf_counter()
    trainer.step(rows, step)
    together(trainer.mesh)
    return time.perf_counter() - start


def load(words: Sequence[str]) -> int:
    """What a rank runs: the newest checkpoint verified and loaded; then held to the whole of it."""
    folder, job = Path(words[0]), json.loads(words[1])
    trainer = begin(work_of(job["quick"]), Layout(**job["layout"]))
    mesh, source, log = trainer.mesh, Path(job["to"]), Log(quiet=True)
    newest = max((source / "checkpoints").glob("step-*"))
    seconds = []
    for _ in range(ROUNDS):
        for tensors in state_of(trainer).values():
            for tensor in tensors.values():
                pieces.local(tensor).zero_()
        if mesh.rank == 0:
            drop(newest)
        together(mesh)
        start = time.perf_counter()
        resume(mesh, source, trainer.network, trainer.optimizer, log)
        together(mesh)
        seconds.append(time.perf_counter() - start)
    equal = all(
        torch.equal(pieces.local(tensor), values[name][pieces.piece(tensor).slices])
        for part, tensors in state_of(trainer).items()
        for values in [checkpoint.load_part(newest, part)]
        for name, tensor in tensors.items()
    )
    result = {"seconds": seconds, "equal": equal}
    result["n_bytes"] = sum(f.stat().st_size for f in newest.iterdir())
    end(folder, mesh, result)
    return 0


def drop(folder: Path) -> None:
    """Have the next reader of a folder's files take them from the disk."""
    for path in folder.iterdir():
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
