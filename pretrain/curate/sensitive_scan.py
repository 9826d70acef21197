"""Where sensitive data can stand: one pass over the bytes proposes places, rules confirm them.

    LOGIN     @ between a name and a host with a dot      e-mail; user:password@host in an address
    NUMBER    digits with at most 3 of " .-/()" between    IPv4, card, national id, phone
    WORD      letters that touch digits: DE89…, AB123456C  IBAN, national id
    HEX       2001:                                        IPv6
    TOKEN     ghp_…, AKIA…: a known start of a long word   secret
    BLOCK     -----BEGIN                                   secret
    ASSIGN    password = …, "api_key": …                   secret

The scan must propose every place where a rule can succeed (the tests hold it to the rules run over
whole texts), and may propose more. It knows nothing of checksums, lengths by country or contexts.
Prices: ASCII digits only, and a number is never looked for across a line end.
"""

import functools

import numpy as np

from pretrain.curate.compiled import kernel

LOGIN, WORD, HEX, TOKEN, BLOCK, ASSIGN = 1, 2, 4, 8, 16, 32
ADDRESS, CARD, IDENTITY, PHONE = 64, 128, 256, 512  # what a NUMBER may be; several together

LEAST_RUN = 16  # the first run of letters, digits, - and _ of any token is at least so long
MOST_LABEL = 253  # of a host name

# First bytes of tokens, four or fewer of them; secrets.py has the whole patterns.
_STARTS = (
    "AKIA ASIA ghp_ gho_ ghu_ ghs_ ghr_ gith glpa xoxb xoxp xoxa xoxr xoxs xapp sk_l rk_l sk- "
    "AIza eyJ hf_ npm_ pypi SK dop_ shpa shps key- gsk_ sq0 dapi AGE-"
)
# The last three letters before = or : that an assigned secret's name can have.
_ENDINGS = ("ord", "swd", "pwd", "ret", "ken", "key", "ase", "ial", "als")

_LETTER, _DIGIT, _OTHER = range(3)
_ONES = np.uint64(0x0101010101010101)
_HIGH = np.uint64(0x8080808080808080)


@functools.cache
def tables() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(class of each byte, is it of a mail name, keys of _STARTS with their masks, of _ENDINGS)."""
    classes = np.full(256, _OTHER, np.uint8)
    for byte in range(128):
        if chr(byte).isalpha():
            classes[byte] = _LETTER
        elif chr(byte).isdigit():
            classes[byte] = _DIGIT
    names = np.array([classes[b] != _OTHER or chr(b) in "_%+-" for b in range(256)])
    starts = [
        (int.from_bytes(s.encode(), "little"), (1 << 8 * len(s)) - 1) for s in _STARTS.split()
    ]
    endings = [int.from_bytes(e.encode(), "little") for e in _ENDINGS]
    return classes, names, np.array(starts, np.int64), np.array(endings, np.int64)


def scan(data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """int64[n, 4]: (text, start, end, what it may be), bytes counted from the text's start."""
    words = data[: len(data) // 8 * 8].view(np.uint64)
    room = 1024 + int(offsets[-1] - offsets[0]) // 64
    while True:
        out = np.empty((room, 4), np.int64)
        n = _scan(data, words, offsets, *tables(), out)
        if n <= room:
            return out[:n]
        room = n


@kernel
def _scan(
    data: np.ndarray, words: np.ndarray, offsets: np.ndarray, classes: np.ndarray,
    names: np.ndarray, starts: np.ndarray, endings: np.ndarray, out: np.ndarray,
) -> int:  # fmt: skip
    """Write the places that fit into `out`; returns how many there are."""
    n = text = 0
    first, stop = offsets[0], offsets[-1]
    run_end = number_end = first
    at = first
    while at < stop:
        if at & 7 == 0 and at + 8 <= len(data):
            marks = _marks(words[at >> 3])
            if marks == 0:
                at += 8
                continue
            while not marks & np.uint64(0x80):
                marks >>= np.uint64(8)
                at += 1
            if at >= stop:
                break
        byte = data[at]
        if byte < 45 or byte > 95 or (byte > 61 and byte != 64 and byte != 95):
            at += 1
            continue
        while at >= offsets[text + 1]:
            text += 1
        low, end = offsets[text], offsets[text + 1]
        start, until, what = at, at + 1, 0
        if byte == 64:
            what = _login(data, low, at, end, names)
        elif byte == 58 or byte == 61:
            start, what = _sign(data, low, at, end, endings)
        elif byte == 45 or byte == 95 or 48 <= byte <= 57:
            if at >= run_end:
                run, run_end = _run(data, low, at, end, names)
                if run_end - run >= LEAST_RUN:
                    n = _tokens(data, low, run, run_end, starts, out, n, text)
            if byte == 45:
                if at + 10 <= end and data[at + 5] == 66 and data[at + 9] == 78:
                    what = BLOCK
            elif byte != 95 and (at == low or not _digit(data[at - 1])):
                before = _word(data, low, at, end, classes)
                if before:
                    n = _put(out, n, text, at - before - low, at - low, WORD)
                if at >= number_end:
                    start, number_end, what = _number(data, low, at, end)
                    until = number_end
        if what:
            n = _put(out, n, text, start - low, until - low, what)
        at += 1
    return n


@kernel(inline="always")
def _marks(word: np.uint64) -> np.uint64:
    """The high bit of each byte that is one of 0 to =, -, @ or _ (others only after such a one)."""
    low = word & ~_HIGH
    least = low + np.uint64(0x80 - 48) * _ONES
    most = low + np.uint64(0x7F - 61) * _ONES
    found = least & ~most
    for mark in (45, 64, 95):
        same = low ^ (np.uint64(mark) * _ONES)
        found |= ~(same + np.uint64(0x7F) * _ONES)
    return found & ~word & _HIGH


@kernel(inline="always")
def _put(out: np.ndarray, n: int, text: int, start: int, end: int, what: int) -> int:
    if n < len(out):
        out[n, 0], out[n, 1], out[n, 2], out[n, 3] = text, start, end, what
    return n + 1


@kernel(inline="always")
def _digit(byte: int) -> bool:
    return 48 <= byte <= 57


@kernel(inline="always")
def _hex(byte: int) -> bool:
    return 48 <= byte <= 57 or 97 <= byte <= 102 or 65 <= byte <= 70


@kernel
def _run(data: np.ndarray, low: int, at: int, end: int, names: np.ndarray) -> tuple[int, int]:
    """The letters, digits, - and _ (and % and +: they end no token) around `at`."""
    run = at
    while run > low and names[data[run - 1]]:
        run -= 1
    while at < end and names[data[at]]:
        at += 1
    return run, at


@kernel
def _login(data: np.ndarray, low: int, at: int, end: int, names: np.ndarray) -> int:
    """LOGIN where a name stands before the @ and a host of two labels may stand after it."""
    if at == low or at + 1 >= end or data[at + 1] >= 128 or not names[data[at + 1]]:
        return 0
    if data[at - 1] < 33 or data[at - 1] == 127:
        return 0
    for k in range(at + 1, min(end, at + 2 + MOST_LABEL)):
        if data[k] == 46 or data[k] == 58 or data[k] == 47:
            return LOGIN
        if not names[data[k]]:
            return LOGIN if data[k] == 91 else 0
    return LOGIN


@kernel
def _sign(data: np.ndarray, low: int, at: int, end: int, endings: np.ndarray) -> tuple[int, int]:
    """(start, what) at = or : — the first group of an IPv6 address, or a secret's assignment."""
    if data[at] == 58 and at - low >= 4 and 50 <= data[at - 4] <= 51:
        four = _hex(data[at - 3]) and _hex(data[at - 2]) and _hex(data[at - 1])
        return at - 4, HEX if four else 0
    k = at
    while k > low and at - k < 4 and data[k - 1] in (32, 9, 34, 39, 93):
        k -= 1
    if k - low < 3:
        return at, 0
    name = (data[k - 3] | 32) + ((data[k - 2] | 32) << 8) + ((data[k - 1] | 32) << 16)
    for ending in endings:
        if name == ending:
            return at, ASSIGN if _has_digit(data, at + 1, end) else 0
    return at, 0


@kernel
def _has_digit(data: np.ndarray, at: int, end: int) -> bool:
    """Whether a digit stands in what may be a value: after spaces, = and quotes, until a space."""
    stop = min(end, at + 6)
    while at < stop and data[at] in (32, 9, 34, 39, 58, 61, 62):
        at += 1
    stop = min(end, at + 256)
    while at < stop and data[at] > 32:
        if _digit(data[at]):
            return True
        at += 1
    return False


@kernel
def _tokens(
    data: np.ndarray, low: int, run: int, end: int, starts: np.ndarray, out: np.ndarray, n: int,
    text: int,
) -> int:  # fmt: skip
    """Append the places of a long run data[run:end] where a token can start; returns the count."""
    if run - low >= 3 and data[run - 3] == 83 and data[run - 2] == 71 and data[run - 1] == 46:
        n = _put(out, n, text, run - 3 - low, end - low, TOKEN)  # SG.
    for at in range(run, end - LEAST_RUN + 1):
        before = data[at - 1]
        if at > run and before != 45 and before != 95 and before != 37 and before != 43:
            continue
        four = np.int64(data[at]) + (np.int64(data[at + 1]) << 8)
        four += (np.int64(data[at + 2]) << 16) + (np.int64(data[at + 3]) << 24)
        for k in range(len(starts)):
            if four & starts[k, 1] == starts[k, 0]:
                n = _put(out, n, text, at - low, end - low, TOKEN)
                break
    return n


@kernel
def _word(data: np.ndarray, low: int, at: int, end: int, classes: np.ndarray) -> int:
    """How many bytes before the digit at `at` an identifier of letters and digits may start.

    Two letters and two digits (IBAN, NINO), six and two (codice fiscale), one and seven (NIE); a
    NINO may have a space after its letters. Zero where none can.
    """
    n_digits = 0
    while at + n_digits < end and n_digits < 8 and _digit(data[at + n_digits]):
        n_digits += 1
    space = 1 if at > low and (data[at - 1] == 32 or data[at - 1] == 45) else 0
    n = 0
    while at - space - n > low and n < 7 and classes[data[at - space - n - 1]] == _LETTER:
        n += 1
    if n == 0 or n == 7:
        return 0
    before = at - space - n - 1
    if before >= low and (classes[data[before]] == _DIGIT or data[before] == 95):
        return 0
    if n == 2 and (n_digits == 2 or n_digits == 6):
        return n + space
    if n == 2 and not space and at + 12 < end and classes[data[at + 12]] != _OTHER:
        return n
    if n == 1 and n_digits == 7:
        return n + space
    if not space and n == 6 and n_digits == 2:
        return n
    return 0


@kernel
def _number(data: np.ndarray, low: int, at: int, end: int) -> tuple[int, int, int]:
    """(start, end, what it may be) of the digits at `at` and those joined to them."""
    n_digits = n_groups = n_dots = longest = dotted = address = date = 0
    a = b = c = d = 0  # values of the last four groups
    joined = False  # a single mark stood before the last group
    before = last = 0  # lengths of the two groups before
    k = stop = at
    while k < end and k - stop < 3:
        if not _digit(data[k]):
            if data[k] != 32 and data[k] != 40 and data[k] != 41 and not 45 <= data[k] <= 47:
                break
            k += 1
            continue
        mark = data[k - 1] if k == stop + 1 else 0  # the one byte since the last group
        linked = mark == 46
        n_dots += linked
        group, value = k, 0
        while k < end and _digit(data[k]):
            value = value * 10 + data[k] - 48 if k - group < 5 else value
            k += 1
        length, stop = k - group, k
        a, b, c, d = b, c, d, value
        dotted = dotted + 1 if linked else 1
        dotted = dotted if length <= 3 else -1000  # no part of an address, nor what is linked to it
        more = k + 1 < end and data[k] == 46 and _digit(data[k + 1])
        if dotted == 4 and not more and _may_be_public(a, b, c, d):
            address = ADDRESS
        single = mark == 32 or 45 <= mark <= 47
        date |= single and joined and length <= 2 and last <= 2 and before == 4 and 1500 <= b < 2100
        joined = single
        before, last = last, length
        n_groups, n_digits, longest = n_groups + 1, n_digits + length, max(longest, length)
    start = at
    while start > low and at - start < 2 and (data[start - 1] == 43 or data[start - 1] == 40):
        start -= 1
    what = 0
    if n_groups == 1 and start == at:
        what = _one_group(n_digits, data, stop, end)
    elif n_digits >= 7 and not (n_groups == 2 and n_dots == 1 and start == at):
        nothing = (date and n_digits <= 10) or (dotted == 4 and n_groups <= 5)
        if start < at or not nothing:
            what = (PHONE if start < at or n_groups > 1 else 0) | (IDENTITY if n_digits >= 8 else 0)
        what |= CARD if n_digits >= 12 else 0
    return start, stop, what | address


@kernel
def _may_be_public(a: int, b: int, c: int, d: int) -> bool:
    if a == 0 or a == 10 or a == 127 or a > 223 or (a == 192 and b == 168):
        return False
    return 32 <= max(a, b, c, d) <= 255


@kernel
def _one_group(n_digits: int, data: np.ndarray, stop: int, end: int) -> int:
    """What a number without any mark in it may be: by its length alone."""
    what = PHONE if 9 <= n_digits <= 12 else 0
    what |= CARD if 12 <= n_digits <= 19 else 0
    if n_digits in (9, 11, 12, 15, 17, 18):
        what |= IDENTITY
    if n_digits == 8 and stop < end:  # a letter follows, as in a Spanish DNI
        k = stop + 1 if data[stop] == 45 or data[stop] == 32 else stop
        what |= IDENTITY if k < end and 65 <= data[k] <= 90 else 0
    return what
