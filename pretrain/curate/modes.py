"""Signals counted as other implementations count them, so that their thresholds mean the same.

    measure(texts, "datatrove")   datatrove 0.10.1: Gopher, C4 and FineWeb filters
    measure(texts, "dclm")        DCLM's Gopher rules (dclm_baseline_refinedweb.yaml)
    measure(texts, "dolma")       Dolma's tagger gopher_v1

    text ─▶ runs between white space ─▶ each distinct run: its words, once (vocabulary.py)
         │                                    └▶ counts over word numbers; ngrams.py
         └▶ lines, paragraphs: Python strings, split as theirs

Only the columns that the implementation has are returned; the others stay as `pretrain` counts
them. What each counts: docs/RULES.md. How often decisions are the same: benchmarks/results/
agreement.md. The price: Python strings and dictionaries; 0.7 MB/s (datatrove), 1.4 (dclm) and 2.2
(dolma) where `pretrain` did 41, one core of a busy machine.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from pretrain.curate import ngrams
from pretrain.curate.english_tokens import sentence_ends
from pretrain.curate.vocabulary import Vocabulary, Words
from pretrain.errors import PretrainError

Row = dict[str, float]

STOP_WORDS = frozenset(("the", "be", "to", "of", "and", "that", "have", "with"))
POLICY = (
    "terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies",
    "use cookies",
)  # fmt: skip
_CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
_MANY_FEEDS, _TWO_FEEDS = re.compile("\n+"), re.compile("\n{2,}")
COUNTS = (
    *("n_words", "n_stop_words", "n_stop_word_uses", "c4_sentences"),
    *("has_lorem_ipsum", "has_curly_bracket"),
)


def measure(texts: pa.Array | pa.ChunkedArray, mode: str) -> dict[str, np.ndarray]:
    """The columns that `mode` counts otherwise than `pretrain`, one value per text.

    Raises: PretrainError if there is no such mode.
    """
    if mode not in MODES:
        raise PretrainError(f"curate: there is no mode '{mode}'; must be one of {', '.join(MODES)}")
    strings = [text or "" for text in texts.to_pylist()]
    columns: dict[str, np.ndarray] = {}
    rows = MODES[mode](strings)
    for name in rows[0] if rows else MODES[mode]([""])[0]:
        kind = np.int64 if name in COUNTS else np.float64
        columns[name] = np.array([row[name] for row in rows], kind)
    return columns


def ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def repeated(units: Sequence[str]) -> tuple[int, int]:
    """How many units equal an earlier one, and their characters."""
    seen: set[str] = set()
    n = chars = 0
    for unit in units:
        if unit in seen:
            n += 1
            chars += len(unit)
        seen.add(unit)
    return n, chars


def all_repeated(units: Sequence[str]) -> tuple[int, int]:
    """How many units occur twice or more, the first included, and their characters."""
    again = {unit: n for unit, n in Counter(units).items() if n > 1}
    return sum(again.values()), sum(n * len(unit) for unit, n in again.items())


def _datatrove(texts: list[str]) -> list[Row]:
    vocabulary = Vocabulary("english")
    words = vocabulary.read([text.split() for text in texts])
    grams, _ = _ngrams(words, ngrams.DATATROVE)
    sums = words.sums(words.is_word, words.length * words.is_word, words.has_letter)
    return [
        _datatrove_words(text, words.n(d), sums[d], words.of(d), grams[d])
        | _datatrove_lines(text)
        | _c4(text, vocabulary)
        for d, text in enumerate(texts)
    ]


def _datatrove_words(
    text: str, n_tokens: int, sums: tuple[int, ...], tokens: set[str], grams: np.ndarray
) -> Row:
    n_chars, (n_words, chars, with_letter) = len(text), sums
    return {
        "n_words": n_words,
        "mean_word_length": ratio(chars, n_words),
        "hash_per_word": ratio(text.count("#"), n_tokens),
        "ellipsis_per_word": ratio(text.count("...") + text.count("…"), n_tokens),
        "newline_per_word": ratio(text.count("\n"), n_tokens),
        "alphabetic_word_fraction": ratio(with_letter, n_tokens),
        "n_stop_words": len(STOP_WORDS & tokens),
        **{f"top_{n}gram_char_fraction": ratio(int(grams[n]), n_chars) for n in range(2, 5)},
        **{f"duplicate_{n}gram_char_fraction": ratio(int(grams[n]), n_chars) for n in range(5, 11)},
    }


def _datatrove_lines(text: str) -> Row:
    split = text.splitlines()
    heads, tails = [s.lstrip() for s in split], [s.rstrip() for s in split]
    paragraphs, lines = _TWO_FEEDS.split(text.strip()), _MANY_FEEDS.split(text)
    part_repeats, part_chars = repeated(paragraphs)
    line_repeats, line_chars = repeated(lines)
    full = [line for line in text.split("\n") if line.strip()]
    ends = sentence_ends()
    return {
        "bullet_line_fraction": ratio(sum(s.startswith(("•", "-")) for s in heads), len(split)),
        "ellipsis_line_fraction": ratio(sum(s.endswith(("...", "…")) for s in tails), len(split)),
        "duplicate_line_fraction": ratio(line_repeats, len(lines)),
        "duplicate_line_char_fraction": ratio(line_chars, len(text)),
        "duplicate_paragraph_fraction": ratio(part_repeats, len(paragraphs)),
        "duplicate_paragraph_char_fraction": ratio(part_chars, len(text)),
        "terminal_line_fraction": ratio(sum(line[-1] in ends for line in full), len(full)),
        "short_line_fraction": ratio(sum(len(line) <= 30 for line in full), len(full)),
        "duplicate_line_char_share": ratio(repeated(full)[1], len(text) - text.count("\n")),
    }


def _c4(text: str, vocabulary: Vocabulary) -> Row:
    """C4's rules over lines; lorem ipsum and '{' only in lines that came so far, as theirs."""
    sentences, lorem, curly = 0, 0, 0
    for raw in text.splitlines():
        runs = raw.split()
        line = raw.strip()
        if len(line) > 1000 and max(map(len, runs)) > 1000:
            continue
        cut = _CITATION.sub("", line) if "[" in line else line
        if not cut.endswith((".", "?", "!", '"', "'")) or cut.endswith("...") or len(runs) < 3:
            continue
        lower = cut.lower()
        lorem |= "lorem ipsum" in lower
        if "javascript" in lower:
            continue
        curly |= "{" in cut
        if any(phrase in lower for phrase in POLICY):
            continue
        sentences += vocabulary.sentences(runs if cut is line else cut.split())
    return {"c4_sentences": sentences, "has_lorem_ipsum": lorem, "has_curly_bracket": curly}


def _dclm(texts: list[str]) -> list[Row]:
    runs = Vocabulary("runs").read([text.split() for text in texts])
    words = Vocabulary("unicode").read([text.split() for text in texts])
    grams, _ = _ngrams(words, ngrams.DCLM)
    sums = runs.sums(runs.is_word, runs.length, runs.has_letter, runs.is_stop)
    chars = words.sums(words.length)
    rows = []
    for d, text in enumerate(texts):
        n_words, run_chars, with_letter, stops = sums[d]
        n_runs = runs.n(d)
        lines = [line for raw in text.split("\n") if (line := raw.strip())]
        parts = [part for raw in text.split("\n\n") if (part := raw.strip())]
        dots = text.count("...") + text.count(". . .") + text.count("…")
        row: Row = {
            "n_words": n_words,
            "mean_word_length": ratio(run_chars, n_runs),
            "hash_per_word": ratio(text.count("#"), n_runs),
            "ellipsis_per_word": ratio(dots, n_runs),
            "symbol_per_word": ratio(text.count("#") + dots, n_runs),
            "alphabetic_word_fraction": ratio(with_letter, n_runs),
            "n_stop_words": stops,
            "n_stop_word_uses": stops,
            "bullet_line_fraction": ratio(
                sum(line.startswith(("●", "•", "*", "-")) for line in lines), len(lines)
            ),
            "ellipsis_line_fraction": ratio(
                sum(line.endswith(("...", ". . .", "…")) for line in lines), len(lines)
            ),
        }
        for name, units in (("line", lines), ("paragraph", parts)):
            n, unit_chars = all_repeated(units)
            row[f"duplicate_{name}_fraction"] = ratio(n, len(units))
            row[f"duplicate_{name}_char_fraction"] = ratio(unit_chars, sum(map(len, units)))
        for n in range(2, 11):
            kind = "top" if n <= 4 else "duplicate"
            row[f"{kind}_{n}gram_char_fraction"] = ratio(int(grams[d, n]), chars[d][0])
        rows.append(row)
    return rows


def _dolma(texts: list[str]) -> list[Row]:
    words = Vocabulary("runs").read([text.split() for text in texts])
    grams, weights = _ngrams(words, ngrams.DOLMA)
    sums = words.sums(words.length, words.has_letter, words.is_exact_stop, words.symbols)
    hashes, dots = words.sums(words.has_hash), words.sums(words.has_dots)
    rows = []
    for d, text in enumerate(texts):
        chars, with_letter, stops, symbols = sums[d]
        n_words, lines = words.n(d), text.split("\n") if text else []
        n_again, again_chars = all_repeated(lines)
        row: Row = {
            "n_words": n_words,
            "mean_word_length": ratio(chars, n_words),
            "median_word_length": words.median_length(d),
            "hash_per_word": ratio(hashes[d][0], n_words),
            "ellipsis_per_word": ratio(dots[d][0], n_words),
            "symbol_per_word": ratio(symbols, n_words),
            "alphabetic_word_fraction": ratio(with_letter, n_words),
            "n_stop_words": stops,
            "n_stop_word_uses": stops,
            "bullet_line_fraction": ratio(sum(x.startswith(("*", "-")) for x in lines), len(lines)),
            "ellipsis_line_fraction": ratio(sum(x.endswith("…") for x in lines), len(lines)),
            "duplicate_line_fraction": ratio(n_again, len(lines)),
            "duplicate_line_char_fraction": again_chars / max(chars, 1),
        }
        for n in range(2, 11):
            kind, whole = ("top", chars) if n <= 4 else ("duplicate", int(weights[d, n]))
            row[f"{kind}_{n}gram_char_fraction"] = ratio(int(grams[d, n]), whole)
        rows.append(row)
    return rows


def _ngrams(words: Words, way: int) -> tuple[np.ndarray, np.ndarray]:
    chars = np.zeros((len(words.ends), 11), np.int64)
    weights = np.zeros_like(chars)
    ngrams.count(words.hashes, words.length, words.ends, way, chars, weights)
    return chars, weights


MODES: dict[str, Callable[[list[str]], list[Row]]] = {
    "datatrove": _datatrove,
    "dclm": _dclm,
    "dolma": _dolma,
}
