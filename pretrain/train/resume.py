"""Where a training goes on: from its newest good checkpoint, or back from a spike to an older one.

A rollback from step S to step C removes the checkpoints after C, loads that of C and writes it
once more with what is passed over, as `step-C-after-N`. Killed before that, the next run goes from
C to S and back again: the same bits.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pretrain import store
from pretrain.events import Log
from pretrain.parallel import pieces
from pretrain.parallel.mesh import Mesh
from pretrain.train import checkpoint, health, transfer
from pretrain.train.network import Network
from pretrain.train.optimizers import Optimizer
from pretrain.train.settings import Settings
from pretrain.train.tensor_files import load_into


def resume(
    mesh: Mesh, folder: Path, network: Network, optimizer: Optimizer, log: Log,
    limit: int | None = None,
) -> tuple[int, dict[str, Any]]:  # fmt: skip
    """Load the newest good checkpoint (not after step `limit`) on every rank, what it holds.

    Returns the step to go on from and the state of health there.
    """
    found = checkpoint.newest(
        folder / "checkpoints", lambda text: log.say("train", text), limit, mesh.world
    )
    step, state = 0, health.fresh()
    if found:
        load_into(found, "model", network.state_dict())
        load_into(found, "optimizer", optimizer.state)
        saved = checkpoint.state(found)
        step, state = int(saved["step"]), saved["health"]
    elif limit is not None:
        network.initialise()
        transfer.scale(network.named_parameters(), optimizer.factors)
        for tensor in optimizer.state.values():
            pieces.local(tensor).zero_()
    trim_records(mesh, folder, step)
    return step, state


def roll_back(
    mesh: Mesh, folder: Path, network: Network, optimizer: Optimizer, log: Log,
    step: int, state: Mapping[str, Any], settings: Settings,
) -> tuple[int, dict[str, Any]]:  # fmt: skip
    """Go back from a spike at `step`. Returns the step to go on from and the state of health."""
    target = health.rollback_target(step, settings)
    if mesh.rank == 0:
        checkpoint.remove_after(folder / "checkpoints", target)
    to, then = resume(mesh, folder, network, optimizer, log, target)
    now = health.rolled_back(dict(state), then, step, to)
    last = now["rollbacks"][-1]
    log.say(
        "train",
        f"{settings.spikes_before_rollback} spikes in a row up to step {step:,}: back to step "
        f"{to:,}, passing over data steps {last['first_data_step']:,} to "
        f"{last['end_data_step'] - 1:,}",
    )
    return to, now


def trim_records(mesh: Mesh, folder: Path, step: int) -> None:
    """Cut what is recorded after the step to go on from: it will be computed again."""
    if mesh.rank == 0:
        for name in ("metrics.jsonl", "samples.jsonl", "speed.jsonl"):
            _trim(folder / name, step)


def _trim(path: Path, step: int) -> None:
    """Keep the lines up to a step."""
    lines = [line for line in store.read_lines(path) if line["step"] <= step]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    store.write_bytes(path, text.encode())
