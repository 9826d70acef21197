"""Pairs of documents that may be alike: band keys, buckets, and the exact similarity of a pair.

Documents are numbers in the order of preference: of two duplicates the smaller one is kept.

    key      hash of a band's rows of the signature and of which band it is: 64 bits, of which the
             upper ones choose the range (part) and the lower 32 are kept
    sketch   one bit of each of 64 entries of a signature: two documents of similarity J agree in
             (1 + J) / 2 of them. It tells J to a standard deviation of 0.1 (at 0.5: 0.108)
    bucket   documents of one key, in order. By their sketches, each is compared with up to 16
             leaders and the 8 before it (near-duplicates are nearly as long, so they stand near
             each other) and becomes a leader itself, unless it surely repeats two leaders: then
             that is enough

So a million copies of one text give two million pairs a band and not 5 * 10^11, and even a bucket
of everything costs 24 comparisons a document. Pairs whose sketches put them MARGIN below the
threshold are not proposed.
"""

import math

import numpy as np

from pretrain.curate import minhash
from pretrain.curate.compiled import kernel

LEADERS, RECENT, ENOUGH = 16, 8, 2
N_BITS = 64
MARGIN = 0.3  # by which a sketch may be below the threshold: 3 standard deviations at J = 0.5
ROW = np.dtype([("rank", "<u4"), ("key", "<u4"), ("sketch", "<u8")])

_MIX = np.uint64(0xD6E8FEB86659FD93)
_32 = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)


def rows_of(
    signatures: np.ndarray, ranks: np.ndarray, bands: list[tuple[int, int]], n_parts: int
) -> tuple[np.ndarray, np.ndarray]:
    """(ROW for each document that has words and each of (bands, rows of a band), part of each)."""
    n_rows = len(signatures) * sum(n for n, _ in bands)
    out, parts = np.empty((n_rows, 2), np.uint64), np.empty(n_rows, np.uint32)
    table = np.array(bands, np.int64)
    n = _rows(signatures, ranks, table, np.uint64(n_parts), out, parts)
    return out[:n].view(ROW).reshape(-1), parts[:n]


def least_agreement(threshold: float) -> int:
    """Of 64 bits, how many a pair must share to be proposed."""
    return int(N_BITS * (1 + max(0.0, threshold - MARGIN)) / 2)


def sure_agreement(threshold: float) -> int:
    """Of 64 bits, how many say that a pair is a duplicate: what is expected, and one deviation."""
    p = (1 + threshold) / 2
    return min(N_BITS, math.ceil(N_BITS * p + math.sqrt(N_BITS * p * (1 - p))))


def proposed(rows: np.ndarray, least: int, sure: int) -> np.ndarray:
    """uint64[p]: pairs (later << 32 | earlier) of documents that share a key, sorted, unique."""
    words = np.ascontiguousarray(rows).view(np.uint64).reshape(-1, 2)
    words = words.take(np.argsort(words[:, 0]), axis=0)  # by key, then rank
    return distinct(_buckets(words, least, sure))


def distinct(values: np.ndarray) -> np.ndarray:
    """As np.unique, which hashes before it sorts and so takes 20 times as long here."""
    values = np.sort(values)
    first = np.ones(len(values), bool)
    first[1:] = values[1:] != values[:-1]
    return values[first]


@kernel
def _rows(
    signatures: np.ndarray, ranks: np.ndarray, bands: np.ndarray, n_parts: np.uint64,
    out: np.ndarray, parts: np.ndarray,
) -> int:  # fmt: skip
    at = 0
    for i in range(len(signatures)):
        empty, sketch = True, np.uint64(0)
        for h in range(signatures.shape[1]):
            empty = empty and signatures[i, h] == minhash.EMPTY
            if h < N_BITS:  # of a mixed entry: the lowest bit of a sum is poor
                sketch |= ((np.uint64(signatures[i, h]) * _MIX) >> np.uint64(63)) << np.uint64(h)
        if empty:
            continue
        for kind in range(len(bands)):
            n_rows = bands[kind, 1]
            for band in range(bands[kind, 0]):
                key = np.uint64(0x9E3779B97F4A7C15) + np.uint64(1000 * n_rows + band) * _MIX
                for h in range(band * n_rows, (band + 1) * n_rows):
                    key = (key ^ np.uint64(signatures[i, h])) * _MIX
                    key ^= key >> _32
                parts[at] = ((key >> _32) * n_parts) >> _32
                out[at, 0], out[at, 1] = (key << _32) | np.uint64(ranks[i]), sketch
                at += 1
    return at


@kernel(inline="always")
def _ones(x: np.uint64) -> np.int64:
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((x * np.uint64(0x0101010101010101)) >> np.uint64(56))


@kernel
def _buckets(words: np.ndarray, least: int, sure: int) -> np.ndarray:
    out, n_out, start = np.empty(1024, np.uint64), 0, 0
    while start < len(words):
        end = start + 1
        while end < len(words) and words[end, 0] >> _32 == words[start, 0] >> _32:
            end += 1
        if end - start > 1:
            most = (end - start) * (LEADERS + RECENT)
            if end - start < LEADERS + RECENT:
                most = (end - start) * (end - start)
            if n_out + most > len(out):  # room for all that this bucket can give
                grown = np.empty(2 * (n_out + most), np.uint64)
                grown[:n_out] = out[:n_out]
                out = grown
            n_out = _bucket(words[start:end], least, sure, out, n_out)
        start = end
    return out[:n_out].copy()


@kernel
def _bucket(words: np.ndarray, least: int, sure: int, out: np.ndarray, n_out: int) -> int:
    """Write the pairs of one bucket."""
    leaders, n_leaders = np.empty(LEADERS, np.int64), 0
    for i in range(len(words)):
        n_sure = 0
        for k in range(n_leaders):
            j = leaders[k]
            agree = N_BITS - _ones(words[i, 1] ^ words[j, 1])
            if agree >= least:
                out[n_out] = (words[i, 0] << _32) | (words[j, 0] & _LOW)
                n_out += 1
                n_sure += agree >= sure
                if n_sure == ENOUGH:
                    break
        if n_sure == ENOUGH:
            continue
        for j in range(max(0, i - RECENT), i):
            agree = N_BITS - _ones(words[i, 1] ^ words[j, 1])
            if agree >= least:
                out[n_out] = (words[i, 0] << _32) | (words[j, 0] & _LOW)
                n_out += 1
        if n_leaders < LEADERS:
            leaders[n_leaders] = i
            n_leaders += 1
    return n_out


@kernel
def similarities(pairs: np.ndarray, values: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """The Jaccard similarity |a and b| / |a or b| of each pair of sets; 0 for two empty ones.

    pairs: int64[p, 2]; set i is values[bounds[i] : bounds[i + 1]], sorted and unique.
    """
    out = np.zeros(len(pairs), np.float64)
    for p in range(len(pairs)):
        i, j = bounds[pairs[p, 0]], bounds[pairs[p, 1]]
        i_end, j_end = bounds[pairs[p, 0] + 1], bounds[pairs[p, 1] + 1]
        union, common = (i_end - i) + (j_end - j), 0
        while i < i_end and j < j_end:  # without branches: which one is smaller cannot be foreseen
            a, b = values[i], values[j]
            common += a == b
            i += a <= b
            j += b <= a
        union -= common
        out[p] = common / union if union else 0.0
    return out
