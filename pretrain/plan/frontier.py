"""The least loss that a compute reaches by the public laws, around one run.

    loss(C) = min over N of the laws' loss at (N, C / 6 N)          dense models, 6 N D

A run lies on it or above: above by what its size, its tokens or repeated text cost; the frontier is
of text that is all new. What is 10 times smaller than every public set is left out: of a network of
2 M parameters the laws say 20 nats a token. What is 10 times larger is marked as extrapolated.
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

    `holds`: whether the run is large enough for the laws to say anything.
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
    """Whether some public set has runs less than 10 times larger in size and in tokens."""
    lows = (row.law.low for row in laws.ensemble())
    return min(max(size / n, d / tokens) for size, d in lows) <= laws.FAR


def _point(flops: float) -> dict[str, Any]:
    n, tokens = laws.optimum(flops, laws.central)
    best = laws.predict(n, tokens)
    return {
        "flops": flops, "parameters": n, "tokens": tokens,
        "loss": best.loss, "low": best.low, "high": best.high,
        "extrapolated": min(row.law.outside(n, tokens) for row in laws.ensemble()) > laws.FAR,
    }  # fmt: skip
