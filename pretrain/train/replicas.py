"""A training's replicas in the hosts' memory (ranks/replica.py): when one may be gone on from.

Where it is newer than what the disk has, and of this training and layout. What a straight run
leaves is left then too, but perhaps a checkpoint whose writing was cut short; where a rollback may
ask for that one, the replica is passed over.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pretrain import store
from pretrain.events import Log
from pretrain.parallel import pieces
from pretrain.parallel.mesh import Mesh
from pretrain.ranks import blob
from pretrain.ranks.place import REPLICAS
from pretrain.ranks.replica import Order, Replicas
from pretrain.train.network import Network
from pretrain.train.optimizers import Optimizer
from pretrain.train.resume import trim_records
from pretrain.train.settings import Settings


def open_replicas(
    mesh: Mesh, folder: Path, settings: Settings, key: str, log: Log
) -> Replicas | None:
    """The replicas of a training that keeps some, where every rank was given a folder for them."""
    if not settings.replica_every:
        return None
    given = os.environ.get(REPLICAS, "")
    if not all(mesh.world.gather(bool(given))):
        log.say("train", "no replicas: `pretrain launch` keeps them (train.replica_every)")
        return None
    started = folder / "started.json"  # another one with each training that begins
    begun = mesh.world.broadcast(started.stat().st_mtime_ns if started.exists() else 0)
    sizes = {name: n for name, n in mesh.sizes.items() if name != "replicate"}
    about = store.hash_json([key, begun, asdict(settings.layout), sizes])
    parts = [mesh.part(rank) for rank in range(mesh.world.size)]
    return Replicas(mesh.world, parts, about, Path(given), settings.replica_every)


def keep(
    replicas: Replicas, step: int, network: Network, optimizer: Optimizer, state: Mapping[str, Any]
) -> None:
    """Keep what this rank holds after a step. Raises: DiskError where memory is full."""
    replicas.write((len(state["rollbacks"]), step), _held(network, optimizer), {"health": state})


@torch.no_grad()
def resume(
    replicas: Replicas | None, mesh: Mesh, folder: Path, network: Network, optimizer: Optimizer,
    settings: Settings, log: Log,
) -> tuple[int, dict[str, Any]] | None:  # fmt: skip
    """Load a replica that is of use, on every rank; as resume.py, None where there is none."""
    if replicas is None:
        return None
    there = sorted((folder / "checkpoints").glob("step-*/state.json"))
    saved = store.read_json_or_none(there[-1]) if there else None
    newest = [len(saved["health"]["rollbacks"]), saved["step"]] if saved else [0, 0]
    lines = store.read_lines(folder / "metrics.jsonl")
    newest, recorded = mesh.world.broadcast([newest, max((n["step"] for n in lines), default=0)])

    def usable(order: Order) -> bool:
        due = order[1] // settings.checkpoint_every * settings.checkpoint_every
        cut_short = settings.on_spike == "rollback" and newest[1] < due
        return order > tuple(newest) and order[1] <= recorded and not cut_short

    found = replicas.newest(usable)
    if found is None:
        return None
    (_, step), path = found
    values, told = blob.read(path), blob.told(path)
    assert told is not None, f"{path} was sound and is not"
    held = _held(network, optimizer)
    assert held.keys() == values.keys(), f"{path} is of another network"
    for name, tensor in held.items():
        tensor.copy_(values[name])
    trim_records(mesh, folder, step)
    log.say("train", f"step {step:,} lies in memory: going on from there")
    return step, told["facts"]["health"]


def _held(network: Network, optimizer: Optimizer) -> dict[str, Tensor]:
    """This rank's part of all tensors, sharing memory."""
    parts = {"model": network.state_dict(), "optimizer": optimizer.state}
    return {f"{part} {name}": pieces.local(tensor)
            for part, tensors in parts.items() for name, tensor in tensors.items()}  # fmt: skip
