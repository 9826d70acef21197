"""Where a training goes on: from its newest good checkpoint, or back from a spike to an older one.

A rollback from step S to step C removes the checkpoints after C, loads that of C and writes it
once more with what is passed over, as `step-C-after-N`. Killed before that, the next run goes from
C to S and back again: the same bits.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from pretrain import store
from pretrain.events import Log
from pretrain.model.init import initialise
from pretrain.parallel.world import World
from pretrain.train import checkpoint, health, transfer
from pretrain.train.optimizers import Optimizer
from pretrain.train.settings import Settings


def resume(
    world: World, folder: Path, model: nn.Module, optimizer: Optimizer, seed: int, log: Log,
    limit: int | None = None,
) -> tuple[int, dict[str, Any]]:  # fmt: skip
    """Load the newest good checkpoint (not after step `limit`) on every rank.

    Returns the step to go on from and the state of health there.
    """
    found = None
    if world.rank == 0:
        checkpoints = folder / "checkpoints"
        path = checkpoint.newest(checkpoints, lambda text: log.say("train", text), limit)
        found = str(path) if path else None
    found = world.broadcast(found)
    step, state = 0, health.fresh()
    if found:
        weights, moments, saved = checkpoint.load(Path(found))
        model.load_state_dict(weights)
        for name, tensor in optimizer.state.items():
            tensor.copy_(moments[name])
        step, state = int(saved["step"]), saved["health"]
    elif limit is not None:
        initialise(model, seed)
        transfer.scale(dict(model.named_parameters()), optimizer.factors)
        for tensor in optimizer.state.values():
            tensor.zero_()
    if world.rank == 0:
        for name in ("metrics.jsonl", "samples.jsonl", "speed.jsonl"):
            _trim(folder / name, step)
    return step, state


def roll_back(
    world: World, folder: Path, model: nn.Module, optimizer: Optimizer, seed: int, log: Log,
    step: int, state: Mapping[str, Any], settings: Settings,
) -> tuple[int, dict[str, Any]]:  # fmt: skip
    """Go back from a spike at `step`. Returns the step to go on from and the state of health."""
    target = health.rollback_target(step, settings)
    if world.rank == 0:
        checkpoint.remove_after(folder / "checkpoints", target)
    to, then = resume(world, folder, model, optimizer, seed, log, target)
    now = health.rolled_back(dict(state), then, step, to)
    last = now["rollbacks"][-1]
    log.say(
        "train",
        f"{settings.spikes_before_rollback} spikes in a row up to step {step:,}: back to step "
        f"{to:,}, passing over data steps {last['first_data_step']:,} to "
        f"{last['end_data_step'] - 1:,}",
    )
    return to, now


def _trim(path: Path, step: int) -> None:
    """Keep the lines up to a step: what came after the checkpoint will be computed again."""
    lines = [line for line in store.read_lines(path) if line["step"] <= step]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    store.write_bytes(path, text.encode())
