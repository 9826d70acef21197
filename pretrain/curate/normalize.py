"""One spelling for one text, so that equal texts have equal bytes; nothing a reader sees changes.

    line ends      \\r\\n, \\r, \\v, \\f, U+0085, U+2028, U+2029 -> \\n
    removed        other control characters but \\t (NUL too), U+FEFF (byte order mark)
    composed       Unicode NFC

Spaces are left alone: indentation is meaning in code, two spaces at a line's end are one in
Markdown, and rules can count blank lines. Removal comes before composition, so the result is its
own normal form. It is longer than its text only where NFC says so (at most 3 times, in bytes).

Most texts need no change. One scan over the bytes finds those that may; only they become Python
strings.
"""

import functools
import re
import unicodedata

import numpy as np
import pyarrow as pa

from pretrain.curate import edits
from pretrain.curate.compiled import kernel

N_POINTS = 0x20000  # planes 0 and 1; what is beyond is rare, and looked at
_LINE_ENDS = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_REMOVED = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff]")


def normalize(text: str) -> str:
    """The text with one kind of line end, no control characters, in NFC."""
    if text.isascii() and text.isprintable():
        return text
    text = _LINE_ENDS.sub("\n", _REMOVED.sub("", text))
    return unicodedata.normalize("NFC", text)


def normalize_all(texts: pa.Array) -> pa.Array:
    """`normalize` of every text of a large_string array; the same array where nothing changes."""
    data, offsets = buffers(texts)
    suspects = np.flatnonzero(_suspects(data, offsets, _unsettled()))
    changed = {}
    for i in suspects.tolist():
        text = texts[i].as_py()
        normal = normalize(text)
        if normal != text:
            changed[i] = normal
    return edits.changed(texts, changed)


def buffers(texts: pa.Array | pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """UTF-8 bytes and int64 offsets (one more than texts) of large_string texts, without a copy."""
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    _, offsets, data = texts.buffers()
    if offsets is None or offsets.size == 0:
        return np.zeros(1, np.uint8), np.zeros(1, np.int64)
    starts = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    if data is None or data.size == 0:
        return np.zeros(1, np.uint8), starts
    return np.frombuffer(data, np.uint8), starts


@functools.cache
def _unsettled() -> np.ndarray:
    """bool[code point]: what a text without one of these has nothing for normalisation to change.

    Line ends and control characters; what NFC changes by itself, moves (a combining class) or may
    join to what stands before (it comes second in some decomposition: Hangul's vowels too).
    """
    table = np.zeros(N_POINTS, np.bool_)
    points = [c for c in range(N_POINTS) if not 0xD800 <= c < 0xE000 and c != 0x0A]
    characters = list(map(chr, points))
    joined = "\n".join(characters)
    composed = unicodedata.normalize("NFC", joined).split("\n")
    for point, one, other in zip(points, characters, composed, strict=True):
        if one != other or unicodedata.combining(one):
            table[point] = True
    for part in unicodedata.normalize("NFD", joined).split("\n"):
        for later in part[1:]:
            table[ord(later)] = True
    for found in (*_LINE_ENDS.finditer(joined), *_REMOVED.finditer(joined)):
        table[ord(found[0][0])] = True
    return table


@kernel
def _suspects(data: np.ndarray, offsets: np.ndarray, unsettled: np.ndarray) -> np.ndarray:
    """Whether a text has a code point that is unsettled, or beyond the table."""
    out = np.zeros(len(offsets) - 1, np.bool_)
    for i in range(len(offsets) - 1):
        at, end = offsets[i], offsets[i + 1]
        while at < end:
            point = np.int64(data[at])
            length = 1
            if point >= 0xF0:
                length, point = 4, point & 0x07
            elif point >= 0xE0:
                length, point = 3, point & 0x0F
            elif point >= 0xC0:
                length, point = 2, point & 0x1F
            for k in range(1, length):
                point = point << 6 | np.int64(data[at + k] & 0x3F)
            if point >= len(unsettled) or unsettled[point]:
                break
            at += length
        out[i] = at < end
    return out
