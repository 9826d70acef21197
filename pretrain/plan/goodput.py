"""From ideal to billed time: failures, checkpoints, restarts, and what else runs were billed.

    mean time between failures   M = 24 h · 1000 / (failures per 1,000 board-days · boards)
    best interval                τ = √(2 C M)            C seconds a checkpoint stops training
    lost                         C / τ + τ / (2 M) + R / M                  R seconds to go on
    goodput time                 ideal / (1 − lost)
    billed                       ideal · the larger of 1 / (1 − lost) and what runs were billed

Young 1974 (CACM 17.9); Daly 2006 (FGCS 22.3). Beyond failures, published runs were billed 1.17 to
1.7 times their ideal time (facts/failures.toml): slow hosts, runs begun again, evaluation.
Quantiles are of 4,000 draws from a fixed seed: step time, failures, billed ratio, each lognormal.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from pretrain.errors import UsageError
from pretrain.plan.facts import fact, table

_RESTART_SECONDS = 600.0  # assumed: to notice, replace, load and compile
_COPY_BYTES_PER_SECOND = 5e9  # from a board to its host, assumed; files are written beside training
_LEAST_STOP = 2.0  # seconds, assumed
_DRAWS = 4000
_Z = NormalDist().inv_cdf(0.9)


@dataclass(frozen=True)
class Goodput:
    """Hours of wall time, and what they come from."""

    ideal_hours: float  # as told
    steps_hours: tuple[float, float, float]  # P10, P50, P90 of it, as sure as the step is known
    goodput_hours: tuple[float, float, float]
    billed_hours: tuple[float, float, float]
    failures: float
    hours_between_failures: float
    checkpoint_seconds: float  # that training stops for one
    interval_seconds: float
    lost: float


def hours_between_failures(per_1000_board_days: float, boards: int) -> float:
    """Mean hours. UsageError where nothing can fail."""
    if boards < 1 or per_1000_board_days <= 0:
        raise UsageError("failures: boards and their rate must be above 0")
    return 24 * 1000 / (per_1000_board_days * boards)


def best_interval(stop_seconds: float, mean_seconds: float) -> float:
    """Seconds between checkpoints that lose least (first order; never above the mean)."""
    return min(mean_seconds, math.sqrt(2 * stop_seconds * mean_seconds))


def lost(stop: float, interval: float, mean: float, restart: float) -> float:
    """Share of the time that is not new steps. Near 1 a run hardly moves."""
    share = stop / interval + interval / (2 * mean) + restart / mean
    return min(0.99, share)


def goodput(
    ideal_hours: float, boards: int, state_bytes: float, low: float = 0.95, high: float = 1.05,
    per_1000_board_days: float | None = None, restart: float = _RESTART_SECONDS, seed: int = 0,
) -> Goodput:  # fmt: skip
    """state_bytes: a board's part of a checkpoint; low, high: 80 % of real over told time."""
    known = sorted(row["per_1000_board_days"] for row in table("failures")["rate"].values())
    middle = per_1000_board_days or math.sqrt(known[0] * known[-1])
    stop = max(_LEAST_STOP, state_bytes / _COPY_BYTES_PER_SECOND)
    mean = 3600 * hours_between_failures(middle, boards)
    interval = best_interval(stop, mean)
    draw = np.random.default_rng([seed, 7])
    step = draw.lognormal(math.log(low * high) / 2, math.log(high / low) / (2 * _Z), _DRAWS)
    spread = 0.2 if per_1000_board_days else math.log(known[-1] / known[0]) / 4
    rates = middle * draw.lognormal(0, spread, _DRAWS)
    means = 3600 * 24 * 1000 / (rates * boards)
    share = np.minimum(0.99, stop / interval + interval / (2 * means) + restart / means)
    good = ideal_hours * step / (1 - share)
    ratios = np.log([row["ratio"] for row in table("failures")["billed"].values()])
    # Three long runs: the least of them is about what a careful run takes, their mean is not.
    ratio = draw.lognormal((ratios.min() + ratios.mean()) / 2, ratios.std(), _DRAWS)
    billed = np.maximum(good, ideal_hours * step * np.maximum(1.0, ratio))
    p50 = float(np.median(good))
    return Goodput(
        ideal_hours, _quantiles(ideal_hours * step), _quantiles(good), _quantiles(billed),
        p50 * 3600 / mean, mean / 3600, stop, interval, lost(stop, interval, mean, restart),
    )  # fmt: skip


def research_ratio(name: str = "middle") -> float:
    """All compute of a project over its final run's."""
    return float(fact("failures", "research", name)["ratio"])


def _quantiles(hours: "np.ndarray") -> tuple[float, float, float]:
    low, middle, high = np.percentile(hours, [10, 50, 90])
    return float(low), float(middle), float(high)
