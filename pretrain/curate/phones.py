"""Telephone numbers, by the forms people write them in.

    international   +CC or 00CC with a known country and a length it uses; (0) may stand in it
    North America   (212) 555-1234, 212-555-1234, 212.555.1234, with or without 1; extension x12
    France          01 23 45 67 89, the same mark between all pairs
    leading zero    07700 063 966, 0171/1234567, (089) 123456: 9 to 12 digits
    in context      any other 7 to 12 digits right after `phone:`, `call me at`, … or before `fax`

Left alone: dates, ranges of years, IPv4 addresses, numbers in tables, and 555-01xx numbers, which
are reserved for fiction. No numbering plan is consulted beyond country codes and lengths: precision
comes from the form, and plain digits are taken only where the text says what they are.
"""

import re
from collections.abc import Iterator

Span = tuple[int, int]

RESERVED = "202-555-0100"
_FICTION = re.compile(rb"1?[2-9]\d\d55501\d\d|.*2025550100.*")

# Country code: digits of a national number, least and most. Others of three digits: 7 to 10.
_PLANS = """
1:10:10 7:10:10 20:8:10 27:9:9 30:10:10 31:9:9 32:8:9 33:9:9 34:9:9 36:8:9 39:8:11 40:9:9 41:9:9
43:7:12 44:9:10 45:8:8 46:7:10 47:8:8 48:9:9 49:7:11 51:8:9 52:10:10 53:8:8 54:10:11 55:10:11 56:9:9
57:10:10 58:10:10 60:8:10 61:9:9 62:8:12 63:9:10 64:8:10 65:8:8 66:8:9 81:9:10 82:8:10 84:9:10
86:10:11 90:10:10 91:10:10 92:9:10 93:9:9 94:9:9 95:7:10 98:10:10 351:9:9 352:6:9 353:7:9 354:7:9
356:8:8 357:8:8 358:6:11 359:8:9 370:8:8 371:8:8 372:7:8 380:9:9 385:8:9 386:8:8 420:9:9 421:9:9
852:8:8 853:8:8 855:8:9 880:8:10 886:8:9 961:7:8 962:8:9 966:8:9 971:8:9 972:8:9
"""
_LENGTHS = {
    int(code): (int(least), int(most))
    for code, least, most in (plan.split(":") for plan in _PLANS.split())
}
_THREE = {*range(21, 27), 29, 35, 37, 38, 42, 50, 59, 67, 68, 69, 80, 85, 87, 88, 96, 97, 99}

_EXTENSION = rb"(?:[ ]?(?:x|ext\.?[ ]?)[0-9]{1,6})?"
_LEFT = rb"(?<![0-9A-Za-z_+#$%&*=/.<\-])(?<![0-9+)][ .\-])"
_RIGHT = rb"(?![0-9A-Za-z_%])(?![.\-/][0-9])"
_ALONE = rb"(?![ ][0-9])"  # not the start of a longer row of numbers

_AFTER = re.compile(_EXTENSION)
_ENDS = re.compile(rb"(?![0-9A-Za-z_])|x[0-9]")
_INTERNATIONAL = re.compile(
    rb"(?<![0-9A-Za-z_+.])(?:\+|(?<![0-9+)][ .\-])00)(?=[1-9])[0-9]{1,15}"
    rb"(?:(?:[ ]?\([0-9]{1,5}\)[ \-]?|[ .\-/])[0-9]{1,12}){0,7}"
)
_NORTH_AMERICA = re.compile(
    _LEFT + rb"(?:1[-. ])?(?:\([2-9][0-9]{2}\)[ \-]?|[2-9][0-9]{2}(?P<mark>[-. ]))"
    rb"[2-9][0-9]{2}(?(mark)(?P=mark)|[-. ])[0-9]{4}" + _EXTENSION + _RIGHT
)
_FRANCE = re.compile(
    _LEFT + rb"0[1-9](?P<mark>[ .\-])(?:[0-9]{2}(?P=mark)){3}[0-9]{2}" + _RIGHT + _ALONE
)
_ZERO = re.compile(
    _LEFT + rb"(?P<area>\(0[1-9][0-9]{0,4}\)[ \-]?|0[1-9][0-9]{1,4}[ \-/])"
    rb"[0-9]{3,8}(?:[ \-][0-9]{2,8}){0,3}" + _RIGHT + _ALONE
)
_ANY = re.compile(
    _LEFT + rb"(?:\([0-9]{1,5}\)[ \-]?[0-9]{2,10}|[0-9]{2,12})(?:[ .\-/][0-9]{2,8}){0,5}"
    + _EXTENSION + _RIGHT + _ALONE
)  # fmt: skip

_NAMED = re.compile(
    rb"""(?i)(?:(?:\b(?:tele)?phone|\btel(?:efon[eo]?|\xc3\xa9fono|\.)?|\bt\xc3\xa9l(?:\xc3\xa9phone)?
    |\bfax|\bmobile?|\bcell(?:ular[e]?|phone)?|\bm\xc3\xb3vil|\bhandy|\brufnummer|\bportable
    |\bhotline|\bdesk
    |\bwhatsapp|\bphone[ ](?:no|number))s?\b[^0-9<>@]{0,12}
    |\b(?:call(?:ing)?|dial|ring|text|sms|reach|contact|answering|messages?)
     (?:[ ](?:me|us|him|her|them|back|now))?(?:[ ](?:at|on|to|via))[ ]?:?[ ]?)\Z""",
    re.VERBOSE,
)  # fmt: skip
_NAMED_AFTER = re.compile(
    rb"(?i)[ -]?(?:\((?:office|fax|mobile|cell|home|work|phone)\)"
    rb"|(?:office|fax|mobile|cell|phone)\b)"
)
# A part of each word of the two above.
_NEAR = tuple(
    word.encode()
    for word in re.split(
        "[|]",
        "phone|tel|tél|fax|mobil|cell|móvil|handy|rufn|portab|hotline|desk|whatsapp|call|dial|ring"
        "|text|sms|reach|contact|answer|message|office|home|work",
    )
)
_DAY = re.compile(rb"(?<![0-9])(?:1[5-9]|20)\d\d[ .\-/]\d{1,2}[ .\-/]\d{1,2}(?![0-9])")
_DATE = re.compile(
    rb"\d{1,2}(?P<b>[ .\-/])\d{1,2}(?P=b)(?:1[5-9]|20)?\d\d"
    rb"|(?:1[5-9]|20)\d\d[ \-/](?:1[5-9]|20)\d\d"
    rb"|(?:19|20)\d\d(?:0[1-9]|1[0-2])[0-3]\d(?:[0-2]\d[0-5]\d)?"
)
_FOUR_PARTS = re.compile(rb"(?<![0-9.])\d{1,3}(?:\.\d{1,3}){3}(?![0-9]|\.[0-9])")
_FEW_MARKS = re.compile(rb"\d+\.\d+|\d{1,8}")  # a decimal, few digits in one piece


def international(text: bytes | bytearray, start: int, end: int) -> Iterator[Span]:
    """+CC and 00CC numbers among the numbers of text[start:end]."""
    window = text[start:end]
    if b"+" not in window and b"00" not in window:
        return
    for found in _INTERNATIONAL.finditer(text, start, end):
        stop = _end_of_international(text, found)
        if stop:
            yield found.start(), stop


def american(text: bytes | bytearray, start: int, end: int) -> Iterator[Span]:
    """Numbers of the North American plan."""
    for found in _NORTH_AMERICA.finditer(text, start, _limit(text, end)):
        if found.start() < end and _in_use(text, found):
            yield found.span()


def with_zero(text: bytes | bytearray, start: int, end: int) -> Iterator[Span]:
    """Numbers with a leading zero: the pairs of France, and what others write."""
    if b"0" not in text[start:end]:
        return
    for found in _FRANCE.finditer(text, start, _limit(text, end)):
        if found.start() < end and _plausible(found.group()):
            yield found.span()
    for found in _ZERO.finditer(text, start, _limit(text, end)):
        known = found.start() < end and _plausible(found.group())
        if known and (_by_form(found) or _named(text, found)):
            yield found.span()


def named(text: bytes | bytearray, start: int, end: int) -> Iterator[Span]:
    """Numbers of any form that the text calls a telephone number."""
    if _may_be_named(text, start, end):
        for found in _ANY.finditer(text, start, _limit(text, end)):
            if found.start() < end and _plausible(found.group()) and _named(text, found):
                yield found.span()


def _limit(text: bytes | bytearray, end: int) -> int:
    return min(len(text), end + 14)  # an extension, and what may not follow


def _end_of_international(text: bytes | bytearray, found: re.Match[bytes]) -> int:
    """Where the number ends: at the last group that gives it a length of its country, or 0."""
    written = found.group()
    plain = written.replace(b"(0)", b"   ")
    for stop in range(len(written), 7, -1):
        if stop < len(written) and (written[stop - 1 : stop + 1].isdigit()):
            continue
        if not written[stop - 1 : stop].isdigit():
            continue
        digits = plain[:stop].translate(None, b"+ .-/()").lstrip(b"0")
        if not _of_a_country(digits) or _FICTION.fullmatch(digits):
            continue
        if _FOUR_PARTS.search(written[:stop]):
            continue
        grouped = not plain[:stop].lstrip(b"+0").isdigit()
        at = found.start()
        after = found.start() + stop
        if not _ENDS.match(text, after):
            continue
        line_start = at == 0 or text[at - 1] == 10
        if (grouped or (written[:1] == b"+" and not line_start)) or _named(text, found):
            extension = _AFTER.match(text, after)
            return extension.end() if extension else after
    return 0


def _of_a_country(digits: bytes) -> bool:
    if not 8 <= len(digits) <= 15 or len(set(digits)) < 3:
        return False
    for n in (1, 2, 3):
        if int(digits[:n]) in _LENGTHS:
            least, most = _LENGTHS[int(digits[:n])]
            return least <= len(digits) - n <= most
    return int(digits[:2]) in _THREE and 7 <= len(digits) - 3 <= 10


def _in_use(text: bytes | bytearray, found: re.Match[bytes]) -> bool:
    digits = re.sub(rb"(?:x|ext).*|\D", b"", found.group(), flags=re.IGNORECASE | re.DOTALL)[-10:]
    if _FICTION.fullmatch(digits) or digits[1:3] == b"11" or digits[4:6] == b"11":
        return False
    return found["mark"] != b" " or _named(text, found)


def _by_form(found: re.Match[bytes]) -> bool:
    """Whether a number with a leading zero is one by its form alone."""
    written, area = found.group(), found["area"]
    digits = re.sub(rb"\D", b"", written)
    groups = re.split(rb"\D+", written.strip(b"("))
    if not 9 <= len(digits) <= 12 or len(set(digits)) < 4:
        return False
    if area[:1] == b"(" or area[-1:] == b"/":
        return True
    return len(groups) >= 3 and 10 <= len(digits) <= 11 and len(groups[0]) >= 3


def _plausible(written: bytes) -> bool:
    """Whether a form that many numbers have is none that a date, a decimal or an address has."""
    written = re.split(rb"[ ]?[xe]", written)[0]
    digits = re.sub(rb"\D", b"", written)
    if _DATE.fullmatch(written) or _FEW_MARKS.fullmatch(written):
        return False
    if _DAY.search(written) or _FOUR_PARTS.search(written):
        return False
    if _FICTION.fullmatch(digits) or not 7 <= len(digits) <= 12 or len(set(digits)) < 3:
        return False
    return len(digits) >= 8 or re.fullmatch(rb"\d{3}[ .\-]\d{4}", written) is not None


def _may_be_named(text: bytes | bytearray, start: int, end: int) -> bool:
    """Whether a word for a telephone may stand near: a cheap look before the exact one."""
    near = text[max(0, start - 40) : end + 12].lower()
    return any(map(near.__contains__, _NEAR))


def _named(text: bytes | bytearray, found: re.Match[bytes]) -> bool:
    """Whether the text says, right before or right after, that this is a telephone number."""
    low, high = found.span()
    if _NAMED.search(text[max(0, low - 40) : low]):
        return True
    return _NAMED_AFTER.match(text[high : high + 12]) is not None
