"""All signals of a batch of texts in one pass over Arrow's UTF-8 buffers.

    measure(texts) -> {"n_words": int64[n], "mean_word_length": float64[n], ...}

The kernel walks each text once (`_scan`), hashing words, lines and paragraphs as it goes; then
counts repeats among the hashes (`_repeats`, `_repeated_ngrams`) in an open-addressing table sized
to the document. Meanings: `rules.SIGNALS`; specification: docs/RULES.md. No signal stops early, so
every threshold can be changed afterwards without reading the text again.

The price: 64-bit hashes stand for words, lines and n-grams (two different ones of one document
are taken for the same with probability below 1e-9 at a million words; the hash is not keyed, so
an author who tries can do it in his own document), and a first call that compiles for some seconds
(`warm`). Scratch memory: about 70 bytes reserved per byte of the longest text of the batch, of
which only what that text's words need is touched. The kernel stays in this one file because
numba's cache looks at the time stamp of the calling function's file only.
"""

# mypy: disable-error-code="assignment,no-untyped-def"
# (functions that numba compiles carry numba's types, which mypy cannot follow)

import numpy as np
import pyarrow as pa

from pretrain.curate import characters
from pretrain.curate.characters import (
    BULLET,
    CLOSER,
    CONTROL,
    DIGIT,
    ENDER,
    LETTER,
    LETTERS_ABOVE_END,
    NOTED,
    SPACE,
    SYMBOL,
    TABLE_END,
    TERMINAL,
    UPPER,
    WIDE_ENDER,
)
from pretrain.curate.compiled import kernel

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
LINE_PHRASES = (  # C4 drops a line that has one of them
    "javascript",
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)
SHORT_LINE_CHARS = 30
C4_MIN_LINE_WORDS = 3
C4_MAX_WORD_CHARS = 1000

_COUNTS = (  # what the kernel counts, one int64 each per document
    *("n_bytes", "n_chars", "n_words", "n_lines", "n_paragraphs", "n_sentences", "n_stop_words"),
    *("letters", "digits", "upper", "spaces", "symbols", "control_chars", "non_ascii"),
    *("replacement_chars", "hashes", "ellipses", "curly", "lorem", "newlines", "c4_sentences"),
    *("word_chars", "alphabetic_words", "max_word_length", "line_chars", "max_line_length"),
    *("bullet_lines", "ellipsis_lines", "terminal_lines", "short_lines"),
    *("repeated_lines", "repeated_line_chars", "repeated_paragraphs", "repeated_paragraph_chars"),
)
_RECORD = np.dtype([(name, np.int64) for name in _COUNTS] + [("ngram_chars", np.int64, (11,))])

_PHRASES = (*LINE_PHRASES, "lorem ipsum")
_ANCHORS = "jmvkkkkm"  # the letter of each phrase at which it is looked for
_PHRASE_BYTES = np.array([list(p.encode().ljust(16, b"\0")) for p in _PHRASES], np.uint8)
_PHRASE_LENGTH = np.array([len(p) for p in _PHRASES], np.int64)
_PHRASE_ANCHOR = np.array([p.index(a) for p, a in zip(_PHRASES, _ANCHORS, strict=True)], np.int64)
_LOREM = len(LINE_PHRASES)
_STOP_CODES = np.array([int.from_bytes(w.encode(), "big") for w in STOP_WORDS], np.int64)

_SEED = np.uint64(0xCBF29CE484222325)
_STEP = np.uint64(0x9E3779B97F4A7C15)  # odd, so that each step keeps all 64 bits apart
_ZERO, _ONE, _BITS = np.uint64(0), np.uint64(1), np.uint64(32)


@kernel
def _mix(value):
    """64 bits of which the low ones depend on all of `value`; never 0, which marks a free slot."""
    value = (value ^ (value >> _BITS)) * np.uint64(0xD6E8FEB86659FD93)
    value = (value ^ (value >> _BITS)) * np.uint64(0xD6E8FEB86659FD93)
    value ^= value >> _BITS
    return value if value != _ZERO else _ONE


@kernel
def _decode(data, i, end):
    """The code point at byte i and its length; an impossible byte is U+FFFD, never a wild read."""
    first = np.int64(data[i])
    if first < 0x80:
        return first, 1
    if 0xC0 <= first < 0xE0 and i + 1 < end:
        return (first & 0x1F) << 6 | (np.int64(data[i + 1]) & 0x3F), 2
    if 0xE0 <= first < 0xF0 and i + 2 < end:
        middle = (np.int64(data[i + 1]) & 0x3F) << 6
        return (first & 0x0F) << 12 | middle | (np.int64(data[i + 2]) & 0x3F), 3
    if first >= 0xF0 and i + 3 < end:
        upper = (np.int64(data[i + 1]) & 0x3F) << 12 | (np.int64(data[i + 2]) & 0x3F) << 6
        return (first & 0x07) << 18 | upper | (np.int64(data[i + 3]) & 0x3F), 4
    return 0xFFFD, 1


@kernel
def _lower(byte):
    return byte + 32 if 65 <= byte <= 90 else byte


@kernel
def _phrase_around(data, i, start, end):
    """Index of the phrase whose anchor letter is byte i (ASCII case ignored), or -1."""
    anchor = _lower(np.int64(data[i]))
    for p in range(len(_PHRASE_LENGTH)):
        offset = _PHRASE_ANCHOR[p]
        if anchor != _PHRASE_BYTES[p, offset]:
            continue
        begin, length = i - offset, _PHRASE_LENGTH[p]
        if begin < start or begin + length > end:
            continue
        k = 0
        while k < length and _lower(np.int64(data[begin + k])) == _PHRASE_BYTES[p, k]:
            k += 1
        if k == length:
            return p
    return -1


@kernel
def _stop_word_bit(data, begin, end):
    """One bit that stands for the stop word in bytes [begin, end), or 0."""
    if end - begin > 4 or end - begin < 2:
        return 0
    code = 0
    for i in range(begin, end):
        code = code << 8 | _lower(np.int64(data[i]))
    for k in range(len(_STOP_CODES)):
        if code == _STOP_CODES[k]:
            return 1 << k
    return 0


@kernel
def _scan(data, start, end, table, words, word_end, lines, line_len, parts, part_len, row):
    """Count everything countable in one walk; leave hashes and lengths of the units in the arrays.

    One function although long: its state is in registers. A virtual line feed after the last byte
    closes what is open.
    """
    n_chars = letters = digits = upper = spaces = symbols = controls = non_ascii = 0
    hashes = ellipses = curly = lorem = replaced = newlines = 0
    n_words = n_lines = n_parts = sentences = c4_sentences = stop_words = 0
    alphabetic = total_word_chars = longest_word = total_line_chars = longest_line = 0
    bullets = ellipsis_lines = terminals = shorts = 0
    word_chars, word_flags, word_hash = 0, 0, _SEED
    core_begin, core_end = -1, -1  # bytes from the word's first letter or digit to its last
    line_begin, line_first, last_end = 0, -1, -1  # in characters; of what is not white
    line_words, line_sentences, line_bad = 0, 0, False
    line_hash, line_hash_here, line_flags, last, last_flags = _SEED, _SEED, 0, 0, 0
    ended, piece = False, False  # after a sentence's end mark; the piece has a letter or digit
    dots, previous = 0, 0
    part_open, part_chars, part_hash = False, 0, _SEED
    i = start
    while i <= end:
        if i < end:
            code, n_bytes = _decode(data, i, end)
        else:
            code, n_bytes = 10, 1
        if code < TABLE_END:
            flags = np.int64(table[code])
        else:
            flags = LETTER if code < LETTERS_ABOVE_END else 0
        letters += flags & LETTER
        digits += (flags & DIGIT) != 0
        upper += (flags & UPPER) != 0
        symbols += (flags & SYMBOL) != 0
        controls += (flags & CONTROL) != 0
        non_ascii += code >= 0x80
        if not flags & SPACE:
            word_hash = (word_hash ^ np.uint64(code)) * _STEP
            word_chars += 1
            word_flags |= flags
            if line_first < 0:
                line_first, line_flags = n_chars, flags
            if flags & (LETTER | DIGIT):
                if core_begin < 0:
                    core_begin = i
                piece = True
                core_end = i + n_bytes
                if flags == LETTER:  # most of most texts: run on through a-z, save j, k, m and v
                    while core_end < end and data[core_end] < 0x80:
                        if table[data[core_end]] != LETTER:
                            break
                        code = np.int64(data[core_end])
                        word_hash = (word_hash ^ np.uint64(code)) * _STEP
                        core_end += 1
                    n_more = core_end - i - n_bytes
                    n_chars += n_more
                    letters += n_more
                    word_chars += n_more
                    i += n_more
            last_end, last, last_flags = n_chars + 1, code, flags
            if flags & NOTED:
                if code == 46:  # .
                    dots = dots + 1 if previous == 46 else 1
                    ellipses += dots % 3 == 0
                else:
                    dots = 0
                if flags & ENDER:
                    ended = True
                    ellipses += code == 0x2026
                elif flags & WIDE_ENDER:
                    line_sentences += piece
                    ended = piece = False
                elif not flags & CLOSER:
                    ended = False
                if flags & LETTER:
                    found = _phrase_around(data, i, start, end)
                    lorem |= found == _LOREM
                    line_bad |= 0 <= found < _LOREM
                hashes += code == 35
                curly |= code == 123
                replaced += code == 0xFFFD
            else:
                dots, ended = 0, False
            previous = code
            n_chars += 1
            i += n_bytes
            continue
        spaces += 1
        previous = code
        if word_chars:
            word_hash = _mix(word_hash)
            line_hash = line_hash_here = (line_hash_here ^ word_hash) * _STEP
            words[n_words] = word_hash
            total_word_chars += word_chars
            word_end[n_words + 1] = total_word_chars
            n_words += 1
            line_words += 1
            longest_word = max(longest_word, word_chars)
            line_bad |= word_chars > C4_MAX_WORD_CHARS
            alphabetic += word_flags & LETTER
            if core_begin >= 0:
                stop_words |= _stop_word_bit(data, core_begin, core_end)
            word_chars, word_flags, word_hash, core_begin = 0, 0, _SEED, -1
        if ended:
            line_sentences += piece
            ended = piece = False
        if code != 10 and code != 13:
            if line_first >= 0:
                line_hash_here = (line_hash_here ^ np.uint64(code)) * _STEP
            n_chars += 1
            i += n_bytes
            continue
        if line_first >= 0:
            line_sentences += piece
            length = last_end - line_first
            lines[n_lines], line_len[n_lines] = _mix(line_hash), length
            n_lines += 1
            total_line_chars += n_chars - line_begin
            longest_line = max(longest_line, n_chars - line_begin)
            bullets += (line_flags & BULLET) != 0
            ellipsis = last == 0x2026 or (last == 46 and dots >= 3)
            ellipsis_lines += ellipsis
            terminals += (last_flags & TERMINAL) != 0
            shorts += length <= SHORT_LINE_CHARS
            sentences += line_sentences
            closed = last == 46 or last == 63 or last == 33 or last == 34 or last == 39
            if closed and not (ellipsis or line_bad) and line_words >= C4_MIN_LINE_WORDS:
                c4_sentences += line_sentences
            part_hash = (part_hash ^ _mix(line_hash)) * _STEP
            part_chars += length + part_open
            part_open = True
        if part_open and (line_first < 0 or i >= end):
            parts[n_parts], part_len[n_parts] = _mix(part_hash), part_chars
            n_parts += 1
            part_open, part_chars, part_hash = False, 0, _SEED
        if code == 13 and i + 1 < end and data[i + 1] == 10:  # CR LF: two characters, one break
            n_chars += 1
            spaces += 1
            i += 1
        newlines += 1
        n_chars += 1
        i += 1
        line_begin, line_first, line_words, line_sentences = n_chars, -1, 0, 0
        line_bad = piece = ended = False
        line_hash_here = line_hash = _SEED
    row.n_bytes, row.n_chars, row.n_words, row.n_lines = end - start, n_chars - 1, n_words, n_lines
    row.n_paragraphs, row.n_sentences, row.c4_sentences = n_parts, sentences, c4_sentences
    row.n_stop_words = 0
    while stop_words:
        row.n_stop_words += stop_words & 1
        stop_words >>= 1
    row.letters, row.digits, row.upper, row.spaces = letters, digits, upper, spaces - 1
    row.symbols, row.control_chars, row.non_ascii = symbols, controls, non_ascii
    row.replacement_chars, row.hashes, row.ellipses = replaced, hashes, ellipses
    row.curly, row.lorem, row.newlines = curly, lorem, newlines - 1
    row.word_chars, row.alphabetic_words = total_word_chars, alphabetic
    row.max_word_length, row.max_line_length = longest_word, longest_line
    row.line_chars, row.bullet_lines, row.ellipsis_lines = total_line_chars, bullets, ellipsis_lines
    row.terminal_lines, row.short_lines = terminals, shorts


@kernel
def _cleared(slots, n):
    """Empty the part of the table that n entries need (at most half full); its index mask."""
    n_slots = 4
    while n_slots < 2 * n:
        n_slots *= 2
    slots[: 2 * n_slots] = _ZERO
    return n_slots - 1


@kernel
def _add(slots, mask, key):
    """Count one more of `key`; returns its place. A slot is a pair: key, count."""
    place = np.int64(key & np.uint64(mask))
    while slots[2 * place] != key:
        if slots[2 * place] == _ZERO:
            slots[2 * place] = key
            break
        place = (place + 1) & mask
    slots[2 * place + 1] += _ONE
    return place


@kernel
def _repeats(keys, lengths, n, slots):
    """How many of n units occurred before, and their characters."""
    mask = _cleared(slots, n)
    n_repeats = n_chars = 0
    for i in range(n):
        if slots[2 * _add(slots, mask, keys[i]) + 1] > _ONE:
            n_repeats += 1
            n_chars += lengths[i]
    return n_repeats, n_chars


@kernel
def _repeated_ngrams(words, word_end, n_words, begins, grams, places, slots, chars):
    """chars[n]: characters of the top n-gram (n = 2 to 4), of the repeated n-grams (5 to 10).

    An n-gram can only repeat where the (n-1)-grams at both its ends do, so each n looks at what
    the one before left: the first passes over ordinary text leave a few per cent of it.
    """
    n_left = n_words
    for i in range(n_words):
        begins[i], grams[i] = i, words[i]
    for n in range(2, 11):
        mask = _cleared(slots, n_left)
        best_count, best_chars = 1, 0
        for k in range(n_left):
            i = begins[k]
            if k + 1 == n_left or begins[k + 1] != i + 1:
                places[k] = -1
                continue
            grams[k] = _mix(grams[k] * _STEP + words[i + n - 1])
            places[k] = _add(slots, mask, grams[k])
            if n <= 4:
                count = np.int64(slots[2 * places[k] + 1])
                if count >= best_count:
                    length = word_end[i + n] - word_end[i] + n - 1
                    if count > best_count or length > best_chars:
                        best_count, best_chars = count, length
        n_kept, covered_to = 0, 0
        chars[n] = best_count * best_chars if best_count > 1 else 0
        for k in range(n_left):
            if places[k] < 0 or slots[2 * places[k] + 1] == _ONE:
                continue
            i = begins[k]
            begins[n_kept], grams[n_kept], places[n_kept] = i, grams[k], places[k]
            n_kept += 1
        if n >= 5:
            for k in range(n_kept):
                i, count_at = begins[k], 2 * places[k] + 1
                if i < covered_to:
                    continue
                if slots[count_at] == _ZERO:  # zeroed below: an earlier one was met
                    chars[n] += word_end[i + n] - word_end[i]
                    covered_to = i + n
                slots[count_at] = _ZERO
        n_left = n_kept


@kernel
def _measure(offsets, data, table, records):
    longest = 0
    for d in range(len(records)):
        longest = max(longest, offsets[d + 1] - offsets[d])
    most = longest // 2 + 2  # words, lines or paragraphs: each has a separator
    words, word_end = np.empty(most, np.uint64), np.zeros(most + 1, np.int64)
    lines, line_len = np.empty(most, np.uint64), np.empty(most, np.int64)
    parts, part_len = np.empty(most, np.uint64), np.empty(most, np.int64)
    begins, places = np.empty(most, np.int64), np.empty(most, np.int64)
    grams = np.empty(most, np.uint64)
    n_slots = 4
    while n_slots < 2 * most:
        n_slots *= 2
    slots = np.empty(2 * n_slots, np.uint64)
    for d in range(len(records)):
        row = records[d]
        _scan(
            data, offsets[d], offsets[d + 1], table,
            words, word_end, lines, line_len, parts, part_len, row,
        )  # fmt: skip
        repeats = _repeats(lines, line_len, row.n_lines, slots)
        row.repeated_lines, row.repeated_line_chars = repeats
        repeats = _repeats(parts, part_len, row.n_paragraphs, slots)
        row.repeated_paragraphs, row.repeated_paragraph_chars = repeats
        _repeated_ngrams(
            words, word_end, row.n_words, begins, grams, places, slots, row.ngram_chars
        )


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
    _measure(ends, bytes_, characters.property_table(), records)
    return records


def measure(texts: pa.Array | pa.ChunkedArray) -> dict[str, np.ndarray]:
    """Every signal of `rules.SIGNALS` as a column with one value per text; null is the empty text.

    Counts are int64, ratios float64: in float32 a ratio of exactly 0.1 would be above 0.1.
    """
    chunks = texts.chunks if isinstance(texts, pa.ChunkedArray) else [texts]
    c = np.concatenate([np.zeros(0, _RECORD), *map(_counts, chunks)])
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
        "max_word_length": c["max_word_length"],
        "hash_per_word": _ratio(c["hashes"], words),
        "ellipsis_per_word": _ratio(c["ellipses"], words),
        "newline_per_word": _ratio(c["newlines"], words),
        "alphabetic_word_fraction": _ratio(c["alphabetic_words"], words),
        "n_stop_words": c["n_stop_words"],
        "mean_line_length": _ratio(c["line_chars"], lines),
        "max_line_length": c["max_line_length"],
        "bullet_line_fraction": _ratio(c["bullet_lines"], lines),
        "ellipsis_line_fraction": _ratio(c["ellipsis_lines"], lines),
        "terminal_line_fraction": _ratio(c["terminal_lines"], lines),
        "short_line_fraction": _ratio(c["short_lines"], lines),
        "duplicate_line_fraction": _ratio(c["repeated_lines"], lines),
        "duplicate_line_char_fraction": _ratio(c["repeated_line_chars"], chars),
        "duplicate_paragraph_fraction": _ratio(c["repeated_paragraphs"], c["n_paragraphs"]),
        "duplicate_paragraph_char_fraction": _ratio(c["repeated_paragraph_chars"], chars),
        **{f"top_{n}gram_char_fraction": _ratio(gram[:, n], chars) for n in range(2, 5)},
        **{f"duplicate_{n}gram_char_fraction": _ratio(gram[:, n], chars) for n in range(5, 11)},
        "c4_sentences": c["c4_sentences"],
        "has_lorem_ipsum": c["lorem"],
        "has_curly_bracket": c["curly"],
        "letter_fraction": _ratio(c["letters"], chars),
        "digit_fraction": _ratio(c["digits"], chars),
        "uppercase_fraction": _ratio(c["upper"], c["letters"]),
        "whitespace_fraction": _ratio(c["spaces"], chars),
        "symbol_fraction": _ratio(c["symbols"], chars),
        "non_ascii_fraction": _ratio(c["non_ascii"], chars),
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
