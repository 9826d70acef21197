"""E-mail addresses and public IP addresses are replaced by ones reserved for documentation.

    e-mail   email@example.com or firstname.lastname@example.org
    IPv4     an address of 192.0.2.0/24, 198.51.100.0/24 or 203.0.113.0/24
    IPv6     an address of 2001:db8::/32

The replacement is a function of the address: one address has one replacement wherever it occurs.
Left alone: reserved names and addresses (so a second pass changes nothing), private, loopback,
link-local and multicast addresses, names of image and script files (`icon@2x.png`), and numbers
that are rather versions or sections than addresses: after a word like `version`, with a leading
zero, in a longer dotted number, or with four single digits (`1.2.3.4`).

A kernel finds the few texts that can contain an address; each step on those is bounded (64
characters to the left of an @, 253 to its right), so time is linear whatever the text.
"""

import bisect
import ipaddress
import re
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import xxhash

from pretrain.curate.compiled import kernel
from pretrain.curate.normalize import buffers

Edit = tuple[int, int, str]  # bytes [start, end) of the text before, and what it was
Found = tuple[int, int, str, str]  # characters [start, end), what it was, what replaces it

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DOMAIN = _LETTERS + "0123456789-."
_LOCAL = _DOMAIN + "_%+"
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_TOP = re.compile(r"[A-Za-z]{2,24}|xn--[A-Za-z0-9-]{2,59}")
_FILES = {
    *("png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "mjs", "json", "html", "htm"),
    *("php", "xml", "txt", "yml", "yaml", "toml", "lock"),
}
_RESERVED_TOP = {"example", "invalid", "test", "localhost", "local"}
_RESERVED_NAMES = {"example.com", "example.net", "example.org", "example.edu"}

_IPV4 = re.compile(r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?!\w|\.\w|[-+]\w)")
_IPV6 = re.compile(r"(?<![\w:.])[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:]{1,34}(?![\w:]|\.\w)")
_VERSION = re.compile(
    r"(?<![\w.@%+-])(?:version|versions|ver|release|rev|revision|firmware|build|section|chapter|clause|v\.)"
    r"[\s:=#\"']{0,3}\Z",
    re.IGNORECASE,
)
_PUBLIC_6 = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC_6 = [ipaddress.IPv6Network(n) for n in ("2001:db8::/32", "3fff::/20")]
_DOCUMENTATION = ("192.0.2", "198.51.100", "203.0.113")


def suspects(texts: pa.Array, kinds: Sequence[str]) -> np.ndarray:
    """bool[n]: which texts can contain an address at all."""
    data, offsets = buffers(texts)
    return _suspects(data, offsets, "email" in kinds, "ip" in kinds)


def redact(text: str, kinds: Sequence[str] = ("email", "ip")) -> tuple[str, list[Edit]]:
    """(the text without addresses, the edits in order)."""
    found: list[Found] = []
    if "email" in kinds:
        found += _emails(text)
    if "ip" in kinds:
        found += list(_apart(_addresses(text), [(start, end) for start, end, *_ in found]))
    if not found:
        return text, []
    found.sort()
    pieces: list[str] = []
    edits: list[Edit] = []
    at = at_byte = 0
    for start, end, what, replacement in found:
        before = text[at:start]
        start_byte = at_byte + len(before.encode())
        at, at_byte = end, start_byte + len(text[start:end].encode())
        pieces += [before, replacement]
        edits.append((start_byte, at_byte, what))
    return "".join([*pieces, text[at:]]), edits


def _emails(text: str) -> Iterator[Found]:
    done = 0
    at = text.find("@")
    while at >= 0:
        left = text[max(done, at - 65) : at]
        local = left[len(left.rstrip(_LOCAL)) :].lstrip(".-")
        right = text[at + 1 : at + 255]
        run = right[: len(right) - len(right.lstrip(_DOMAIN))]
        followed = text[at + 1 + len(run) : at + 2 + len(run)]
        domain = "" if len(run) > 253 or followed == "@" else _domain(run)
        if domain and 0 < len(local) <= 64 and not local.endswith(".") and ".." not in local:
            start, done = at - len(local), at + 1 + len(domain)
            if not _reserved(domain):
                draw = xxhash.xxh3_64_intdigest(text[start:done].lower().encode())
                names = ("email@example.com", "firstname.lastname@example.org")
                yield start, done, "email", names[draw % 2]
        at = text.find("@", at + 1)


def _domain(run: str) -> str:
    """The longest start of `run` that is a domain name with a plausible top level, or ''."""
    labels = run.split("..")[0].strip(".-").split(".") if run[:1] not in (".", "-") else []
    for i, label in enumerate(labels):
        if not _LABEL.fullmatch(label):
            del labels[i:]
            break
    while len(labels) > 1 and not _TOP.fullmatch(labels[-1]):
        labels.pop()
    if len(labels) < 2 or labels[-1].lower() in _FILES:
        return ""
    return ".".join(labels)


def _reserved(domain: str) -> bool:
    labels = domain.lower().split(".")
    return labels[-1] in _RESERVED_TOP or ".".join(labels[-2:]) in _RESERVED_NAMES


def _apart(found: Iterator[Found], taken: list[tuple[int, int]]) -> Iterator[Found]:
    """What is found outside of the spans taken (in order): an address in a name is part of it."""
    for item in found:
        k = bisect.bisect_left(taken, (item[1], 0)) - 1  # the last span that starts before its end
        if k < 0 or taken[k][1] <= item[0]:
            yield item


def _addresses(text: str) -> Iterator[Found]:
    for match in _IPV4.finditer(text):
        parts = match.group().split(".")
        if any((len(p) > 1 and p[0] == "0") or int(p) > 255 for p in parts):
            continue
        if all(len(p) == 1 for p in parts):
            continue
        if _VERSION.search(text, max(0, match.start() - 20), match.start()):
            continue
        if not _public(*map(int, parts)):
            continue
        draw = xxhash.xxh3_64_intdigest(match.group().encode())
        host = 1 + draw // 3 % 254
        yield *match.span(), "ip", f"{_DOCUMENTATION[draw % 3]}.{host}"
    for match in _IPV6.finditer(text):
        try:
            address = ipaddress.IPv6Address(match.group())
        except ValueError:
            continue
        if address in _PUBLIC_6 and not any(address in n for n in _NOT_PUBLIC_6):
            draw = xxhash.xxh3_64_intdigest(address.packed)
            yield *match.span(), "ip", f"2001:db8::{1 + draw % 0xFFFE:x}"


def _public(a: int, b: int, c: int, d: int) -> bool:
    """Whether an IPv4 address can belong to somebody (IANA special-purpose registry)."""
    if a in (0, 10, 127) or a >= 224:
        return False
    if (a, b) in ((169, 254), (192, 168), (198, 18), (198, 19)):
        return False
    if (a == 100 and 64 <= b < 128) or (a == 172 and 16 <= b < 32):
        return False
    return (a, b, c) not in ((192, 0, 0), (192, 0, 2), (198, 51, 100), (203, 0, 113))


@kernel
def _suspects(data: np.ndarray, offsets: np.ndarray, email: bool, ip: bool) -> np.ndarray:
    """A text is suspect with an @, with three dots that end 1 to 3 digits, or with `hhhh:`."""
    out = np.zeros(len(offsets) - 1, np.bool_)
    for i in range(len(offsets) - 1):
        digits = groups = hexadecimal = 0
        for at in range(offsets[i], offsets[i + 1]):
            byte = data[at]
            if byte == 64:
                if email:
                    out[i] = True
                    break
            elif not ip:
                continue
            if 48 <= byte <= 57:
                digits += 1
                hexadecimal += 1
                if groups == 3:
                    out[i] = True
                    break
                continue
            if byte == 46:
                groups = groups + 1 if 0 < digits <= 3 else 0
                hexadecimal = 0
            else:
                groups = 0
                if 97 <= byte <= 102 or 65 <= byte <= 70:
                    hexadecimal += 1
                else:
                    if byte == 58 and hexadecimal == 4:
                        first = data[at - 4]
                        if first == 50 or first == 51:
                            out[i] = True
                            break
                    hexadecimal = 0
            digits = 0
    return out
