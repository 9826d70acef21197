"""MinHash signatures of word 5-grams: the share of equal entries estimates the Jaccard similarity.

    word      a run of letters and digits, case apart; in scripts written without spaces (Chinese,
              Japanese, Thai, Lao, Burmese, Khmer, Tibetan) each character; punctuation, symbols and
              spaces only separate
    shingle   64-bit hash of 5 words in a row; a text of 1 to 4 words is one shingle of all of them
    entry k   min over shingles x of  a_k x + b_k mod 2^32,  a_k odd, x the shingle's low 32 bits

Over 112 entries the estimate has a standard deviation of sqrt(J (1 - J) / 112), at most 0.047. A
text without a word has no shingle, a signature of 2^32 - 1 and no duplicate. Hashes and character
classes are fixed here, and of case only Unicode's stable mappings are used, so signatures do not
change with the version of Python or of a library. Case is one letter for one: `Straße` is `STRAẞE`,
not `STRASSE`.
"""

import functools

import numpy as np
import pyarrow as pa
import xxhash

from pretrain.curate.compiled import kernel
from pretrain.curate.normalize import buffers

N_HASHES = 112
N_WORDS = 5
EMPTY = np.uint32(0xFFFFFFFF)

_SEED = np.uint64(0x51_7C_C1_B7_27_22_0A_95)
_WORD_PRIME = np.uint64(0x100000001B3)
_STEP = np.uint64(0x9E3779B97F4A7C15)  # multiplier of the rolling polynomial over words
_MIX = np.uint64(0xD6E8FEB86659FD93)
_32 = np.uint64(32)

# Code points that separate words, and those that are words by themselves; the rest are letters.
_SEPARATORS = (
    (0x80, 0xA9), (0xAB, 0xB4), (0xB6, 0xB9), (0xBB, 0xBF), (0xD7, 0xD7), (0xF7, 0xF7),
    (0x37E, 0x37E), (0x387, 0x387), (0x55A, 0x55F), (0x589, 0x58A), (0x5BE, 0x5BE),
    (0x5C0, 0x5C0), (0x5C3, 0x5C3), (0x5F3, 0x5F4), (0x60C, 0x60D), (0x61B, 0x61F),
    (0x66A, 0x66D), (0x6D4, 0x6D4), (0x964, 0x965), (0x970, 0x970), (0xDF4, 0xDF4),
    (0xE2F, 0xE2F), (0xE4F, 0xE4F), (0xE5A, 0xE5B), (0xF01, 0xF17), (0xF3A, 0xF3D),
    (0x104A, 0x104F), (0x10FB, 0x10FB), (0x1361, 0x1368), (0x1680, 0x1680), (0x17D4, 0x17DA),
    (0x1802, 0x180A), (0x2000, 0x206F), (0x20A0, 0x20CF), (0x2190, 0x2BFF), (0x2E00, 0x2E7F),
    (0x3000, 0x3004), (0x3008, 0x3020), (0x3030, 0x3030), (0x303D, 0x303F), (0x30FB, 0x30FB),
    (0xA8CE, 0xA8CF), (0xFD3E, 0xFD3F), (0xFE10, 0xFE19), (0xFE30, 0xFE6F), (0xFF00, 0xFF0F),
    (0xFF1A, 0xFF20), (0xFF3B, 0xFF40), (0xFF5B, 0xFF65), (0xFFE0, 0xFFFF),
)  # fmt: skip
_WORDS_BY_THEMSELVES = (
    (0xE01, 0xE2E), (0xE30, 0xE4E), (0xE50, 0xE59), (0xE80, 0xEFF), (0xF00, 0xF00),
    (0xF18, 0xF39), (0xF3E, 0xFFF), (0x1000, 0x1049), (0x1050, 0x109F), (0x1780, 0x17D3),
    (0x3005, 0x3007), (0x3021, 0x302F), (0x3031, 0x303C), (0x3041, 0x30FA), (0x30FC, 0x312F),
    (0x31A0, 0x31BF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),
)  # fmt: skip
SEPARATOR, LETTER, ALONE = 0, 1, 2
# Latin, Greek, Cyrillic, Armenian: the blocks with case that no version will add letters to.
_WITH_CASE = ((0xB5, 0x24F), (0x370, 0x556), (0x1E00, 0x1FFF))


@functools.cache
def character_classes() -> np.ndarray:
    """uint8[65536]: SEPARATOR, LETTER or ALONE for each code point of the basic plane."""
    classes = np.full(1 << 16, LETTER, np.uint8)
    for first, last in _SEPARATORS:
        classes[first : last + 1] = SEPARATOR
    for first, last in _WORDS_BY_THEMSELVES:
        classes[first : last + 1] = ALONE
    for point in range(0x80):
        classes[point] = LETTER if chr(point).isalnum() else SEPARATOR
    return classes


@functools.cache
def small_letters() -> np.ndarray:
    """uint64[256]: an ASCII letter or digit as its small letter, 0 for every other byte."""
    letters = [ord(chr(b).lower()) if b < 0x80 and chr(b).isalnum() else 0 for b in range(256)]
    return np.array(letters, np.uint64)


@functools.cache
def folded() -> np.ndarray:
    """uint16[65536]: each code point without case, where that is one code point; else itself."""
    table = np.arange(1 << 16, dtype=np.uint16)
    for first, last in _WITH_CASE:
        for point in range(first, last + 1):
            forms = (chr(point).casefold(), chr(point).lower())
            table[point] = next((ord(form) for form in forms if len(form) == 1), point)
    return table


@functools.cache
def permutations() -> tuple[np.ndarray, np.ndarray]:
    """(a, b): 112 odd multipliers and 112 offsets of 32 bits, from the hashes of 0 to 223."""
    draws = np.array([xxhash.xxh3_64_intdigest(b"%d" % i) >> 32 for i in range(2 * N_HASHES)])
    return draws[:N_HASHES].astype(np.uint32) | np.uint32(1), draws[N_HASHES:].astype(np.uint32)


def signatures(texts: pa.Array) -> np.ndarray:
    """uint32[n, 112], one row per large_string text."""
    data, offsets = buffers(texts)
    return _signatures(data, offsets, *_tables(), *permutations())


def shingles(text: str) -> np.ndarray:
    """The shingles of one text: sorted, unique, uint64."""
    return shingle_sets(pa.array([text], pa.large_string()))[0]


def shingle_sets(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """(shingles of all texts, int64 offsets): each text's part is sorted and unique."""
    data, offsets = buffers(texts)
    return _shingle_sets(data, offsets, *_tables())


def _tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return character_classes(), small_letters(), folded()


@kernel(inline="always")
def _mix(x: np.uint64) -> np.uint64:
    x = (x ^ (x >> _32)) * _MIX
    x = (x ^ (x >> _32)) * _MIX
    return x ^ (x >> _32)


@kernel(inline="always")
def _decode(data: np.ndarray, at: int) -> tuple[np.int64, int]:
    """(code point, bytes) of the UTF-8 character of 2 to 4 bytes at `at`."""
    byte = np.int64(data[at])
    if byte < 0xE0:
        return ((byte & 0x1F) << 6) | np.int64(data[at + 1] & 0x3F), 2
    code = (np.int64(data[at + 1] & 0x3F) << 6) | np.int64(data[at + 2] & 0x3F)
    if byte < 0xF0:
        return ((byte & 0x0F) << 12) | code, 3
    return ((byte & 0x07) << 18) | (code << 6) | np.int64(data[at + 3] & 0x3F), 4


@kernel
def _text_shingles(
    data: np.ndarray, at: int, end: int, classes: np.ndarray, small: np.ndarray,
    fold: np.ndarray, out: np.ndarray,
) -> int:  # fmt: skip
    """Write the shingles of data[at:end] in the order of the text; returns how many."""
    ring = np.zeros(N_WORDS, np.uint64)
    drop = _STEP * _STEP * _STEP * _STEP * _STEP
    n_words = n_out = slot = 0
    polynomial = np.uint64(0)
    while at < end:
        word, found = _SEED, False
        while at < end:
            point = small[data[at]]
            if point:  # a letter or digit of ASCII
                word = (word ^ point) * _WORD_PRIME
                found = True
                at += 1
                continue
            if data[at] < 0x80:
                at += 1
                break
            code, n_bytes = _decode(data, at)
            if code < 0x10000:
                kind = classes[code]
                code = np.int64(fold[code])
            elif 0x1F000 <= code < 0x20000:
                kind = SEPARATOR
            else:
                kind = ALONE if 0x20000 <= code < 0x40000 else LETTER
            if kind == ALONE and found:  # the word before it ends here
                break
            at += n_bytes
            if kind == SEPARATOR:
                break
            word = (word ^ np.uint64(code)) * _WORD_PRIME
            found = True
            if kind == ALONE:
                break
        if not found:
            continue
        word = _mix(word)
        polynomial = polynomial * _STEP + word - ring[slot] * drop
        ring[slot] = word
        slot = slot + 1 if slot < N_WORDS - 1 else 0
        n_words += 1
        if n_words >= N_WORDS:
            out[n_out] = _mix(polynomial + np.uint64(N_WORDS))
            n_out += 1
    if 0 < n_words < N_WORDS:
        out[0] = _mix(polynomial + np.uint64(n_words))
        n_out = 1
    return n_out


@kernel
def _longest(offsets: np.ndarray) -> int:
    longest = 0
    for i in range(len(offsets) - 1):
        longest = max(longest, offsets[i + 1] - offsets[i])
    return longest // 2 + 1  # words of one letter and one space are the most there can be


@kernel
def _signatures(
    data: np.ndarray,
    offsets: np.ndarray,
    classes: np.ndarray,
    small: np.ndarray,
    fold: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
) -> np.ndarray:
    n = len(offsets) - 1
    out = np.full((n, N_HASHES), EMPTY, np.uint32)
    found = np.empty(_longest(offsets), np.uint64)
    for i in range(n):
        n_found = _text_shingles(data, offsets[i], offsets[i + 1], classes, small, fold, found)
        row = out[i]
        for s in range(n_found):
            x = np.uint32(found[s])
            for k in range(N_HASHES):  # a select, not min(): the loop becomes vector code
                value = np.uint32(a[k] * x + b[k])
                row[k] = value if value < row[k] else row[k]
    return out


@kernel
def _shingle_sets(
    data: np.ndarray, offsets: np.ndarray, classes: np.ndarray, small: np.ndarray, fold: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    n = len(offsets) - 1
    found = np.empty(_longest(offsets), np.uint64)
    bounds = np.zeros(n + 1, np.int64)
    values = np.empty(1024, np.uint64)
    for i in range(n):
        n_found = _text_shingles(data, offsets[i], offsets[i + 1], classes, small, fold, found)
        ordered = np.sort(found[:n_found])
        at = bounds[i]
        if at + n_found > len(values):
            grown = np.empty(2 * (at + n_found), np.uint64)
            grown[:at] = values[:at]
            values = grown
        for s in range(n_found):
            if s == 0 or ordered[s] != ordered[s - 1]:
                values[at] = ordered[s]
                at += 1
        bounds[i + 1] = at
    return values[: bounds[n]].copy(), bounds
