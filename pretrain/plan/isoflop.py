"""Best size by compute, N_opt = G C^a, read off runs without a law of loss.

Approach 1 (Hoffmann et al. 2022, section 3.1): of training curves of several sizes, at each compute
the size with the lowest loss. Approach 2 (section 3.2): runs of one compute and several sizes; the
minimum of a parabola in log N. Porian et al. 2024 (2406.19146) interpolate instead, with Akima's
piecewise cubic (1970), which no far-away run can bend.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pretrain.errors import DataError
from pretrain.plan.minimise import Array

_BAND = 0.08  # computes within 8 % of each other are one budget: published FLOPs are rounded


@dataclass(frozen=True)
class Optimum:
    """N_opt = factor · C^exponent, through these (compute, size, loss) points."""

    exponent: float
    factor: float
    points: Array  # (budgets, 3)
    left_out: tuple[str, ...] = ()

    def size(self, flops: float) -> float:
        return float(self.factor * flops**self.exponent)


def line(flops: Array, sizes: Array) -> tuple[float, float]:
    """(exponent, factor) of a power law through points, by least squares of logarithms."""
    exponent, intercept = np.polyfit(np.log(flops), np.log(sizes), 1)
    return float(exponent), float(np.exp(intercept))


def envelope(n: Array, flops: Array, loss: Array, n_points: int = 200) -> Optimum:
    """Approach 1: rows are points of training curves, a curve per size.

    Loss between two points of a curve is taken linear in log C; a size counts only where its curve
    is. The n_points computes are evenly spaced in log C.
    """
    sizes = np.unique(n)
    curves = []
    for size in sizes:
        order = np.flatnonzero(n == size)
        order = order[np.argsort(flops[order])]
        if len(order) > 1:
            curves.append((size, np.log(flops[order]), loss[order]))
    if len(curves) < 3:
        raise DataError(
            f"plan fit: {len(curves)} sizes have a curve; must be at least 3 (several rows with "
            "the same N and growing D)"
        )
    low = min(c[0] for _, c, _ in curves)
    high = max(c[-1] for _, c, _ in curves)
    at = np.linspace(low, high, n_points)
    table = np.array([np.interp(at, c, y, left=np.inf, right=np.inf) for _, c, y in curves])
    best = table.argmin(axis=0)
    found = np.array(
        [(np.exp(at[i]), curves[best[i]][0], table[best[i], i]) for i in range(n_points)]
    )
    # The smallest wins below its rivals' curves, the largest above: only choices between are fair.
    offered = np.isfinite(table).sum(axis=0) >= 2
    inner = offered & (best > 0) & (best < len(curves) - 1)
    if len(np.unique(best[inner])) < 2:
        raise DataError("plan fit: fewer than 2 sizes inside the range win at any compute")
    return Optimum(*line(found[inner, 0], found[inner, 1]), found[inner])


def isoflop(n: Array, flops: Array, loss: Array, method: str = "parabola") -> Optimum:
    """Approach 2, by 'parabola' or 'interpolation'. Budgets whose minimum is no inner one are left
    out and named.
    """
    points, left_out = [], []
    for here in _budgets(flops):
        budget = float(np.exp(np.log(flops[here]).mean()))
        log_n, order = np.unique(np.log(n[here]), return_index=True)
        y = loss[here][order]
        found = _METHODS[method](log_n, y) if len(log_n) >= _FEWEST[method] else None
        if found is None:
            left_out.append(f"C = {budget:.3g}: {len(log_n)} sizes, no minimum between them")
        else:
            points.append((budget, np.exp(found[0]), found[1]))
    if len(points) < 2:
        raise DataError(
            f"plan fit: {len(points)} budgets have a best size; must be at least 2 (runs of equal "
            f"C with {_FEWEST[method]} sizes or more around the best one)"
        )
    table = np.array(points)
    return Optimum(*line(table[:, 0], table[:, 1]), table, tuple(left_out))


def _budgets(flops: Array) -> list[Array]:
    """Rows of equal compute, three at least: the fullest band first, each row in one."""
    logs, rest, groups = np.log(flops), np.arange(len(flops)), []
    while len(rest):
        near = np.abs(logs[rest, None] - logs[None, rest]) <= _BAND
        fullest = near[near.sum(axis=1).argmax()]
        if fullest.sum() < 3:
            break
        groups.append(rest[fullest])
        rest = rest[~fullest]
    return sorted(groups, key=lambda rows: float(logs[rows].mean()))


def _parabola(x: Array, y: Array) -> tuple[float, float] | None:
    curve = np.polynomial.Polynomial.fit(x, y, 2)
    a = curve.convert().coef
    if len(a) < 3 or a[2] <= 0:
        return None
    best = -a[1] / (2 * a[2])
    return (float(best), float(curve(best))) if x[0] <= best <= x[-1] else None


def _interpolated(x: Array, y: Array) -> tuple[float, float] | None:
    at = np.linspace(x[0], x[-1], 2001)
    values = akima(x, y)(at)
    i = int(values.argmin())
    return (float(at[i]), float(values[i])) if 0 < i < len(at) - 1 else None


def akima(x: Array, y: Array) -> Callable[[Array], Array]:
    """The piecewise cubic of Akima (1970, Journal of the ACM 17) through five points or more."""
    slope = np.diff(y) / np.diff(x)
    before = [3 * slope[0] - 2 * slope[1], 2 * slope[0] - slope[1]]
    after = [2 * slope[-1] - slope[-2], 3 * slope[-1] - 2 * slope[-2]]
    m = np.array([*before, *slope, *after])
    weight = np.abs(np.diff(m))
    left, right = weight[:-2], weight[2:]
    total = left + right
    middle = (m[1:-2] + m[2:-1]) / 2
    safe = np.where(total > 0, total, 1.0)
    tangent = np.where(
        total > 1e-9 * total.max(), (right * m[1:-2] + left * m[2:-1]) / safe, middle
    )

    def value(at: Array) -> Array:
        i = np.clip(np.searchsorted(x, at, side="right") - 1, 0, len(x) - 2)
        width = x[i + 1] - x[i]
        t = (at - x[i]) / width
        h = t * t * (3 - 2 * t)
        bend = t * (1 - t) * ((1 - t) * tangent[i] - t * tangent[i + 1])
        return np.asarray(y[i] + h * (y[i + 1] - y[i]) + width * bend)

    return value


_METHODS = {"parabola": _parabola, "interpolation": _interpolated}
_FEWEST = {"parabola": 4, "interpolation": 5}
