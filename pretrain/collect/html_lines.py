"""What is done to the text of a page after it was read: its blocks put back, its ends trimmed.

    head    what stands before the first <h1>, if it is less than a fifth of the text
    tail    last lines that look like no text (short, no end of a sentence, no list item), up to a
            tenth of the text

Measured on 151 pages with known text (benchmarks/extraction.py). Tried there and not kept, since
not better on all three sets: lines that are mostly links, headings without a text, repeated lines,
notices of cookies, captions of figures.
"""

import re
from collections.abc import Sequence

from pretrain.collect.html_tree import BLOCK, HEADING

FILLER = "\x01"  # put beside lone characters, see `html.parsed`
_HEAD, _TAIL = 0.2, 0.1  # shares of the text
_ALONE = 0.8  # of the text: a block that is more is the document itself, not a part of it
_SHORT_LINE, _LONG_LINE = 10, 100
_END = re.compile(r"""[.!?…。！？:;"”’»)）」』】\]*$]\s*$""")
_FULL_STOP = re.compile(r"[。！？]\s*$")  # of scripts whose sentences may have few characters
_ITEM = re.compile(r"\s*(?:[-*+–•]|\d+[.)])\s")
_MARK = re.compile(rf"{BLOCK}(\d{{1,9}}){BLOCK}")
_CELLS = re.compile(r"[ \t]*\t\t[ \t]*")


def finish(text: str, blocks: Sequence[str]) -> str:
    """The text of a page from that of its edited tree and the blocks that stand for marks."""
    text = without_tail(without_head(text))
    if "\t\t" in text:  # cells of tables that were left to the extractor
        text = "\n".join(_join_cells(line) for line in text.split("\n"))
    if BLOCK in text:
        text = with_blocks(text, blocks)
    for mark in (FILLER, BLOCK, HEADING):
        text = text.replace(mark, "")
    return text.strip("\n")


def with_blocks(text: str, blocks: Sequence[str]) -> str:
    """Each block in the place of its mark, at the margin and with empty lines around it."""
    parts = _MARK.split(text)
    left = dict(enumerate(blocks))
    pieces = []
    for i, part in enumerate(parts):
        if i % 2:
            part = left.pop(int(part), "")  # a page may forge a mark: each block comes once
            if len(part) > _ALONE * (len(part) + len(text)):
                part = unfenced(part)
        else:
            part = part.lstrip("\n").rstrip() if part.strip() else ""
        if part:
            pieces.append(part)
    return "\n\n".join(pieces)


def without_head(text: str) -> str:
    start = text.find(HEADING)
    return text[start:] if 0 < start < _HEAD * len(text) else text


def without_tail(text: str) -> str:
    least, end = len(text) - _TAIL * len(text), len(text)
    while end > 0:
        start = text.rfind("\n", 0, end) + 1
        line = text[start:end]
        if line and not line.isspace() and (start < least or is_text(line)):
            break
        end = start - 1
    return text[: max(end, 0)]


def is_text(line: str) -> bool:
    """Whether a line may be the last of a text."""
    return bool(
        BLOCK in line
        or "\t" in line
        or len(line) >= _LONG_LINE
        or _ITEM.match(line)
        or _FULL_STOP.search(line)
        or (len(line) >= _SHORT_LINE and _END.search(line))
    )


def unfenced(block: str) -> str:
    """A block of code without its fences; other blocks as they are."""
    return block[block.index("\n") + 1 : block.rindex("\n")] if block.startswith("```") else block


def _join_cells(line: str) -> str:
    return " | ".join(cell for cell in _CELLS.split(line) if cell.strip()) if "\t" in line else line
