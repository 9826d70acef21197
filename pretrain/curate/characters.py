"""What each Unicode character is: one table of bit flags, read by the signal kernel.

Classes follow Python's `unicodedata` (so the Unicode version of the interpreter), except the short
lists below, which no category gives. The table ends at U+20000. Above it, code points of planes 2
and 3 (ideographs) are letters, assigned or not; all others (tags, private use) have no class.

numba's cache looks at the kernel's own file only: after a change of a flag's value here, touch
signals.py. Lists and flags of characters may change freely, the table is built per process.
"""

import functools
import unicodedata

import numpy as np

LETTER = 1  # category L*: str.isalpha
DIGIT = 2  # category Nd: str.isdecimal
SPACE = 4  # str.isspace, what str.split and str.strip take
UPPER = 8  # category Lu
SYMBOL = 16  # categories P* and S*
CONTROL = 32  # category Cc without tab, line feed and carriage return
TERMINAL = 64  # may end a finished line of text
ENDER = 128  # ends a sentence when white space follows
WIDE_ENDER = 256  # ends a sentence whatever follows
CLOSER = 512  # may stand between the end of a sentence and the white space after it
BULLET = 1024  # marks an item of a list at the start of a line
NOTED = 2048  # the kernel looks closer: any of the above marks, and what it counts by name

TABLE_END = 0x20000
LETTERS_ABOVE_END = 0x40000  # code points from TABLE_END up to here are letters

ENDERS = ".!?…‼⁇⁈⁉؟۔।॥։።፧"
WIDE_ENDERS = "。！？｡"
QUOTES = "\"'”’»"
CLOSERS = QUOTES + "›)]}）」』】》〉"
BULLETS = "●•*-"
COUNTED = "#{\ufffd"
ANCHORS = "jJkKmMvV"  # the rarest letters of the phrases that signals.py looks for

_CATEGORIES = {"Nd": DIGIT, "Lu": LETTER | UPPER, "Cc": CONTROL}
_GROUPS = {"L": LETTER, "P": SYMBOL, "S": SYMBOL}


@functools.cache
def property_table() -> np.ndarray:
    """Flags of the code points below TABLE_END, uint16; built once per process (0.05 to 0.1 s)."""
    characters = [chr(code) for code in range(TABLE_END)]
    categories = list(map(unicodedata.category, characters))
    flags = {c: _CATEGORIES.get(c, _GROUPS.get(c[0], 0)) for c in set(categories)}
    table = np.fromiter(map(flags.__getitem__, categories), np.uint16, TABLE_END)
    table[np.fromiter(map(str.isspace, characters), bool, TABLE_END)] |= SPACE
    table[[ord(c) for c in "\t\n\r"]] &= ~CONTROL & 0xFFFF
    for marked, flag in (
        (ENDERS + WIDE_ENDERS + QUOTES, TERMINAL),
        (ENDERS, ENDER | NOTED),
        (WIDE_ENDERS, WIDE_ENDER | NOTED),
        (CLOSERS, CLOSER | NOTED),
        (COUNTED + ANCHORS, NOTED),
        (BULLETS, BULLET),
    ):
        table[[ord(c) for c in marked]] |= flag
    table.flags.writeable = False
    return table
