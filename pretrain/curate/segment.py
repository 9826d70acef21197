"""Characters from bytes, and words from characters: where one ends, its hash, is it a stop word.

Between white space a word ends where a script without spaces begins or ends, and at fixed lengths
within one (docs/RULES.md, "Scripts without spaces"): Han and Hiragana after 2 characters, Katakana
not at all, Thai and Lao at the end of the cluster in which the fourth character stands, Khmer and
Burmese the sixth.

numba's cache looks at the calling file's time: touch signals.py after a change here.
"""

# mypy: disable-error-code="assignment,no-untyped-def"

import numpy as np

from pretrain.curate.characters import (
    DIGIT,
    HAN,
    JOIN,
    KATAKANA,
    KHMER,
    LEAD,
    LETTER,
    MARK,
    SCRIPT,
    UNSEGMENTED,
)
from pretrain.curate.compiled import kernel
from pretrain.curate.eight_bytes import first_bytes, load
from pretrain.curate.repeats import STEP, mix

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
SEED = np.uint64(0xCBF29CE484222325)
_STOP_CODES = np.array([int.from_bytes(w.encode(), "little") for w in STOP_WORDS], np.uint64)
_SMALL = np.uint64(0x2020202020202020)


@kernel
def decode(data, i, end):
    """The code point at byte i and its length; an impossible byte is U+FFFD, never a wild read."""
    first = np.int64(data[i])
    if first < 0x80:
        return first, 1
    if 0xC0 <= first < 0xE0 and i + 1 < end:
        return (first & 0x1F) << 6 | (np.int64(data[i + 1]) & 0x3F), 2
    if 0xE0 <= first < 0xF0 and i + 2 < end:
        middle = (np.int64(data[i + 1]) & 0x3F) << 6
        return (first & 0x0F) << 12 | middle | (np.int64(data[i + 2]) & 0x3F), 3
    if first >= 0xF0 and i + 3 < end:
        upper = (np.int64(data[i + 1]) & 0x3F) << 12 | (np.int64(data[i + 2]) & 0x3F) << 6
        return (first & 0x07) << 18 | upper | (np.int64(data[i + 3]) & 0x3F), 4
    return 0xFFFD, 1


@kernel
def word_hash(data, begin, end):
    value = SEED
    while end - begin >= 8:
        value = (value ^ load(data, begin)) * STEP
        value ^= value >> np.uint64(29)
        begin += 8
    if end > begin:
        value = (value ^ (load(data, begin) & first_bytes(end - begin))) * STEP
    return mix(value ^ np.uint64(end - begin))


@kernel
def stop_word_bit(data, begin, end):
    """One bit that stands for the stop word in bytes [begin, end), or 0."""
    if end - begin > 4 or end - begin < 2:
        return 0
    code = (load(data, begin) | _SMALL) & first_bytes(end - begin)
    for k in range(len(_STOP_CODES)):
        if code == _STOP_CODES[k]:
            return 1 << k
    return 0


@kernel
def cuts(flags, script, word_flags, tail, n_tail, bits, touches):
    """Whether a new word begins here, between two characters that are not white space.

    `tail` is the script without spaces that the word ends in (0: none), with `n_tail` characters of
    it since the last cut; `bits` those of its last character; `touches`: nothing stands between.
    """
    kind = script & SCRIPT
    if kind < UNSEGMENTED:
        return tail != 0 and flags & (LETTER | DIGIT) != 0
    if script & MARK or word_flags & (LETTER | DIGIT) == 0:
        return False
    if kind != tail or not touches:
        return True
    if kind >= HAN:
        return kind != KATAKANA and n_tail >= 2
    return n_tail >= (6 if kind >= KHMER else 4) and bits & (LEAD | JOIN) == 0
