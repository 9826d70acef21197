"""Four multipliers of step time: what is believed before, and after one or a few real steps.

    believed before      log multipliers, normal: mean and spread in facts/calibration.toml, for a
                         kind of software: "eager" and "compiled" (PyTorch with
                         shards), "megatron" (hand-written kernels, hidden messages)
    after runs           the most probable ones: Σ huber(log measured − log told) / noise²
                                                  + Σ (log multiplier − mean)² / spread²
    interval             80 % of what was left, rows left out one by one (the same file)

One run moves the multipliers that its time is made of, the others stay believed. Gauss-Newton with
differences; four unknowns, so it is done in milliseconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretrain.plan.facts import fact
from pretrain.plan.steptime import Costs, Multipliers, seconds

Array = NDArray[np.float64]
NOISE = 0.03  # of a measured step, in logs: what the same run gives another day


@dataclass(frozen=True)
class Belief:
    """Log multipliers."""

    mean: Array
    spread: Array

    @property
    def multipliers(self) -> Multipliers:
        return Multipliers(*np.exp(self.mean).tolist())


def believed(software: str = "compiled") -> Belief:
    """What published rows of a kind of software say."""
    row = fact("calibration", software)
    names = Multipliers._fields
    return Belief(
        np.log([row[name] for name in names]), np.array([row[f"spread_{n}"] for n in names])
    )


def interval(step: float, is_calibrated: bool) -> tuple[float, float]:
    """An 80 % interval of a step's seconds."""
    row = fact("calibration", "calibrated" if is_calibrated else "uncalibrated")
    return step * row["low"], step * row["high"]


def together(found: Sequence[Costs]) -> Costs:
    """Costs of several runs as arrays."""
    return Costs(**{f.name: np.array([float(getattr(one, f.name)) for one in found])
                    for f in fields(Costs)})  # fmt: skip


def shrink(belief: Belief, found: Costs, measured: Any, noise: float = NOISE) -> Belief:
    """The belief after runs with these costs took so many seconds a step. Arrays alike."""
    told = np.atleast_1d(np.log(np.asarray(measured, dtype=float)))
    mean = belief.mean.copy()
    precision = 1 / belief.spread**2

    def logs(at: Array) -> Array:
        result: Array = np.atleast_1d(np.log(seconds(found, Multipliers(*np.exp(at)))))
        return result

    hessian = np.diag(precision)
    for _ in range(20):
        at = logs(mean)
        left = told - at
        slopes = np.stack([(logs(mean + 1e-4 * axis) - at) / 1e-4 for axis in np.eye(4)], axis=1)
        weights = 1 / np.maximum(1, np.abs(left) / (1.5 * noise)) / noise**2
        hessian = slopes.T @ (slopes * weights[:, None]) + np.diag(precision)
        gradient = slopes.T @ (weights * left) - (mean - belief.mean) * precision
        step = np.clip(np.linalg.solve(hessian, gradient), -0.5, 0.5)
        mean = mean + step
        if np.abs(step).max() < 1e-4:
            break
    return Belief(mean, np.sqrt(np.diag(np.linalg.inv(hessian))))


def pool(groups: Sequence[tuple[Costs, Any]], rounds: int = 4) -> Belief:
    """The belief that groups of runs share: mean and spread of what each says (empirical Bayes).

    groups: costs and measured seconds of runs of one software on one board.
    """
    belief = Belief(np.zeros(4), np.full(4, 0.4))
    weights = np.sqrt([len(np.atleast_1d(measured)) for _, measured in groups])
    for _ in range(rounds):
        means = np.array([shrink(belief, found, measured, 0.08).mean for found, measured in groups])
        mean = (means * weights[:, None]).sum(0) / weights.sum()
        spread = np.clip(
            np.sqrt(np.average((means - mean) ** 2, axis=0, weights=weights)), 0.2, 0.6
        )
        belief = Belief(mean, spread)
    return belief
