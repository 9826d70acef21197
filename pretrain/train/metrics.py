"""The lines of metrics.jsonl and speed.jsonl.

metrics.jsonl holds pure functions of recipe and data: a resumed run writes the same bytes. What the
clock and the machine say goes to speed.jsonl.
"""

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pretrain import store
from pretrain.train.data import Data
from pretrain.train.gradients import Sums


def write(path: Path, line: Mapping[str, Any]) -> None:
    store.append_line(path, json.dumps(line))


def step_line(data: Data, data_step: int, step: int, sums: Sums, n_targets: int) -> dict[str, Any]:
    """What a step trained on and how well it was known, in nats per target.

    `loss_by_position` is keyed by the first place of each group: 1, 2, 4, 8, … of the row.
    """
    losses, counts = sums.by_source.cpu().tolist()
    line = {
        "step": step,
        "tokens": data.tokens_before(data_step + 1),
        "targets": n_targets,
        "loss": sum(losses) / n_targets,
        "loss_by_source": {
            row.source: loss / n
            for row, loss, n in zip(data.plan, losses, counts, strict=True)
            if n
        },
        "loss_by_position": {
            str(1 << group): loss / n
            for group, (loss, n) in enumerate(sums.by_position.t().cpu().tolist())
            if n
        },
        "output_rms": (float(sums.squares) / (data.n_tokens(data_step))) ** 0.5,
        "samples": data.sample_hash(data_step),
        "first_sample": data.samples_before(data_step),
        "last_sample": data.samples_before(data_step + 1) - 1,
    }
    if math.isfinite(ahead := float(sums.ahead)) and ahead:
        line["loss_ahead"] = ahead / n_targets
    if sums.loads:  # the busiest expert's load over the mean, by layer
        line["expert_load"] = [float(load.max() / load.mean()) for load in sums.loads]
    return line


def speed_line(
    step: int, seconds: float, data: float, look: float, save: float, n_tokens: int, flops: int
) -> dict[str, Any]:
    """What a step cost. seconds: waiting for data and computing; flops: of the step, all ranks."""
    return {
        "step": step,
        "time": round(time.time(), 3),
        "seconds": round(seconds, 4),
        "data_seconds": round(data, 5),
        "data_share": round(data / seconds, 5),
        "look_seconds": round(look, 4),
        "save_seconds": round(save, 4),
        "tokens_per_second": round(n_tokens / seconds, 1),
        "flops_per_second": round(flops / seconds),
    }
