"""E-mail addresses and public IP addresses in a text.

Left alone: names and addresses reserved for documentation (so what replaces an address is none),
`git@github.com` and other logins that are roles, `user@host:path` of scp, the login of a URL, names
of files (`icon@2x.png`), hosts under no known top level (`getty@tty1.service`); private, loopback,
link-local and multicast addresses, and numbers that are rather versions, sections or object
identifiers: after a word like `version`, with a leading zero, in a longer dotted number, or with
no part above 31 (`4.2.2.10`; one address in 4,000 is lost to that).

Rules read one place of one text and yield byte ranges; each look is bounded: 65 bytes to the left
of an @, 320 to its right.
"""

import ipaddress
import re
from collections.abc import Iterator

import xxhash

Span = tuple[int, int]

_DOMAIN = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-."
_LOCAL = _DOMAIN + b"_%+"
_LABEL = re.compile(rb"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
# Country codes; general ones in common use (of some 1,400). Others are rarely of mail addresses,
# and often a name of something in code.
_TOP_LEVELS = """
ac ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bm bn bo br bs bt bw
by bz ca cc cd cf cg ch ci ck cl cm cn co cr cu cv cw cx cy cz de dj dk dm do dz ec ee eg er es et
eu fi fj fk fm fo fr ga gb gd ge gf gg gh gi gl gm gn gp gq gr gs gt gu gw gy hk hm hn hr ht hu id
ie il im in io iq ir is it je jm jo jp ke kg kh ki km kn kp kr kw ky kz la lb lc li lk lr ls lt lu
lv ly ma mc md me mg mh mk ml mm mn mo mp mq mr ms mt mu mv mw mx my mz na nc ne nf ng ni nl no np
nr nu nz om pa pe pf pg ph pk pl pm pn pr ps pt pw py qa re ro rs ru rw sa sb sc sd se sg sh si sk
sl sm sn so sr ss st su sv sx sy sz tc td tf tg th tj tk tl tm tn to tr tt tv tw tz ua ug uk us uy
uz va vc ve vg vi vn vu wf ws ye yt za zm zw com org net edu gov mil int info biz name pro aero
coop museum jobs travel mobi tel cat asia post arpa app dev xyz online site website web tech store
shop cloud email blog agency digital network systems solutions services software company group team
work works media news press studio design life live world today club space fun global international
consulting academy school university education college institute foundation ngo ong church
community social center care health clinic dental doctor hospital law legal finance bank insurance
ventures capital fund money tax gmbh ltd llc inc kaufen haus immobilien reisen versicherung berlin
hamburg koeln cologne bayern nrw ruhr saarland wien tirol swiss zuerich paris bzh alsace london
scot wales cymru irish amsterdam frl brussels vlaanderen gent eus gal barcelona madrid moscow
istanbul tokyo osaka nyc boston miami vegas quebec sydney melbourne africa joburg lat hotel
restaurant pizza cafe bar photos photography gallery art music film video games game farm garden
house homes land estate properties rentals city town fish bio eco green energy solar engineering
industries science technology computer codes guru expert guide reviews wiki top icu vip win lol
ninja rocks zone link click page one plus black blue red pink gold google apple microsoft amazon
ibm sap bmw audi basf bayer bosch siemens allianz sbs abbott cern ski surf run fit yoga hockey golf
bike auto cars aws bot ist moe wtf ink uno kim love dating marketing management partners directory
support tools host hosting domains chat mail example invalid test localhost
"""
_TOP = frozenset(_TOP_LEVELS.encode().split())
_FILES = re.compile(rb"(?i)\d+(?:\.\d+)?x\.")  # the start of 2x.png
_RESERVED_TOP = {b"example", b"invalid", b"test", b"localhost"}
_RESERVED_NAMES = {b"example.com", b"example.net", b"example.org", b"example.edu"}
_ROLES = {b"git", b"hg", b"svn", b"cvs", b"anoncvs", b"bzr", b"gitlab", b"gitea", b"rsync"}
_SCP = re.compile(rb":(?=[A-Za-z~/._])(?:~?/|[^\s:]{0,64}(?:/|\.git\b))")

_IPV4 = re.compile(
    rb"(?<![0-9A-Za-z_.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9A-Za-z_@%]|[.+-][0-9A-Za-z_])"
)
_IPV6 = re.compile(
    rb"(?<![0-9A-Za-z_:.])[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:]{1,34}(?![0-9A-Za-z_:-]|\.[0-9A-Za-z_])"
)
_VERSION = re.compile(
    rb"(?i)(?<![A-Za-z0-9_.@%+-])(?:versions?|ver|release|rev|revision|firmware|build|driver"
    rb"|sections?|sec|chapter|clause|appendix|paragraph|table|figure|v\.|oid|\xc2\xa7)"
    rb"""[\s:=#"'(]{0,3}\Z"""
)
_PUBLIC_6 = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC_6 = [ipaddress.IPv6Network(n) for n in ("2001:db8::/32", "3fff::/20")]
_DOCUMENTATION = ("192.0.2", "198.51.100", "203.0.113")


def emails(text: bytes | bytearray, start: int, end: int) -> Iterator[Span]:
    """The address whose @ is at `start`."""
    left = bytes(text[max(0, start - 65) : start])
    local = left[len(left.rstrip(_LOCAL)) :].lstrip(b".-")
    if not 0 < len(local) <= 64 or local.endswith(b".") or b".." in local:
        return
    right = bytes(text[start + 1 : start + 321])
    run = right[: len(right) - len(right.lstrip(_DOMAIN))]
    after = right.lstrip(_LOCAL)[:1]  # a second @ makes a host and a name out of one run
    domain = b"" if len(run) > 253 or after == b"@" else _domain(run)
    if not domain or reserved(domain):
        return
    low = start - len(local)
    follows = bytes(text[start + 1 + len(domain) : start + 80 + len(domain)])
    if local.lower() in _ROLES or _SCP.match(follows) or _of_url(text, low):
        return
    yield low, start + 1 + len(domain)


def addresses(text: bytes | bytearray, start: int, end: int) -> Iterator[Span]:
    """Public IPv4 addresses among the numbers of text[start:end]."""
    for found in _IPV4.finditer(text, start, min(len(text), end + 2)):
        parts = found.group().split(b".")
        if any((len(p) > 1 and p[:1] == b"0") or int(p) > 255 for p in parts):
            continue
        if max(map(int, parts)) < 32 or not _public(*map(int, parts)):
            continue
        low = found.start()
        if low < end and not _VERSION.search(text[max(0, low - 20) : low]):
            yield found.span()


def addresses_6(text: bytes | bytearray, start: int, end: int) -> Iterator[Span]:
    """The public IPv6 address that starts at `start`."""
    found = _IPV6.match(text, start)
    if not found:
        return
    try:
        address = ipaddress.IPv6Address(found.group().decode())
    except ValueError:
        return
    if address in _PUBLIC_6 and not any(address in n for n in _NOT_PUBLIC_6):
        yield found.span()


def email_replacement(found: str) -> str:
    """An address at a domain of RFC 2606; one address always has the same."""
    draw = xxhash.xxh3_64_intdigest(found.lower().encode())
    return ("email@example.com", "firstname.lastname@example.org")[draw % 2]


def ip_replacement(found: str) -> str:
    """An address reserved for documentation: RFC 5737 for IPv4, RFC 3849 for IPv6."""
    try:
        address = ipaddress.ip_address(found)
    except ValueError:
        address = ipaddress.IPv4Address(0)
    draw = xxhash.xxh3_64_intdigest(address.packed)
    if address.version == 6:
        return f"2001:db8::{1 + draw % 9999}"  # ends in a digit, as the mask of a finding does
    return f"{_DOCUMENTATION[draw % 3]}.{1 + draw // 3 % 254}"


def _domain(run: bytes) -> bytes:
    """The longest start of `run` that is a host under a known top level, or b''."""
    labels = run.split(b"..")[0].strip(b".-").split(b".") if run[:1] not in (b".", b"-") else []
    for i, label in enumerate(labels):
        if not _LABEL.fullmatch(label):
            del labels[i:]
            break
    while len(labels) > 1 and not known_top(labels[-1]):
        if not labels[-1].isdigit() and not labels[-1].istitle():
            return b""  # a host, but of no mail address; a sentence may follow without a space
        labels.pop()
    return b".".join(labels) if len(labels) > 1 and not _FILES.match(run) else b""


def known_top(label: bytes) -> bool:
    return label.lower() in _TOP or label[:4].lower() == b"xn--"


def reserved(domain: bytes) -> bool:
    labels = domain.lower().split(b".")
    return labels[-1] in _RESERVED_TOP or b".".join(labels[-2:]) in _RESERVED_NAMES


def _of_url(text: bytes | bytearray, low: int) -> bool:
    """Whether what stands before is `scheme://` or `scheme://user:`: this is the login of a URL."""
    before = bytes(text[max(0, low - 104) : low])
    before = before.rpartition(b"://")[2] if b"://" in before else b" "
    return before == b"" or (before.endswith(b":") and not re.search(rb"[\s/@]", before))


def _public(a: int, b: int, c: int, d: int) -> bool:
    """Whether an IPv4 address can belong to somebody (IANA special-purpose registry)."""
    if a in (0, 10, 127) or a >= 224:
        return False
    if (a, b) in ((169, 254), (192, 168), (198, 18), (198, 19)):
        return False
    if (a == 100 and 64 <= b < 128) or (a == 172 and 16 <= b < 32):
        return False
    return (a, b, c) not in ((192, 0, 0), (192, 0, 2), (198, 51, 100), (203, 0, 113))
