"""Learning rate and batch by law: where to start looking, from what others found by search.

    StepLaw    lr = 1.782 N^-0.712 D^0.307    batch = 0.573 D^0.571        AdamW, cosine
    DeepSeek   lr = 0.3118 C^-0.1250          batch = 0.2920 C^0.3271      AdamW, steps

Batches are in tokens. Laws for AdamW say nothing about Muon's matrices. `fit_rates` finds the first
form from one's own search; the constants and their sources are in facts/laws.toml.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pretrain.errors import DataError
from pretrain.plan import facts
from pretrain.plan.minimise import Array


@dataclass(frozen=True)
class Rates:
    """lr = factor · N^by_size · D^by_tokens; batch of tokens = batch_factor · D^batch_by_tokens."""

    factor: float
    by_size: float
    by_tokens: float
    batch_factor: float
    batch_by_tokens: float

    def lr(self, n: float, d: float) -> float:
        return float(self.factor * n**self.by_size * d**self.by_tokens)

    def batch_tokens(self, d: float) -> float:
        return float(self.batch_factor * d**self.batch_by_tokens)


def steplaw() -> Rates:
    row = facts.fact("laws", "steplaw")
    return Rates(*(row[key] for key in Rates.__dataclass_fields__))


def deepseek(flops: float) -> tuple[float, float]:
    """(learning rate, batch in tokens) at a compute budget, by DeepSeek LLM (2401.02954)."""
    row = facts.fact("laws", "deepseek")
    return (
        row["factor"] * flops ** row["by_flops"],
        row["batch_factor"] * flops ** row["batch_by_flops"],
    )


LAWS: dict[str, Callable[[float, float], tuple[float, float]]] = {
    "StepLaw": lambda n, d: (steplaw().lr(n, d), steplaw().batch_tokens(d)),
    "DeepSeek": lambda n, d: deepseek(6 * n * d),
}


def best_of_search(n: Array, d: Array, lr: Array, batch: Array, loss: Array) -> Array:
    """Of a search, the run with the lowest loss at each (N, D).

    Shapes: all (runs,); the answer (pairs, 4): N, D, lr, batch.
    """
    table = np.stack([n, d, lr, batch], axis=1)
    pairs, group = np.unique(table[:, :2], axis=0, return_inverse=True)
    group = group.reshape(-1)
    best = [np.flatnonzero(group == g) for g in range(len(pairs))]
    return table[[rows[loss[rows].argmin()] for rows in best]]


def fit_rates(best: Array) -> Rates:
    """The law through the best runs at several (N, D), by least squares of logarithms.

    Shapes: best (pairs, 4): N, D, lr, batch in tokens.
    Raises: DataError where N or D takes one value only, or there are fewer than four pairs.
    """
    if len(best) < 4 or any(len(np.unique(best[:, i])) < 2 for i in (0, 1)):
        raise DataError(
            f"plan fit: {len(best)} pairs of (N, D) with a search; must be at least 4, with "
            "2 sizes and 2 numbers of tokens, to say how the learning rate moves"
        )
    n, d, lr, batch = np.log(best).T
    ones = np.ones(len(best))
    rate = np.linalg.lstsq(np.stack([ones, n, d], axis=1), lr, rcond=None)[0]
    size = np.linalg.lstsq(np.stack([ones, d], axis=1), batch, rcond=None)[0]
    return Rates(
        factor=float(np.exp(rate[0])), by_size=float(rate[1]), by_tokens=float(rate[2]),
        batch_factor=float(np.exp(size[0])), batch_by_tokens=float(size[1]),
    )  # fmt: skip


def critical_batch(trace: float, gradient_norm: float) -> float:
    """tr(Σ) / |G|²: the batch beyond which steps hardly fall any more, in what trace counts.

    trace: of the covariance of the gradient of one token (or window). McCandlish et al. 2018
    (1812.06162), equation 2.9, with the Hessian taken as a multiple of the identity.
    """
    return trace / gradient_norm**2


def noise_scale(small: float, large: float, n_small: int, n_large: int) -> float:
    """The same from mean squared gradient norms at two batches, appendix A.1 of the same paper.

    small, large: E|G|² with batches of n_small and n_large. Raises: DataError where their
    difference is noise: the larger batch must have the smaller norm, and some signal left.
    """
    signal = (n_large * large - n_small * small) / (n_large - n_small)
    trace = (small - large) / (1 / n_small - 1 / n_large)
    if signal <= 0 or trace <= 0:
        raise DataError(
            f"plan: squared gradient norms {small:.4g} and {large:.4g} at batches {n_small} and "
            f"{n_large} give no noise scale; average over more steps"
        )
    return trace / signal


def steps_and_examples(batch: float, critical: float) -> tuple[float, float]:
    """(steps over the fewest possible, examples over the fewest possible) at a batch.

    (S/S_min − 1)(E/E_min − 1) = 1 with B_crit = E_min/S_min (1812.06162, equation 2.11).
    """
    return 1 + critical / batch, 1 + batch / critical
