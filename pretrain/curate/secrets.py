"""Keys, tokens and passwords: what gives access to something, found by its form.

    block       -----BEGIN … PRIVATE KEY----- to its end
    token       a known start and length: AKIA…, ghp_…, glpat-…, xoxb-…, sk_live_…, AIza…, eyJ…
    login       the user:password of scheme://user:password@host
    assigned    password = "…", api_key: …, AccountKey=…: the value, if it looks drawn at random

A value looks random when letters and digits alternate and its bytes carry 3 bits each; names,
words, placeholders (`<…>`, `${…}`, `example`, `your-key`) and calls do not. Price: a password that
is a plain word is left, and a random value that is no secret but is called one is taken.

Rules read one place of one text (the scan's) and yield byte ranges; each look is bounded.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

Span = tuple[int, int]

MOST_BLOCK = 16_384  # bytes of a private key

_BLOCK = re.compile(rb"-----BEGIN (?:[A-Z0-9]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_BLOCK_END = re.compile(rb"-----END [A-Z0-9 ]{0,48}PRIVATE KEY(?: BLOCK)?-----")
_BASE64_LINES = re.compile(rb"(?:(?:\\n|[\s\"'+])*[A-Za-z0-9+/=]{16,512})*")

_TOKEN = re.compile(
    rb"""(?<![A-Za-z0-9])(?:
      (?:AKIA|ASIA)(?=[A-Z]*[2-7])[A-Z2-7]{16}(?![A-Za-z0-9])
    | gh[pousr]_[A-Za-z0-9]{36,255}
    | github_pat_[A-Za-z0-9_]{50,255}
    | glpat-[A-Za-z0-9_-]{20,64}
    | xox[bpars]-[0-9][A-Za-z0-9-]{15,255}
    | xapp-[0-9]-[A-Za-z0-9-]{20,255}
    | [sr]k_live_[A-Za-z0-9]{16,128}
    | sk-(?=[A-Za-z]*[0-9])[A-Za-z0-9]{32,64}(?![A-Za-z0-9_-])
    | sk-(?:proj|svcacct|admin|ant-[a-z0-9]{2,8}|or-v1)-[A-Za-z0-9_-]{24,255}
    | AIza(?=[A-Za-z]*[0-9_-])[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])
    | hf_[A-Za-z0-9]{34}(?![A-Za-z0-9])
    | npm_[A-Za-z0-9]{36}(?![A-Za-z0-9])
    | pypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{32,512}
    | SG\.(?=[A-Za-z]*[0-9_-])[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{32,64}
    | SK(?=[a-f]*[0-9])[0-9a-f]{32}(?![A-Za-z0-9])
    | do[por]_v1_[0-9a-f]{64}
    | shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}
    | key-[0-9a-f]{32}(?![A-Za-z0-9])
    | gsk_[A-Za-z0-9]{40,64}
    | sq0(?:atp|csp)-[A-Za-z0-9_-]{22,64}
    | dapi(?=[a-f]*[0-9])[0-9a-f]{32}(?![A-Za-z0-9])
    | AGE-SECRET-KEY-1[A-Z0-9]{50,64}
    | eyJ(?=[A-Za-z]{0,256}[0-9_-])[A-Za-z0-9_-]{14,512}\.eyJ[A-Za-z0-9_-]{10,4000}
      \.[A-Za-z0-9_-]{10,4000}
    )""",
    re.VERBOSE,
)

_LOGIN = re.compile(
    rb"""[A-Za-z][A-Za-z0-9+.-]{1,20}://
    (?P<login>(?P<user>[^\s/:@"'<>\[\]`]{0,100}):(?P<password>[^\s/@"'<>`]{1,100}))
    @(?=[A-Za-z0-9_%+-]{1,250}[.:/])""",
    re.VERBOSE,
)

_NAME = re.compile(
    rb"""(?i:passw(?:or)?d|passphrase|pwd|secret|credentials?
    |(?<!page)(?<!next)(?<!page_)(?<!next_)token
    |(?:api|access|private|secret|auth|account|shared_?access|encryption|signing|master|client
      |consumer|storage|service|app|ssh|deploy|license)[_.-]?key)["']?\]?[\ \t]{0,2}\Z""",
    re.VERBOSE,
)
_VALUE = re.compile(
    rb"""(?::=|=>|==?|:)[\ \t]{0,4}
    (?:(?P<quote>["'])(?P<quoted>[^\s"'<>{}$()\[\]]{8,200})(?P=quote)
      |(?P<bare>[A-Za-z0-9+/_.~!@\#^&*-]{8,200}={0,2})(?=[\s,;"'\\)}\]&|]|</|<br|\Z))""",
    re.VERBOSE,
)
_PLACEHOLDER = re.compile(
    rb"(?i)example|your|change|placeholder|dummy|sample|xxx|\*\*\*|\.\.\.|redacted|secret"
    rb"|passw|token|\Atest|12345|abcdef|localhost|\d+\.\d+\.\d+\.\d+"
)
_PATH = re.compile(rb"[A-Za-z_][A-Za-z_]*[0-9]{0,4}(?:[./_-][A-Za-z_]*[0-9]{0,4})*")


def blocks(text: bytes | bytearray, start: int, end: int) -> Iterator[Span]:
    """A private key: to its END line, or over the lines of base64 that follow where it has none."""
    head = _BLOCK.match(text, start)
    if not head:
        return
    limit = min(len(text), head.end() + MOST_BLOCK)
    tail = _BLOCK_END.search(text, head.end(), limit)
    stop = tail or _BASE64_LINES.match(text, head.end(), limit)
    assert stop
    yield head.start(), stop.end()


def tokens(text: bytes | bytearray, start: int, end: int) -> Iterator[Span]:
    """A token of a known service."""
    found = _TOKEN.match(text, start)
    if found and not _PLACEHOLDER.search(found.group()[4:]):
        yield found.span()


def logins(text: bytes | bytearray, start: int, end: int) -> Iterator[Span]:
    """user:password of an address with a login; `start` is at its @."""
    low = max(0, start - 224)
    at = text.rfind(b"://", low, start)
    while at > low and chr(text[at - 1]).isalnum() and start - at < 204:
        at -= 1
    found = _LOGIN.match(text, at) if at >= 0 else None
    if not found or found.end("login") != start or start - found.start("login") > 201:
        return
    password = found["password"]
    word = re.fullmatch(rb"[A-Z]?[a-z\x80-\xff]*|[$%{*.x-].*|(?i:pass|pwd|password\d?)", password)
    if not word and not _PLACEHOLDER.search(password):
        yield found.span("login")


def assigned(text: bytes | bytearray, start: int, end: int) -> Iterator[Span]:
    """The value of an assignment to a name like `password`; `start` is at its = or :."""
    if not _NAME.search(text[max(0, start - 40) : start]):
        return
    found = _VALUE.match(text, start)
    if not found:
        return
    which = "quoted" if found["quoted"] else "bare"
    value = found[which]
    if looks_random(value, least_length=8 if which == "quoted" else 12):
        yield found.span(which)


def looks_random(value: bytes, least_length: int = 8) -> bool:
    """Whether a value looks drawn at random, rather than written to be read."""
    if len(value) < least_length or _PLACEHOLDER.search(value) or _PATH.fullmatch(value):
        return False
    kinds = [_kind(byte) for byte in value]
    if 2 not in kinds or not {0, 1} & set(kinds):
        return False
    changes = sum(a != b for a, b in pairwise(kinds))
    return changes >= max(3, len(value) / 5) and entropy(value) >= min(3.0, math.log2(len(value)))


def entropy(value: bytes) -> float:
    """Bits a byte of the distribution of its bytes (Shannon)."""
    n = len(value)
    return -sum(k / n * math.log2(k / n) for k in Counter(value).values())


def _kind(byte: int) -> int:
    if 97 <= byte <= 122:
        return 0
    if 65 <= byte <= 90:
        return 1
    return 2 if 48 <= byte <= 57 else 3
