"""Steps of training on ranks: seconds, and bytes sent, each layout against one process.

A rank is a process with one thread, started as `pretrain launch` starts it; it makes the calls that
train/loop.py makes in a step, on rows drawn from the step's number: the same for every layout, in
micro-batches of the same rows. So all losses must agree, and what differs is overhead.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pretrain import store
from pretrain.launch import outcome
from pretrain.launch.session import Fleet, Main, Session
from pretrain.model.settings import Shape
from pretrain.parallel import mesh as meshes
from pretrain.parallel import pieces, stages
from pretrain.parallel.apply import apply, settle
from pretrain.parallel.layout import Layout
from pretrain.parallel.mesh import Mesh
from pretrain.plan import flows, traffic
from pretrain.ranks.world import from_environment
from pretrain.train import allocator, norms, objectives, optimizers
from pretrain.train import network as networks
from pretrain.train.data import slice_of
from pretrain.train.feed import Rows, own_tokens, rows_of
from pretrain.train.network import Network
from pretrain.train.optimizers import Optimizer
from pretrain.train.settings import Objective, Settings

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Work:
    """What is trained in a step, however many ranks share it."""

    shape: Shape
    rows: int
    length: int
    micro_rows: int
    optimizer: str = "muon"  # the recipes' default


LLAMA = Shape(4, 256, 4, 2, 704, vocab_size=4096)
EXPERTS = replace(LLAMA, experts=8, experts_per_token=2, expert_hidden=352)
TINY = {"width": 32, "hidden": 48, "vocab_size": 128}


def works(quick: bool) -> dict[str, Work]:
    if quick:
        experts = replace(EXPERTS, **TINY, expert_hidden=16)
        shapes = {"llama": replace(LLAMA, **TINY), "experts": experts}
        return {name: Work(shape, 8, 16, 1) for name, shape in shapes.items()}
    return {name: Work(s, 16, 128, 2) for name, s in (("llama", LLAMA), ("experts", EXPERTS))}


# name: (work, ranks, layout)
CASES: dict[str, tuple[str, int, dict[str, Any]]] = {
    "one process": ("llama", 1, {}),
    "copies 2": ("llama", 2, {}),
    "shard 2": ("llama", 2, {"shard": 2}),
    "shard 2 x replicate 2": ("llama", 4, {"shard": 2}),
    "tensor 2": ("llama", 2, {"tensor": 2}),
    "context 2": ("llama", 2, {"context": 2}),
    "pipeline 2, 1f1b": ("llama", 2, {"pipeline": 2}),
    "pipeline 2, zbv_zero_bubble": (
        "llama", 2, {"pipeline": 2, "virtual": 2, "schedule": "zbv_zero_bubble"},
    ),
    "experts: one process": ("experts", 1, {}),
    "experts: shard 2": ("experts", 2, {"shard": 2}),
    "experts: shard 2, expert 2": ("experts", 2, {"shard": 2, "expert": 2}),
}  # fmt: skip


def base_of(name: str) -> str:
    """The case that one is held against."""
    return "experts: one process" if CASES[name][0] == "experts" else "one process"


def on_ranks(n: int, main: Main, folder: Path, job: dict[str, Any]) -> list[Any]:
    """What `main` wrote on each of n ranks: main([folder, job as JSON]) writes rank-N.json."""
    folder.mkdir(parents=True, exist_ok=True)
    session = Session(Fleet(n), range(n), folder)
    try:
        session.start(main, [str(folder), json.dumps(job)])
        codes = session.watch()
    finally:
        session.end()
    if any(codes.values()):
        said = (outcome.errors_of(folder, rank).read_text() for rank in range(n))
        raise SystemExit(f"{job} ended with {codes}\n" + "\n".join(said))
    return [store.read_json(folder / f"rank-{rank}.json") for rank in range(n)]


@dataclass
class Trainer:
    """A rank's part of a network in training."""

    work: Work
    mesh: Mesh
    network: Network
    optimizer: Optimizer
    settings: Settings

    @property
    def n_micro(self) -> int:
        return self.work.rows // self.mesh.data_size // self.work.micro_rows

    def rows(self, step: int) -> Rows:
        """This rank's rows of a step."""
        work, mesh = self.work, self.mesh
        draw = np.random.default_rng(step)
        tokens = draw.integers(0, work.shape.vocab_size, (work.rows, work.length + 1))
        mine = slice_of(work.rows, mesh.data_rank, mesh.data_size)
        asked = objectives.Asked(work.shape.vocab_size, 0, {}, Objective())
        batch = objectives.make(tokens[mine], np.arange(work.rows)[mine], 0, asked)
        made = rows_of(batch, np.zeros(work.rows, np.int64)[mine], mine.start, CPU)
        return own_tokens(made, mesh, asked)

    def step(self, rows: Rows, step: int, at: Callable[[str], object] = lambda part: None) -> float:
        """The loss of a step, made as the loop makes it; `at` is told what part begins."""
        mesh, settings = self.mesh, self.settings
        weights = list(self.network.named_parameters().values())
        at("scalars")
        n_targets = mesh.world.total(len(rows.places_N) if mesh.counts_rows else 0)
        at("passes")
        sums = self.network.gradients(rows, self.work.micro_rows, n_targets, step)
        at("scalars")
        if not mesh.counts_losses:
            torch._foreach_zero_(sums.tensors())
        mesh.world.sum_(sums.tensors())
        at("sums")
        if mesh.sizes["shard"] == 1:
            settle(weights, mesh)
            grads = [g for p in weights if (g := pieces.local_grad(p)) is not None]
            mesh.world.sum_(grads, False, mesh.group("replicate", "context"))
        at("scalars")
        norm = norms.total(weights, mesh)
        told, _ = sums.read(norm)
        at("update")
        norms.clip_(weights, settings.clip, norm)
        norms.step(self.optimizer, {}, norms.of_gradients({}, mesh), step, 1.0, mesh)
        self.network.move_choice(sums.loads, settings.balance_rate)
        at("")
        return float(told.by_source[0].sum() / n_targets)


def begin(work: Work, layout: Layout) -> Trainer:
    """On a rank that the launcher started: its part, with initial weights."""
    allocator.keep_freed_memory()
    torch.set_num_threads(1)
    mesh = meshes.build(layout, from_environment().size)
    settings = Settings(optimizer=work.optimizer, precision="fp32")  # type: ignore[arg-type]

    def prepare(model: Any) -> None:
        apply(model, mesh, lambda blocks: None)

    network = networks.build(work.shape, 0, CPU, mesh, work.length, prepare, torch.float32)
    optimizer = optimizers.build(network.named_parameters(), settings, None, mesh)
    network.mark_copies(optimizer.state)
    network.ready(mesh, settings, torch.float32, 1)
    return Trainer(work, mesh, network, optimizer, settings)


def end(folder: Path, mesh: Mesh, result: Any) -> None:
    """Leave a rank's result."""
    store.write_json(folder / f"rank-{mesh.rank}.json", result)
    together(mesh)
    mesh.world.close()


def together(mesh: Mesh) -> None:
    """Wait for all ranks."""
    mesh.world.total(0)


def measure(words: Sequence[str]) -> int:
    """What a rank runs: a step to get warm, timed ones, one whose collectives are counted."""
    folder, job = Path(words[0]), json.loads(words[1])
    work = works(job["quick"])[job["work"]]
    trainer = begin(work, Layout(**job["layout"]))
    mesh, told = trainer.mesh, []
    for step in range(1 + job["steps"]):
        rows = trainer.rows(step)
        laps: Counter[str] = Counter()
        part = ""
        together(mesh)
        start, mark = time.perf_counter(), time.process_time()

        def at(next_part: str) -> None:
            nonlocal mark, part
            now = time.process_time()
            laps[part] += now - mark  # type: ignore[assignment]  # noqa: B023
            mark, part = now, next_part

        loss = trainer.step(rows, step, at)
        laps.pop("")
        together(mesh)
        told.append({"loss": loss, "seconds": time.perf_counter() - start, "cpu": dict(laps)})
    counted = counted_bytes(trainer, trainer.rows(len(told)), len(told))
    result = {"steps": told[1:], "counted": counted, "closed": closed_bytes(trainer)}
    end(folder, mesh, result)
    return 0


def counted_bytes(trainer: Trainer, rows: Rows, step: int) -> list[list[Any]]:
    """[what for, kind, calls, bytes that this rank sends] of a step, axis by axis."""
    found: dict[tuple[str, str], list[float]] = {}
    seen, part = 0, ""
    with traffic.Traffic() as watch:

        def at(next_part: str) -> None:
            nonlocal seen, part
            for call in watch.calls[seen:]:
                key = (_axis(call, trainer.mesh) if part in ("passes", "sums") else part, call.kind)
                entry = found.setdefault(key, [0, 0])
                entry[0] += 1
                entry[1] += call.sent_bytes
            seen, part = len(watch.calls), next_part

        trainer.step(rows, step, at)
    return [[*key, *entry] for key, entry in found.items()]


def _axis(call: traffic.Call, mesh: Mesh) -> str:
    """Along which axis a collective goes, by its ranks and, where those are alike, by its kind."""
    if call.kind == "all-to-all" and mesh.layout.expert > 1:
        return "expert"
    axes = [axis for axis, n in mesh.sizes.items() if n > 1]
    along = [axis for axis in axes if call.ranks == tuple(mesh.ranks(axis))]
    return along[0] if along else " x ".join(axes)


def closed_bytes(trainer: Trainer) -> list[list[Any]]:
    """The same in closed form (plan/flows.py); of two kinds on one axis each its own row."""
    work, mesh = trainer.work, trainer.mesh
    step = flows.Step(
        work.shape, mesh.layout, mesh.sizes, work.length, work.micro_rows, trainer.n_micro,
        balance=bool(work.shape.experts), product_bytes=4,
    )  # fmt: skip
    with torch.device("meta"):
        parts = stages.build(work.shape, mesh.layout, work.length, mesh.place("pipeline"))
    return [[f.axis, f.kind, f.n_calls, f.sent_bytes] for f in flows.flows(step, parts)]


def state_of(trainer: Trainer) -> dict[str, dict[str, Tensor]]:
    """What a checkpoint holds of a rank."""
    return {"model": trainer.network.state_dict(), "optimizer": trainer.optimizer.state}
