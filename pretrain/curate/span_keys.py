"""Hashes of the parts of texts that may come again: paragraphs, and windows of words.

    paragraph   what stands between blank lines; in a text without blank lines, a line. Equal if the
                characters are, a run of white space counting as one space
    window      `size` words in a row (word_places.py): case, marks and white space do not count
    sample      of every `every` windows in a row the one with the smallest hash, the last of equal
                ones (winnowing: Schleimer, Wilkerson and Aiken 2003). Two texts that share
                size + every - 1 words in a row have a sample in common at the same place of them

All functions look at some rows of a column of texts and give one row of int64 a part; the first
column is the hash, to be read as uint64.
"""

import numpy as np

from pretrain.curate.compiled import kernel
from pretrain.curate.word_places import most_words, read_words, run_hash

_STEP = np.uint64(0x9E3779B97F4A7C15)
_NEWLINE, _SPACE = np.uint8(10), np.uint8(32)


@kernel(inline="always")
def _white(byte: np.uint8) -> bool:
    return bool(byte == _SPACE or (np.uint8(9) <= byte <= np.uint8(13)))


@kernel
def _more(out: np.ndarray) -> np.ndarray:
    grown = np.empty((2 * len(out), out.shape[1]), np.int64)
    grown[: len(out)] = out
    return grown


@kernel
def _has_blank_line(data: np.ndarray, at: int, end: int) -> bool:
    """Whether a line without a character stands between two that have one."""
    before = blank = False
    line_is_empty = True
    for i in range(at, end):
        if data[i] == _NEWLINE:
            blank = blank or (before and line_is_empty)
            line_is_empty = True
        elif not _white(data[i]):
            if blank:
                return True
            before, line_is_empty = True, False
    return False


@kernel
def _paragraph(data: np.ndarray, at: int, end: int, by_line: bool) -> tuple[int, int]:
    """(first byte, byte after the last) of the next paragraph; (end, end) where there is none."""
    while at < end and _white(data[at]):
        at += 1
    stop = last = at
    while stop < end:
        if data[stop] == _NEWLINE:
            here = stop + 1
            while not by_line and here < end and data[here] != _NEWLINE and _white(data[here]):
                here += 1
            if by_line or here >= end or data[here] == _NEWLINE:
                break
        elif not _white(data[stop]):
            last = stop + 1
        stop += 1
    return at, last


@kernel
def paragraphs(
    data: np.ndarray, offsets: np.ndarray, rows: np.ndarray, least_chars: int
) -> np.ndarray:
    """(hash, row, number, first byte, byte after) of each paragraph of `least_chars` or more.

    A paragraph goes as far as the next one begins; the last one begins where the one before ends.
    """
    out, n_out = np.empty((1024, 5), np.int64), 0
    for row in rows:
        base, end = offsets[row], offsets[row + 1]
        by_line = not _has_blank_line(data, base, end)
        at, stop = _paragraph(data, base, end, by_line)
        before, number = base, 0
        while at < stop:
            after, after_stop = _paragraph(data, stop, end, by_line)
            value, n_chars, white = np.uint64(0), 0, False
            for i in range(at, stop):
                byte = data[i]
                if _white(byte):
                    if white:
                        continue
                    white, byte = True, _SPACE
                else:
                    white = False
                n_chars += (byte & 0xC0) != 0x80
                value = (value ^ np.uint64(byte)) * _STEP
                value ^= value >> np.uint64(29)
            if n_chars >= least_chars:
                if n_out == len(out):
                    out = _more(out)
                is_last = after >= after_stop
                value = run_hash(np.uint64(0), value, n_chars, np.uint64(0))
                out[n_out, 0], out[n_out, 1], out[n_out, 2] = np.int64(value), row, number
                out[n_out, 3] = (before if is_last else at) - base
                out[n_out, 4] = (end if is_last else after) - base
                n_out += 1
            before, at, stop = stop, after, after_stop
            number += 1
    return out[:n_out].copy()


@kernel
def _room(offsets: np.ndarray, rows: np.ndarray) -> int:
    longest = 0
    for row in rows:
        longest = max(longest, offsets[row + 1] - offsets[row])
    return most_words(longest)


@kernel
def samples(
    data: np.ndarray, offsets: np.ndarray, rows: np.ndarray, small: np.ndarray,
    classes: np.ndarray, folds: np.ndarray, size: int, every: int, power: np.uint64,
) -> np.ndarray:  # fmt: skip
    """(hash, row, first word) of each sample; texts of fewer than size + every - 1 words have none.

    power: STEP^size.
    """
    room = _room(offsets, rows)
    prefix, hashes = np.empty(room + 1, np.uint64), np.empty(room, np.uint64)
    starts, ends = np.empty(room, np.int64), np.empty(room, np.int64)
    out, n_out = np.empty((1024, 3), np.int64), 0
    for row in rows:
        n = read_words(
            data, offsets[row], offsets[row + 1], small, classes, folds, prefix, starts, ends
        )
        n_windows = n - size + 1
        for w in range(n_windows):
            hashes[w] = run_hash(prefix[w], prefix[w + size], size, power)
        least, taken = -1, -1
        for first in range(n_windows - every + 1):
            stop = first + every
            if least < first:
                least = first
                for w in range(first + 1, stop):
                    if hashes[w] <= hashes[least]:
                        least = w
            elif hashes[stop - 1] <= hashes[least]:
                least = stop - 1
            if least != taken:
                taken = least
                if n_out == len(out):
                    out = _more(out)
                out[n_out, 0], out[n_out, 1], out[n_out, 2] = np.int64(hashes[least]), row, least
                n_out += 1
    return out[:n_out].copy()


@kernel
def windows(
    data: np.ndarray, offsets: np.ndarray, found: np.ndarray, small: np.ndarray,
    classes: np.ndarray, folds: np.ndarray, size: int, every: int, power: np.uint64,
) -> np.ndarray:  # fmt: skip
    """(hash, row, first word, first byte, byte after) of the windows of `size` words at samples.

    found: (row, first word) of samples of size - every + 1 words, in order: a window with a sample
    in it begins at most every - 1 words before it. power: STEP^size.
    """
    room = _room(offsets, found[:, 0])
    prefix = np.empty(room + 1, np.uint64)
    starts, ends = np.empty(room, np.int64), np.empty(room, np.int64)
    out, n_out = np.empty((1024, 5), np.int64), 0
    n = done = 0
    for k in range(len(found)):
        row, at = found[k, 0], found[k, 1]
        base, end = offsets[row], offsets[row + 1]
        if k == 0 or row != found[k - 1, 0]:
            n = read_words(data, base, end, small, classes, folds, prefix, starts, ends)
            done = 0
        for w in range(max(done, at - every + 1), min(at, n - size) + 1):
            done = w + 1
            if n_out == len(out):
                out = _more(out)
            value = run_hash(prefix[w], prefix[w + size], size, power)
            out[n_out, 0], out[n_out, 1], out[n_out, 2] = np.int64(value), row, w
            low, high = _with_marks(data, base, end, starts, ends, n, w, w + size - 1)
            out[n_out, 3], out[n_out, 4] = low - base, high - base
            n_out += 1
    return out[:n_out].copy()


@kernel
def _with_marks(
    data: np.ndarray, base: int, end: int, starts: np.ndarray, ends: np.ndarray, n: int,
    first: int, last: int,
) -> tuple[int, int]:  # fmt: skip
    """Bytes of words first … last with the marks that touch them, and the blanks after them."""
    low, high = starts[first], ends[last]
    before = ends[first - 1] if first else base
    after = starts[last + 1] if last + 1 < n else end
    while low > before and not _white(data[low - 1]):
        low -= 1
    while high < after and not _white(data[high]):
        high += 1
    if low == base or _white(data[low - 1]):
        while high < after and (data[high] == _SPACE or data[high] == np.uint8(9)):
            high += 1
    return low, high
