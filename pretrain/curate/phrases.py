"""Phrases that rules look for, found from the word that ends them.

A phrase of several words can only stand where its last word begins after one space: the walk looks
at the first four letters of each word and compares the rest only where they fit. 'javascript', a
single word, may stand inside of any run of letters.
"""

# mypy: disable-error-code="assignment,no-untyped-def"

import numpy as np

from pretrain.curate.compiled import kernel
from pretrain.curate.eight_bytes import load

# What C4 drops a line for (the first N_POLICY), what NeMo Curator adds, and lorem ipsum.
PHRASES = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
    "privacy overview",
    "privacy & cookies policy",
    "privacy and cookies policy",
    "lorem ipsum",
)
N_POLICY = 6
LOREM = len(PHRASES) - 1
JAVASCRIPT = "javascript"

_BYTES = np.array([list(p.encode().ljust(32, b"\0")) for p in PHRASES], np.uint8)
_LENGTH = np.array([len(p) for p in PHRASES], np.int64)
_LAST_WORD = np.array([p.rindex(" ") + 1 for p in PHRASES], np.int64)
_JAVASCRIPT = np.frombuffer(JAVASCRIPT.encode(), np.uint8)


def _code(four: str) -> np.uint64:
    return np.uint64(int.from_bytes(four.encode(), "little"))


_POLI, _COOK, _IPSU, _OVER, _USE = map(_code, ("poli", "cook", "ipsu", "over", "use"))
_FOUR, _THREE = np.uint64(0xFFFFFFFF), np.uint64(0xFFFFFF)
_SMALL = np.uint64(0x20202020)


@kernel(inline="always")
def may_end_phrase(eight):
    """Whether a word that starts with these bytes may be the last one of a phrase."""
    four = (eight & _FOUR) | _SMALL
    use = four & _THREE == _USE  # `|`: no branches
    return use | (four == _POLI) | (four == _COOK) | (four == _IPSU) | (four == _OVER)


@kernel
def _lower(byte):
    return byte + 32 if 65 <= byte <= 90 else byte


@kernel
def phrase_ending_in(data, i, start, end):
    """Index of the phrase whose last word begins at byte i (ASCII case ignored), or -1."""
    for p in range(len(_LENGTH)):
        begin, length = i - _LAST_WORD[p], _LENGTH[p]
        if begin < start or begin + length > end:
            continue
        k = 0
        while k < length and _lower(np.int64(data[begin + k])) == _BYTES[p, k]:
            k += 1
        if k == length:
            return p
    return -1


@kernel
def has_javascript(data, begin, end):
    """Whether the word stands in bytes [begin, end) (ASCII case ignored)."""
    for i in range(begin, end - len(_JAVASCRIPT) + 1):
        k = 0
        while k < len(_JAVASCRIPT) and _lower(np.int64(data[i + k])) == _JAVASCRIPT[k]:
            k += 1
        if k == len(_JAVASCRIPT):
            return True
    return False


@kernel
def url_from(data, i, start):
    """First byte of 'http' or 'https' before the ':' at byte i if '//' follows it, else -1."""
    if data[i + 1] != 47 or data[i + 2] != 47:
        return -1
    begin = i - 5 if i - 5 >= start and _lower(np.int64(data[i - 1])) == 115 else i - 4  # 's'
    if begin < start:
        return -1
    four = (load(data, begin) & _FOUR) | _SMALL
    return begin if four == np.uint64(0x70747468) else -1
