from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.curate import repeats
from tests.curate import reference


def spread(keys):
    """Small numbers as 64-bit keys."""
    return np.array([repeats.mix.py_func(np.uint64(k)) for k in keys], np.uint64)


def empty_table(n):
    return np.empty(repeats.n_slots_for(max(n, 1)), np.uint64)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 99)), max_size=60))
def test_repeats_are_second_and_later_occurrences(units):
    with np.errstate(over="ignore"):
        keys = spread(k for k, _ in units)
    lengths = np.array([n for _, n in units], np.int64)
    expected = [0, 0]
    seen = set()
    for key, length in units:
        expected[0] += key in seen
        expected[1] += length * (key in seen)
        seen.add(key)
    assert repeats.repeats(keys, lengths, len(units), empty_table(len(units))) == tuple(expected)


@settings(deadline=None)
@given(st.lists(st.integers(0, 1 << 20), max_size=400))
def test_the_table_counts_as_a_dictionary_does(keys):
    with np.errstate(over="ignore"):
        hashed = spread(keys)
    slots = empty_table(len(keys))
    mask = repeats.cleared(slots, len(keys))
    for key in hashed:
        repeats.add(slots, mask, key)
    counts = Counter(keys)
    counted = sorted(int(s) & ((1 << 28) - 1) for s in slots[: mask + 1] if s)
    assert counted == sorted(counts.values())


@settings(deadline=None)
@given(st.lists(st.sampled_from("abc"), max_size=60), st.integers(1, 4))
def test_repeated_ngrams_are_those_of_the_reference(letters, length):
    words = [letter * length for letter in letters]
    n = len(words)
    with np.errstate(over="ignore"):
        hashes = spread(ord(letter) for letter in letters)
    ends = np.concatenate([[0], np.cumsum([len(w) for w in words])]).astype(np.int64)
    begins, places = np.empty(n, np.int64), np.empty(n, np.int64)
    chars = np.zeros(11, np.int64)
    arrays = (begins, np.empty(n, np.uint64), places, empty_table(n))
    repeats.repeated_ngrams(hashes, ends, n, *arrays, chars)
    for size in (2, 3, 4):
        assert chars[size] == reference.top_ngram_chars(words, size)
    for size in range(5, 11):
        assert chars[size] == reference.duplicate_ngram_chars(words, size)
