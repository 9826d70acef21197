"""Line rules: what is cut from a text before anything is measured, as edits of step 0.

    c4          Raffel et al. 2020 (T5, JMLR 21/140), section 2.2, with the thresholds of the code:
                a line stays if it ends in . ? ! or a closing quote (and not in '...'), has 3 words
                or more, none of over 1,000 characters, not 'javascript', and no phrase of a policy;
                citations ('[12]', '[edit]', '[citation needed]') are cut out of it first
    refinedweb  Penedo et al. 2023 (arXiv 2306.01116), appendix G.2, as DCLM has it: a line goes if
                it is one word, all digits, a counter ('3 likes') or mostly capitals; of a line of
                10 words or fewer the phrases of shops and logins are cut

A word is what stands between white space. A cut line takes its line break along. RefinedWeb drops
a page of which more than 5 % of the words went: that is the signal removed_word_fraction and a rule
(preset `refinedweb`), so that the threshold can be changed without a text being read again.

The price: Python for each line that may be cut (line_scan.py passes the others over), and for each
line of a text with one of the phrases. docs/RULES.md has the rules in full.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from pretrain.curate import edits, line_scan
from pretrain.curate.edits import Edit

MODES = ("none", "c4", "refinedweb")
_VERSION = 2
_ENDS = (".", "?", "!", '"', "'", "”", "’")
_DROPPED_FOR = (
    "javascript", "terms of use", "privacy policy", "cookie policy", "uses cookies",
    "use of cookies", "use cookies",
)  # fmt: skip
_CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
_COUNTER = re.compile(
    r"\W*\d[\d.,]*[kmb]?\s+(?:likes|shares|comments|retweets|reposts|quotes|bookmarks|upvotes|"
    r"downvotes|downloads|views|followers)\W*"
)
_PHRASES = re.compile(r"\s?items in cart|\s?read more\.\.\.$|^sign-in\s?", re.I)
_CUT_IN_SHORT_LINES = ("items in cart", "read more...", "sign-in")
_SHORT_LINE_WORDS = 10
_CAPITALS = bytes(range(ord("A"), ord("Z") + 1))

Span = tuple[int, int]
Rule = Callable[[str, bool], list[Span]]


def cut(texts: pa.Array, mode: str) -> tuple[pa.Array, list[list[Edit] | None], np.ndarray]:
    """(texts without what goes, the edits of each or None, words cut / words before)."""
    made: list[list[Edit] | None] = [None] * len(texts)
    fraction = np.zeros(len(texts))
    if mode == "none":
        return texts, made, fraction
    rule = {"c4": _c4, "refinedweb": _refinedweb}[mode]
    phrases = _DROPPED_FOR if mode == "c4" else _CUT_IN_SHORT_LINES
    suspects = line_scan.suspects(texts, mode)
    bounds = np.searchsorted(suspects[:, 0], np.arange(len(texts) + 1))
    new = {}
    for row in range(len(texts)):
        text = texts[row].as_py()
        lower = text.lower()
        has_phrase = any(phrase in lower for phrase in phrases)
        if not has_phrase and bounds[row] == bounds[row + 1]:
            continue
        data = text.encode()
        lines = suspects[bounds[row] : bounds[row + 1], 1:]
        spans = _spans(data, _all_lines(data) if has_phrase else lines.tolist(), rule, has_phrase)
        if not spans:
            continue
        own = [edits.edit(0, low, high, "line", "", version(mode)) for low, high in spans]
        made[row], new[row] = own, edits.apply(data, own).decode()
        before, after = len(text.split()), len(new[row].split())
        fraction[row] = max(before - after, 0) / before if before else 0.0
    return edits.changed(texts, new), made, fraction


def version(mode: str) -> str:
    """What lineage names as the author of a cut."""
    return f"lines {_VERSION}: {mode}"


def _spans(data: bytes, lines: Iterable[Sequence[int]], rule: Rule, has_phrase: bool) -> list[Span]:
    """The bytes that go, in order and apart; neighbours are one. Lines are without their breaks."""
    spans: list[Span] = []
    for start, end in lines:
        line = data[start:end].decode()
        for low, high in rule(line, has_phrase):
            if low == 0 and high == len(line):
                low, high = start, min(end + 1, len(data))
            elif line.isascii():
                low, high = start + low, start + high
            else:
                high = start + len(line[:high].encode())
                low = start + len(line[:low].encode())
            if spans and spans[-1][1] == low:
                low = spans.pop()[0]
            spans.append((low, high))
    return spans


def _all_lines(data: bytes) -> Iterator[Span]:
    at = 0
    for line in data.split(b"\n"):
        yield at, at + len(line)
        at += len(line) + 1


def _c4(line: str, has_phrase: bool) -> list[Span]:
    """The characters of a line that go; has_phrase: its text has one of _DROPPED_FOR."""
    if not line or line.isspace():
        return []  # a blank line is no line that is kept or not
    found = [match.span() for match in _CITATION.finditer(line)] if "[" in line else []
    bare = ("".join(_left(line, found)) if found else line).rstrip()
    if (
        not bare.endswith(_ENDS)
        or bare.endswith("...")
        or len(line.split(None, 2)) < 3
        or (has_phrase and any(phrase in bare.lower() for phrase in _DROPPED_FOR))
        or (len(line) > 1000 and max(map(len, line.split())) > 1000)
    ):
        return [(0, len(line))]
    return found


def _refinedweb(line: str, has_phrase: bool) -> list[Span]:
    """The characters of a line that go; has_phrase: its text has one of _CUT_IN_SHORT_LINES."""
    if not line:
        return []
    whole = [(0, len(line))]
    if len(line.split(None, 1)) < 2 or 2 * _n_capitals(line) > len(line):
        return whole  # a line of digits alone is one word
    if len(line) < 100 and _COUNTER.fullmatch(line.lower()):
        return whole
    if not has_phrase or len(line.split(None, _SHORT_LINE_WORDS)) > _SHORT_LINE_WORDS:
        return []
    found = [match.span() for match in _PHRASES.finditer(line)]
    return whole if found and not "".join(_left(line, found)).strip() else found


def _n_capitals(line: str) -> int:
    if line.isascii():
        data = line.encode()
        return len(data) - len(data.translate(None, _CAPITALS))
    return sum(map(str.isupper, line))


def _left(text: str, spans: list[Span]) -> Iterator[str]:
    """The pieces of a text that stay."""
    at = 0
    for start, end in spans:
        yield text[at:start]
        at = end
    yield text[at:]
