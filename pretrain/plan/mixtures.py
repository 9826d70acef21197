"""Loss by mixture: which shares of the sources give which loss, from many small runs.

    exponential   L_i(r) = c_i + exp(Σ_j t_ij r_j)        Ye et al. 2024 (2403.16952), equation 7
    linear        L_i(r) = Σ_j w_ij r_j                   Liu et al. 2024 (2407.01492)

The paper's factor k_i is inside the exponent here: shares add up to 1, so it shifts every t_ij.
A law is good for ranking mixtures: its rank correlation on runs that it has not seen is what says
so, and larger models keep the ranking better than the losses.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pretrain.errors import DataError
from pretrain.plan.minimise import Array, minimise


@dataclass(frozen=True)
class Mixture:
    """kind 'linear' or 'exponential'; weights w_j or t_j, and the floor c."""

    kind: str
    weights: Array
    floor: float = 0.0

    def __call__(self, shares: Array) -> Array:
        """Loss of mixtures (mixtures, sources)."""
        along = np.asarray(shares) @ self.weights
        return along if self.kind == "linear" else self.floor + np.exp(along)


def fit_mixture(shares: Array, loss: Array, kind: str = "exponential") -> Mixture:
    """The law of one loss over mixtures, by least squares.

    Shapes: shares (runs, sources), rows adding up to 1; loss (runs,).
    Raises: DataError where there are fewer runs than constants.
    """
    shares = np.asarray(shares, dtype=np.float64)
    loss = np.asarray(loss, dtype=np.float64)
    n_free = shares.shape[1] + (kind == "exponential")
    if len(loss) < n_free:
        raise DataError(f"plan fit: {len(loss)} mixtures for {n_free} constants; must be as many")
    if kind == "linear":
        weights = np.linalg.lstsq(shares, loss, rcond=None)[0]
        return Mixture(kind, np.asarray(weights, dtype=np.float64))
    starts = []
    for part in (0.2, 0.5, 0.8):
        floor = part * loss.min()
        t = np.linalg.lstsq(shares, np.log(loss - floor), rcond=None)[0]
        starts.append([np.log(floor), *t])

    def squares(theta: Array, rows: NDArray[np.int64]) -> tuple[Array, Array]:
        floor, above = np.exp(theta[:, :1]), np.exp(np.minimum(theta[:, 1:] @ shares.T, 50.0))
        residual = floor + above - loss
        gradient = np.hstack([(residual * floor).sum(axis=1, keepdims=True),
                              (residual * above) @ shares])  # fmt: skip
        return (residual**2).sum(axis=1) / 2, gradient

    found, value = minimise(squares, np.array(starts), n_steps=400, gain=1e-10)
    best = found[int(np.nanargmin(value))]
    return Mixture(kind, best[1:], float(np.exp(best[0])))


def ranks(values: Array) -> Array:
    """Ranks from 1, equal values sharing the mean of theirs."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[group.reshape(-1)])


def rank_correlation(a: Array, b: Array) -> float:
    """Spearman's: the correlation of the ranks."""
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])
