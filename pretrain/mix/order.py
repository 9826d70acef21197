"""Which window is training sample number n: a pure function of the seed and n.

    n ──block schedule──▶ (source, j-th sample of that source)
      ──epoch = j // windows, position = j % windows──▶ permutation keyed by (seed, source, epoch)
      ──▶ window

The schedule goes in blocks of 65,536 samples in which every source has its exact share (largest
remainder, at least one) spread evenly: its k-th sample lies somewhere in the k-th of as many equal
stretches, drawn anew for each block. So after any number of samples each source has had its share
to within a sample or two, and a longer run begins with the same samples as a shorter one. The
permutation is a Feistel network with cycle walking (a format-preserving cipher: Black and Rogaway
2002), evaluated for any position alone: no shuffle buffer, no stored order, nothing to save but one
integer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pretrain.errors import RecipeError

BLOCK = 65536
_ROUNDS = 6
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Plan:
    """One source in the mixture: how much there is, and how much of a run it gets."""

    source: str
    n_windows: int
    share: float  # of samples, over all sources 1
    n_samples: int  # in the planned run
    epochs: float


class Order:
    """Sample number → (source, epoch, window), for any number, in any order, on any rank."""

    def __init__(self, windows: Sequence[int], shares: Sequence[float], seed: int) -> None:
        self.windows = np.array(windows, dtype=np.int64)
        self.seed = seed
        self.per_block = _largest_remainder(np.array(shares, dtype=np.float64), BLOCK)
        self._last: tuple[int, np.ndarray, np.ndarray] | None = None  # the block in use

    def samples(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(source, epoch, window) of samples first … first+count, int64 arrays."""
        numbers = np.arange(first, first + count, dtype=np.int64)
        source = np.empty(count, dtype=np.int64)
        nth = np.empty(count, dtype=np.int64)
        for block in range(first // BLOCK, (first + count - 1) // BLOCK + 1):
            here = numbers // BLOCK == block
            slots, ranks = self._block(block)
            source[here] = slots[numbers[here] % BLOCK]
            nth[here] = block * self.per_block[source[here]] + ranks[numbers[here] % BLOCK]
        epoch = nth // self.windows[source]
        position = nth % self.windows[source]
        window = np.empty(count, dtype=np.int64)
        for s in np.unique(source):
            for e in np.unique(epoch[source == s]):
                here = (source == s) & (epoch == e)
                key = _mix(self.seed, 1, int(s), int(e))
                window[here] = permute(position[here], int(self.windows[s]), key)
        return source, epoch, window

    def seen(self, n_samples: int) -> np.ndarray:
        """Samples of each source among the first `n_samples`."""
        blocks, rest = divmod(n_samples, BLOCK)
        counts = blocks * self.per_block
        if rest:
            counts = counts + np.bincount(self._block(blocks)[0][:rest], minlength=len(counts))
        return counts

    def _block(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        """(source, rank among its source) of each of a block's positions."""
        if self._last is None or self._last[0] != block:
            ranks = np.concatenate([np.arange(n) for n in self.per_block])
            slots = np.repeat(np.arange(len(self.per_block)), self.per_block)
            noise = [
                _scramble(np.arange(n, dtype=np.uint64) ^ np.uint64(_mix(self.seed, 0, block, s)))
                for s, n in enumerate(self.per_block.tolist())
            ]
            within = np.concatenate(noise).astype(np.float64) / 2**64
            place = (ranks + within) / self.per_block[slots]
            order = np.argsort(place, kind="stable")
            self._last = (block, slots[order], ranks[order])
        return self._last[1], self._last[2]


def permute(position: np.ndarray, n: int, key: int) -> np.ndarray:
    """The images of positions in 0 … n-1 under the permutation of 0 … n-1 that `key` names."""
    half = max(1, ((n - 1).bit_length() + 1) // 2)
    x = position.astype(np.uint64)
    outside = np.ones(x.shape, dtype=bool)
    while outside.any():  # walk along the cycle until back inside: at most 4 steps on average
        x[outside] = _feistel(x[outside], half, key)
        outside = x >= np.uint64(n)
    return x.astype(np.int64)


def _feistel(x: np.ndarray, half: int, key: int) -> np.ndarray:
    mask = np.uint64((1 << half) - 1)
    left, right = x >> np.uint64(half), x & mask
    for round_number in range(_ROUNDS):
        round_key = np.uint64(_mix(key, round_number, 0, 0))
        left, right = right, left ^ (_scramble(right ^ round_key) & mask)
    return (left << np.uint64(half)) | right


def _scramble(x: np.ndarray) -> np.ndarray:
    """A 64-bit finaliser (Steele et al. 2014, SplitMix64); wraps around by intention."""
    with np.errstate(over="ignore"):
        x = x + _GOLDEN
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _mix(*values: int) -> int:
    """One 64-bit number from several."""
    state = np.zeros(1, dtype=np.uint64)
    for value in values:
        state = _scramble(state ^ np.uint64(value & 0xFFFFFFFFFFFFFFFF))
    return int(state[0])


def _largest_remainder(shares: np.ndarray, total: int) -> np.ndarray:
    exact = shares / shares.sum() * total
    counts = np.maximum(np.floor(exact).astype(np.int64), 1)
    while (rest := total - int(counts.sum())) != 0:
        step = 1 if rest > 0 else -1
        need = np.argsort(-step * (exact - counts), kind="stable")
        need = need[counts[need] + step >= 1]
        counts[need[: abs(rest)]] += step
    return counts


def plan(
    windows: Mapping[str, int],
    weights: Mapping[str, float | None],
    caps: Mapping[str, float | None],
    n_samples: int,
) -> list[Plan]:
    """Each source's share of a run of `n_samples`.

    Sources without a weight share in proportion to their windows. A source whose epochs would
    exceed its cap gets what the cap allows, and the others the rest in proportion.
    """
    names = [name for name in windows if windows[name] > 0]
    total = sum(windows[name] for name in names)
    given = sum(weights.get(n) or 0.0 for n in names)
    share = {n: weights.get(n) or windows[n] / total for n in names}
    if given and any(weights.get(n) is None for n in names):
        # A weight of its own is a share; what has none divides the rest by size.
        unweighted = sum(windows[n] for n in names if weights.get(n) is None)
        rest = 1.0 - given
        if rest <= 0:
            raise RecipeError(
                f"mix: weights add up to {given:g} while other sources have none; must be below 1, "
                "or give every source a weight (recipe key mix.sources)"
            )
        share = {n: weights.get(n) or rest * windows[n] / unweighted for n in names}
    scale = sum(share.values())
    share = {n: value / scale for n, value in share.items()}
    fixed: dict[str, float] = {}
    while True:
        free = 1.0 - sum(fixed.values())
        open_share = sum(v for n, v in share.items() if n not in fixed)
        now = {n: fixed.get(n, free * share[n] / open_share if open_share else 0) for n in names}
        over = {
            n: (caps.get(n) or 0) * windows[n] / n_samples
            for n in names
            if n not in fixed
            and caps.get(n)
            and now[n] * n_samples > (caps.get(n) or 0) * windows[n] * (1 + 1e-9)
        }
        if not over:
            break
        fixed |= over
        if len(fixed) == len(names):
            most = sum(int(f * n_samples) for f in fixed.values())
            raise RecipeError(
                f"mix: epoch limits allow {most:,} samples, the run wants {n_samples:,}; must be "
                "enough: raise mix.sources.*.max_epochs, add data, or lower train.steps "
                "(recipe key train.steps)"
            )
    result = []
    for n in names:
        samples = now[n] * n_samples
        result.append(Plan(n, windows[n], now[n], round(samples), samples / windows[n]))
    return result
