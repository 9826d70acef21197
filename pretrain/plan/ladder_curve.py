"""The loss that a ladder forecasts on the way, not at the end alone: to check a run as it goes.

    at each share of its training    L(C) through the rungs' held-out losses at the same share of
                                     theirs, asked at the large run's C (ladder.forecast)

Rungs have the recipe's own schedule of learning rates, so equal shares are equal places in it. It
begins where every rung has looked at held-out text; between looks a rung's loss is a straight line.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pretrain import store
from pretrain.plan import ladder

_POINTS = 12


def curve(
    run_folders: Sequence[Path], steps: Sequence[int], flops: Sequence[float], at: float
) -> list[dict[str, float]]:
    """Rows of share, loss, low and high (80 %), nats per token; empty where a rung has no look.

    steps, flops: of each rung's whole training. at: FLOP of the large run's.
    """
    rungs = [looks(folder, n) for folder, n in zip(run_folders, steps, strict=True)]
    if not all(rungs):
        return []
    first = max(rows[0][0] for rows in rungs)
    found = []
    for share in sorted({first, *np.linspace(first, 1.0, _POINTS).tolist()}):
        losses = [float(np.interp(share, *np.array(rows).T)) for rows in rungs]
        told = ladder.forecast(list(flops), losses, at)
        found.append({"share": share} | {key: told[key] for key in ("loss", "low", "high")})
    return found


def looks(run_folder: Path, steps: int) -> list[tuple[float, float]]:
    """(share of training, held-out loss) of each look, in order."""
    rows = store.read_lines(run_folder / "train" / "metrics.jsonl")
    return sorted(
        {row["step"] / steps: row["held_out_loss"] for row in rows
         if row.get("held_out_loss") is not None}.items()
    )  # fmt: skip
