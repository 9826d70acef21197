"""How much of a run each source gets: weights, temperature, phases and epoch caps.

    share of a source without a weight   ∝  windows ** (1 / temperature)
    samples of a source in a phase       =  share · samples of it, at most what the cap leaves

A temperature above 1 lifts small sources: p ∝ n^α with α = 1 / temperature (Conneau et al. 2020,
XLM-R: α = 0.3; Xue et al. 2021, mT5: α = 0.3). A cap holds over all phases together, and later
phases are served first: an annealing phase gets what it asks for, earlier ones what that leaves.

Samples are whole numbers. Where the numbers of a run decide (a cap that binds, phases) they are
rounded by largest remainders, and the order gives exactly these. Else shares do not depend on how
long the run is, so that a longer run begins with the samples of a shorter one, and the planned
numbers are those of the order.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pretrain.errors import RecipeError
from pretrain.mix.order import MOST_SAMPLES, Order
from pretrain.mix.order import Phase as Parts

# "Up to 4 epochs of repeated data yields negligible changes to loss compared to having unique data"
# (Muennighoff et al. 2023).
MANY_EPOCHS = 4
_FINE = 2**31  # parts of a whole where shares are fractions


@dataclass(frozen=True)
class Phase:
    """A phase of the recipe: [mix.phases.NAME]."""

    name: str
    share: float  # of the run's samples
    weights: Mapping[str, float]  # in place of the sources' own


WHOLE = (Phase("", 1.0, {}),)  # a run without phases


@dataclass(frozen=True)
class Plan:
    """One source in the mixture: how much there is, and how much of a run it gets."""

    source: str
    n_windows: int
    share: float  # of samples, over all sources 1
    n_samples: int  # in the planned run, exactly
    epochs: float
    by_phase: tuple[int, ...]  # its samples in each phase
    parts: tuple[int, ...]  # its part of each phase: see order.Phase


def plan(
    windows: Mapping[str, int],
    weights: Mapping[str, float | None],
    caps: Mapping[str, float | None],
    n_samples: int,
    temperature: float = 1.0,
    phases: Sequence[Phase] = WHOLE,
) -> list[Plan]:
    """Each source's share of a run of `n_samples`, phase by phase.

    A source whose epochs would exceed its cap gets what the cap allows, and the others the rest in
    proportion.

    Raises: RecipeError where weights or caps cannot be met.
    """
    if n_samples > MOST_SAMPLES:
        raise RecipeError(
            f"mix: the run has {n_samples:,} samples; must be at most {MOST_SAMPLES:,}: make "
            "windows longer (recipe key mix.sequence_length)"
        )
    names = [name for name in windows if windows[name] > 0]
    allowed = {n: _whole_windows(caps.get(n), windows[n]) for n in names}
    room = dict(allowed)
    lengths = _lengths(phases, n_samples)
    wanted: list[np.ndarray] = []
    counts: list[np.ndarray] = []
    shares: list[dict[str, float]] = []
    binds = False
    for phase, length in reversed(list(zip(phases, lengths, strict=True))):
        share = _shares(names, windows, {**weights, **phase.weights}, temperature, phase.name)
        samples, full = _fill(share, room, length, phase.name)
        binds = binds or full
        wanted.insert(0, samples)
        counts.insert(0, largest_remainder(samples, length))
        shares.insert(0, share)
        room = {n: room[n] - int(c) for n, c in zip(names, counts[0], strict=True)}
    parts = counts
    if len(phases) == 1 and not binds:
        fine = largest_remainder(np.array([shares[0][n] for n in names]) * _FINE, _FINE)
        order = Order([windows[n] for n in names], [Parts(n_samples, tuple(fine.tolist()))], 0)
        seen = order.seen(n_samples)
        if all(c <= allowed[n] for n, c in zip(names, seen, strict=True)):
            parts, counts = [fine], [seen]
    result = []
    for i, n in enumerate(names):
        own = tuple(int(c[i]) for c in counts)
        share_of_run = float(sum(w[i] for w in wanted)) / n_samples
        result.append(
            Plan(n, windows[n], share_of_run, sum(own), sum(own) / windows[n], own,
                 tuple(int(p[i]) for p in parts))
        )  # fmt: skip
    return result


def order_of(plans: Sequence[Plan], seed: int) -> Order:
    """The order in which the sources' windows come."""
    phases = [
        Parts(sum(samples), parts)
        for samples, parts in zip(
            zip(*(p.by_phase for p in plans), strict=True),
            zip(*(p.parts for p in plans), strict=True),
            strict=True,
        )
    ]
    return Order([p.n_windows for p in plans], phases, seed)


def largest_remainder(exact: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers that add up to `total`, each `exact` rounded down or up."""
    counts = np.floor(exact).astype(np.int64)
    up = np.argsort(counts - exact, kind="stable")[: total - int(counts.sum())]
    counts[up] += 1
    return counts


def _whole_windows(cap: float | None, n_windows: int) -> float:
    """Samples that a cap allows; 0.29 · 100 is 29, whatever floating point makes of it."""
    return math.inf if cap is None else math.floor(cap * n_windows * (1 + 1e-9))


def _lengths(phases: Sequence[Phase], n_samples: int) -> list[int]:
    """Samples of each phase; they add up."""
    ends = np.cumsum([phase.share for phase in phases])
    borders = [0, *(round(float(end / ends[-1]) * n_samples) for end in ends)]
    return [end - begin for begin, end in pairwise(borders)]


def _shares(
    names: Sequence[str],
    windows: Mapping[str, int],
    weights: Mapping[str, float | None],
    temperature: float,
    phase: str,
) -> dict[str, float]:
    """Shares of a phase before caps. A weight is a share where others have none: they divide the
    rest by size.
    """
    given = {n: w for n in names if (w := weights.get(n)) is not None}
    largest = max(windows[n] for n in names)
    by_size = {n: (windows[n] / largest) ** (1 / temperature) for n in names if n not in given}
    total = sum(given.values())
    where = f"mix.phases.{phase}.weights" if phase else "mix.sources"
    if by_size and total >= 1:
        raise RecipeError(
            f"mix: weights add up to {total:g} while other sources have none; must be below 1, "
            f"or give every source a weight (recipe key {where})"
        )
    if not by_size and total == 0:
        raise RecipeError(
            f"mix: no source has a weight above 0 in phase '{phase}'; must be one at least "
            f"(recipe key {where})"
        )
    scale = total if not by_size else 1.0
    size = sum(by_size.values())
    return {n: given[n] / scale if n in given else (1 - total) * by_size[n] / size for n in names}


def _fill(
    share: Mapping[str, float], room: Mapping[str, float], n_samples: int, phase: str
) -> tuple[np.ndarray, bool]:
    """(samples of each source, not yet whole; whether a cap holds one back)."""
    fixed: dict[str, float] = {}
    while True:
        free = n_samples - sum(fixed.values())
        open_share = sum(v for n, v in share.items() if n not in fixed)
        now = {n: fixed[n] if n in fixed else free * share[n] / (open_share or 1) for n in share}
        over = {n: room[n] for n in share if n not in fixed and now[n] > room[n] * (1 + 1e-9)}
        if not over:
            return np.array([now[n] for n in share]), bool(fixed)
        fixed |= over
        if not any(share[n] for n in share if n not in fixed):
            most = sum(int(n) for n in fixed.values())
            who = f"phase '{phase}'" if phase else "the run"
            raise RecipeError(
                f"mix: epoch limits allow {most:,} samples, {who} wants {n_samples:,}; must be "
                "enough: raise mix.sources.*.max_epochs, add data, or lower train.steps "
                "(recipe key train.steps)"
            )
