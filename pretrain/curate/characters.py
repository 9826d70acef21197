"""What each Unicode character is: tables of bit flags, read by the signal kernels.

Classes follow Python's `unicodedata` (so the Unicode version of the interpreter), except the short
lists below, which no category gives. The tables end at U+20000. Above it, code points of planes 2
and 3 (ideographs) are letters, assigned or not; all others (tags, private use) have no class.

A script is a set of Unicode blocks. Scripts from UNSEGMENTED on are written without spaces: the
kernel cuts words in them (docs/RULES.md, "Words").

numba's cache looks at the kernel's own file only: after a change of a flag's value here, touch
signals.py. Lists and flags of characters may change freely, the tables are built per process.
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
LOWER = 2048  # category Ll
BRACKET = 4096  # counted by parenthesis_fraction
PLAIN = 8192  # line breaks and ? ! , . which non_alphanumeric_fraction takes for alphanumeric

TABLE_END = 0x20000
LETTERS_ABOVE_END = 0x40000  # code points from TABLE_END up to here are letters

ENDERS = ".!?…‼⁇⁈⁉؟۔।॥։።፧"
WIDE_ENDERS = "。！？｡"
QUOTES = "\"'”’»"
CLOSERS = QUOTES + "›)]}）」』】》〉"
BULLETS = "●•*-"
BRACKETS = "()[]{}⟨⟩"
PLAINS = "\n?!,."

_CATEGORIES = {"Nd": DIGIT, "Lu": LETTER | UPPER, "Ll": LETTER | LOWER, "Cc": CONTROL}
_GROUPS = {"L": LETTER, "P": SYMBOL, "S": SYMBOL}

SCRIPTS = (
    "none", "latin", "cyrillic", "greek", "arabic", "hebrew", "devanagari", "hangul",
    "thai", "lao", "khmer", "burmese", "han", "hiragana", "katakana",
)  # fmt: skip
UNSEGMENTED, KHMER, HAN, HIRAGANA, KATAKANA = 8, 10, 12, 13, 14
SCRIPT = 15  # the bits of the script table that say which one
MARK = 16  # belongs to the character before it
LEAD = 32  # a vowel written before its consonant: belongs to the next character
JOIN = 64  # makes the next consonant part of the same cluster

_BLOCKS = {
    "latin": "AA-AA BA-BA C0-24F 250-2AF 1D00-1D7F 1E00-1EFF 2C60-2C7F A720-A7FF AB30-AB6F "
    "FB00-FB06 FF21-FF3A FF41-FF5A",
    "cyrillic": "400-52F 1C80-1C8F 2DE0-2DFF A640-A69F",
    "greek": "370-3FF 1F00-1FFF",
    "arabic": "600-6FF 750-77F 870-8FF FB50-FDFF FE70-FEFF",
    "hebrew": "590-5FF FB1D-FB4F",
    "devanagari": "900-97F A8E0-A8FF",
    "hangul": "1100-11FF 3130-318F A960-A97F AC00-D7FF FFA0-FFDC",
    "thai": "E00-E7F",
    "lao": "E80-EFF",
    "khmer": "1780-17FF",
    "burmese": "1000-109F A9E0-A9FF AA60-AA7F",
    "han": "3005-3005 3400-4DBF 4E00-9FFF F900-FAFF",
    "hiragana": "3040-309F",
    "katakana": "30A0-30FF 31F0-31FF FF66-FF9F",
}
# Vowels and signs that Unicode calls letters although they stand behind a consonant; long marks.
_MARKS = "ะาำๅๆຯະາຳໆーｰ"
_LEADS = "เแโใไເແໂໃໄ"
_JOINS = "\u17d2\u1039"


@functools.cache
def property_table() -> np.ndarray:
    """Flags of the code points below TABLE_END, uint16; built once per process (0.05 to 0.1 s)."""
    characters, categories = _categories()
    flags = {c: _CATEGORIES.get(c, _GROUPS.get(c[0], 0)) for c in set(categories)}
    table = np.fromiter(map(flags.__getitem__, categories), np.uint16, TABLE_END)
    table[np.fromiter(map(str.isspace, characters), bool, TABLE_END)] |= SPACE
    table[[ord(c) for c in "\t\n\r"]] &= ~CONTROL & 0xFFFF
    for marked, flag in (
        (ENDERS + WIDE_ENDERS + QUOTES, TERMINAL),
        (ENDERS, ENDER),
        (WIDE_ENDERS, WIDE_ENDER),
        (CLOSERS, CLOSER),
        (BULLETS, BULLET),
        (BRACKETS, BRACKET),
        (PLAINS, PLAIN),
    ):
        table[[ord(c) for c in marked]] |= flag
    table.flags.writeable = False
    return table


@functools.cache
def script_table() -> np.ndarray:
    """Script and place in a cluster of the letters and marks below TABLE_END, uint8."""
    table = np.zeros(TABLE_END, np.uint8)
    _, categories = _categories()
    for name, blocks in _BLOCKS.items():
        for first, last in (block.split("-") for block in blocks.split()):
            for code in range(int(first, 16), int(last, 16) + 1):
                if categories[code][0] == "L":
                    table[code] = SCRIPTS.index(name)
                elif categories[code] in ("Mn", "Mc"):
                    table[code] = SCRIPTS.index(name) | MARK
    for characters, bit in ((_MARKS, MARK), (_LEADS, LEAD), (_JOINS, JOIN)):
        table[[ord(c) for c in characters]] |= bit
    table.flags.writeable = False
    return table


@functools.cache
def _categories() -> tuple[list[str], list[str]]:
    characters = [chr(code) for code in range(TABLE_END)]
    return characters, list(map(unicodedata.category, characters))
