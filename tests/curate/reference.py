"""Every signal, written naively from docs/RULES.md with str methods, lists and dictionaries.

Slow on purpose: the kernel in pretrain/curate/signals.py must give the same numbers.
"""

import functools
import re
import statistics
import unicodedata
from collections import Counter

STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}
POLICY = [
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
]
MORE_POLICY = ["privacy overview", "privacy & cookies policy", "privacy and cookies policy"]
ENDERS = ".!?…‼⁇⁈⁉؟۔।॥։።፧"
WIDE = "。！？｡"
CLOSERS = "\"'”’»›)]}）」』】》〉"
TERMINAL = tuple(ENDERS + WIDE + "\"'”’»")
PIECE_END = re.compile(
    f"[{re.escape(ENDERS)}][{re.escape(ENDERS + CLOSERS)}]*(?=\\s|\\Z)|[{re.escape(WIDE)}]"
)
LOWER_ASCII = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


@functools.cache
def is_letter(c):
    return c.isalpha() if ord(c) < 0x20000 else ord(c) < 0x40000


@functools.cache
def is_digit(c):
    return unicodedata.category(c) == "Nd" if ord(c) < 0x20000 else False


def in_table(c):
    return ord(c) < 0x20000


def sentences(line):
    return sum(any(is_letter(c) or is_digit(c) for c in p) for p in PIECE_END.split(line))


SCRIPTS = {
    "latin": "[ªº\u00c0-\u02af\u1d00-\u1d7f\u1e00-\u1eff\u2c60-\u2c7f\ua720-\ua7ff\uab30-\uab6f"
    "\ufb00-\ufb06Ａ-Ｚａ-ｚA-Za-z]",
    "cyrillic": "[\u0400-\u052f\u1c80-\u1c8f\u2de0-\u2dff\ua640-\ua69f]",
    "greek": "[\u0370-\u03ff\u1f00-\u1fff]",
    "arabic": "[\u0600-\u06ff\u0750-\u077f\u0870-\u08ff\ufb50-\ufdff\ufe70-\ufeff]",
    "hebrew": "[\u0590-\u05ff\ufb1d-\ufb4f]",
    "devanagari": "[\u0900-\u097f\ua8e0-\ua8ff]",
    "hangul": "[\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff\uffa0-\uffdc]",
    "thai": "[\u0e00-\u0e7f]",
    "lao": "[\u0e80-\u0eff]",
    "khmer": "[\u1780-\u17ff]",
    "burmese": "[\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f]",
    "han": "[々\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]",
    "hiragana": "[\u3040-\u309f]",
    "katakana": "[\u30a0-\u30ff\u31f0-\u31ff\uff66-\uff9f]",
}
SCRIPTS = {name: re.compile(pattern) for name, pattern in SCRIPTS.items()}
UNSEGMENTED = {"thai", "lao", "khmer", "burmese", "han", "hiragana", "katakana"}
MARKS, LEADS, JOINS = "ะาำๅๆຯະາຳໆーｰ", "เแโใไເແໂໃໄ", "\u17d2\u1039"


@functools.cache
def is_mark(c):
    return c in MARKS or unicodedata.category(c) in ("Mn", "Mc")


@functools.cache
def script(c):
    """The script of a letter or mark; none of anything else."""
    if not is_letter(c) and not is_mark(c):
        return None
    return next((name for name, pattern in SCRIPTS.items() if pattern.match(c)), None)


def cut_run(run):
    """The words of characters without white space between them."""
    words, word, tail = [], "", ""  # tail: the end of `word` in one script without spaces
    apart = False  # something that is no letter or mark stands behind the tail
    for c in run:
        own = script(c)
        own = own if own in UNSEGMENTED else None
        letter = is_letter(c) or is_digit(c)
        begun = any(is_letter(x) or is_digit(x) for x in word)
        if own is None:
            new = bool(tail) and letter
        elif is_mark(c) or not begun:
            new = False
        elif not tail or script(tail[-1]) != own or apart:
            new = True
        elif own in ("han", "hiragana"):
            new = len(tail) >= 2
        elif own == "katakana":
            new = False
        else:
            least = 6 if own in ("khmer", "burmese") else 4
            new = len(tail) >= least and tail[-1] not in LEADS + JOINS
        if new:
            words.append(word)
            word, tail, apart = "", "", False
        word += c
        if own:
            tail = tail + c if tail and script(tail[-1]) == own else c
            apart = False
        elif letter:
            tail, apart = "", False
        else:
            apart = True
    return [*words, word]


def split_words(text):
    return [word for run in text.split() for word in cut_run(run)]


def url(run):
    """The characters of a run that are its address."""
    found = re.search("https?://", run.translate(LOWER_ASCII))
    if run.translate(LOWER_ASCII).startswith("www."):
        return len(run)
    return len(run) - found.start() if found else 0


def compressed(data):
    data = data[:65536]
    last, cost, i = {}, 0, 0
    while i + 4 <= len(data):
        four = data[i : i + 4]
        slot = (int.from_bytes(four, "little") * 2654435761) % 2**32 >> 20
        before, last[slot] = last.get(slot), i
        if before is None or data[before : before + 4] != four:
            cost, i = cost + 1, i + 1
            continue
        shift, i, cost = i - before, i + 4, cost + 3
        while i < len(data) and data[i] == data[i - shift]:
            i += 1
    return cost + len(data) - i


def core(word):
    inside = [i for i, c in enumerate(word) if is_letter(c) or is_digit(c)]
    return word[inside[0] : inside[-1] + 1].translate(LOWER_ASCII) if inside else ""


def c4_keeps(line):
    words, lower = split_words(line), line.translate(LOWER_ASCII)
    return (
        line.endswith((".", "?", "!", '"', "'"))
        and not line.endswith("...")
        and len(words) >= 3
        and max(map(len, words)) <= 1000
        and not any(phrase in lower for phrase in [*POLICY, "javascript"])
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


FRACTIONS = {
    name: {name}
    for name in SCRIPTS
    if name not in {"lao", "khmer", "burmese", "hiragana", "katakana"}
} | {"kana": {"hiragana", "katakana"}}


def in_capitals(word):
    kinds = set(map(unicodedata.category, word))
    return len(word) > 1 and "Lu" in kinds and "Ll" not in kinds


def has_phrase(text, phrases):
    return any(phrase in text.translate(LOWER_ASCII) for phrase in phrases)


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
    words, urls = split_words(text), [n for n in map(url, text.split()) if n]
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
        "median_word_length": float(statistics.median(map(len, words))) if words else 0.0,
        "max_word_length": max(map(len, words), default=0),
        "hash_per_word": ratio(text.count("#"), n_words),
        "ellipsis_per_word": ratio(text.count("...") + text.count("…"), n_words),
        "symbol_per_word": ratio(text.count("#") + text.count("...") + text.count("…"), n_words),
        "newline_per_word": ratio(len(raw_lines) - 1, n_words),
        "alphabetic_word_fraction": ratio(sum(any(map(is_letter, w)) for w in words), n_words),
        "uppercase_word_fraction": ratio(sum(map(in_capitals, words)), n_words),
        "n_stop_words": len(STOP_WORDS & set(map(core, words))),
        "n_stop_word_uses": sum(core(w) in STOP_WORDS for w in words),
        "mean_line_length": ratio(sum(map(len, full_lines)), n_lines),
        "max_line_length": max(map(len, full_lines), default=0),
        "n_long_lines": sum(len(x) >= 200 for x in lines),
        "bullet_line_fraction": ratio(sum(x.startswith(tuple("●•*-")) for x in lines), n_lines),
        "ellipsis_line_fraction": ratio(sum(x.endswith(("...", "…")) for x in lines), n_lines),
        "terminal_line_fraction": ratio(sum(x.endswith(TERMINAL) for x in lines), n_lines),
        "short_line_fraction": ratio(sum(len(x) <= 30 for x in lines), n_lines),
        "duplicate_line_fraction": ratio(line_repeats, n_lines),
        "duplicate_line_char_fraction": ratio(line_repeat_chars, n_chars),
        "duplicate_line_char_share": ratio(line_repeat_chars, n_chars - len(raw_lines) + 1),
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
        "compressed_fraction": ratio(compressed(text.encode()), len(text.encode())),
        "c4_sentences": sum(sentences(x) for x in lines if c4_keeps(x)),
        "n_policy_lines": sum(has_phrase(x, POLICY) for x in lines),
        "policy_paragraph_fraction": ratio(
            sum(has_phrase(x, [*POLICY, *MORE_POLICY]) for x in paragraphs), len(paragraphs)
        ),
        "has_javascript": int("javascript" in lower),
        "has_lorem_ipsum": int("lorem ipsum" in lower),
        "has_curly_bracket": int("{" in text),
        "n_urls": len(urls),
        "url_char_fraction": ratio(sum(urls), n_chars),
        "letter_fraction": ratio(letters, n_chars),
        "digit_fraction": ratio(sum(map(is_digit, text)), n_chars),
        "uppercase_fraction": ratio(categories.count("Lu"), letters),
        "whitespace_fraction": ratio(sum(map(str.isspace, text)), n_chars),
        "symbol_fraction": ratio(sum(c[0] in "PS" for c in categories), n_chars),
        "parenthesis_fraction": ratio(sum(c in "()[]{}⟨⟩" for c in text), n_chars),
        "non_alphanumeric_fraction": ratio(
            sum(not (is_letter(c) or is_digit(c) or c in "\n?!,.") for c in text), n_chars
        ),
        "non_ascii_fraction": ratio(sum(not c.isascii() for c in text), n_chars),
        **{
            f"{name}_fraction": ratio(sum(is_letter(c) and script(c) in of for c in text), letters)
            for name, of in FRACTIONS.items()
        },
        "control_chars": sum(
            k == "Cc" and c not in "\t\n\r" for c, k in zip(text, categories, strict=True)
        ),
        "replacement_chars": text.count("\ufffd"),
    }
