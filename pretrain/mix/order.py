"""Which window is training sample number n: a pure function of the seed and n.

    n ──phase──▶ n-th sample of the phase
      ──tree of splits──▶ (source, j-th sample of that source, earlier phases counted)
      ──epoch = j // windows, position = j % windows──▶ permutation keyed by (seed, source, epoch)
      ──▶ window

A split sends n samples to two groups of sources as evenly as integers allow: ⌊n·a/(a+b) + ½⌋ go to
the first (a line drawn in pixels: Bresenham 1965), so both which way sample n goes and how many
went that way before it are one division each. The first group of a split is the largest sources
that make up a third of it. So a group below a split has at most two thirds of it, and after any
number of samples of a phase each source has its share to within two: a split adds at most ½ to two
thirds of its parent's error, at most 1½ + ½ in all. The permutation is a Feistel network with cycle
walking (a format-preserving cipher: Black and Rogaway 2002), evaluated for any position alone: no
shuffle buffer, no stored order, nothing to save but one integer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MOST_SAMPLES = 2**32 - 1  # of a run, so that a split's product fits 64 bits
_ROUNDS = 6
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Phase:
    """A stretch of the run; the last phase goes on for as long as it is asked."""

    n_samples: int
    parts: tuple[int, ...]  # by source, in proportion; at most MOST_SAMPLES together


@dataclass(frozen=True)
class _Split:
    first: "int | _Split"  # a source, or more splits
    second: "int | _Split"
    part: int  # of the first
    whole: int


class Order:
    """Sample number → (source, epoch, window), for any number, in any order, on any rank."""

    def __init__(self, windows: Sequence[int], phases: Sequence[Phase], seed: int) -> None:
        self.windows = np.array(windows, dtype=np.int64)
        self.seed = seed
        phases = [phase for phase in phases if phase.n_samples]
        self._trees = [_tree(phase.parts) for phase in phases]
        self._first = [0]  # sample of each phase
        self._before = [np.zeros(len(windows), dtype=np.int64)]  # samples of each source before it
        for phase, tree in zip(phases[:-1], self._trees, strict=False):
            self._first.append(self._first[-1] + phase.n_samples)
            counts = _counts(tree, phase.n_samples, len(windows))
            self._before.append(self._before[-1] + counts)

    def samples(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(source, epoch, window) of samples first … first+count, int64 arrays."""
        source = np.empty(count, dtype=np.int64)
        nth = np.empty(count, dtype=np.int64)
        ends = [*self._first[1:], first + count]
        for tree, begin, end, before in zip(
            self._trees, self._first, ends, self._before, strict=True
        ):
            low, high = max(first, begin), min(first + count, end)
            if low < high:
                here = slice(low - first, high - first)
                source[here], nth[here] = _draw(tree, np.arange(low - begin, high - begin))
                nth[here] += before[source[here]]
        epoch = nth // self.windows[source]
        position = nth % self.windows[source]
        window = np.empty(count, dtype=np.int64)
        for s in np.unique(source):
            for e in np.unique(epoch[source == s]):
                chosen = (source == s) & (epoch == e)
                key = _mix(self.seed, 1, int(s), int(e))
                window[chosen] = permute(position[chosen], int(self.windows[s]), key)
        return source, epoch, window

    def seen(self, n_samples: int) -> np.ndarray:
        """Samples of each source among the first `n_samples`, int64; no sample is drawn."""
        phase = max(i for i, first in enumerate(self._first) if first <= n_samples)
        n = n_samples - self._first[phase]
        return self._before[phase] + _counts(self._trees[phase], n, len(self.windows))


def _tree(parts: Sequence[int]) -> int | _Split:
    """Splits over the sources that have a part."""

    def grow(sources: list[int]) -> int | _Split:  # the largest first
        if len(sources) == 1:
            return sources[0]
        whole, part, n = sum(parts[s] for s in sources), 0, 0
        while 3 * part < whole:
            part, n = part + parts[sources[n]], n + 1
        return _Split(grow(sources[:n]), grow(sources[n:]), part, whole)

    return grow(sorted((s for s, part in enumerate(parts) if part), key=lambda s: -parts[s]))


def _draw(tree: int | _Split, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(source, rank among its source) of the n-th samples under a tree."""
    source, rank = np.empty((2, len(n)), dtype=np.int64)
    left = [(tree, np.arange(len(n)), n.astype(np.uint64))]
    while left:
        node, which, n = left.pop()
        if isinstance(node, int):
            source[which], rank[which] = node, n
        elif len(which):
            part, whole = np.uint64(node.part), np.uint64(node.whole)
            before = (n * part + whole // np.uint64(2)) // whole
            after = ((n + np.uint64(1)) * part + whole // np.uint64(2)) // whole
            first = after > before
            left.append((node.first, which[first], before[first]))
            left.append((node.second, which[~first], (n - before)[~first]))
    return source, rank


def _counts(tree: int | _Split, n: int, n_sources: int) -> np.ndarray:
    """Samples of each source among the first n under a tree."""
    counts = np.zeros(n_sources, dtype=np.int64)
    left = [(tree, n)]
    while left:
        node, n = left.pop()
        if isinstance(node, int):
            counts[node] = n
        else:
            before = (n * node.part + node.whole // 2) // node.whole
            left += [(node.first, before), (node.second, n - before)]
    return counts


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
