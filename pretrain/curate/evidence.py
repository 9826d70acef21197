"""Where in a text a rule's verdict comes from: the span that a sample shows.

Each signal has one way to look for it: the repeated line, the longest word, the first bullet. For a
rule over several signals the first that points anywhere is shown; a signal of the whole text, such
as its length, points nowhere. Words here are runs between white space. Only the first characters
of a very long text are looked at: a sample need not be the best one.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

Span = tuple[int, int]
Look = Callable[[str], Span | None]
_MOST_CHARS = 400_000
_WORD = re.compile(r"\S+")
_LINE = re.compile(r"[^\n]*[^\s][^\n]*")
_GRAM = re.compile(r"(?:top|duplicate)_(\d+)gram_char_fraction")
_TERMINAL = (".", "!", "?", '"', "'", "”", "’", "…", "。", "！", "？")
_POLICY = (
    r"terms of use|privacy policy|cookie policy|uses cookies|use of cookies|use cookies|"
    r"privacy overview|privacy (?:&|and) cookies policy"
)
_SCRIPTS = {
    "latin": "A-Za-zÀ-ɏ", "cyrillic": "Ѐ-ԯ", "greek": "Ͱ-Ͽἀ-῿", "arabic": "\u0600-\u06ff",
    "hebrew": "\u0590-\u05ff", "devanagari": "\u0900-\u097f", "hangul": "\uac00-\ud7af",
    "thai": "\u0e00-\u0e7f", "han": "\u3400-\u9fff", "kana": "\u3040-\u30ff",
}  # fmt: skip


def evidence(text: str, signals: Sequence[str]) -> Span | None:
    """Bytes [start, end) of the text that speak for these signals; None if there are none."""
    text = text[:_MOST_CHARS]
    for name in signals:
        look = _look(name)
        found = look(text) if look else None
        if found and found[0] < found[1]:
            start, end = found
            first = len(text[:start].encode())
            return first, first + len(text[start:end].encode())
    return None


def _look(name: str) -> Look | None:
    gram = _GRAM.fullmatch(name)
    if gram:
        return lambda text: _repeated_gram(text, int(gram[1]))
    return _LOOKS.get(name)


def _first(pattern: str, flags: int = 0) -> Look:
    compiled = re.compile(pattern, flags)

    def look(text: str) -> Span | None:
        match = compiled.search(text)
        return match.span() if match else None

    return look


def _longest(pattern: str) -> Look:
    compiled = re.compile(pattern)

    def look(text: str) -> Span | None:
        spans = [match.span() for match in compiled.finditer(text)]
        return max(spans, key=lambda s: s[1] - s[0], default=None)

    return look


def _lines(text: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, line), the line without the white space at both ends, and where that is."""
    for match in _LINE.finditer(text):
        line = match.group().strip()
        start = match.start() + match.group().index(line)
        yield start, start + len(line), line


def _line_that(test: Callable[[str], bool]) -> Look:
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


def _repeated(units: Iterator[tuple[int, int, str]]) -> Span | None:
    """The longest unit that stood before, where it comes again."""
    seen: set[str] = set()
    best: Span | None = None
    for start, end, unit in units:
        if unit in seen and (best is None or end - start > best[1] - best[0]):
            best = start, end
        seen.add(unit)
    return best


def _paragraphs(text: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, its lines without the white space at their ends)."""
    lines: list[tuple[int, int, str]] = []
    for one in _lines(text):
        if lines and text.count("\n", lines[-1][1], one[0]) > 1:
            yield lines[0][0], lines[-1][1], "\n".join(line for _, _, line in lines)
            lines = []
        lines.append(one)
    if lines:
        yield lines[0][0], lines[-1][1], "\n".join(line for _, _, line in lines)


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


def _repeated_line(text: str) -> Span | None:
    return _repeated(_lines(text))


def _repeated_paragraph(text: str) -> Span | None:
    return _repeated(_paragraphs(text))


_UNFINISHED = _line_that(lambda line: not line.endswith(_TERMINAL))
_LOOKS: dict[str, Look] = {
    "duplicate_line_fraction": _repeated_line,
    "duplicate_line_char_fraction": _repeated_line,
    "duplicate_line_char_share": _repeated_line,
    "duplicate_paragraph_fraction": _repeated_paragraph,
    "duplicate_paragraph_char_fraction": _repeated_paragraph,
    "compressed_fraction": lambda text: _repeated_line(text) or _repeated_gram(text, 3),
    "has_curly_bracket": _first(r"\{"),
    "has_lorem_ipsum": _first("lorem ipsum", re.I),
    "has_javascript": _first("javascript", re.I),
    "n_policy_lines": _first(_POLICY, re.I),
    "policy_paragraph_fraction": _first(_POLICY, re.I),
    "n_urls": _first(r"https?://\S+|(?<!\S)www\.\S*", re.I),
    "url_char_fraction": _longest(r"(?i:https?://\S+|(?<!\S)www\.\S*)"),
    "hash_per_word": _longest("#+"),
    "ellipsis_per_word": _first(r"\.\.\.|…"),
    "symbol_per_word": _first(r"#+|\.\.\.|…"),
    "max_word_length": _longest(r"\S+"),
    "mean_word_length": _longest(r"\S+"),
    "median_word_length": _longest(r"\S+"),
    "max_line_length": _longest(r"[^\n]+"),
    "mean_line_length": _longest(r"[^\n]+"),
    "n_long_lines": _longest(r"[^\n]+"),
    "newline_per_word": _longest(r"\n[\s]*\n"),
    "digit_fraction": _longest(r"\d(?:[\d\s.,]*\d)?"),
    "letter_fraction": _longest(r"[\W\d_]{2,}"),
    "non_alphanumeric_fraction": _longest(r"(?:[^\w\n?!,.]|_)+"),
    "parenthesis_fraction": _longest(r"[()\[\]{}⟨⟩]+"),
    "alphabetic_word_fraction": _longest(r"(?:(?<!\S)[\W\d_]+(?!\S)\s*)+"),
    "uppercase_word_fraction": _longest(r"(?:\b[A-Z]{2,}\b\W*)+"),
    "uppercase_fraction": _longest(r"[A-Z][A-Z\W\d]+"),
    "symbol_fraction": _longest(r"(?:[^\w\s]\s*)+"),
    "non_ascii_fraction": _longest(r"[^\x00-\x7f]+"),
    "replacement_chars": _first("\ufffd+"),
    "control_chars": _first(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"),
    "whitespace_fraction": _longest(r"\s+"),
    "bullet_line_fraction": _line_that(lambda line: line.startswith(("●", "•", "*", "-"))),
    "ellipsis_line_fraction": _line_that(lambda line: line.endswith(("...", "…"))),
    "short_line_fraction": _line_that(lambda line: len(line) <= 30),
    "terminal_line_fraction": _UNFINISHED,
    "c4_sentences": _UNFINISHED,
    **{f"{name}_fraction": _longest(f"[{own}]+") for name, own in _SCRIPTS.items()},
}
