"""The walk over one text: everything countable that needs its order.

    bytes ─▶ runs of plain letters, eight bytes at a time ─┐
          └▶ any other character: decoded, its flags ──────┴▶ words ─▶ lines ─▶ paragraphs

Each word, line and paragraph leaves a 64-bit hash and its length, from which repeats.py counts what
comes again; all else is in the record `row` of signals.py. ASCII characters are counted by a
histogram of the bytes, the others one by one.

The price: one long function, because its state is in registers. The kernels it calls are compiled
into it, and it into signals.py's; numba's cache looks at that file's time only, so touch signals.py
after a change here or there.
"""

# mypy: disable-error-code="assignment,no-untyped-def"

import numpy as np

from pretrain.curate.characters import (
    BRACKET,
    BULLET,
    CLOSER,
    CONTROL,
    DIGIT,
    ENDER,
    HAN,
    LETTER,
    LETTERS_ABOVE_END,
    LOWER,
    SCRIPT,
    SPACE,
    SYMBOL,
    TABLE_END,
    TERMINAL,
    UNSEGMENTED,
    UPPER,
    WIDE_ENDER,
)
from pretrain.curate.compiled import kernel
from pretrain.curate.eight_bytes import first_bytes, load, n_before, other_than_letters
from pretrain.curate.phrases import (
    LOREM,
    N_POLICY,
    has_javascript,
    may_end_phrase,
    phrase_ending_in,
    url_from,
)
from pretrain.curate.repeats import STEP, mix
from pretrain.curate.segment import SEED, cuts, decode, stop_word_bit
from pretrain.curate.segment import word_hash as hash_of

SHORT_LINE_CHARS = 30
LONG_LINE_CHARS = 200
C4_MIN_LINE_WORDS = 3
C4_MAX_WORD_CHARS = 1000
LENGTHS = 256  # word lengths counted one by one, for the median; the last stands for all longer

_ZERO = np.uint64(0)
_SMALL = np.uint64(0x2020202020202020)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_WWW = np.uint64(0x2E777777)  # 'www.'
_FOUR_BYTES = np.uint64(0xFFFFFFFF)


@kernel
def scan(data, start, end, table, script_table, arrays, lengths, row):
    """One walk; the units' hashes and lengths go to `arrays`. 8 bytes after `end` are readable.

    A virtual line feed after the last byte closes what is open. `here` is the place in characters.
    """
    words, word_end, lines, line_len, parts, part_len = arrays
    lengths[:] = 0
    extra = 0  # bytes of characters beyond their first
    ellipses = newlines = n_urls = url_chars = n_policy_lines = policy_parts = n_long_lines = 0
    javascript = lorem = False
    n_words = n_lines = n_parts = sentences = c4_sentences = stop_words = stop_word_uses = 0
    alphabetic = capital_words = total_word_chars = longest_word = 0
    total_line_chars = longest_line = bullets = ellipsis_lines = terminals = shorts = 0
    word_begin, word_first, word_flags = -1, 0, 0  # byte, character
    core_begin, core_end = -1, -1  # bytes from the word's first letter or digit to its last
    tail, n_tail, tail_bits, touches = 0, 0, 0, False
    run_begin, url_first = -1, -1  # byte and character: of the run between white space
    line_begin, line_first, last_end = 0, -1, -1  # in characters; of what is not white
    line_words, line_sentences, line_bad, line_policy = 0, 0, False, False
    line_hash, line_hash_here, line_flags, last, last_flags = SEED, SEED, 0, 0, 0
    ended, piece = False, False  # after a sentence's end mark; the piece has a letter or digit
    dots = 0
    part_open, part_chars, part_hash, part_policy = False, 0, SEED, False
    i = start
    while i <= end:
        script = 0
        if i < end:
            code = np.int64(data[i])
            n_bytes = 1
            if code < 0x80:
                flags = np.int64(table[code])
            else:
                code, n_bytes = decode(data, i, end)
                if code < TABLE_END:
                    flags, script = np.int64(table[code]), np.int64(script_table[code])
                elif code < LETTERS_ABOVE_END:
                    flags, script = LETTER, HAN
                else:
                    flags = 0
                row.letters += (flags & LETTER) != 0
                row.scripts[script & SCRIPT] += (flags & LETTER) != 0
                row.digits += (flags & DIGIT) != 0
                row.upper += (flags & UPPER) != 0
                row.symbols += (flags & SYMBOL) != 0
                row.control_chars += (flags & CONTROL) != 0
                row.spaces += (flags & SPACE) != 0
                row.brackets += (flags & BRACKET) != 0
                row.plain += (flags & (LETTER | DIGIT)) != 0
                row.replacement_chars += code == 0xFFFD
                ellipses += code == 0x2026
        else:
            code, n_bytes, flags = 10, 1, np.int64(table[10])
        here = i - start - extra
        if word_begin >= 0 and (
            flags & SPACE
            or (
                (tail != 0 or script & SCRIPT >= UNSEGMENTED)
                and cuts(flags, script, word_flags, tail, n_tail, tail_bits, touches)
            )
        ):
            word_hash = hash_of(data, word_begin, i)
            line_hash = line_hash_here = (line_hash_here ^ word_hash) * STEP
            words[n_words] = word_hash
            word_chars = here - word_first
            total_word_chars += word_chars
            word_end[n_words + 1] = total_word_chars
            n_words += 1
            line_words += 1
            lengths[min(word_chars, LENGTHS - 1)] += 1
            longest_word = max(longest_word, word_chars)
            line_bad |= word_chars > C4_MAX_WORD_CHARS
            alphabetic += word_flags & LETTER
            capital_words += word_chars > 1 and word_flags & (UPPER | LOWER) == UPPER
            if core_begin >= 0:
                bit = stop_word_bit(data, core_begin, core_end)
                stop_words |= bit
                stop_word_uses += bit != 0
            word_begin, word_flags, core_begin, tail, n_tail = -1, 0, -1, 0, 0
        if not flags & SPACE:
            if word_begin < 0:
                word_begin, word_first, tail_bits = i, here, 0
                if run_begin < 0:
                    run_begin = i
                    eight = load(data, i)
                    if line_first < 0:
                        line_first, line_flags = here, flags
                    elif may_end_phrase(eight):
                        found = phrase_ending_in(data, i, start, end)
                        lorem |= found == LOREM
                        line_policy |= 0 <= found < N_POLICY
                        part_policy |= 0 <= found < LOREM
                    if (
                        (eight | _SMALL) & _FOUR_BYTES == _WWW
                        and data[i + 3] == 46
                        and i + 4 <= end
                    ):
                        n_urls, url_first = n_urls + 1, here
            word_flags |= flags
            touches = True
            if flags & LETTER and code < 0x80:  # most of most texts: run on through A-Z and a-z
                if core_begin < 0:
                    core_begin = i
                first = i
                small = large = _ZERO
                while True:
                    eight = load(data, i)
                    n = min(n_before(other_than_letters(eight)), end - i)
                    mask = first_bytes(n) if n < 8 else _ALL
                    small |= eight & _SMALL & mask
                    large |= ~eight & _SMALL & mask
                    i += n
                    if n < 8:
                        break
                core_end = i
                word_flags |= (LOWER if small != _ZERO else 0) | (UPPER if large != _ZERO else 0)
                if i - first >= 10 and has_javascript(data, first, i):
                    line_bad = javascript = True
                piece, ended, last, last_flags = True, False, 97, LETTER
                last_end = i - start - extra
                tail = 0
                continue
            if flags & (LETTER | DIGIT):
                if core_begin < 0:
                    core_begin = i
                piece, ended = True, False
                core_end = i + n_bytes
            if script & SCRIPT >= UNSEGMENTED:
                n_tail = n_tail + 1 if script & SCRIPT == tail else 1
                tail, tail_bits = script & SCRIPT, script
            elif flags & (LETTER | DIGIT):
                tail = 0
            else:
                touches = False
                if flags & ENDER:
                    ended = True
                    if code == 46:  # .
                        dots = dots + 1 if i > start and data[i - 1] == 46 else 1
                        ellipses += dots % 3 == 0
                elif flags & WIDE_ENDER:
                    line_sentences += piece
                    ended = piece = False
                elif not flags & CLOSER:
                    ended = False
                    if code == 58 and i + 2 < end and url_first < 0:  # :
                        begin = url_from(data, i, run_begin)
                        if begin >= 0:
                            n_urls, url_first = n_urls + 1, here - (i - begin)
            last, last_flags = code, flags
            i += n_bytes
            extra += n_bytes - 1
            last_end = i - start - extra
            continue
        run_begin = -1
        if url_first >= 0:
            url_chars += here - url_first
            url_first = -1
        if ended:
            line_sentences += piece
            ended = piece = False
        if code != 10 and code != 13:
            if line_first >= 0:
                line_hash_here = (line_hash_here ^ np.uint64(code)) * STEP
            i += n_bytes
            extra += n_bytes - 1
            continue
        if line_first >= 0:
            line_sentences += piece
            length = last_end - line_first
            lines[n_lines], line_len[n_lines] = mix(line_hash), length
            n_lines += 1
            total_line_chars += here - line_begin
            longest_line = max(longest_line, here - line_begin)
            bullets += (line_flags & BULLET) != 0
            ellipsis = last == 0x2026 or (last == 46 and dots >= 3)
            ellipsis_lines += ellipsis
            terminals += (last_flags & TERMINAL) != 0
            shorts += length <= SHORT_LINE_CHARS
            n_long_lines += length >= LONG_LINE_CHARS
            n_policy_lines += line_policy
            sentences += line_sentences
            closed = last == 46 or last == 63 or last == 33 or last == 34 or last == 39
            bad = ellipsis or line_bad or line_policy
            if closed and not bad and line_words >= C4_MIN_LINE_WORDS:
                c4_sentences += line_sentences
            part_hash = (part_hash ^ mix(line_hash)) * STEP
            part_chars += length + part_open
            part_open = True
        if part_open and (line_first < 0 or i >= end):
            parts[n_parts], part_len[n_parts] = mix(part_hash), part_chars
            n_parts += 1
            policy_parts += part_policy
            part_open, part_chars, part_hash, part_policy = False, 0, SEED, False
        if code == 13 and i + 1 < end and data[i + 1] == 10:  # CR LF: two characters, one break
            i += 1
        newlines += 1
        i += 1
        line_begin, line_first, line_words, line_sentences = i - start - extra, -1, 0, 0
        line_bad = line_policy = piece = ended = False
        line_hash_here = line_hash = SEED
    row.n_bytes, row.n_chars = end - start, end - start - extra
    row.n_words, row.n_lines, row.n_paragraphs = n_words, n_lines, n_parts
    row.n_sentences, row.c4_sentences = sentences, c4_sentences
    row.n_stop_word_uses = stop_word_uses
    while stop_words:
        row.n_stop_words += stop_words & 1
        stop_words >>= 1
    row.ellipses, row.lorem, row.javascript = ellipses, lorem, javascript
    row.newlines = newlines - 1
    row.word_chars, row.alphabetic_words = total_word_chars, alphabetic
    row.capital_words, row.n_urls, row.url_chars = capital_words, n_urls, url_chars
    row.max_word_length, row.max_line_length = longest_word, longest_line
    row.line_chars, row.bullet_lines, row.ellipsis_lines = total_line_chars, bullets, ellipsis_lines
    row.terminal_lines, row.short_lines = terminals, shorts
    row.n_long_lines, row.n_policy_lines = n_long_lines, n_policy_lines
    row.policy_paragraphs = policy_parts
