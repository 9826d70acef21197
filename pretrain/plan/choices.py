"""What to train, from what is wanted: size and tokens for a loss, cheap to train or cheap to serve.

    compute-optimal   least loss for 6 N D
    over-trained      a given D/N above the optimum's (Gadre et al. 2024, 2403.08540)
    inference-aware   least 6 N D + 2 N D_served at a loss (Sardana et al. 2024, 2401.00448)

A law here is any falling function of (N, D). A loss that no size or no number of tokens reaches is
refused, and what would make it possible is said.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pretrain.errors import UsageError
from pretrain.plan.laws import Surface
from pretrain.plan.minimise import Array

_ENDLESS = 1e40  # parameters or tokens that leave nothing of their term
_MOST = 1e18  # parameters or tokens that anybody could mean


@dataclass(frozen=True)
class Choice:
    """Parameters, tokens, the loss, and FLOPs of training and of serving."""

    n: float
    d: float
    loss: float
    training: float
    serving: float = 0.0

    @property
    def total(self) -> float:
        return self.training + self.serving


def choice(law: Surface, n: float, d: float, served: float = 0.0) -> Choice:
    return Choice(n, d, float(law(n, d)), 6 * n * d, 2 * n * served)


def over_trained(law: Surface, flops: float, ratio: float) -> Choice:
    """The model of a compute budget with so many tokens per parameter."""
    for name, value in (("compute", flops), ("tokens per parameter", ratio)):
        if not (math.isfinite(value) and value > 0):
            raise UsageError(f"plan: {name} is {value}; must be above 0")
    n = math.sqrt(flops / 6 / ratio)
    return choice(law, n, ratio * n)


def floor(law: Surface) -> float:
    """What the law leaves with endless parameters and tokens."""
    return float(law(_ENDLESS, _ENDLESS))


def tokens_for(law: Surface, n: float, loss: float) -> float:
    """Tokens that bring N parameters to a loss. UsageError where none do."""
    least = float(law(n, _ENDLESS))
    if loss <= least:
        _refuse_floor(law, loss)
        size = size_for(law, _ENDLESS, loss)
        raise UsageError(
            f"plan: {n:.3g} parameters reach {least:.4f} with endless tokens by this law, not "
            f"{loss:.4f}; take more than {size:.3g} parameters, or a loss above {least:.4f}"
        )
    return float(_falls_to(lambda d: law(n, d), loss, ()))


def size_for(law: Surface, d: float, loss: float) -> float:
    """Parameters that reach a loss on D tokens. UsageError where none do."""
    least = float(law(_ENDLESS, d))
    if loss <= least:
        _refuse_floor(law, loss)
        tokens = tokens_for(law, _ENDLESS, loss)
        raise UsageError(
            f"plan: {d:.3g} tokens bring any size to {least:.4f} at best by this law, not "
            f"{loss:.4f}; take more than {tokens:.3g} tokens, or a loss above {least:.4f}"
        )
    return float(_falls_to(lambda n: law(n, d), loss, ()))


def cheapest(law: Surface, loss: float, served: float = 0.0) -> Choice:
    """The least compute, training and serving so many tokens, that reaches a loss."""
    _refuse_floor(law, loss)
    if not (math.isfinite(served) and served >= 0):
        raise UsageError(f"plan: {served} tokens to serve; must be 0 or more")
    smallest = size_for(law, _ENDLESS, loss)
    low, high = math.log(smallest), math.log(smallest) + 25.0
    for _ in range(5):
        at = np.linspace(low, high, 82)[1:]
        n = np.exp(at)
        d = _falls_to(functools.partial(law, n), loss, n.shape)
        i = int(np.argmin(6 * n * d + 2 * n * served))
        step = at[1] - at[0]
        low, high = max(math.log(smallest), at[i] - 2 * step), at[i] + 2 * step
    best = choice(law, float(n[i]), float(d[i]), served)
    if max(best.n, best.d) > _MOST:
        raise UsageError(
            f"plan: a loss of {loss:.4f} takes {best.n:.3g} parameters and {best.d:.3g} tokens by "
            f"this law, whose floor is {floor(law):.4f}; take a higher loss, or better data and "
            "tokenizer, which lower the floor itself"
        )
    return best


def _refuse_floor(law: Surface, loss: float) -> None:
    least = floor(law)
    if not (math.isfinite(loss) and loss > least):
        raise UsageError(
            f"plan: a loss of {loss:.4f} is at or below this law's floor of {least:.4f}: no size "
            "and no number of tokens reaches it; what may: other text or another tokenizer (a "
            "floor belongs to both), or a law fitted to your own runs (pretrain plan fit)"
        )


def _falls_to(value: Callable[[Array], Array], loss: float, shape: tuple[int, ...]) -> Array:
    """Where falling functions pass a value, by bisection of the logarithm."""
    low, high = np.zeros(shape), np.full(shape, math.log(_ENDLESS))
    for _ in range(100):
        middle = (low + high) / 2
        above = value(np.exp(middle)) > loss
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.exp(high)
