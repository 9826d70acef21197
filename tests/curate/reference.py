"""Every signal, written naively from docs/RULES.md with str methods, lists and dictionaries.

Slow on purpose: the kernel in pretrain/curate/signals.py must give the same numbers.
"""

import re
import unicodedata
from collections import Counter

STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}
POLICY = [
    "javascript",
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
]
ENDERS = ".!?…‼⁇⁈⁉؟۔।॥։።፧"
WIDE = "。！？｡"
CLOSERS = "\"'”’»›)]}）」』】》〉"
TERMINAL = tuple(ENDERS + WIDE + "\"'”’»")
PIECE_END = re.compile(
    f"[{re.escape(ENDERS)}][{re.escape(ENDERS + CLOSERS)}]*(?=\\s|\\Z)|[{re.escape(WIDE)}]"
)
LOWER_ASCII = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def is_letter(c):
    return c.isalpha() if ord(c) < 0x20000 else ord(c) < 0x40000


def is_digit(c):
    return unicodedata.category(c) == "Nd" if ord(c) < 0x20000 else False


def in_table(c):
    return ord(c) < 0x20000


def sentences(line):
    return sum(any(is_letter(c) or is_digit(c) for c in p) for p in PIECE_END.split(line))


def core(word):
    inside = [i for i, c in enumerate(word) if is_letter(c) or is_digit(c)]
    return word[inside[0] : inside[-1] + 1].translate(LOWER_ASCII) if inside else ""


def c4_keeps(line):
    words, lower = line.split(), line.translate(LOWER_ASCII)
    return (
        line.endswith((".", "?", "!", '"', "'"))
        and not line.endswith("...")
        and len(words) >= 3
        and max(map(len, words)) <= 1000
        and not any(phrase in lower for phrase in POLICY)
    )


def repeated(units):
    seen, n, chars = set(), 0, 0
    for unit in units:
        if unit in seen:
            n += 1
            chars += len(unit)
        seen.add(unit)
    return n, chars


def top_ngram_chars(words, n):
    counts = Counter(" ".join(words[i : i + n]) for i in range(len(words) - n + 1))
    most = max(counts.values(), default=0)
    if most < 2:
        return 0
    return most * max(len(gram) for gram, count in counts.items() if count == most)


def duplicate_ngram_chars(words, n):
    seen, chars, i = set(), 0, 0
    while i + n <= len(words):
        gram = tuple(words[i : i + n])
        if gram in seen:
            chars += len("".join(gram))
            i += n
        else:
            seen.add(gram)
            i += 1
    return chars


def ratio(part, whole):
    return part / whole if whole else 0.0


def measure(text):
    raw_lines = re.split("\r\n|\r|\n", text)
    paragraphs, open_lines = [], []
    for raw in [*raw_lines, ""]:
        if raw.strip():
            open_lines.append(raw.strip())
        elif open_lines:
            paragraphs.append("\n".join(open_lines))
            open_lines = []
    full_lines = [raw for raw in raw_lines if raw.strip()]
    lines = [raw.strip() for raw in full_lines]
    words = text.split()
    lower = text.translate(LOWER_ASCII)
    n_chars, n_words, n_lines = len(text), len(words), len(lines)
    letters = sum(map(is_letter, text))
    categories = [unicodedata.category(c) if in_table(c) else "--" for c in text]
    line_repeats, line_repeat_chars = repeated(lines)
    part_repeats, part_repeat_chars = repeated(paragraphs)
    return {
        "n_bytes": len(text.encode()),
        "n_chars": n_chars,
        "n_words": n_words,
        "n_lines": n_lines,
        "n_paragraphs": len(paragraphs),
        "n_sentences": sum(map(sentences, lines)),
        "mean_word_length": ratio(sum(map(len, words)), n_words),
        "max_word_length": max(map(len, words), default=0),
        "hash_per_word": ratio(text.count("#"), n_words),
        "ellipsis_per_word": ratio(text.count("...") + text.count("…"), n_words),
        "newline_per_word": ratio(len(raw_lines) - 1, n_words),
        "alphabetic_word_fraction": ratio(sum(any(map(is_letter, w)) for w in words), n_words),
        "n_stop_words": len(STOP_WORDS & set(map(core, words))),
        "mean_line_length": ratio(sum(map(len, full_lines)), n_lines),
        "max_line_length": max(map(len, full_lines), default=0),
        "bullet_line_fraction": ratio(sum(x.startswith(tuple("●•*-")) for x in lines), n_lines),
        "ellipsis_line_fraction": ratio(sum(x.endswith(("...", "…")) for x in lines), n_lines),
        "terminal_line_fraction": ratio(sum(x.endswith(TERMINAL) for x in lines), n_lines),
        "short_line_fraction": ratio(sum(len(x) <= 30 for x in lines), n_lines),
        "duplicate_line_fraction": ratio(line_repeats, n_lines),
        "duplicate_line_char_fraction": ratio(line_repeat_chars, n_chars),
        "duplicate_paragraph_fraction": ratio(part_repeats, len(paragraphs)),
        "duplicate_paragraph_char_fraction": ratio(part_repeat_chars, n_chars),
        **{
            f"top_{n}gram_char_fraction": ratio(top_ngram_chars(words, n), n_chars)
            for n in (2, 3, 4)
        },
        **{
            f"duplicate_{n}gram_char_fraction": ratio(duplicate_ngram_chars(words, n), n_chars)
            for n in range(5, 11)
        },
        "c4_sentences": sum(sentences(x) for x in lines if c4_keeps(x)),
        "has_lorem_ipsum": int("lorem ipsum" in lower),
        "has_curly_bracket": int("{" in text),
        "letter_fraction": ratio(letters, n_chars),
        "digit_fraction": ratio(sum(map(is_digit, text)), n_chars),
        "uppercase_fraction": ratio(categories.count("Lu"), letters),
        "whitespace_fraction": ratio(sum(map(str.isspace, text)), n_chars),
        "symbol_fraction": ratio(sum(c[0] in "PS" for c in categories), n_chars),
        "non_ascii_fraction": ratio(sum(not c.isascii() for c in text), n_chars),
        "control_chars": sum(
            k == "Cc" and c not in "\t\n\r" for c, k in zip(text, categories, strict=True)
        ),
        "replacement_chars": text.count("\ufffd"),
    }
