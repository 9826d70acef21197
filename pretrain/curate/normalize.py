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

import re
import unicodedata

import numpy as np
import pyarrow as pa

from pretrain.curate.compiled import kernel

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
    suspects = np.flatnonzero(_suspects(data, offsets))
    changed = {}
    for i in suspects.tolist():
        text = texts[i].as_py()
        normal = normalize(text)
        if normal != text:
            changed[i] = normal
    if not changed:
        return texts
    pieces, start = [], 0
    for i, normal in changed.items():
        pieces += [texts.slice(start, i - start), pa.array([normal], pa.large_string())]
        start = i + 1
    return pa.concat_arrays([*pieces, texts.slice(start)])


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


@kernel
def _suspects(data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Whether a text has bytes that normalisation could change.

    Lead bytes below 0xCC are code points below U+0300, which NFC never changes; U+2002 to U+2027
    and U+202A to U+203F (E2 80 ..) are the quotes and dashes of ordinary prose.
    """
    out = np.zeros(len(offsets) - 1, np.bool_)
    for i in range(len(offsets) - 1):
        at, end = offsets[i], offsets[i + 1]
        while at < end:
            byte = data[at]
            if byte < 0x80:
                if (byte < 0x20 and byte != 0x0A and byte != 0x09) or byte == 0x7F:
                    break
            elif byte == 0xC2:
                if data[at + 1] < 0xA0:
                    break
            elif byte == 0xE2 and data[at + 1] == 0x80:
                third = data[at + 2]
                if third < 0x82 or third == 0xA8 or third == 0xA9:
                    break
            elif byte >= 0xCC:
                break
            at += 1
        out[i] = at < end
    return out
