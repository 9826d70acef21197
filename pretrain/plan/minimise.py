"""Minima of smooth functions of few variables, from many starts at once.

BFGS with a weak Wolfe search by bisection (Lewis and Overton 2013, Mathematical Programming 141),
which also gets through the near-kinks of a Huber loss with a small threshold. All starts take a
step together, as rows of one array: a hundred bootstrap fits cost little more than ten.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
# (values of K points, gradients) of points (K, P); `rows` says which starts the points belong to.
Function = Callable[[Array, NDArray[np.int64]], tuple[Array, Array]]

_FLAT = 1e-10  # of a gradient


def minimise(
    function: Function, starts: Array, n_steps: int = 300, gain: float = 1e-13
) -> tuple[Array, Array]:
    """The minimum reached from each start, and its value.

    Shapes: starts and minima (K, P), values (K,). A start ends where no step lowers its value, its
    gradient is nothing, or five steps in a row gain less than the share `gain` of the value.
    """
    x = np.array(starts, dtype=np.float64)
    n_starts, n_variables = x.shape
    rows = np.arange(n_starts)
    value, gradient = function(x, rows)
    inverse = np.broadcast_to(np.eye(n_variables), (n_starts, n_variables, n_variables)).copy()
    inverse /= np.maximum(1.0, np.abs(gradient).max(axis=1))[:, None, None]
    idle = np.zeros(n_starts, dtype=np.int64)
    active = rows[np.abs(gradient).max(axis=1) > _FLAT]
    for _ in range(n_steps):
        if not len(active):
            break
        direction = -np.einsum("kij,kj->ki", inverse[active], gradient[active])
        slope = np.einsum("ki,ki->k", direction, gradient[active])
        uphill = slope >= 0
        direction[uphill] = -gradient[active][uphill]
        inverse[active[uphill]] = np.eye(n_variables)
        slope = np.einsum("ki,ki->k", direction, gradient[active])
        t, found, slopes = _search(function, x[active], direction, value[active], slope, active)
        moved = found < value[active]
        step = np.where(moved, t, 0.0)[:, None] * direction
        change = slopes - gradient[active]
        won = value[active] - found
        _update(inverse, active, step, change, moved)
        x[active] += step
        idle[active] = np.where(won > gain * np.abs(value[active]), 0, idle[active] + 1)
        value[active] = np.where(moved, found, value[active])
        gradient[active] = np.where(moved[:, None], slopes, gradient[active])
        steep = np.abs(gradient[active]).max(axis=1) > _FLAT
        active = active[moved & steep & (idle[active] < 5)]
    return x, value


def _search(
    function: Function, x: Array, direction: Array, value: Array, slope: Array,
    rows: NDArray[np.int64],
) -> tuple[Array, Array, Array]:  # fmt: skip
    """(length, value, gradient) of a step that lowers enough and flattens enough, by bisection."""
    low = np.zeros(len(x))
    high = np.full(len(x), np.inf)
    t = np.ones(len(x))
    best_t, best, best_gradient = np.zeros(len(x)), value.copy(), np.zeros_like(x)
    searching = np.arange(len(x))
    for _ in range(25):
        i = searching
        with np.errstate(over="ignore", invalid="ignore"):  # a step too far is taken back
            found, gradient = function(x[i] + t[i, None] * direction[i], rows[i])
        lowers = found <= value[i] + 1e-4 * t[i] * slope[i]  # false where it is no number
        flat = np.einsum("ki,ki->k", gradient, direction[i]) >= 0.9 * slope[i]
        better = lowers & (found < best[i])
        best_t[i[better]], best[i[better]] = t[i[better]], found[better]
        best_gradient[i[better]] = gradient[better]
        high[i[~lowers]] = t[i[~lowers]]
        low[i[lowers & ~flat]] = t[i[lowers & ~flat]]
        searching = i[~(lowers & flat)]
        if not len(searching):
            break
        t[searching] = np.where(
            np.isinf(high[searching]),
            2 * low[searching],
            (low + np.minimum(high, 1e300))[searching] / 2,
        )
    return best_t, best, best_gradient


def _update(
    inverse: Array, rows: NDArray[np.int64], step: Array, change: Array, moved: NDArray[np.bool_]
) -> None:
    """The BFGS update of the inverse Hessians of rows whose step saw positive curvature."""
    curvature = np.einsum("ki,ki->k", step, change)
    good = moved & (
        curvature > 1e-14 * np.linalg.norm(step, axis=1) * np.linalg.norm(change, axis=1)
    )
    if not good.any():
        return
    s, y, r = step[good], change[good], 1 / curvature[good]
    held = inverse[rows[good]]
    left = np.eye(s.shape[1]) - r[:, None, None] * np.einsum("ki,kj->kij", s, y)
    new = np.einsum("kij,kjl,kml->kim", left, held, left)
    inverse[rows[good]] = new + r[:, None, None] * np.einsum("ki,kj->kij", s, s)
