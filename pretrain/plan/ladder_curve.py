"""The loss that a ladder forecasts on the way, not at the end alone: to check a run as it goes.

    forecast(share) = forecast of the end · loss of the largest rung at that share / at its end

Rungs have the recipe's own schedule of learning rates, so equal shares are equal places in it. The
interval is the end's, wider by how far the two largest rungs' curves lie apart at that share. A law
through all rungs at each share was tried: half-way it was 7 % off where this was 1 % (docs/LOG.md).
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pretrain import store
from pretrain.plan import ladder

_MOST = 40  # points


def curve(
    run_folders: Sequence[Path], steps: Sequence[int], flops: Sequence[float], at: float
) -> list[dict[str, float]]:
    """Rows of share, loss, low and high (80 %), nats per token; empty where a rung has no look.

    Losses are of the sample of held-out text that looks read, the end's too; the largest rung comes
    last. steps, flops: of each rung's whole training. at: FLOP of the large run's.
    """
    rungs = [looks(folder, n) for folder, n in zip(run_folders, steps, strict=True)]
    if not all(rungs):
        return []
    ends = [rows[-1][1] for rows in rungs]
    end = ladder.forecast(list(flops), ends, at)
    half = math.log(end["high"] / end["loss"])
    *_, second, largest = rungs
    found = []
    for share, loss in largest[:: -math.ceil(len(largest) / _MOST)][::-1]:
        if share < second[0][0]:
            continue
        ratio = loss / ends[-1]
        other = float(np.interp(share, *np.array(second).T)) / ends[-2]
        wide = math.hypot(half, math.log(ratio / other))
        told = end["loss"] * ratio
        found.append({"share": share, "loss": told, "low": told * math.exp(-wide),
                      "high": told * math.exp(wide)})  # fmt: skip
    return found


def looks(run_folder: Path, steps: int) -> list[tuple[float, float]]:
    """(share of training, held-out loss) of each look, in order."""
    rows = store.read_lines(run_folder / "train" / "metrics.jsonl")
    losses = {
        row["step"] / steps: row["held_out_loss"]
        for row in rows
        if row.get("held_out_loss") is not None
    }
    return sorted(losses.items())
