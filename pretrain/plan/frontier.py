"""The least loss that a compute reaches by the public laws, around one run.

    loss(C) = min over N of the laws' loss at (N, C / 6 N)          dense models, 6 N D

A run lies on it or above: above by what its size, its tokens or repeated text cost; the frontier is
of text that is all new. What lies 10 times outside the range of every public set is left out: there
the laws are no forecast (of a network of 2 M parameters they say 20 nats a token).
"""

from dataclasses import asdict
from typing import Any

import numpy as np

from pretrain.plan import laws

_BELOW, _ABOVE = 1e3, 1e2  # times the run's compute
_POINTS = 26


def around(
    n_parameters: float, tokens: float, unique_tokens: float | None = None
) -> dict[str, Any]:
    """The run's loss with its 80 % interval, in nats per token, and the frontier's.

    `holds`: whether the run itself is near enough to the public ones.
    Raises: UsageError where a number is not above 0.
    """
    run = laws.predict(n_parameters, tokens, unique_tokens)
    flops = 6.0 * n_parameters * tokens
    points = [_point(float(c)) for c in np.geomspace(flops / _BELOW, flops * _ABOVE, _POINTS)]
    return {
        "flops": flops,
        **asdict(run),
        "holds": _holds(n_parameters, tokens),
        "frontier": [p for p in points if _holds(p["parameters"], p["tokens"])],
    }


def _holds(n: float, tokens: float) -> bool:
    return min(row.law.outside(n, tokens) for row in laws.ensemble()) <= laws.FAR


def _point(flops: float) -> dict[str, float]:
    n, tokens = laws.optimum(flops, laws.central)
    best = laws.predict(n, tokens)
    return {
        "flops": flops, "parameters": n, "tokens": tokens,
        "loss": best.loss, "low": best.low, "high": best.high,
    }  # fmt: skip
