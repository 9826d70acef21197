"""Four multipliers of step time: what is believed before, and after one or a few real steps.

    believed before      log multipliers, normal: mean and spread in facts/calibration.toml, for a
                         kind of software: "eager" and "compiled" (PyTorch with
                         shards), "megatron" (hand-written kernels, hidden messages)
    after runs           the most probable ones: Σ huber(log measured − log told) / noise²
                                                  + Σ (log multiplier − mean)² / spread²
    interval             80 % of what was left, rows left out one by one (the same file) or the
                         measured steps themselves, whichever is more; and what the multipliers
                         leave open of a layout unlike those that were measured

One run moves the multipliers that its time is made of, the others stay believed. Gauss-Newton with
differences; four unknowns, so it is done in milliseconds. A hardware file keeps a belief
(calibration.py), so that later plans start from it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretrain.errors import UsageError
from pretrain.plan.facts import Board, fact
from pretrain.plan.steptime import Costs, Multipliers, seconds

Array = NDArray[np.float64]
NOISE = 0.03  # of a measured step, in logs: what the same run gives another day


Z = NormalDist().inv_cdf(0.9)


@dataclass(frozen=True)
class Belief:
    """Log multipliers, normal, and the measured steps that they rest on."""

    mean: Array
    covariance: Array
    n_steps: int = 0
    left: float = 0.0  # root mean square of those steps' log errors, each told by the others

    @property
    def spread(self) -> Array:
        found: Array = np.sqrt(np.diag(self.covariance))
        return found

    @property
    def multipliers(self) -> Multipliers:
        return Multipliers(*np.exp(self.mean).tolist())


def believed(software: str = "compiled", board: Board | None = None) -> Belief:
    """What published rows of a kind of software say, or what steps on the board itself said.

    Raises: UsageError where a hardware file's multipliers cannot be.
    """
    names = Multipliers._fields
    if board is None or board.multipliers is None:
        row = fact("calibration", software)
        spread = np.array([row[f"spread_{n}"] for n in names])
        return Belief(np.log([row[n] for n in names]), np.diag(spread**2))
    row = board.multipliers
    try:
        mean = np.log(np.array([float(row[n]) for n in names]))
        covariance = np.array(row["covariance"], dtype=float)
        sound = np.isfinite(mean).all() and covariance.shape == (4, 4)
        sound = sound and (np.linalg.eigvalsh(covariance) > 0).all()
        n_steps, left = int(row["n_steps"]), float(row["left"])
    except (KeyError, TypeError, ValueError, FloatingPointError):
        sound, n_steps, left = False, 0, 0.0
    if not sound or n_steps < 1 or not 0 <= left < math.inf:
        raise UsageError(
            f"plan: the multipliers of {board.name!r} are not whole; must be {', '.join(names)} "
            "above 0, a covariance of 4 x 4, n_steps and left (hardware file; pretrain plan "
            "calibrate writes it anew)"
        )
    return Belief(mean, covariance, n_steps, left)


def interval(belief: Belief, found: Costs) -> tuple[float, float]:
    """An 80 % interval of a step with these costs, as factors of what is told."""
    before, after = fact("calibration", "uncalibrated"), fact("calibration", "calibrated")
    if not belief.n_steps:
        return before["low"], before["high"]
    slopes = _slopes(found, belief.mean)[0]
    # Of a layout that was measured the noise alone is open, and the row holds it already.
    variance = max(0.0, float(slopes @ belief.covariance @ slopes) - NOISE**2)
    more, left = Z * after["open"] * math.sqrt(variance), Z * belief.left
    low = math.hypot(max(-math.log(after["low"]), left), more)
    high = math.hypot(max(math.log(after["high"]), left), more)
    # Steps that tell nothing of this one leave what was believed without them.
    low = max(left, min(low, -math.log(before["low"])))
    high = max(left, min(high, math.log(before["high"])))
    return math.exp(-low), math.exp(high)


def left_out(belief: Belief, found: Sequence[Costs], measured: Sequence[float]) -> float:
    """Root mean square of steps' log errors, each told after the others; 0 of a single one."""
    if len(found) < 2:
        return 0.0
    errors = []
    for i, (costs, step) in enumerate(zip(found, measured, strict=True)):
        others = [j for j in range(len(found)) if j != i]
        after = shrink(belief, together([found[j] for j in others]), [measured[j] for j in others])
        errors.append(math.log(float(seconds(costs, after.multipliers)) / step))
    return math.sqrt(sum(error**2 for error in errors) / len(errors))


def together(found: Sequence[Costs]) -> Costs:
    """Costs of several runs as arrays."""
    return Costs(**{f.name: np.array([float(getattr(one, f.name)) for one in found])
                    for f in fields(Costs)})  # fmt: skip


def shrink(belief: Belief, found: Costs, measured: Any, noise: float = NOISE) -> Belief:
    """The belief after runs with these costs took so many seconds a step. Arrays alike."""
    told = np.atleast_1d(np.log(np.asarray(measured, dtype=float)))
    mean = belief.mean.copy()
    precision = np.linalg.inv(belief.covariance)
    hessian = precision
    for _ in range(20):
        left = told - _logs(found, mean)
        slopes = _slopes(found, mean)
        weights = 1 / np.maximum(1, np.abs(left) / (1.5 * noise)) / noise**2
        hessian = slopes.T @ (slopes * weights[:, None]) + precision
        gradient = slopes.T @ (weights * left) - precision @ (mean - belief.mean)
        step = np.clip(np.linalg.solve(hessian, gradient), -0.5, 0.5)
        mean = mean + step
        if np.abs(step).max() < 1e-4:
            break
    return Belief(mean, np.linalg.inv(hessian), belief.n_steps + len(told), belief.left)


def _logs(found: Costs, mean: Array) -> Array:
    """Log seconds of each run."""
    result: Array = np.atleast_1d(np.log(seconds(found, Multipliers(*np.exp(mean)))))
    return result


def _slopes(found: Costs, mean: Array) -> Array:
    """How log seconds move with log multipliers: (runs, 4)."""
    at = _logs(found, mean)
    return np.stack([(_logs(found, mean + 1e-4 * axis) - at) / 1e-4 for axis in np.eye(4)], axis=1)


def pool(groups: Sequence[tuple[Costs, Any]], rounds: int = 4) -> Belief:
    """The belief that groups of runs share: mean and spread of what each says (empirical Bayes).

    groups: costs and measured seconds of runs of one software on one board.
    """
    belief = Belief(np.zeros(4), 0.16 * np.eye(4))
    weights = np.sqrt([len(np.atleast_1d(measured)) for _, measured in groups])
    for _ in range(rounds):
        means = np.array([shrink(belief, found, measured, 0.08).mean for found, measured in groups])
        mean = (means * weights[:, None]).sum(0) / weights.sum()
        spread = np.clip(
            np.sqrt(np.average((means - mean) ** 2, axis=0, weights=weights)), 0.2, 0.6
        )
        belief = Belief(mean, np.diag(spread**2))
    return belief
