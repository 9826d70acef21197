"""The words of a text with their places, so that any run of words has a hash at once.

    prefix[i]       polynomial of the first i words: prefix[i-1] * STEP + hash of word i-1
    run of n words  mix(prefix[i+n] - prefix[i] * STEP^n + n), for every i and every n

A word is as in words.py: a run of letters and digits, each character of scripts written without
spaces, each emoji; letters are folded, so case does not matter, and marks and spaces only separate.
Price: 24 bytes a word while a text is looked at.
"""

import functools

import numpy as np

from pretrain.curate.compiled import kernel
from pretrain.curate.minhash import ALONE, LETTER, SEPARATOR, _decode
from pretrain.curate.words import characters

_SEED = np.uint64(0x9AE16A3B2F90404F)
_PRIME = np.uint64(0x100000001B3)
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xD6E8FEB86659FD93)
_32 = np.uint64(32)

tables = characters


@functools.cache
def powers(longest: int) -> np.ndarray:
    """uint64[longest + 1]: STEP^n mod 2^64."""
    return np.array([pow(int(_STEP), n, 1 << 64) for n in range(longest + 1)], np.uint64)


@kernel(inline="always")
def mixed(x: np.uint64) -> np.uint64:
    """A bijection of 64 bits after which all bits depend on all."""
    x = (x ^ (x >> _32)) * _MIX
    x = (x ^ (x >> _32)) * _MIX
    return x ^ (x >> _32)


@kernel
def most_words(n_bytes: int) -> int:
    """Words of one letter and one space are the most there can be."""
    return n_bytes // 2 + 2


@kernel(inline="always")
def run_hash(before: np.uint64, after: np.uint64, n: int, power: np.uint64) -> np.uint64:
    """Hash of n words, of the polynomials before and after them; `power` is STEP^n.

    Takes no array: in a hot loop numba would count references to it.
    """
    return mixed(after - before * power + np.uint64(n))


@kernel
def read_words(
    data: np.ndarray, at: int, end: int, small: np.ndarray, classes: np.ndarray,
    folds: np.ndarray, prefix: np.ndarray, starts: np.ndarray, ends: np.ndarray,
) -> int:  # fmt: skip
    """Fill prefix, starts and ends (positions in data) for data[at:end]; returns the words.

    The arrays must have room for most_words(end - at) words, prefix for one more.
    """
    n, start = 0, at
    word, inside = _SEED, 0
    while at < end:
        byte = data[at]
        if byte < 0x80:  # without a branch: where a word ends cannot be foretold
            at += 1
            point = small[byte]
            letter = 1 if point else 0
            n += inside & ~letter  # what is in place n is written over until a word has ended
            word = (word ^ point) * _PRIME if letter else _SEED
            start = start if letter else at
            prefix[n + 1], starts[n], ends[n] = word, start, at
            inside = letter
            continue
        code, n_bytes = _decode(data, at)
        kind = ALONE if 0x1F000 <= code < 0x40000 else LETTER
        if code < 0x10000:
            kind, code = classes[code], np.int64(folds[code])
        if kind != LETTER:
            n += inside
            word, inside, start = _SEED, 0, at
        at += n_bytes
        if kind == SEPARATOR:
            start = at
            continue
        word = (word ^ np.uint64(code)) * _PRIME
        prefix[n + 1], starts[n], ends[n] = word, start, at
        inside = 1
        if kind == ALONE:
            n += 1
            word, inside, start = _SEED, 0, at
    n += inside
    polynomial = np.uint64(0)
    prefix[0] = polynomial
    for w in range(1, n + 1):
        polynomial = polynomial * _STEP + mixed(prefix[w])
        prefix[w] = polynomial
    return n
