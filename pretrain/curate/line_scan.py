"""Which lines of a batch of texts a line rule might cut: bytes only, so that the rest costs little.

A line is passed over only where the rule surely leaves it alone; what cannot be told from ASCII
bytes (other scripts' capitals, typographic quotes, white space beyond ASCII) is a suspect, and
lines.py decides. Phrases are looked for in whole texts there.
"""

# mypy: disable-error-code="no-untyped-def"

import numpy as np
import pyarrow as pa

from pretrain.curate.compiled import kernel
from pretrain.curate.normalize import buffers

C4, REFINEDWEB = 0, 1
_LONG_LINE = 1000  # C4: may hold a word of more characters
_COUNTER_BYTES = 400  # RefinedWeb: a counter has less than 100 characters


@kernel
def _c4_suspects(data, start, end, n_words, last):
    """Whether C4's rule may cut something from a line; `last` is its last byte but white space."""
    if end - start > _LONG_LINE or n_words < 3:
        return True
    byte = data[last]
    if byte != 46 and byte != 63 and byte != 33 and byte != 34 and byte != 39:
        return True
    if byte == 46 and data[last - 1] == 46 and data[last - 2] == 46:
        return True
    for i in range(start, end):  # noqa: SIM110 (numba)
        if data[i] == 91:  # [
            return True
    return False


@kernel
def _refinedweb_suspects(data, start, end, n_words):
    """Whether RefinedWeb's rule may cut a line for its words, capitals or as a counter."""
    if n_words < 2:
        return True
    n_chars = n_capitals = 0
    first = 0  # 1: the first byte that is no mark is a letter; 2: a digit or beyond ASCII
    for i in range(start, end):
        byte = data[i]
        n_chars += (byte & 0xC0) != 0x80
        n_capitals += 65 <= byte <= 90 or byte >= 0xC0
        if first == 0:
            if 48 <= byte <= 57 or byte >= 0x80:
                first = 2
            elif 65 <= byte <= 90 or 97 <= byte <= 122 or byte == 95:
                first = 1
    return 2 * n_capitals > n_chars or (first == 2 and end - start < _COUNTER_BYTES)


@kernel
def _suspects(data, offsets, rule, found):
    """Fill found[k] = (row, first byte, end) for each suspect; how many there are."""
    n = 0
    for row in range(len(offsets) - 1):
        start = offsets[row]
        end_of_text = offsets[row + 1]
        n_words, inside, last = 0, False, -1
        for i in range(start, end_of_text + 1):
            byte = data[i] if i < end_of_text else np.uint8(10)
            if byte != 10:
                if byte == 32 or 9 <= byte <= 13 or 28 <= byte <= 31:
                    inside = False
                else:  # what begins like white space beyond ASCII is counted for no word
                    n_words += not inside and byte != 0xC2 and not 0xE1 <= byte <= 0xE3
                    inside, last = True, i
                continue
            if i > start:
                if rule == C4:
                    bad = last >= 0 and _c4_suspects(data, start, i, n_words, last)
                else:
                    bad = _refinedweb_suspects(data, start, i, n_words)
                if bad:
                    if n < len(found):
                        found[n, 0], found[n, 1], found[n, 2] = row, start, i
                    n += 1
            start = i + 1
            n_words, inside, last = 0, False, -1
    return n


def suspects(texts: pa.Array, mode: str) -> np.ndarray:
    """int64[n, 3]: row, first byte and end (without its break) of each line that may be cut.

    Bytes count from the start of the row's text.
    """
    data, offsets = buffers(texts)
    rule = C4 if mode == "c4" else REFINEDWEB
    found = np.empty((len(data) // 64 + 16, 3), np.int64)
    n = _suspects(data, offsets, rule, found)
    if n > len(found):
        found = np.empty((n, 3), np.int64)
        _suspects(data, offsets, rule, found)
    found = found[:n]
    found[:, 1:] -= offsets[found[:, 0]][:, None]
    return found
