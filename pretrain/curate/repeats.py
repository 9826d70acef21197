"""Repeated words, lines and n-grams of one text, counted among their 64-bit hashes.

A table of open addressing, sized to the text, one number a slot: the upper 36 bits of the key, then
a count of 28 bits. With the slot's place that tells keys of a million words apart as 56 bits do:
two different n-grams of a text are taken for one with a chance of 1 in 100,000 then, 1 in 10^11 for
a thousand words. Half the memory of key and count side by side, and long texts wait for memory.
"""

# mypy: disable-error-code="assignment,no-untyped-def"

import numpy as np

from pretrain.curate.compiled import kernel
from pretrain.curate.eight_bytes import fetch

STEP = np.uint64(0x9E3779B97F4A7C15)  # odd, so that each step keeps all 64 bits apart
AHEAD = 16  # places asked for before they are needed: long texts' tables lie far from the core
_ZERO, _ONE, _HALF = np.uint64(0), np.uint64(1), np.uint64(32)
_MIX = np.uint64(0xD6E8FEB86659FD93)
_KEY, _COUNT = np.uint64(0xFFFFFFFFF0000000), np.uint64(0x000000000FFFFFFF)


@kernel(inline="always")
def mix(value):
    """64 bits all of which depend on all of `value`."""
    value = (value ^ (value >> _HALF)) * _MIX
    value = (value ^ (value >> _HALF)) * _MIX
    return value ^ (value >> _HALF)


@kernel
def n_slots_for(n):
    """Slots of a table for n keys: a power of two, at most four fifths full if all differ."""
    n_slots = 4
    while 4 * n_slots < 5 * n:
        n_slots *= 2
    return n_slots


@kernel
def cleared(slots, n):
    """Empty the part of the table that n entries need; its index mask."""
    n_slots = n_slots_for(n)
    slots[:n_slots] = _ZERO
    return n_slots - 1


@kernel(inline="always")
def add(slots, mask, key):
    """Count one more of `key`; returns its place."""
    place = np.int64(key & np.uint64(mask))
    tag = key & _KEY
    slot = slots[place]
    while slot != _ZERO and slot & _KEY != tag:
        place = (place + 1) & mask
        slot = slots[place]
    slots[place] = (tag | slot) + _ONE
    return place


@kernel(inline="always")
def count_at(slots, place):
    return np.int64(slots[place] & _COUNT)


@kernel
def repeats(keys, lengths, n, slots):
    """How many of n units occurred before, and their characters."""
    mask = cleared(slots, n)
    n_repeats = n_chars = 0
    for i in range(n):
        if count_at(slots, add(slots, mask, keys[i])) > 1:
            n_repeats += 1
            n_chars += lengths[i]
    return n_repeats, n_chars


@kernel
def repeated_ngrams(words, word_end, n_words, begins, grams, places, slots, chars):
    """chars[n]: characters of the top n-gram (n = 2 to 4), of the repeated n-grams (5 to 10).

    An n-gram can only repeat where the (n-1)-grams at both its ends do, so each n looks at what
    the one before left: the first passes over ordinary text leave a few per cent of it.
    """
    n_left = n_words
    for i in range(n_words):
        begins[i], grams[i] = i, words[i]
    for n in range(2, 11):
        mask = cleared(slots, n_left)
        best_count, best_chars = 1, 0
        for k in range(n_left):
            i = begins[k]
            places[k] = 0 if k + 1 < n_left and begins[k + 1] == i + 1 else -1
            if places[k] == 0:
                grams[k] = mix(grams[k] * STEP + words[i + n - 1])
        for k in range(n_left):
            if k + AHEAD < n_left:
                fetch(slots, np.int64(grams[k + AHEAD] & np.uint64(mask)))
            if places[k] < 0:
                continue
            places[k] = add(slots, mask, grams[k])
            if n <= 4:
                i = begins[k]
                count = count_at(slots, places[k])
                if count >= best_count:
                    length = word_end[i + n] - word_end[i] + n - 1
                    if count > best_count or length > best_chars:
                        best_count, best_chars = count, length
        n_kept, covered_to = 0, 0
        chars[n] = best_count * best_chars if best_count > 1 else 0
        for k in range(n_left):
            if k + AHEAD < n_left and places[k + AHEAD] >= 0:
                fetch(slots, places[k + AHEAD])
            if places[k] < 0 or count_at(slots, places[k]) == 1:
                continue
            i = begins[k]
            begins[n_kept], grams[n_kept], places[n_kept] = i, grams[k], places[k]
            n_kept += 1
        if n >= 5:
            for k in range(n_kept):
                i, place = begins[k], places[k]
                if i < covered_to:
                    continue
                if slots[place] & _COUNT == _ZERO:  # zeroed below: an earlier one was met
                    chars[n] += word_end[i + n] - word_end[i]
                    covered_to = i + n
                slots[place] &= _KEY
        n_left = n_kept
