"""Characters by class: ASCII ones from a histogram of a text's bytes.

The walk (scan.py) decodes and counts all others one by one; most texts have few. That spares each
plain letter eight additions.
"""

# mypy: disable-error-code="assignment,no-untyped-def"

import numpy as np

from pretrain.curate.characters import (
    BRACKET,
    CONTROL,
    DIGIT,
    LETTER,
    PLAIN,
    SPACE,
    SYMBOL,
    UPPER,
)
from pretrain.curate.compiled import kernel


@kernel
def _histogram(data, start, end, counts):
    """How often each byte occurs; four tables, so that equal neighbours do not wait."""
    counts[:] = 0
    i = start
    while i + 4 <= end:
        counts[0, data[i]] += 1
        counts[1, data[i + 1]] += 1
        counts[2, data[i + 2]] += 1
        counts[3, data[i + 3]] += 1
        i += 4
    while i < end:
        counts[0, data[i]] += 1
        i += 1


@kernel
def count_characters(data, start, end, table, counts, row):
    """Add the ASCII characters to what the walk counted of the others."""
    _histogram(data, start, end, counts)
    for byte in range(128):
        n = counts[0, byte] + counts[1, byte] + counts[2, byte] + counts[3, byte]
        flags = np.int64(table[byte])
        row.letters += n * ((flags & LETTER) != 0)
        row.scripts[1] += n * ((flags & LETTER) != 0)
        row.digits += n * ((flags & DIGIT) != 0)
        row.upper += n * ((flags & UPPER) != 0)
        row.symbols += n * ((flags & SYMBOL) != 0)
        row.control_chars += n * ((flags & CONTROL) != 0)
        row.spaces += n * ((flags & SPACE) != 0)
        row.brackets += n * ((flags & BRACKET) != 0)
        row.plain += n * ((flags & (LETTER | DIGIT | PLAIN)) != 0)
        row.ascii += n
        if byte == 35:
            row.hashes = n
        elif byte == 123:
            row.curly = n > 0
