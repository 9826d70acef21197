"""Is a hash one of a set: two filters that say no to nearly all, and a table for the rest.

    coarse   a bit a hash, 8 to 16 bits for each of the set, at most a megabyte: it stays in the
             processor's cache, and lets 6 % to 12 % of other hashes pass, more of them beyond 10^6
    fine     two bits in one 64-bit word, FILTER_BITS bits for each: lets 0.4 % of others pass
    table    open addressing: the number of each hash in its sorted array

Both filters are asked without a branch, since which hash passes cannot be foretold.
"""

import numpy as np

from pretrain.curate.compiled import kernel

FILTER_BITS = 32  # at least, a hash


@kernel
def coarse(keys: np.ndarray) -> np.ndarray:
    """One bit a key, at its highest bits, in 64-bit words."""
    n_bits = 12
    while n_bits < 23 and 1 << n_bits < 8 * len(keys):
        n_bits += 1
    bits = np.zeros(1 << (n_bits - 6), np.uint64)
    for key in keys:
        at = key >> np.uint64(64 - n_bits)
        bits[at >> np.uint64(6)] |= np.uint64(1) << (at & np.uint64(63))
    return bits


def fine(keys: np.ndarray) -> np.ndarray:
    """Two bits a key in one of the 64-bit words; FILTER_BITS bits a key, in a power of two."""
    n_words = max(2, 1 << (len(keys) * FILTER_BITS // 64).bit_length())
    bits = np.zeros(n_words, np.uint64)  # numpy's own: it asks for large pages
    _fill(bits, keys)
    return bits


@kernel
def _fill(bits: np.ndarray, keys: np.ndarray) -> None:
    for key in keys:
        bits[(key >> np.uint64(12)) & np.uint64(len(bits) - 1)] |= _mask(key)


@kernel(inline="always")
def _mask(key: np.uint64) -> np.uint64:
    one = np.uint64(1)
    return (one << (key & np.uint64(63))) | (one << ((key >> np.uint64(6)) & np.uint64(63)))


@kernel
def table(keys: np.ndarray) -> np.ndarray:
    """int32 slots: number of a key + 1, or 0; a key is at its hash or in the next slots."""
    size = 2
    while size < 2 * len(keys):
        size *= 2
    slots = np.zeros(size, np.int32)
    for i in range(len(keys)):
        at = (keys[i] >> np.uint64(12)) & np.uint64(size - 1)
        while slots[at]:
            at = (at + np.uint64(1)) & np.uint64(size - 1)
        slots[at] = i + 1
    return slots


@kernel
def look_up(key: np.uint64, keys: np.ndarray, slots: np.ndarray) -> int:
    """The number of a key, or -1."""
    last = np.uint64(len(slots) - 1)
    at = (key >> np.uint64(12)) & last
    while slots[at]:
        if keys[slots[at] - 1] == key:
            return slots[at] - 1
        at = (at + np.uint64(1)) & last
    return -1


@kernel
def passing(
    keys: np.ndarray, n: int, coarse_bits: np.ndarray, fine_bits: np.ndarray, room: np.ndarray,
    out: np.ndarray,
) -> np.int64:  # fmt: skip
    """Places i < n whose key is not that of i - 1 and is let through by both filters."""
    n_coarse, n_out = np.int64(0), np.int64(0)
    n_bits = 6
    while 1 << n_bits < 64 * len(coarse_bits):
        n_bits += 1
    shift, before = np.uint64(64 - n_bits), ~keys[0]
    for i in range(n):
        key = keys[i]
        out[n_coarse], room[n_coarse] = i, key
        at = key >> shift
        bit = np.int64((coarse_bits[at >> np.uint64(6)] >> (at & np.uint64(63))) & np.uint64(1))
        n_coarse += bit & np.int64(key != before)
        before = key
    last = np.uint64(len(fine_bits) - 1)
    for k in range(n_coarse):
        key = room[k]
        mask = _mask(key)
        out[n_out] = out[k]
        n_out += (fine_bits[(key >> np.uint64(12)) & last] & mask) == mask
    return n_out
