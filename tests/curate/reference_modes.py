"""What datatrove 0.10.1, DCLM and Dolma count, written naively from their published code.

The facts are those of docs/RULES.md, "Modes". Slow on purpose: pretrain/curate/modes.py must give
the same numbers. Words of `datatrove` come from english_tokens.py on both sides: how near it is to
spaCy is measured against spaCy itself (benchmarks/agreement.py).
"""

import re
import statistics
from collections import Counter

from pretrain.curate import english_tokens

STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}
PHRASES = [
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
]


def ratio(part, whole):
    return part / whole if whole else 0.0


def ngrams(words, n):
    return list(zip(*[words[i:] for i in range(n)], strict=False))


def later(units):
    """(number, characters) of the units that equal an earlier one."""
    again = [unit for i, unit in enumerate(units) if unit in units[:i]]
    return len(again), sum(map(len, again))


def twice(units):
    """(number, characters) of the units that occur more than once."""
    counts = Counter(units)
    again = [unit for unit in units if counts[unit] > 1]
    return len(again), sum(map(len, again))


def n_sentences(text):
    starts, ended, first = 0, False, True
    for run in text.split():
        for token in english_tokens.split(run):
            end = token in english_tokens.sentencizer_ends()
            if first or (ended and not end and not english_tokens.is_punctuation(token)):
                starts, ended, first = starts + 1, False, False
            ended = ended or end
    return starts


def greedy(words, n):
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


def c4(text):
    sentences, lorem, curly = 0, 0, 0
    for raw in text.splitlines():
        words = raw.split()
        line = re.sub(r"\[\d*\]|\[edit\]|\[citation needed\]", "", raw.strip())
        if any(len(word) > 1000 for word in words) or len(words) < 3:
            continue
        if line[-1:] not in tuple(".?!\"'") or line.endswith("..."):
            continue
        if "lorem ipsum" in line.lower():
            lorem = 1
        if "javascript" in line.lower():
            continue
        if "{" in line:
            curly = 1
        if not any(phrase in line.lower() for phrase in PHRASES):
            sentences += n_sentences(line)
    return {"c4_sentences": sentences, "has_lorem_ipsum": lorem, "has_curly_bracket": curly}


def datatrove(text):
    tokens = [token for run in text.split() for token in english_tokens.split(run)]
    symbols = english_tokens.punctuation()
    words = [t for t in tokens if not all(c in symbols for c in t)]
    lines = text.splitlines()
    full = [line for line in text.split("\n") if line.strip()]
    paragraphs = re.split("\n\n+", text.strip())
    split = re.split("\n+", text)
    top = {}
    for n in (2, 3, 4):
        counts = Counter(" ".join(gram) for gram in ngrams(tokens, n))
        top[n] = max(counts.values(), default=0)
        first = next((gram for gram, count in counts.items() if count == top[n]), "")
        top[n] *= len(first)
    return {
        "n_words": len(words),
        "mean_word_length": ratio(sum(map(len, words)), len(words)),
        "hash_per_word": ratio(text.count("#"), len(tokens)),
        "ellipsis_per_word": ratio(text.count("...") + text.count("…"), len(tokens)),
        "newline_per_word": ratio(text.count("\n"), len(tokens)),
        "alphabetic_word_fraction": ratio(
            sum(any(c.isalpha() for c in t) for t in tokens), len(tokens)
        ),
        "n_stop_words": len(STOP_WORDS & set(tokens)),
        **{f"top_{n}gram_char_fraction": ratio(top[n], len(text)) for n in (2, 3, 4)},
        **{
            f"duplicate_{n}gram_char_fraction": ratio(greedy(tokens, n), len(text))
            for n in range(5, 11)
        },
        "bullet_line_fraction": ratio(
            sum(line.lstrip().startswith(("•", "-")) for line in lines), len(lines)
        ),
        "ellipsis_line_fraction": ratio(
            sum(line.rstrip().endswith(("...", "…")) for line in lines), len(lines)
        ),
        "duplicate_line_fraction": ratio(later(split)[0], len(split)),
        "duplicate_line_char_fraction": ratio(later(split)[1], len(text)),
        "duplicate_paragraph_fraction": ratio(later(paragraphs)[0], len(paragraphs)),
        "duplicate_paragraph_char_fraction": ratio(later(paragraphs)[1], len(text)),
        "terminal_line_fraction": ratio(
            sum(line.endswith(tuple(english_tokens.sentence_ends())) for line in full), len(full)
        ),
        "short_line_fraction": ratio(sum(len(line) <= 30 for line in full), len(full)),
        "duplicate_line_char_share": ratio(later(full)[1], len(text.replace("\n", ""))),
        **c4(text),
    }


def unicode_words(text):
    """Unicode's word boundaries, simplified: what joins a letter or digit to the next."""
    words, word = [], ""
    for i, c in enumerate(text):
        after = text[i + 1 : i + 2]
        alone = re.fullmatch(
            "[\u3040-\u309f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]", c
        )
        after_alone = re.fullmatch(
            "[\u3040-\u309f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]", after
        )
        is_mark = re.fullmatch(
            "[\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u064b-\u065f\u0900-\u0903\u093a-\u094d"
            "\u200c\u200d]",
            c,
        )
        before = text[i - 1 : i] if i else ""
        joins = (
            c in "'’.:·‧"
            and re.fullmatch(r"[^\W\d_]", before)
            and re.fullmatch(r"[^\W\d_]", after)
            and not after_alone
        ) or (c in "'’.,;" and re.fullmatch(r"\d", before) and re.fullmatch(r"\d", after))
        if alone:
            words += [word, c]
            word = ""
        elif re.fullmatch(r"\w", c) or is_mark or joins:
            word += c
        else:
            words.append(word)
            word = ""
    return [w for w in [*words, word] if w and w[0].isalnum()]


def dclm(text):
    runs, words = text.split(), [w for run in text.split() for w in unicode_words(run)]
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    parts = [part.strip() for part in text.split("\n\n") if part.strip()]
    dots = text.count("...") + text.count(". . .") + text.count("…")
    stops = sum(run.lower() in STOP_WORDS for run in runs)
    result = {
        "n_words": sum(run[0].isalnum() for run in runs),
        "mean_word_length": ratio(sum(map(len, runs)), len(runs)),
        "hash_per_word": ratio(text.count("#"), len(runs)),
        "ellipsis_per_word": ratio(dots, len(runs)),
        "symbol_per_word": ratio(text.count("#") + dots, len(runs)),
        "alphabetic_word_fraction": ratio(
            sum(any(c.isalpha() for c in run) for run in runs), len(runs)
        ),
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
        result[f"duplicate_{name}_fraction"] = ratio(twice(units)[0], len(units))
        result[f"duplicate_{name}_char_fraction"] = ratio(twice(units)[1], sum(map(len, units)))
    chars = sum(map(len, words))
    for n in (2, 3, 4):
        counts = Counter(ngrams(words, n))
        most = max(counts.values(), default=0)
        longest = max((len("".join(g)) for g, c in counts.items() if c == most), default=0)
        result[f"top_{n}gram_char_fraction"] = ratio(most * longest if most > 1 else 0, chars)
    for n in range(5, 11):
        grams = ngrams(words, n)
        counts = Counter(grams)
        covered = {i + k for i, g in enumerate(grams) if counts[g] > 1 for k in range(n)}
        name = f"duplicate_{n}gram_char_fraction"
        result[name] = ratio(sum(len(words[i]) for i in covered), chars)
    return result


def dolma(text):
    words = text.split()
    lines = text.split("\n") if text else []
    chars, n_words = sum(map(len, words)), len(words)
    stops = sum(word in STOP_WORDS for word in words)
    result = {
        "n_words": n_words,
        "mean_word_length": ratio(chars, n_words),
        "median_word_length": float(statistics.median(map(len, words))) if words else 0.0,
        "hash_per_word": ratio(sum("#" in word for word in words), n_words),
        "ellipsis_per_word": ratio(sum("…" in word for word in words), n_words),
        "symbol_per_word": ratio(sum("#" in w or "…" in w for w in words), n_words),
        "alphabetic_word_fraction": ratio(
            sum(any(c.isalpha() for c in word) for word in words), n_words
        ),
        "n_stop_words": stops,
        "n_stop_word_uses": stops,
        "bullet_line_fraction": ratio(sum(x.startswith(("*", "-")) for x in lines), len(lines)),
        "ellipsis_line_fraction": ratio(sum(x.endswith("…") for x in lines), len(lines)),
        "duplicate_line_fraction": ratio(twice(lines)[0], len(lines)),
        "duplicate_line_char_fraction": twice(lines)[1] / max(chars, 1),
    }
    for n in range(2, 11):
        counts = Counter(ngrams(words, n))
        if n <= 4:
            gram, most = counts.most_common(1)[0] if counts else ((), 0)
            result[f"top_{n}gram_char_fraction"] = ratio(most * len("".join(gram)), chars)
        else:
            every = sum(c * len("".join(g)) for g, c in counts.items())
            again = sum(c * len("".join(g)) for g, c in counts.items() if c > 1)
            result[f"duplicate_{n}gram_char_fraction"] = ratio(again, every)
    return result


MODES = {"datatrove": datatrove, "dclm": dclm, "dolma": dolma}
