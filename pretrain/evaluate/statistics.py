"""How sure a score is, and whether two differ.

error of a mean       s / sqrt(n), s with n - 1 (as lm-evaluation-harness)
centred               (score - b) / (1 - b): 0 is chance, 1 is all
mean of independents  sqrt(sum of squares) / n
paired bootstrap      items drawn with replacement, both models answering the same ones
sign test             exact, two-sided; McNemar's exact test where scores are 0 or 1
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

RESAMPLES = 10_000
# Two-sided 5 %, power 80 %: 1.960 + 0.842 standard errors.
_DETECTABLE = 2.802


def mean(values: Sequence[float]) -> tuple[float, float]:
    """(mean, standard error); of one value, whose error is not known, the largest a share has."""
    x = np.asarray(values, dtype=np.float64)
    if len(x) == 1:
        return float(x[0]), 0.5
    return float(x.mean()), float(x.std(ddof=1) / math.sqrt(len(x)))


def ratio(tops: Sequence[float], bottoms: Sequence[float]) -> tuple[float, float]:
    """(sum of tops over sum of bottoms, its standard error by linearisation)."""
    a, b = np.asarray(tops, dtype=np.float64), np.asarray(bottoms, dtype=np.float64)
    total = float(b.sum())
    value = float(a.sum()) / total
    if len(a) == 1:
        return value, 0.0
    spread = (a - value * b).std(ddof=1) * math.sqrt(len(a))
    return value, float(spread / total)


def centred(score: tuple[float, float], baseline: float) -> tuple[float, float]:
    value, error = score
    return (value - baseline) / (1 - baseline), error / (1 - baseline)


def mean_of(scores: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The mean of independent scores, each counting alike, and its standard error."""
    n = len(scores)
    error = math.sqrt(sum(e * e for _, e in scores)) / n
    return sum(v for v, _ in scores) / n, error


def sign_test(n_positive: int, n_negative: int) -> float:
    """Two-sided p of so many differences of each sign, where either is as likely. Ties are out."""
    n, fewer = n_positive + n_negative, min(n_positive, n_negative)
    if n == 0:
        return 1.0
    log_n = math.lgamma(n + 1) - n * math.log(2)
    tail = sum(
        math.exp(log_n - math.lgamma(k + 1) - math.lgamma(n - k + 1)) for k in range(fewer + 1)
    )
    return min(1.0, 2 * tail)


def bootstrap(differences: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """The 95 % percentile interval of the mean over resampled items.

    Items of equal difference are alike, so counts of each value are drawn (multinomial): exact and
    cheap where scores are 0 or 1.
    """
    values, counts = np.unique(np.asarray(differences, dtype=np.float64), return_counts=True)
    n = int(counts.sum())
    rng = np.random.default_rng(seed)
    at_once = max(1, (1 << 24) // len(values))
    means = [
        rng.multinomial(n, counts / n, min(at_once, RESAMPLES - done)) @ values / n
        for done in range(0, RESAMPLES, at_once)
    ]
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return float(low), float(high)


def paired(a: Sequence[float], b: Sequence[float]) -> dict[str, Any]:
    """How b differs from a on the same items: mean, error, interval, p, what could be seen."""
    difference = np.asarray(b, dtype=np.float64) - np.asarray(a, dtype=np.float64)
    value, error = mean(difference.tolist())
    low, high = bootstrap(difference.tolist())
    return {
        "items": len(difference),
        "difference": value,
        "error": error,
        "low": low,
        "high": high,
        "better": int((difference > 0).sum()),
        "worse": int((difference < 0).sum()),
        "p": sign_test(int((difference > 0).sum()), int((difference < 0).sum())),
        "detectable": _DETECTABLE * error,
    }
