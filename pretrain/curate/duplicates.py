"""Which documents say the same, in three degrees: exactly, nearly, and for the held-out split.

All functions take documents in the order of preference: the first of two duplicates is kept.

    candidates   LSH: documents whose signatures agree in all rows of one band share a bucket, and
                 the agreement of the whole signatures is within 0.2 (over 4 sd) of the threshold
    verified     every pair is confirmed by the exact Jaccard similarity of its 5-gram sets
    near         in order, a document goes if it has a verified pair with one that stays
    cluster      connected components of verified pairs, at a lower threshold

Guaranteed for `near`: each removed document has Jaccard >= threshold with the document named for
it, and that one is kept. No chains: a document like a removed one only is kept, so a large cluster
cannot swallow texts unlike its survivor. Not guaranteed: that every pair is found. A pair of
similarity J shares a bucket with probability 1 - (1 - J^8)^14: 92 % at 0.8, 99.9 % at 0.9; for
clusters 1 - (1 - J^4)^28: 84 % at 0.5, 98 % at 0.6.

Cost: in a bucket a document is compared with at most 16 leaders (the first 8 documents, then those
unlike all leaders), so even one bucket of everything costs 16 comparisons per document and band.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa

from pretrain.curate import minhash
from pretrain.curate.compiled import kernel

NEAR_BANDS, NEAR_ROWS = 14, 8
SPLIT_BANDS, SPLIT_ROWS = 28, 4
FIRST_LEADERS, LEADERS = 8, 16
MARGIN = 0.2
BATCH_BYTES = 256 << 20  # text whose 5-grams are in memory at once, at most one component more

ReadTexts = Callable[[np.ndarray], pa.Array]


def exact(hashes: np.ndarray) -> np.ndarray:
    """For uint64[n, 2] content hashes: index of the first equal document, or -1 for the first."""
    order = np.lexsort((hashes[:, 1], hashes[:, 0]))
    ordered = hashes[order]
    starts = np.ones(len(order), np.bool_)
    starts[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    first = order[np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))]
    kept = np.empty(len(order), np.int64)
    kept[order] = np.where(starts, -1, first)
    return kept


def near(
    signatures: np.ndarray, n_bytes: np.ndarray, read_texts: ReadTexts, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """(index of the kept document each one repeats, or -1; their Jaccard similarity)."""
    kept = np.full(len(signatures), -1, np.int64)
    similarity = np.zeros(len(signatures), np.float64)
    pairs = candidates(signatures, NEAR_BANDS, NEAR_ROWS, threshold)
    for documents, some in _batches(pairs, n_bytes):
        values, bounds = minhash.shingle_sets(read_texts(documents))
        local, score = _remove(np.searchsorted(documents, some), values, bounds, threshold)
        kept[documents] = np.where(local >= 0, documents[local], -1)
        similarity[documents] = score
    return kept, similarity


def clusters(
    signatures: np.ndarray, n_bytes: np.ndarray, read_texts: ReadTexts, threshold: float
) -> np.ndarray:
    """The first document of each document's component of verified pairs (itself if alone)."""
    label = np.arange(len(signatures))
    pairs = candidates(signatures, SPLIT_BANDS, SPLIT_ROWS, threshold)
    for documents, some in _batches(pairs, n_bytes):
        values, bounds = minhash.shingle_sets(read_texts(documents))
        local = _join(np.searchsorted(documents, some), values, bounds, threshold)
        label[documents] = documents[local]
    return label


def candidates(signatures: np.ndarray, n_bands: int, n_rows: int, threshold: float) -> np.ndarray:
    """int64[p, 2]: pairs (earlier, later) that may be similar, in the order (later, earlier)."""
    n = len(signatures)
    least = int(minhash.N_HASHES * max(0.0, threshold - MARGIN))
    with_words = np.flatnonzero((signatures != minhash.EMPTY).any(axis=1))
    found = np.empty(0, np.int64)
    for band in range(n_bands):
        keys = _band_keys(signatures, with_words, band * n_rows, n_rows)
        order = np.argsort(keys, kind="stable")
        pairs = _bucket_pairs(keys[order], with_words[order], signatures, least)
        found = np.union1d(found, pairs[:, 1] * n + pairs[:, 0])
    return np.stack([found % max(n, 1), found // max(n, 1)], axis=1)


def _batches(pairs: np.ndarray, n_bytes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(sorted documents, their pairs): whole components of the pairs' graph, up to BATCH_BYTES."""
    documents = np.unique(pairs)
    if not len(documents):
        return
    label = _components(np.searchsorted(documents, pairs), len(documents))
    order = np.argsort(label, kind="stable")
    before = np.cumsum(n_bytes[documents[order]]) - n_bytes[documents[order]]
    starts = np.ones(len(order), np.bool_)
    starts[1:] = label[order][1:] != label[order][:-1]
    before_component = np.maximum.accumulate(np.where(starts, before, 0))
    batch = np.empty(len(documents), np.int64)
    batch[order] = before_component // BATCH_BYTES
    of_pair = batch[np.searchsorted(documents, pairs[:, 0])]
    for b in np.unique(batch):
        yield documents[batch == b], pairs[of_pair == b]


@kernel
def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """|a and b| / |a or b| of two sorted unique sets; 0 for two empty ones."""
    i = j = common = 0
    while i < len(a) and j < len(b):
        if a[i] == b[j]:
            common += 1
            i += 1
            j += 1
        elif a[i] < b[j]:
            i += 1
        else:
            j += 1
    union = len(a) + len(b) - common
    return common / union if union else 0.0


@kernel
def _band_keys(signatures: np.ndarray, rows: np.ndarray, first: int, n_rows: int) -> np.ndarray:
    keys = np.empty(len(rows), np.uint64)
    for i in range(len(rows)):
        key = np.uint64(0x9E3779B97F4A7C15)
        for k in range(first, first + n_rows):
            key = (key ^ np.uint64(signatures[rows[i], k])) * np.uint64(0xD6E8FEB86659FD93)
            key ^= key >> np.uint64(32)
        keys[i] = key
    return keys


@kernel
def _bucket_pairs(
    keys: np.ndarray, documents: np.ndarray, signatures: np.ndarray, least: int
) -> np.ndarray:
    """Pairs (leader, document) of equal keys whose signatures agree in at least `least` entries."""
    out = np.empty((1024, 2), np.int64)
    leaders = np.empty(LEADERS, np.int64)
    n_out = n_leaders = start = 0
    for at in range(len(keys)):
        if at == 0 or keys[at] != keys[at - 1]:
            start, n_leaders = at, 0
        document, found = documents[at], False
        for k in range(n_leaders):
            agree = 0
            for h in range(signatures.shape[1]):
                agree += signatures[leaders[k], h] == signatures[document, h]
            if agree >= least:
                if n_out == len(out):
                    grown = np.empty((2 * n_out, 2), np.int64)
                    grown[:n_out] = out
                    out = grown
                out[n_out, 0], out[n_out, 1] = leaders[k], document
                n_out += 1
                found = True
        if n_leaders < LEADERS and (at - start < FIRST_LEADERS or not found):
            leaders[n_leaders] = document
            n_leaders += 1
    return out[:n_out].copy()


@kernel
def _root(parent: np.ndarray, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@kernel
def _components(pairs: np.ndarray, n: int) -> np.ndarray:
    """The smallest member of each one's component: the smaller root always wins."""
    parent = np.arange(n)
    for p in range(len(pairs)):
        a, b = _root(parent, pairs[p, 0]), _root(parent, pairs[p, 1])
        parent[max(a, b)] = min(a, b)
    for i in range(n):
        parent[i] = _root(parent, i)
    return parent


@kernel
def _remove(
    pairs: np.ndarray, values: np.ndarray, bounds: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs come in the order of the later document, so what it is compared with is decided."""
    n = len(bounds) - 1
    kept, similarity = np.full(n, -1, np.int64), np.zeros(n, np.float64)
    for p in range(len(pairs)):
        a, b = pairs[p, 0], pairs[p, 1]
        if kept[b] >= 0 or kept[a] >= 0:
            continue
        score = jaccard(values[bounds[a] : bounds[a + 1]], values[bounds[b] : bounds[b + 1]])
        if score >= threshold:
            kept[b], similarity[b] = a, score
    return kept, similarity


@kernel
def _join(
    pairs: np.ndarray, values: np.ndarray, bounds: np.ndarray, threshold: float
) -> np.ndarray:
    n = len(bounds) - 1
    parent = np.arange(n)
    for p in range(len(pairs)):
        i, j = pairs[p, 0], pairs[p, 1]
        a, b = _root(parent, i), _root(parent, j)
        if a == b:
            continue
        score = jaccard(values[bounds[i] : bounds[i + 1]], values[bounds[j] : bounds[j + 1]])
        if score >= threshold:
            parent[max(a, b)] = min(a, b)
    for i in range(n):
        parent[i] = _root(parent, i)
    return parent
