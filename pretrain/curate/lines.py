"""Line rules: what is cut from a text before anything is measured, as edits of step 0.

    c4          Raffel et al. 2020 (T5, JMLR 21/140), section 2.2, with the thresholds of the code:
                a line stays if it ends in . ? ! or a closing quote (and not in '...'), has 3 words
                or more, none of over 1,000 characters, not 'javascript', and no phrase of a policy;
                citations ('[12]', '[edit]', '[citation needed]') are cut out of it
    refinedweb  Penedo et al. 2023 (arXiv 2306.01116), appendix G.2, with DCLM's numbers: a line
                goes if it is one word, a number, a counter ('3 likes') or mostly capitals; of a
                line of 10 words or fewer the phrases of shops and logins are cut

A word is what stands between white space. A cut line takes its line break along. RefinedWeb drops
a page of which more than 5 % of the words went: that is the signal removed_word_fraction and a rule
(preset `refinedweb`), so that the threshold can be changed without a text being read again.
"""

import re
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa

from pretrain.curate import edits
from pretrain.curate.edits import Edit

MODES = ("none", "c4", "refinedweb")
_ENDS = (".", "?", "!", '"', "'", "”", "’")
_POLICY = (
    "terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies",
    "use cookies",
)  # fmt: skip
_CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
_COUNTER = re.compile(r"\W*\d+(?:[.,]\d+)*[km]?\s+[^\W\d_]+\W*", re.I)
_PHRASES = re.compile(r"items in cart|^\s*sign-in|read more\.\.\.\s*$", re.I)
_SHORT_LINE = 10
_LINE = re.compile(r"[^\n]*\n|[^\n]+")

Span = tuple[int, int]  # characters of a text


def cut(texts: pa.Array, mode: str) -> tuple[pa.Array, list[list[Edit] | None], np.ndarray]:
    """(texts without what goes, the edits of each or None, words cut / words before)."""
    made: list[list[Edit] | None] = [None] * len(texts)
    fraction = np.zeros(len(texts))
    if mode == "none":
        return texts, made, fraction
    rule = {"c4": _c4, "refinedweb": _refinedweb}[mode]
    new = {}
    for row, text in enumerate(texts.to_pylist()):
        spans = list(_spans(text, rule))
        if not spans:
            continue
        own = _edits(text, spans, mode)
        made[row] = own
        new[row] = edits.apply(text.encode(), own).decode()
        before, after = len(text.split()), len(new[row].split())
        fraction[row] = (before - after) / before if before else 0.0
    return edits.changed(texts, new), made, fraction


def version(mode: str) -> str:
    """What lineage names as the author of a cut."""
    return f"lines 1: {mode}"


def _spans(text: str, rule: Callable[[str], list[Span]]) -> Iterator[Span]:
    """What goes, in order and apart; neighbours are one."""
    start = end = 0
    for match in _LINE.finditer(text):
        line = match.group()
        for low, high in rule(line):
            low, high = match.start() + low, match.start() + high
            if low == end and end > start:
                end = high
            else:
                if end > start:
                    yield start, end
                start, end = low, high
    if end > start:
        yield start, end


def _c4(line: str) -> list[Span]:
    whole = [(0, len(line))]
    bare = line.strip()
    if not bare:
        return []  # a blank line is no line that is kept or not
    words = bare.split()
    small = bare.lower()
    if (
        len(words) < 3
        or not bare.endswith(_ENDS)
        or bare.endswith("...")
        or max(map(len, words)) > 1000
        or "javascript" in small
        or any(phrase in small for phrase in _POLICY)
    ):
        return whole
    return [match.span() for match in _CITATION.finditer(line)]


def _refinedweb(line: str) -> list[Span]:
    whole = [(0, len(line))]
    bare = line.strip()
    if not bare:
        return []
    words = bare.split()
    n_upper = sum(map(str.isupper, bare))
    if (
        len(words) < 2
        or n_upper > 0.5 * len(bare)
        or all(c.isdigit() for c in bare if not c.isspace())
        or _COUNTER.fullmatch(bare)
    ):
        return whole
    if len(words) <= _SHORT_LINE:
        return [match.span() for match in _PHRASES.finditer(line.rstrip("\n"))]
    return []


def _edits(text: str, spans: list[Span], mode: str) -> list[Edit]:
    """Spans of characters as edits of bytes."""
    made, at, n_bytes = [], 0, 0
    for start, end in spans:
        n_bytes += len(text[at:start].encode())
        length = len(text[start:end].encode())
        made.append(edits.edit(0, n_bytes, n_bytes + length, "line", "", version(mode)))
        at, n_bytes = end, n_bytes + length
    return made
