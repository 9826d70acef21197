"""Where texts say what benchmark items say: one pass over the words of a text against an index.

    text ─▶ words ─▶ hashes of runs of 8 ─▶ smallest of 6 in a row ─▶ filters ─▶ n-grams there ─┐
                                         └▶ filters ─▶ short n-grams that begin with them ──────┤
                                                              spans ◀─ items ◀─ table of n-grams ┘

An n-gram is found by its anchor (ngram_index.py), which is new at every third place only; filters
say no to nearly all anchors that are in no item. What passes is looked up whole, so the result is
that of looking up every run of words. Spans are runs of matched n-grams that overlap, apart for
each item.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pretrain.curate import word_places
from pretrain.curate.compiled import kernel
from pretrain.curate.ngram_index import MIN_WORDS, Index
from pretrain.curate.ngram_lookup import look_up, passing
from pretrain.curate.normalize import buffers
from pretrain.curate.word_places import most_words, powers, read_words, run_hash


class Found(NamedTuple):
    """Columns of equal length, a row a span, in the order of row, start and item."""

    row: np.ndarray
    start: np.ndarray  # bytes of the text
    end: np.ndarray
    entry: np.ndarray  # row of the index's entries: the item's text that the span begins in
    item_start: np.ndarray  # bytes of that text
    item_end: np.ndarray
    n_grams: np.ndarray  # matched within the span
    share: np.ndarray  # of the item's n-grams, how many are anywhere in the text


def find(texts: pa.Array, index: Index) -> Found:
    """All spans of large_string texts that are runs of words of an item."""
    data, offsets = buffers(texts)
    arrays = index.arrays
    matches = _scan(
        data, offsets, *word_places.tables(), index.n_words, min(MIN_WORDS, index.n_words),
        arrays["lengths"], powers(index.n_words), arrays["keys"], *index.lookup,
    )  # fmt: skip
    n_places = np.diff(arrays["bounds"])[matches[:, 3]]
    match = np.repeat(np.arange(len(matches)), n_places)  # an n-gram of several items: each of them
    first = arrays["bounds"][matches[:, 3]] - (np.cumsum(n_places) - n_places)
    place = np.arange(len(match)) + first[match]
    item = arrays["item_of"][arrays["entry"][place]]
    order = np.lexsort((matches[match, 1], item, matches[match, 0]))
    place, item, (row, start, end, gram) = place[order], item[order], matches[match[order]].T
    sides = [arrays[name][place].astype(np.int64) for name in ("entry", "start", "end")]
    spans = _merge(row, item, start, end, *sides)
    share = _shares(row, item, gram) / arrays["item_grams"][item]
    order = np.lexsort((item[spans[:, 0]], spans[:, 1], row[spans[:, 0]]))
    at, start, end, entry, item_start, item_end, n_grams = spans[order].T
    return Found(row[at], start, end, entry, item_start, item_end, n_grams, share[at])


def _shares(row: np.ndarray, item: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """For each match: how many different n-grams of its item its text has; sorted by row, item."""
    order = np.lexsort((gram, item, row))
    ours = np.stack([row, item, gram])[:, order]
    new = np.ones(len(order), bool)
    new[1:] = (ours[:, 1:] != ours[:, :-1]).any(axis=0)
    starts = np.ones(len(order), bool)
    starts[1:] = (ours[:2, 1:] != ours[:2, :-1]).any(axis=0)
    group = np.cumsum(starts) - 1  # the same in both orders: rows and items are sorted in each
    return np.bincount(group, new)[group] if len(group) else np.zeros(0)


@kernel
def _smallest(hashes: np.ndarray, n: int, width: int, out: np.ndarray) -> None:
    """out[i]: the smallest of hashes[i : i + width], for every i with all of them below n."""
    out[:n] = hashes[:n]
    done = 1
    while done < width:
        step = min(done, width - done)
        for i in range(n - done - step + 1):
            out[i] = min(out[i], out[i + step])
        done += step


@kernel
def _scan(
    data: np.ndarray, offsets: np.ndarray, small: np.ndarray, classes: np.ndarray,
    folds: np.ndarray, n_words: int, least: int, lengths: np.ndarray, powers: np.ndarray,
    keys: np.ndarray, coarse: np.ndarray, bits: np.ndarray, short_coarse: np.ndarray,
    short_bits: np.ndarray, slots: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """int64[matches, 4]: text, first byte, end, n-gram."""
    longest = 0
    for i in range(len(offsets) - 1):
        longest = max(longest, offsets[i + 1] - offsets[i])
    most = most_words(longest)
    prefix, starts = np.empty(most + 1, np.uint64), np.empty(most, np.int64)
    ends, places = np.empty(most, np.int64), np.empty(most, np.int64)
    hashes, anchors, room = np.empty((3, most), np.uint64)
    whole = np.array([n_words])
    out, n_out = np.empty((256, 4), np.int64), 0
    for i in range(len(offsets) - 1):
        base = offsets[i]
        n = read_words(data, base, offsets[i + 1], small, classes, folds, prefix, starts, ends)
        for w in range(n - least + 1):
            hashes[w] = run_hash(prefix[w], prefix[w + least], least, powers[least])
        for short in range(2):
            if short:
                tried, n_tried = lengths, n - least + 1 if len(lengths) else 0
                n_places = passing(hashes, n_tried, short_coarse, short_bits, room, places)
            else:
                tried, n_tried = whole, n - n_words + 1
                _smallest(hashes, max(0, n - least + 1), n_words - least + 1, anchors)
                n_places = passing(anchors, n_tried, coarse, bits, room, places)
            for first in places[:n_places]:
                stop = first + 1
                while not short and stop < n_tried and anchors[stop] == anchors[first]:
                    stop += 1
                for w in range(first, stop):
                    for length in tried:
                        if w + length > n:
                            continue
                        key = run_hash(prefix[w], prefix[w + length], length, powers[length])
                        gram = look_up(key, keys, slots)
                        if gram < 0:
                            continue
                        if n_out == len(out):
                            grown = np.empty((2 * n_out, 4), np.int64)
                            grown[:n_out] = out
                            out = grown
                        out[n_out, 0], out[n_out, 1] = i, starts[w] - base
                        out[n_out, 2], out[n_out, 3] = ends[w + length - 1] - base, gram
                        n_out += 1
    return out[:n_out].copy()


@kernel
def _merge(
    row: np.ndarray, item: np.ndarray, start: np.ndarray, end: np.ndarray, entry: np.ndarray,
    item_start: np.ndarray, item_end: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """int64[spans, 7]: number of the first match, start, end, entry, its start and end, matches."""
    out, n_out = np.empty((len(row), 7), np.int64), 0
    for m in range(len(row)):
        last = n_out - 1
        if n_out and row[m] == row[m - 1] and item[m] == item[m - 1] and start[m] < out[last, 2]:
            out[last, 2] = max(out[last, 2], end[m])
            if entry[m] == out[last, 3] and item_start[m] >= out[last, 4]:
                out[last, 5] = max(out[last, 5], item_end[m])
            out[last, 6] += 1
            continue
        out[n_out, 0], out[n_out, 1], out[n_out, 2] = m, start[m], end[m]
        out[n_out, 3], out[n_out, 4], out[n_out, 5] = entry[m], item_start[m], item_end[m]
        out[n_out, 6] = 1
        n_out += 1
    return out[:n_out].copy()
