"""All signals of a batch of texts in one pass over Arrow's UTF-8 buffers.

    measure(texts) -> {"n_words": int64[n], "mean_word_length": float64[n], ...}

    text ─▶ scan.py ─▶ hashes of words, lines, paragraphs ─▶ repeats.py ─▶ counts ─▶ columns
         ├▶ histogram.py ─▶ characters by class
         └▶ compressibility.py

Meanings: `presets.SIGNALS`; specification: docs/RULES.md. No signal stops early, so every threshold
can be changed afterwards without reading the text again. With another `mode` than `pretrain`, some
columns are replaced by what another implementation would count (modes.py).

The price: 64-bit hashes stand for words, lines and n-grams (repeats.py says how often two are taken
for one; the hash is not keyed, so an author who tries can do it in his own document), and a first
call that compiles for some seconds (`warm`). Scratch memory: about 50 bytes reserved per byte of
the longest text of the batch, of which only what that text's words need is touched.
"""

# mypy: disable-error-code="assignment,no-untyped-def"

import numpy as np
import pyarrow as pa

from pretrain.curate import characters
from pretrain.curate.compiled import kernel
from pretrain.curate.compressibility import N_PLACES, cost
from pretrain.curate.histogram import count_characters
from pretrain.curate.repeats import n_slots_for, repeated_ngrams, repeats
from pretrain.curate.scan import LENGTHS, scan

_COUNTS = (  # what the kernels count, one int64 each per document
    *("n_bytes", "n_chars", "n_words", "n_lines", "n_paragraphs", "n_sentences", "n_stop_words"),
    *("n_stop_word_uses", "letters", "digits", "upper", "spaces", "symbols", "control_chars"),
    *("brackets", "plain", "ascii", "replacement_chars", "hashes", "ellipses", "curly", "lorem"),
    *("javascript", "newlines", "c4_sentences", "word_chars", "alphabetic_words", "capital_words"),
    *("n_urls", "url_chars", "max_word_length", "line_chars", "max_line_length", "bullet_lines"),
    *("ellipsis_lines", "terminal_lines", "short_lines", "n_long_lines", "n_policy_lines"),
    *("policy_paragraphs", "compressed"),
    *("repeated_lines", "repeated_line_chars", "repeated_paragraphs", "repeated_paragraph_chars"),
)
_RECORD = np.dtype(
    [(name, np.int64) for name in _COUNTS]
    + [("ngram_chars", np.int64, (11,)), ("scripts", np.int64, (16,))]
    + [("median_word_length", np.float64)]
)
# Fractions of letters: column -> the scripts of characters.SCRIPTS that it sums.
SCRIPT_FRACTIONS = {
    **{f"{s}_fraction": (s,) for s in ("latin", "cyrillic", "greek", "arabic", "hebrew")},
    **{f"{s}_fraction": (s,) for s in ("devanagari", "hangul", "thai", "han")},
    "kana_fraction": ("hiragana", "katakana"),
}


@kernel
def _median(lengths, word_end, n_words):
    """The median length of the words: the mean of the middle two if they are even in number."""
    if n_words == 0:
        return 0.0
    low, high, seen = -1, -1, 0
    for length in range(LENGTHS):
        seen += lengths[length]
        if low < 0 and seen > (n_words - 1) // 2:
            low = length
        if seen > n_words // 2:
            high = length
            break
    if high == LENGTHS - 1:  # words too long to be counted one by one
        every = np.sort(np.diff(word_end[: n_words + 1]))
        low, high = every[(n_words - 1) // 2], every[n_words // 2]
    return (low + high) / 2


@kernel
def _measure(offsets, data, table, script_table, records):
    longest = 0
    for d in range(len(records)):
        longest = max(longest, offsets[d + 1] - offsets[d])
    most = longest // 2 + 2  # words, lines or paragraphs: two bytes each, in any script
    words, word_end = np.empty(most, np.uint64), np.zeros(most + 1, np.int64)
    lines, line_len = np.empty(most, np.uint64), np.empty(most, np.int64)
    parts, part_len = np.empty(most, np.uint64), np.empty(most, np.int64)
    begins, places = np.empty(most, np.int32), np.empty(most, np.int32)  # caches are small
    grams = np.empty(most, np.uint64)
    slots = np.empty(n_slots_for(most), np.uint64)
    lengths, bytes_seen = np.empty(LENGTHS, np.int64), np.empty((4, 256), np.int64)
    lz_places = np.empty(N_PLACES, np.int32)
    arrays = (words, word_end, lines, line_len, parts, part_len)
    for d in range(len(records)):
        row = records[d]
        start, end = offsets[d], offsets[d + 1]
        scan(data, start, end, table, script_table, arrays, lengths, row)
        count_characters(data, start, end, table, bytes_seen, row)
        row.compressed = cost(data, start, end, lz_places)
        row.median_word_length = _median(lengths, word_end, row.n_words)
        row.repeated_lines, row.repeated_line_chars = repeats(lines, line_len, row.n_lines, slots)
        again = repeats(parts, part_len, row.n_paragraphs, slots)
        row.repeated_paragraphs, row.repeated_paragraph_chars = again
        repeated_ngrams(words, word_end, row.n_words, begins, grams, places, slots, row.ngram_chars)


def _counts(texts: pa.Array) -> np.ndarray:
    texts = texts.cast(pa.large_string())
    if texts.null_count:
        texts = texts.fill_null("")
    records = np.zeros(len(texts), _RECORD)
    if not len(texts):
        return records
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    bytes_ = np.frombuffer(data or b"", np.uint8)
    if ends[-1] + 8 > len(bytes_):  # the kernels read eight bytes at a time
        bytes_ = np.concatenate([bytes_[ends[0] : ends[-1]], np.zeros(8, np.uint8)])
        ends = ends - ends[0]
    tables = characters.property_table(), characters.script_table()
    _measure(ends, bytes_, *tables, records)
    return records


def measure(texts: pa.Array | pa.ChunkedArray, mode: str = "pretrain") -> dict[str, np.ndarray]:
    """Every measured signal as a column with one value per text; null is the empty text.

    Counts are int64, ratios float64: in float32 a ratio of exactly 0.1 would be above 0.1.
    """
    chunks = texts.chunks if isinstance(texts, pa.ChunkedArray) else [texts]
    columns = _columns(np.concatenate([np.zeros(0, _RECORD), *map(_counts, chunks)]))
    if mode != "pretrain":
        from pretrain.curate import modes

        columns |= modes.measure(texts, mode)
    return columns


def _columns(c: np.ndarray) -> dict[str, np.ndarray]:
    chars, words, lines = c["n_chars"], c["n_words"], c["n_lines"]
    gram = c["ngram_chars"]
    columns = {
        "n_bytes": c["n_bytes"],
        "n_chars": chars,
        "n_words": words,
        "n_lines": lines,
        "n_paragraphs": c["n_paragraphs"],
        "n_sentences": c["n_sentences"],
        "mean_word_length": _ratio(c["word_chars"], words),
        "median_word_length": c["median_word_length"],
        "max_word_length": c["max_word_length"],
        "hash_per_word": _ratio(c["hashes"], words),
        "ellipsis_per_word": _ratio(c["ellipses"], words),
        "symbol_per_word": _ratio(c["hashes"] + c["ellipses"], words),
        "newline_per_word": _ratio(c["newlines"], words),
        "alphabetic_word_fraction": _ratio(c["alphabetic_words"], words),
        "uppercase_word_fraction": _ratio(c["capital_words"], words),
        "n_stop_words": c["n_stop_words"],
        "n_stop_word_uses": c["n_stop_word_uses"],
        "mean_line_length": _ratio(c["line_chars"], lines),
        "max_line_length": c["max_line_length"],
        "n_long_lines": c["n_long_lines"],
        "bullet_line_fraction": _ratio(c["bullet_lines"], lines),
        "ellipsis_line_fraction": _ratio(c["ellipsis_lines"], lines),
        "terminal_line_fraction": _ratio(c["terminal_lines"], lines),
        "short_line_fraction": _ratio(c["short_lines"], lines),
        "duplicate_line_fraction": _ratio(c["repeated_lines"], lines),
        "duplicate_line_char_fraction": _ratio(c["repeated_line_chars"], chars),
        "duplicate_line_char_share": _ratio(c["repeated_line_chars"], chars - c["newlines"]),
        "duplicate_paragraph_fraction": _ratio(c["repeated_paragraphs"], c["n_paragraphs"]),
        "duplicate_paragraph_char_fraction": _ratio(c["repeated_paragraph_chars"], chars),
        **{f"top_{n}gram_char_fraction": _ratio(gram[:, n], chars) for n in range(2, 5)},
        **{f"duplicate_{n}gram_char_fraction": _ratio(gram[:, n], chars) for n in range(5, 11)},
        "compressed_fraction": _ratio(c["compressed"], c["n_bytes"]),
        "c4_sentences": c["c4_sentences"],
        "n_policy_lines": c["n_policy_lines"],
        "policy_paragraph_fraction": _ratio(c["policy_paragraphs"], c["n_paragraphs"]),
        "has_javascript": c["javascript"],
        "has_lorem_ipsum": c["lorem"],
        "has_curly_bracket": c["curly"],
        "n_urls": c["n_urls"],
        "url_char_fraction": _ratio(c["url_chars"], chars),
        "letter_fraction": _ratio(c["letters"], chars),
        "digit_fraction": _ratio(c["digits"], chars),
        "uppercase_fraction": _ratio(c["upper"], c["letters"]),
        "whitespace_fraction": _ratio(c["spaces"], chars),
        "symbol_fraction": _ratio(c["symbols"], chars),
        "parenthesis_fraction": _ratio(c["brackets"], chars),
        "non_alphanumeric_fraction": _ratio(chars - c["plain"], chars),
        "non_ascii_fraction": _ratio(chars - c["ascii"], chars),
        **{
            name: _ratio(
                c["scripts"][:, [characters.SCRIPTS.index(s) for s in own]].sum(axis=1),
                c["letters"],
            )
            for name, own in SCRIPT_FRACTIONS.items()
        },
        "control_chars": c["control_chars"],
        "replacement_chars": c["replacement_chars"],
    }
    return {name: np.ascontiguousarray(column) for name, column in columns.items()}


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole in float64, and 0 where there is nothing to divide by."""
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def warm() -> None:
    """Compile the kernel, or load it from numba's cache: some seconds once, then 0.2 s."""
    measure(pa.array(["warm"], pa.large_string()))
