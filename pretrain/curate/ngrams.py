"""Repeated word n-grams, counted in the three ways of datatrove, DCLM and Dolma.

    2, 3, 4     the most frequent n-gram
                  first    of equals the first, once is enough           datatrove, Dolma
                  longest  of equals the longest, at least twice         DCLM
    5 to 10     characters of repeated ones
                  greedy   read on behind a repeat                       datatrove
                  covered  words that lie in any repeated n-gram         DCLM
                  weighed  all occurrences, over those of all n-grams    Dolma

`pretrain` counts in its own way, faster (repeats.py). Here each n is counted over all words anew.
"""

# mypy: disable-error-code="assignment,no-untyped-def"

import numpy as np

from pretrain.curate.compiled import kernel
from pretrain.curate.repeats import STEP, add, cleared, count_at, mix, n_slots_for

DATATROVE, DCLM, DOLMA = 0, 1, 2


@kernel
def _top(places, slots, word_end, n_grams, n, spaces, longest):
    """Occurrences times characters of the most frequent n-gram."""
    best_count, best_chars = 0, 0
    for i in range(n_grams):
        count = count_at(slots, places[i])
        chars = word_end[i + n] - word_end[i] + spaces * (n - 1)
        if count > best_count or (longest and count == best_count and chars > best_chars):
            best_count, best_chars = count, chars
    return 0 if longest and best_count < 2 else best_count * best_chars


@kernel
def _greedy(grams, slots, mask, word_end, n_grams, n):
    chars, i = 0, 0
    while i < n_grams:
        if count_at(slots, add(slots, mask, grams[i])) > 1:
            chars += word_end[i + n] - word_end[i]
            i += n
        else:
            i += 1
    return chars


@kernel
def _covered(places, slots, word_end, n_grams, n):
    chars, to = 0, 0
    for i in range(n_grams):
        if count_at(slots, places[i]) > 1:
            chars += word_end[i + n] - word_end[max(i, to)]
            to = i + n
    return chars


@kernel
def _weighed(places, slots, word_end, n_grams, n):
    repeated = every = 0
    for i in range(n_grams):
        length = word_end[i + n] - word_end[i]
        every += length
        repeated += length * (count_at(slots, places[i]) > 1)
    return repeated, every


@kernel
def count(words, lengths, ends, way, chars, weights):
    """Fill chars[text, n] (n from 2 to 10), and weights[text, n] for Dolma.

    `words` and `lengths` are hashes and characters of the words of all texts; those of text d end
    at ends[d].
    """
    most, start = 0, 0
    for d in range(len(ends)):
        most = max(most, ends[d] - start)
        start = ends[d]
    grams, places = np.empty(most, np.uint64), np.empty(most, np.int64)
    word_end, slots = np.zeros(most + 1, np.int64), np.empty(n_slots_for(most), np.uint64)
    start = 0
    for d in range(len(ends)):
        n_words = ends[d] - start
        for i in range(n_words):
            grams[i] = words[start + i]
            word_end[i + 1] = word_end[i] + lengths[start + i]
        for n in range(2, 11):
            n_grams = n_words - n + 1
            if n_grams < 1:
                break
            mask = cleared(slots, n_grams)
            for i in range(n_grams):
                grams[i] = mix(grams[i] * STEP + words[start + i + n - 1])
            if way == DATATROVE and n >= 5:
                chars[d, n] = _greedy(grams, slots, mask, word_end, n_grams, n)
                continue
            for i in range(n_grams):
                places[i] = add(slots, mask, grams[i])
            if n <= 4:
                spaces = 1 if way == DATATROVE else 0
                chars[d, n] = _top(places, slots, word_end, n_grams, n, spaces, way == DCLM)
            elif way == DCLM:
                chars[d, n] = _covered(places, slots, word_end, n_grams, n)
            else:
                chars[d, n], weights[d, n] = _weighed(places, slots, word_end, n_grams, n)
        start = ends[d]
