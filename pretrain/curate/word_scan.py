"""The words of a text with their places: what overlaps with benchmarks and runs of words ask.

A word is as in words.py: a run of letters and digits, each character of scripts written without
spaces, each emoji; letters are folded, so case does not matter, and marks and spaces only separate.
"""

import numpy as np

from pretrain.curate import minhash
from pretrain.curate.compiled import kernel
from pretrain.curate.words import characters

STEP = np.uint64(0x9E3779B97F4A7C15)  # multiplier of the rolling polynomial over words
_SEED = np.uint64(0x9AE16A3B2F90404F)
_PRIME = np.uint64(0x100000001B3)
_MIX = np.uint64(0xD6E8FEB86659FD93)
_32 = np.uint64(32)

tables = characters


@kernel(inline="always")
def mixed(x: np.uint64) -> np.uint64:
    """A bijection of 64 bits after which all bits depend on all."""
    x = (x ^ (x >> _32)) * _MIX
    x = (x ^ (x >> _32)) * _MIX
    return x ^ (x >> _32)


@kernel
def scan(
    data: np.ndarray, at: int, end: int, small: np.ndarray, classes: np.ndarray, folds: np.ndarray,
    hashes: np.ndarray, starts: np.ndarray, ends: np.ndarray,
) -> int:  # fmt: skip
    """Write hash, first byte and byte after of each word of data[at:end]; returns how many."""
    n, first = 0, at
    word, found = _SEED, False
    while at < end:
        point = small[data[at]]
        if point:  # a letter or digit of ASCII
            if not found:
                first, found = at, True
            word = (word ^ point) * _PRIME
            at += 1
            continue
        code, n_bytes, kind = np.int64(0), 1, minhash.SEPARATOR
        if data[at] >= 0x80:
            code, n_bytes = minhash._decode(data, at)
            if code < 0x10000:
                kind, code = classes[code], np.int64(folds[code])
            else:  # emoji and ideographs are words, each
                kind = minhash.ALONE if 0x1F000 <= code < 0x40000 else minhash.LETTER
        if kind == minhash.LETTER:
            if not found:
                first, found = at, True
            word = (word ^ np.uint64(code)) * _PRIME
            at += n_bytes
            continue
        if found:
            hashes[n], starts[n], ends[n] = mixed(word), first, at
            n += 1
            word, found = _SEED, False
        if kind == minhash.ALONE:
            hashes[n] = mixed((_SEED ^ np.uint64(code)) * _PRIME)
            starts[n], ends[n] = at, at + n_bytes
            n += 1
        at += n_bytes
    if found:
        hashes[n], starts[n], ends[n] = mixed(word), first, end
        n += 1
    return n


@kernel
def power(n: int) -> np.uint64:
    """STEP to the n: what a word weighs that leaves a window of n words."""
    result = np.uint64(1)
    for _ in range(n):
        result *= STEP
    return result


@kernel
def gram(hashes: np.ndarray, first: int, n: int) -> np.uint64:
    """The hash of n words in a row."""
    value = np.uint64(0)
    for i in range(first, first + n):
        value = value * STEP + hashes[i]
    return mixed(value + np.uint64(n))


@kernel
def longest(offsets: np.ndarray) -> int:
    """Bytes of the longest text: the most words there can be, and one."""
    most = 0
    for i in range(len(offsets) - 1):
        most = max(most, offsets[i + 1] - offsets[i])
    return most + 1
