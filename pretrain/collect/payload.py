"""What an HTTP answer holds: head and body apart, transfer and content encodings undone, its type.

    HTTP/1.1 200 OK ... │ chunks of gzip of HTML   ──▶   status, headers, HTML

Crawlers store bodies as they came, or decoded under the old headers; so an encoding is undone where
the bytes bear it out, and bytes that plainly are not encoded are taken as they are. A body that
ends early is kept and said to be cut; one that breaks the grammar, or a checksum, is refused
(bad_encoding). Nothing grows beyond `most` bytes (too_long). The type is the declared one unless
that says little or the first bytes belie it, as in the WHATWG's MIME sniffing standard.
"""

import re
import zlib
from typing import NamedTuple

HTML = ("text/html", "application/xhtml+xml")
HEAD_BYTES = 1 << 18
SNIFF_BYTES = 1 << 10
# Declared types that say nothing of what a browser would find.
VAGUE = {
    *("", "text/plain", "application/octet-stream", "binary/octet-stream", "*/*"),
    *("unknown/unknown", "application/unknown", "application/x-unknown-content-type", "no-type"),
}
MAGIC = {
    b"%PDF-": "application/pdf",
    b"\x89PNG": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"PK\x03\x04": "application/zip",
    b"\x1f\x8b": "application/gzip",
    b"RIFF": "application/x-riff",
    b"ID3": "audio/mpeg",
}
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_TAGS = rb"!doctype\s+html|html|head|body|title|meta|script|style|iframe|table|div|h1|p|a|br|font|b"
_STARTS_AS_HTML = re.compile(
    rb"(?:\s|<\?xml[^>]*>|<!--(?:[^-]|-(?!->))*-->)*<(?:" + _TAGS + rb")[\s>/]", re.I
)
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9a-fA-F]{1,15})[ \t]*(?:;[^\r\n]*)?\r?\n")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([A-Za-z0-9._:+-]+)", re.I)


class Undecodable(Exception):
    """The bytes of this body cannot be had, or not as text."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, detail


class Answer(NamedTuple):
    status: int | None  # None: the block has no status line
    headers: dict[str, list[str]]  # names in lower case; several lines of a name in order
    body: bytes

    def header(self, name: str) -> str:
        return ", ".join(self.headers.get(name, ()))


def answer(block: bytes) -> Answer:
    """An HTTP answer in its parts; all of it is body where it does not begin as one."""
    first = re.match(rb"(?:HTTP/\d(?:\.\d)?|ICY)[ \t]+(\d{3})", block)
    if not first:
        return Answer(None, {}, block)
    end = _BLANK_LINE.search(block, 0, HEAD_BYTES)
    head = block[: end.start()] if end else block[:HEAD_BYTES]
    headers: dict[str, list[str]] = {}
    values: list[str] = []
    for line in head.decode("latin-1").split("\n")[1:]:
        if line[:1] in (" ", "\t") and values:
            values[-1] += " " + line.strip()
            continue
        name, colon, value = line.partition(":")
        if colon:
            values = headers.setdefault(name.strip().lower(), [])
            values.append(value.strip())
    return Answer(int(first[1]), headers, block[end.end() :] if end else b"")


def decoded(message: Answer, most: int) -> tuple[bytes, bool]:
    """The body without its encodings, and whether it is whole.

    Raises: Undecodable.
    """
    body, whole = message.body, True
    if "chunked" in message.header("transfer-encoding").lower():
        body, whole = unchunked(body)
    names = [n.strip().lower() for n in message.header("content-encoding").split(",")]
    for name in reversed(names[:4]):
        undo = ENCODINGS.get(name.removeprefix("x-"))
        if undo and body:
            body, ended = undo(body, most)
            whole = whole and ended
            if len(body) > most:
                raise Undecodable("too_long", f"more than {most} bytes after {name}")
    return body, whole


def unchunked(data: bytes) -> tuple[bytes, bool]:
    """The chunks of a body joined, and whether the last one is there."""
    parts: list[bytes] = []
    at = 0
    while at < len(data):
        size = _CHUNK_SIZE.match(data, at)
        if not size:
            if at == 0:  # stored without its chunks
                return data, True
            raise Undecodable("bad_encoding", f"no size of a chunk at byte {at}")
        n_bytes = int(size[1], 16)
        if not n_bytes:
            return b"".join(parts), True
        at = size.end() + n_bytes
        parts.append(data[size.end() : at])
        if at < len(data):
            if data[at : at + 1] == b"\n":
                at += 1
            elif data[at : at + 2] == b"\r\n":
                at += 2
            elif len(parts) == 1:  # a page that begins with a word like 'face'
                return data, True
            else:
                raise Undecodable("bad_encoding", f"chunk does not end at byte {at}")
    return b"".join(parts), False


def _gunzipped(data: bytes, most: int) -> tuple[bytes, bool]:
    return _inflated(data, most, 31) if data.startswith(b"\x1f\x8b") else (data, True)


def _undeflated(data: bytes, most: int) -> tuple[bytes, bool]:
    zlib_header = len(data) > 1 and data[0] & 15 == 8 and not (data[0] << 8 | data[1]) % 31
    if not zlib_header and _is_text(data):
        return data, True
    return _inflated(data, most, 15 if zlib_header else -15)


def _inflated(data: bytes, most: int, window: int) -> tuple[bytes, bool]:
    engine = zlib.decompressobj(window)
    try:
        return engine.decompress(data, most + 1), engine.eof
    except zlib.error as error:
        raise Undecodable("bad_encoding", str(error)[:200]) from error


def _unbrotlied(data: bytes, most: int) -> tuple[bytes, bool]:
    if _is_text(data):
        return data, True
    try:
        import brotli
    except ImportError:
        raise Undecodable("bad_encoding", "br: pip install 'brotli>=1.2'") from None
    engine = brotli.Decompressor()
    try:
        return engine.process(data, output_buffer_limit=most + 1), engine.is_finished()
    except TypeError:  # an older one cannot be bounded
        raise Undecodable("bad_encoding", "br: pip install 'brotli>=1.2'") from None
    except brotli.error as error:
        raise Undecodable("bad_encoding", f"br: {error}"[:200]) from error


def _unzstd(data: bytes, most: int) -> tuple[bytes, bool]:
    import zstandard

    if not data.startswith(b"\x28\xb5\x2f\xfd"):
        return data, True
    try:
        reader = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(data)
        return reader.read(most + 1), True
    except zstandard.ZstdError as error:
        raise Undecodable("bad_encoding", str(error)[:200]) from error


ENCODINGS = {"gzip": _gunzipped, "deflate": _undeflated, "br": _unbrotlied, "zstd": _unzstd}


def _is_text(data: bytes) -> bool:
    """Whether the first bytes are what no compressed stream begins with."""
    head = data[:64]
    try:
        head[: len(head) - 3 if len(data) > 64 else len(head)].decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 6:
            return False
    return not _BINARY.search(head)


def media_type(declared: str, data: bytes) -> str:
    """The type of a body: what is declared, unless that is vague or plainly false."""
    kind = declared.partition(";")[0].strip().lower()
    if kind not in VAGUE and kind not in HTML:
        return kind
    head = data[:SNIFF_BYTES].removeprefix(b"\xef\xbb\xbf")
    for magic, found in MAGIC.items():
        if head.startswith(magic):
            return found
    if _STARTS_AS_HTML.match(head):
        return kind if kind in HTML else "text/html"
    if _BINARY.search(head) and head[:2] not in _UTF_16:
        return "application/octet-stream"
    if kind in HTML or kind in ("text/plain", "application/octet-stream", "binary/octet-stream"):
        return kind
    return "text/plain"


def charset(declared: str) -> str:
    """The character set that a Content-Type names, or the empty string."""
    found = _CHARSET.search(declared)
    name = found[1].lower() if found else ""
    return "cp1252" if name in ("iso-8859-1", "latin1", "latin-1", "us-ascii", "ascii") else name


def text(data: bytes, stated: str) -> str:
    """A plain text as Unicode: UTF-8 where it is, else as stated, else as its bytes look.

    Raises: Undecodable.
    """
    if data[:2] in _UTF_16:
        guesses = ["utf-16"]
    else:
        guesses = ["utf-8-sig", stated] if stated not in ("utf-7", "utf7") else ["utf-8-sig"]
    for guess in guesses:
        found = _decoded_as(data, guess)
        if found is not None:
            return found
    from resiliparse.parse.encoding import detect_encoding

    guess = detect_encoding(data[: 1 << 16]) or ""
    found = _decoded_as(data, guess)
    if found is None:
        raise Undecodable("not_utf8", f"nor {stated or 'stated otherwise'}, nor {guess}")
    return found


def _decoded_as(data: bytes, name: str) -> str | None:
    try:
        found = data.decode(name or "ascii")
        found.encode()  # no lone surrogate
    except (LookupError, UnicodeError):
        return None
    return found


def for_extraction(data: bytes, stated: str) -> bytes:
    """A page that says nothing of its character set, in UTF-8 by what its header states."""
    if not stated or stated in ("utf-8", "utf8", "utf-7", "utf7"):
        return data
    if b"charset" in data[:SNIFF_BYTES].lower() or data[:2] in _UTF_16:
        return data
    found = _decoded_as(data, stated)
    return data if found is None else found.encode()
