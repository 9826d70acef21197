"""Components of pairs, and what becomes of each document: arrays by rank, a few bytes a document.

join, roots   union-find over an array: the smaller root always wins, so the root of a component
              is its first document, whatever the order of the pairs
packed        components put together to batches of bounded weight; one that is too heavy is
              cut, and its pairs across the cut are looked at by tasks that hold two batches
decide        of verified pairs, in order: what repeats what, and what belongs together
"""

import numpy as np

from pretrain.curate.compiled import kernel

NONE = np.uint32(0xFFFFFFFF)
PAIR = np.dtype([("later", "<u4"), ("earlier", "<u4"), ("similarity", "<f8")])

_32 = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)


@kernel
def _root(parent: np.ndarray, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = int(parent[i])
    return i


@kernel
def join(parent: np.ndarray, pairs: np.ndarray) -> None:
    """Union the components of pairs (later << 32 | earlier), in place."""
    for p in range(len(pairs)):
        a = _root(parent, np.int64(pairs[p] >> _32))
        b = _root(parent, np.int64(pairs[p] & _LOW))
        if a != b:
            parent[max(a, b)] = min(a, b)


@kernel
def roots(parent: np.ndarray) -> None:
    """Point everything at its root, in place."""
    for i in range(len(parent)):
        parent[i] = parent[parent[i]]  # what is smaller points at its root already


@kernel(inline="always")
def _kib(n_bytes: int) -> int:
    return (int(n_bytes) >> 10) + 1


@kernel
def packed(parent: np.ndarray, n_bytes: np.ndarray, limit: int) -> tuple[np.ndarray, int]:
    """(batch of each document, NONE for one that is alone; how many batches).

    parent: of `roots`. Batches hold whole components up to `limit` KiB of text. A component above
    it has batches of its own, filled in order, each to the limit and at most one document more.
    """
    n, weight = len(parent), 0
    batch, total = np.full(n, NONE, np.uint32), np.zeros(n, np.uint32)
    for i in range(n):
        root = np.int64(parent[i])
        if root != i:
            batch[root] = 0  # it is not alone
        weight += _kib(n_bytes[i])
        total[root] = min(int(total[root]) + _kib(n_bytes[i]), limit + 1)
    piece, filled = np.empty((2, weight // (limit + 1) + 1), np.int64)  # of what is above the limit
    n_big = n_batches = 0
    open_batch, in_open = -1, 0
    for i in range(n):
        root = np.int64(parent[i])
        if root != i and total[root] <= limit:
            batch[i] = batch[root]
        elif root != i:
            k = np.int64(total[root]) - limit - 1
            if filled[k] > limit:
                piece[k], filled[k], n_batches = n_batches, 0, n_batches + 1
            batch[i] = piece[k]
            filled[k] += _kib(n_bytes[i])
        elif batch[i] != NONE and total[i] <= limit:
            if open_batch < 0 or in_open + total[i] > limit:
                open_batch, in_open, n_batches = n_batches, 0, n_batches + 1
            in_open += int(total[i])
            batch[i] = open_batch
        elif batch[i] != NONE:
            piece[n_big], filled[n_big] = n_batches, _kib(n_bytes[i])
            total[i], batch[i] = limit + 1 + n_big, n_batches
            n_big, n_batches = n_big + 1, n_batches + 1
    return batch, n_batches


@kernel
def decide(pairs: np.ndarray, near: float, parent: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Go on deciding with verified pairs in the order of (later, earlier), in place.

    Joins all of them in `parent`; sets `kept` of a document that has a pair of similarity >= near
    with one that stays: to the most similar, of equals the first. Returns similarities of pairs,
    that of the chosen one where it was chosen and 0 elsewhere.
    """
    chosen = np.zeros(len(pairs), np.float64)
    best = -1
    for p in range(len(pairs)):
        later, earlier = np.int64(pairs[p].later), np.int64(pairs[p].earlier)
        if p == 0 or pairs[p - 1].later != pairs[p].later:
            best = -1
        a, b = _root(parent, later), _root(parent, earlier)
        if a != b:
            parent[max(a, b)] = min(a, b)
        similarity = pairs[p].similarity
        if similarity < near or kept[earlier] != NONE:
            continue
        if best < 0 or similarity > pairs[best].similarity:
            if best >= 0:
                chosen[best] = 0
            best, chosen[p], kept[later] = p, similarity, earlier
    return chosen


@kernel
def counted(parent: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(copies: 1 and what was removed for it, 0 for a removed one; kept ones of its component)."""
    copies, members = np.zeros(len(parent), np.uint32), np.zeros(len(parent), np.uint32)
    for i in range(len(parent)):
        if kept[i] == NONE:
            copies[i] += np.uint32(1)
            members[parent[i]] += np.uint32(1)
        else:
            copies[kept[i]] += np.uint32(1)
    for i in range(len(parent) - 1, -1, -1):  # a root is before its members
        members[i] = members[parent[i]] if kept[i] == NONE else np.uint32(0)
    return copies, members
