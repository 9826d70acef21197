"""How often the words and phrases of lists occur in texts: one signal a list.

    entry     one word or several in a row; any marks and spaces may stand between them in a text
    word      as in minhash.py: a run of letters and digits; each character of scripts written
              without spaces; here also each emoji, which is a separator there
    equal     after folding: ASCII letters, and letters whose small form is one character
              (É and é, Σ and σ; not ß and ss)

Each place where an entry occurs counts, inside of a longer entry too; an entry listed twice counts
once. A text is hashed word by word and looked up by its last word, so thousands of entries cost no
more than one. A hash has 64 bits: a false hit is one in 10^15 words for 10^4 entries.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pretrain.curate import files, minhash
from pretrain.curate.compiled import kernel
from pretrain.curate.normalize import buffers
from pretrain.errors import DataError

MOST_WORDS = 64  # of an entry
MOST_LISTS = 64

_SEED = np.uint64(0x9AE16A3B2F90404F)
_PRIME = np.uint64(0x100000001B3)
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xD6E8FEB86659FD93)
_32 = np.uint64(32)


def load(lists: Mapping[str, str | Sequence[str]]) -> dict[str, list[str]]:
    """The entries of each list: a file (or a glob) with one a line, or the entries themselves.

    In files, lines that are empty or start with # are none. Raises: RecipeError where no file
    matches; DataError where one is not UTF-8.
    """
    return {
        name: _read(value, f"curate.words.{name}") if isinstance(value, str) else list(value)
        for name, value in lists.items()
    }


def count(texts: pa.Array, lists: Mapping[str, Sequence[str]]) -> dict[str, np.ndarray]:
    """words_NAME of each list: int64, how many places of each large_string text hold an entry.

    Raises: DataError for an entry without a letter or digit, or of more than 64 words.
    """
    if len(lists) > MOST_LISTS:
        raise DataError(
            f"curate: {len(lists)} word lists; at most {MOST_LISTS} (recipe key curate.words)"
        )
    tables = _index(lists)
    data, offsets = buffers(texts)
    counts = _count(data, offsets, *characters(), *tables, len(lists))
    return {f"words_{name}": counts[:, k].copy() for k, name in enumerate(lists)}


def _read(path: str, key: str) -> list[str]:
    entries: list[str] = []
    for name in files.expanded(path, key):
        try:
            text = Path(name).read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(
                f"curate: {name}: not UTF-8 at byte {error.start} (recipe key {key})"
            ) from error
        lines = map(str.strip, text.splitlines())
        entries += [line for line in lines if line and not line.startswith("#")]
    return entries


def _index(lists: Mapping[str, Sequence[str]]) -> tuple[Any, ...]:
    """(bits of last words, last words with a mask of entry lengths, entries with a mask of lists).

    Words and entries are hashes in open-addressed tables of a power of two, at most a quarter full;
    0 marks a free slot. The bits keep most words of a text out of the tables.
    """
    lasts: dict[int, int] = {}
    entries: dict[int, int] = {}
    for k, (name, words) in enumerate(lists.items()):
        column = pa.array(list(words), pa.large_string())
        hashes, ends, n_words = _entries(*buffers(column), *characters())
        for i in np.flatnonzero((n_words == 0) | (n_words > MOST_WORDS)):
            what = "no letter or digit" if n_words[i] == 0 else f"{n_words[i]} words"
            raise DataError(
                f"curate: entry {words[int(i)]!r} of word list '{name}' has {what}; must be 1 to "
                f"{MOST_WORDS} words (recipe key curate.words.{name})"
            )
        for entry, end, n in zip(hashes.tolist(), ends.tolist(), n_words.tolist(), strict=True):
            lasts[end] = lasts.get(end, 0) | 1 << (n - 1)
            entries[entry] = entries.get(entry, 0) | 1 << k
    bits = np.zeros(1 << max(10, (4 * len(lasts)).bit_length()), np.bool_)
    shift = np.uint64(65 - len(bits).bit_length())
    bits[np.array(list(lasts), np.uint64) >> shift] = True
    return bits, shift, *_table(lasts), *_table(entries)


def _table(items: dict[int, int]) -> tuple[np.ndarray, np.ndarray]:
    room = 1 << max(4, (4 * len(items)).bit_length())
    keys, values = np.zeros(room, np.uint64), np.zeros(room, np.uint64)
    for key, value in items.items():
        slot = key & (room - 1)
        while keys[slot]:
            slot = (slot + 1) & (room - 1)
        keys[slot], values[slot] = key, value
    return keys, values


@functools.cache
def characters() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(small letter of each ASCII letter or digit, else 0; class and small form of each character).

    The latter two cover the basic plane: classes are minhash.py's, a small form is itself where it
    would be several characters or outside of the plane.
    """
    folds = np.arange(1 << 16, dtype=np.uint32)
    for code in range(1 << 16):
        small = chr(code).casefold() if not 0xD800 <= code < 0xE000 else ""
        if len(small) == 1 and ord(small) < 1 << 16:
            folds[code] = ord(small)
    return minhash.small_letters(), minhash.character_classes(), folds


@kernel(inline="always")
def _mixed(x: np.uint64) -> np.uint64:
    x = (x ^ (x >> _32)) * _MIX
    x = (x ^ (x >> _32)) * _MIX
    x ^= x >> _32
    return x if x else np.uint64(1)  # 0 marks a free slot


@kernel
def _hash_words(
    data: np.ndarray, at: int, end: int, small: np.ndarray, classes: np.ndarray,
    folds: np.ndarray, out: np.ndarray,
) -> int:  # fmt: skip
    """Write the hash of each word of data[at:end], in order; returns how many."""
    n = 0
    word, found = _SEED, False
    while at < end:
        point = small[data[at]]
        if point:  # a letter or digit of ASCII
            word, found = (word ^ point) * _PRIME, True
            at += 1
            continue
        code, n_bytes, kind = np.int64(0), 1, minhash.SEPARATOR
        if data[at] >= 0x80:
            code, n_bytes = minhash._decode(data, at)
            if code < 0x10000:
                kind, code = classes[code], np.int64(folds[code])
            else:  # emoji and ideographs are words, each
                kind = minhash.ALONE if 0x1F000 <= code < 0x40000 else minhash.LETTER
        at += n_bytes
        if kind == minhash.LETTER:
            word, found = (word ^ np.uint64(code)) * _PRIME, True
            continue
        if found:
            out[n] = _mixed(word)
            n += 1
            word, found = _SEED, False
        if kind == minhash.ALONE:
            out[n] = _mixed((_SEED ^ np.uint64(code)) * _PRIME)
            n += 1
    if found:
        out[n] = _mixed(word)
        n += 1
    return n


@kernel
def _room(offsets: np.ndarray) -> int:
    longest = 0
    for i in range(len(offsets) - 1):
        longest = max(longest, offsets[i + 1] - offsets[i])
    return longest + 1


@kernel
def _entries(
    data: np.ndarray, offsets: np.ndarray, small: np.ndarray, classes: np.ndarray, folds: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(hash of each entry, hash of its last word, its words)."""
    n = len(offsets) - 1
    hashes, lasts = np.zeros(n, np.uint64), np.zeros(n, np.uint64)
    n_words = np.zeros(n, np.int64)
    found = np.empty(_room(offsets), np.uint64)
    for i in range(n):
        n_words[i] = _hash_words(data, offsets[i], offsets[i + 1], small, classes, folds, found)
        total = np.uint64(0)
        for word in found[: n_words[i]]:
            total = total * _STEP + word
            lasts[i] = word
        hashes[i] = _mixed(total + np.uint64(n_words[i]))
    return hashes, lasts, n_words


@kernel(inline="always")
def _look(keys: np.ndarray, values: np.ndarray, key: np.uint64) -> np.uint64:
    slot = key & np.uint64(len(keys) - 1)
    while keys[slot] and keys[slot] != key:
        slot = (slot + np.uint64(1)) & np.uint64(len(keys) - 1)
    return values[slot]


@kernel
def _count(
    data: np.ndarray, offsets: np.ndarray, small: np.ndarray, classes: np.ndarray,
    folds: np.ndarray, bits: np.ndarray, shift: np.uint64, last_keys: np.ndarray,
    last_values: np.ndarray, keys: np.ndarray, values: np.ndarray, n_lists: int,
) -> np.ndarray:  # fmt: skip
    counts = np.zeros((len(offsets) - 1, n_lists), np.int64)
    found = np.empty(_room(offsets), np.uint64)
    for i in range(len(offsets) - 1):
        n_words = _hash_words(data, offsets[i], offsets[i + 1], small, classes, folds, found)
        for last in range(n_words):
            if not bits[found[last] >> shift]:
                continue
            lengths = _look(last_keys, last_values, found[last])
            total, power = np.uint64(0), np.uint64(1)
            for n in range(last + 1):  # words, from the last one back
                if n >= MOST_WORDS or not lengths >> np.uint64(n):
                    break
                total += found[last - n] * power
                power *= _STEP
                if lengths >> np.uint64(n) & np.uint64(1):
                    hits = _look(keys, values, _mixed(total + np.uint64(n + 1)))
                    for k in range(n_lists):
                        counts[i, k] += np.int64(hits >> np.uint64(k) & np.uint64(1))
    return counts
