"""Where in a text a rule's verdict comes from: the span that a sample shows.

Each signal has one way to look for it: the repeated line, the longest word, the first bullet. For a
rule over several signals the first that points anywhere is shown; a signal of the whole text, such
as its length, points nowhere.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

Span = tuple[int, int]
_WORD = re.compile(r"\S+")
_LINE = re.compile(r"[^\n]*[^\s][^\n]*")
_TERMINAL = (".", "!", "?", '"', "'", "”", "’", "…", "。", "！", "？")


def evidence(text: str, signals: Sequence[str]) -> Span | None:
    """Bytes [start, end) of the text that speak for these signals; None if there are none."""
    for name in signals:
        look = _look(name)
        found = look(text) if look else None
        if found:
            start, end = found
            first = len(text[:start].encode())
            return first, first + len(text[start:end].encode())
    return None


def _look(name: str) -> Callable[[str], Span | None] | None:
    if "gram_char_fraction" in name:
        n = int(re.sub(r"\D", "", name))
        return lambda text: _repeated_gram(text, n)
    if name.startswith(("duplicate_line", "duplicate_paragraph")):
        return _repeated_line
    return _LOOKS.get(name)


def _first(pattern: str, flags: int = 0) -> Callable[[str], Span | None]:
    compiled = re.compile(pattern, flags)

    def look(text: str) -> Span | None:
        match = compiled.search(text)
        return match.span() if match else None

    return look


def _longest(pattern: str) -> Callable[[str], Span | None]:
    compiled = re.compile(pattern)

    def look(text: str) -> Span | None:
        spans = [match.span() for match in compiled.finditer(text)]
        return max(spans, key=lambda s: s[1] - s[0], default=None)

    return look


def _lines(text: str) -> Iterator[tuple[int, int, str]]:
    for match in _LINE.finditer(text):
        yield *match.span(), match.group().strip()


def _line_that(test: Callable[[str], bool]) -> Callable[[str], Span | None]:
    """The longest run of lines that pass the test."""

    def look(text: str) -> Span | None:
        best: Span | None = None
        run: Span | None = None
        n_run = n_best = 0
        for start, end, line in _lines(text):
            run, n_run = ((run[0] if run else start, end), n_run + 1) if test(line) else (None, 0)
            if run and n_run > n_best:
                best, n_best = run, n_run
        return best

    return look


def _repeated_line(text: str) -> Span | None:
    """The longest line that stood before, where it comes again."""
    seen: set[str] = set()
    best: Span | None = None
    for start, end, line in _lines(text):
        if line in seen and (best is None or end - start > best[1] - best[0]):
            best = start, end
        seen.add(line)
    return best


def _repeated_gram(text: str, n: int) -> Span | None:
    """The n words in a row that come most often, where they come the second time."""
    words = [match.span() for match in _WORD.finditer(text)][:20_000]
    grams = [tuple(text[a:b] for a, b in words[i : i + n]) for i in range(len(words) - n + 1)]
    counts = Counter(grams)
    most, times = max(counts.items(), key=lambda item: item[1], default=((), 0))
    if times < 2:
        return None
    second = [i for i, gram in enumerate(grams) if gram == most][1]
    return words[second][0], words[second + n - 1][1]


_LOOKS: dict[str, Callable[[str], Span | None]] = {
    "has_curly_bracket": _first(r"\{"),
    "has_lorem_ipsum": _first("lorem ipsum", re.I),
    "hash_per_word": _longest("#+"),
    "ellipsis_per_word": _first(r"\.\.\.|…"),
    "max_word_length": _longest(r"\S+"),
    "mean_word_length": _longest(r"\S+"),
    "max_line_length": _longest(r"[^\n]+"),
    "mean_line_length": _longest(r"[^\n]+"),
    "newline_per_word": _longest(r"\n[\s]*\n"),
    "digit_fraction": _longest(r"\d(?:[\d\s.,]*\d)?"),
    "letter_fraction": _longest(r"[^\W\d_]*[\W\d_]{2,}"),
    "alphabetic_word_fraction": _longest(r"(?:(?<!\S)[\W\d_]+(?!\S)\s*)+"),
    "uppercase_fraction": _longest(r"(?:[A-Z][A-Z\W\d]+)+"),
    "symbol_fraction": _longest(r"(?:[^\w\s]\s*)+"),
    "non_ascii_fraction": _longest(r"[^\x00-\x7f]+"),
    "replacement_chars": _first("\ufffd+"),
    "control_chars": _first(r"[\x00-\x08\x0b\x0c\x0e-\x1f]"),
    "whitespace_fraction": _longest(r"\s+"),
    "bullet_line_fraction": _line_that(lambda line: line.startswith(("●", "•", "*", "-"))),
    "ellipsis_line_fraction": _line_that(lambda line: line.endswith(("...", "…"))),
    "short_line_fraction": _line_that(lambda line: len(line) <= 30),
    "terminal_line_fraction": _line_that(lambda line: not line.endswith(_TERMINAL)),
    "c4_sentences": _line_that(lambda line: not line.endswith(_TERMINAL)),
}
