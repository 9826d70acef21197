"""Bank accounts, card numbers and national identity numbers, by form and check digits.

    iban          country and its length, mod 97; in one piece or in groups of four
    card          Luhn and an issuer's prefix at 14 to 16 digits; after a word like `card` any
                  12 to 19 digits that pass Luhn
    national_id   US SSN · UK NINO · DE Steuer-ID · FR NIR · ES DNI, NIE · IT codice fiscale ·
                  BR CPF · IN Aadhaar · PL PESEL · NL BSN · BE, CH, SE, CN numbers

Where form and check digits would take more than about one random number in fifty, a word that
names the number must stand in the 60 bytes before it (`SSN`, `Steuer-ID`, `DNI`, …), with no other
number and no address between.
"""

import re
from collections.abc import Callable, Iterator

from pretrain.curate import checksums

Span = tuple[int, int]

CONTEXT_BYTES = 60

_COUNTRIES = """
AD:24 AE:23 AL:28 AT:20 AZ:28 BA:20 BE:16 BG:22 BH:22 BR:29 BY:28 CH:21 CR:22 CY:28 CZ:24 DE:22
DK:18 DO:28 EE:20 EG:29 ES:24 FI:18 FO:18 FR:27 GB:22 GE:22 GI:23 GL:18 GR:27 GT:28 HR:21 HU:28
IE:22 IL:23 IQ:23 IS:26 IT:27 JO:30 KW:30 KZ:20 LB:28 LC:32 LI:21 LT:20 LU:20 LV:21 LY:25 MC:27
MD:24 ME:22 MK:19 MR:27 MT:31 MU:30 NL:18 NO:15 PK:24 PL:28 PS:29 PT:25 QA:29 RO:24 RS:22 SA:24
SC:31 SD:18 SE:24 SI:19 SK:24 SM:27 ST:25 SV:28 TL:23 TN:24 TR:26 UA:29 VA:22 VG:24 XK:20
"""
IBAN_LENGTHS = {pair[:2]: int(pair[3:]) for pair in _COUNTRIES.split()}

_IBAN = re.compile(
    rb"(?<![0-9A-Za-z_.@%+-])[A-Za-z]{2}[0-9]{2}"
    rb"(?:[0-9A-Za-z]{11,30}|(?: [0-9A-Za-z]{4}){2,7}(?: [0-9A-Za-z]{1,4})?)(?![0-9A-Za-z_@%+])"
)
_CARD = re.compile(
    rb"""(?<![0-9A-Za-z_.+\-/%])(?:
      [1-6][0-9]{11,18}(?![-.][0-9])
    | (?<![0-9>][ ])[2-6][0-9]{3}(?P<a>[ -])[0-9]{4}(?P=a)[0-9]{4}(?P=a)[0-9]{4}(?:(?P=a)[0-9]{3})?
      (?![ -][0-9<])
    | (?<![0-9>][ ])3[0-9]{3}(?P<b>[ -])[0-9]{6}(?P=b)[0-9]{4,5}(?![ -][0-9<])
    )(?![0-9A-Za-z_@%+])""",
    re.VERBOSE,
)
_CARD_WORDS = tuple(
    word.encode()
    for word in re.split(
        "[|]",
        "cc |card|credit|debit|visa|master|maestro|amex|american express|discover|diners|jcb"
        "|payment|carte|karte|kreditkarte|tarjeta",
    )
)
_ISSUERS = re.compile(  # of 14, 15 and 16 digits
    r"4\d{15}|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}"
    r"|3[47]\d{13}|(?:30[0-5]|3[689]\d)\d{11}|(?:1800|2131)\d{11}|35(?:2[89]|[3-8]\d)\d{12}"
    r"|(?:6011|64[4-9]\d|65\d\d|62\d\d|50\d\d|5[6-8]\d\d|6304|67\d\d)\d{12}"
)

_LEFT = rb"(?<![0-9A-Za-z_.+\-/#$%])(?<![0-9>][ ])"
_RIGHT = rb"(?![0-9A-Za-z_@%+])(?![-./][0-9A-Za-z]|[ ][0-9<])"


_NINO = rb"(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]"


_BREAKS = re.compile(rb"[0-9<>@]")  # one of them is in all that is ever replaced, and in its mask


def _form(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(_LEFT + b"(?:" + pattern + b")" + _RIGHT)


# (form, least bytes, check of its characters, words of which one must stand before; none: no need)
_Form = tuple[re.Pattern[bytes], int, Callable[[str], bool], tuple[bytes, ...]]
_NUMBERS: tuple[_Form, ...] = (
    (_form(rb"\d{3}-\d\d-\d{4}"), 11, checksums.ssn, ()),
    (
        _form(rb"\d{3} \d\d \d{4}|\d{9}"), 9, checksums.ssn,
        (b"ssn", b"social security", b"social-security"),
    ),
    (
        _form(rb"[1-9]\d{10}|[1-9]\d \d{3} \d{3} \d{3}"), 11, checksums.steuer_id,
        (b"steuer", b"identifikationsn", b"idnr", b"id-nr", b"tin:", b"tax id", b"tax number"),
    ),
    (_form(rb"[12] ?\d\d ?\d\d ?\d\d ?\d{3} ?\d{3} ?\d\d"), 15, checksums.nir, ()),
    (
        _form(rb"\d{8}[ -]?[A-Z]|\d\d\.\d{3}\.\d{3}-?[A-Z]"), 8, checksums.spanish,
        (b"dni", b"nif", b"d.n.i", b"n.i.f", b"identidad", b"documento"),
    ),
    (_form(rb"\d{3}\.\d{3}\.\d{3}-\d\d"), 14, checksums.cpf, ()),
    (_form(rb"\d{11}"), 11, checksums.cpf, (b"cpf",)),
    (
        _form(rb"[2-9]\d{3} ?\d{4} ?\d{4}"), 12, checksums.verhoeff,
        (b"aadhaar", b"aadhar", b"uidai", "आधार".encode()),
    ),
    (_form(rb"\d{11}"), 11, checksums.pesel, (b"pesel",)),
    (
        _form(rb"\d{9}|\d{4}\.\d\d\.\d{3}"), 9, checksums.bsn,
        (b"bsn", b"burgerservice", b"sofinummer", b"sofi-nummer"),
    ),
    (_form(rb"\d\d\.\d\d\.\d\d-\d{3}\.\d\d"), 15, checksums.belgian, ()),
    (_form(rb"756\.\d{4}\.\d{4}\.\d\d"), 16, checksums.ahv, ()),
    (
        _form(rb"(?:19|20)?\d{6}[-+]\d{4}"), 11, checksums.swedish,
        (b"personnummer", b"personnr", b"samordningsnummer"),
    ),
    (_form(rb"[1-9]\d{16}[0-9X]"), 17, checksums.chinese, ()),
)  # fmt: skip
_WORDS: tuple[_Form, ...] = (
    (_form(_NINO + rb" \d\d \d\d \d\d [A-D]"), 13, checksums.none, ()),
    (
        _form(_NINO + rb" ?\d{6} ?[A-D]"), 9, checksums.none,
        (b"national insurance", b"nino", b"ni no", b"ni number"),
    ),
    (
        _form(rb"[XYZ][ -]?\d{7}-?[A-Z]"), 9, checksums.spanish,
        (b"nie", b"nif", b"n.i.e", b"identidad", b"extranjer"),
    ),
    (
        _form(rb"(?i:[A-Z]{6}\d\d[ABCDEHLMPRST]\d\d[A-Z]\d{3}[A-Z])"), 16,
        checksums.codice_fiscale, (),
    ),
)  # fmt: skip
_SEPARATORS = b" .-+/"


def ibans(text: bytes | bytearray, start: int, end: int) -> Iterator[Span]:
    """The account that starts at `start`; of its groups, as many as its country says."""
    found = _IBAN.match(text, start)
    if not found:
        return
    written = found.group()
    length = IBAN_LENGTHS.get(written[:2].decode().upper(), 0)
    if b" " in written:
        n_bytes = length + (length - 1) // 4
        cut = written[:n_bytes]
        if len(cut) < n_bytes or written[n_bytes : n_bytes + 1] not in (b"", b" "):
            return
    else:
        cut = written
    account = cut.replace(b" ", b"").decode().upper()
    if len(account) == length and checksums.iban(account):
        yield start, start + len(cut)


def cards(text: bytes | bytearray, start: int, end: int) -> Iterator[Span]:
    """Card numbers among the numbers of text[start:end]."""
    for found in _CARD.finditer(text, start, min(len(text), end + 3)):
        digits = found.group().translate(None, b" -").decode()
        low = found.start()
        if low >= end or len(set(digits)) == 1 or not checksums.luhn(digits):
            continue
        if (len(digits) in (14, 15, 16) and _ISSUERS.fullmatch(digits)) or (
            _named(_before(text, low), _CARD_WORDS)
        ):
            yield found.span()


def numbers(text: bytes | bytearray, start: int, end: int) -> Iterator[Span]:
    """Identity numbers among the numbers of text[start:end]."""
    near = text[max(0, start - CONTEXT_BYTES) : end].lower()
    for form, least, check, words in _NUMBERS:
        if end - start < least or (words and not any(map(near.__contains__, words))):
            continue
        for found in form.finditer(text, start, min(len(text), end + 4)):
            code = found.group().translate(None, _SEPARATORS).decode()
            low = found.start()
            if low < end and check(code) and _named(_before(text, low), words):
                yield found.span()


def codes(text: bytes | bytearray, start: int, end: int) -> Iterator[Span]:
    """The identity number that starts with letters at `start`."""
    for form, _, check, words in _WORDS:
        found = form.match(text, start)
        if not found or not check(found.group().translate(None, _SEPARATORS).decode().upper()):
            continue
        if _named(_before(text, start), words):
            yield found.span()


def _before(text: bytes | bytearray, at: int) -> bytes | bytearray:
    """What stands before, in small letters, back to a number or an address; and one byte more."""
    low = max(0, at - CONTEXT_BYTES - 1)
    near = text[low:at].lower()
    parts = _BREAKS.split(near)
    return b" " + parts[-1] if len(parts) > 1 or low == 0 else near


def _named(near: bytes | bytearray, words: tuple[bytes, ...]) -> bool:
    """Whether one of the words stands there as a word or the start of one; so for no words."""
    for word in words:
        at = near.find(word, 1)
        while at >= 0:
            if not (97 <= near[at - 1] <= 122 or near[at - 1] == 95):
                return True
            at = near.find(word, at + 1)
    return not words
