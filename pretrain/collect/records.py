"""The records of a web archive: WARC 0.17 to 1.1 (also WET, WAT) and ARC 1, packed or plain.

    member ─▶ │ WARC/1.0 name: value ... │ blank line │ Content-Length bytes │ two line ends │ ...

A record is handed on when what follows its content is an end or the head of another one. Where it
is not, its length lies (or something lies behind it): the block digest decides if there is one, and
reading goes on at the next line that is a head; what was passed over is `Lost`. A head or a gap
never costs more than one look at each byte.

`offset` and `length` are those of the compressed member, as in CDX files; a record that is not the
first of its member has a `number` above 0. In a plain file they are the record's own, from its
first byte to the last of its content. Memory holds one record's head, and its content if asked for.
"""

import base64
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from pretrain.collect import streams
from pretrain.collect.streams import Damage, Member

HEAD_BYTES = 1 << 16
ARC_BYTES = 1 << 13  # the head of an ARC record is one line
_LINE_ENDS = b"\r\n"
_WARC = re.compile(rb"WARC/(?:0\.1[78]|1\.\d)[ \t]*\r?\n")
_SCHEME = re.compile(rb"[a-zA-Z][a-zA-Z0-9+.-]{0,20}:")
_BLANK_LINE = re.compile(rb"\n\r?\n")
_FOLDED = re.compile(rb"\r?\n[ \t]+")
# What a lost reader looks for: a version line with a named field behind it, or the line of an ARC.
_NEXT_HEAD = re.compile(
    rb"\n(?=WARC/(?:0\.1[78]|1\.\d)[ \t]*\r?\n[A-Za-z][A-Za-z-]{0,40}:"
    rb"|[a-zA-Z][a-zA-Z0-9+.-]{0,20}:[^\r\n]{0,2000}? [0-9.]{7,15} \d{14} "
    rb"[^\r\n]{0,80}? ?\d{1,12}\r?\n)"
)
_NEXT_BYTES = 1 << 12  # longest match of the above


class Record(NamedTuple):
    offset: int
    length: int
    number: int  # among the records of its member; 0 in a plain file
    fields: dict[str, str]  # names in lower case; of two of one name the first
    text: IO[bytes]
    start: int  # of the content in `text`, and how long it is
    n_bytes: int

    @property
    def kind(self) -> str:
        return self.fields.get("warc-type", "").lower()

    @property
    def url(self) -> str:
        return self.fields.get("warc-target-uri", "").removeprefix("<").removesuffix(">")

    def content(self) -> bytes:
        """The bytes of the record; to be asked for before the next record is."""
        return _at(self.text, self.start, self.n_bytes)


class Lost(NamedTuple):
    """A range that gave no record: a lying length, a head that is none, bytes in between."""

    offset: int
    length: int
    number: int
    reason: str  # 'bad_record' or 'truncated'
    detail: str


class _Head(NamedTuple):
    fields: dict[str, str]
    n_bytes: int
    n_content: int


class _Bad(NamedTuple):
    detail: str
    n_seen: int  # bytes that hold no other head
    is_cut: bool = False  # it may go on behind the end of the file


def records(file: IO[bytes], name: str, folder: Path) -> Iterator[Record | Lost | Damage]:
    """Everything in an open archive, in order; the suffix of `name` tells its compression."""
    for member in streams.members(file, name, folder):
        if isinstance(member, Damage):
            yield member
        else:
            yield from of_member(member, member.text is not file)


def of_member(member: Member, packed: bool = True) -> Iterator[Record | Lost]:
    """The records of one member; of a plain file where it is not `packed`."""
    text, end = member.text, member.n_bytes
    at, number = _behind_line_ends(text, 0, end), 0
    while at < end:
        head = _head(text, at, end)
        if isinstance(head, _Bad):
            following = _next_head(text, at + head.n_seen, end)
            reason = "truncated" if head.is_cut and not packed else "bad_record"
            yield _lost(member, packed, number, at, following, reason, head.detail)
        else:
            content = at + head.n_bytes
            stop = content + head.n_content
            following = _behind_line_ends(text, stop, end)
            where = (member.start, member.length) if packed else (at, stop - at)
            record = Record(*where, number, head.fields, text, content, head.n_content)
            if stop <= end and _is_whole(record, stop, following, end):
                yield record
            else:
                following = _next_head(text, content - 1, end)
                reason, detail = "bad_record", f"no record behind its {head.n_content} bytes"
                if stop > end:
                    detail = f"{end - content} of {head.n_content} bytes are there"
                    reason = "bad_record" if packed or following < end else "truncated"
                yield _lost(member, packed, number, at, following, reason, detail)
        at, number = following, number + packed


def _lost(
    member: Member, packed: bool, number: int, start: int, end: int, reason: str, detail: str
) -> Lost:
    if packed:
        detail = f"{detail} ({end - start} bytes at byte {start} of the member)"
        return Lost(member.start, member.length, number, reason, detail)
    return Lost(start, end - start, number, reason, detail)


def _is_whole(record: Record, stop: int, following: int, end: int) -> bool:
    """Whether a record ends where its length says."""
    if following >= end:
        return True
    head = _at(record.text, following, ARC_BYTES)
    if _WARC.match(head) or isinstance(_arc_head(head), _Head):
        return True
    agrees = _digest_agrees(record)
    if agrees is not None:
        return agrees
    ended = _at(record.text, stop, 4) == b"\r\n\r\n" or _at(record.text, stop, 2) == b"\n\n"
    return ended and "arc" not in record.fields


def _digest_agrees(record: Record) -> bool | None:
    """Whether the content is what its block digest says; None where nothing can be said."""
    name, _, stated = record.fields.get("warc-block-digest", "").partition(":")
    if name.lower() not in ("sha1", "md5", "sha256") or not stated:
        return None
    digest = hashlib.new(name.lower(), usedforsecurity=False)
    for start in range(record.start, record.start + record.n_bytes, streams.BLOCK_BYTES):
        left = record.start + record.n_bytes - start
        digest.update(_at(record.text, start, min(left, streams.BLOCK_BYTES)))
    found = digest.digest()
    return stated.rstrip("=").upper() in (
        base64.b32encode(found).decode().rstrip("="),
        found.hex().upper(),
    )


def _head(text: IO[bytes], at: int, end: int) -> _Head | _Bad:
    data = _at(text, at, min(1 << 11, end - at))
    if not data.startswith(b"WARC/"):
        return _arc_head(data if b"\n" in data else _at(text, at, ARC_BYTES))
    blank = _BLANK_LINE.search(data)
    if not blank:
        data = _at(text, at, min(HEAD_BYTES, end - at))
        blank = _BLANK_LINE.search(data)
        if not blank:
            is_cut = at + len(data) >= end
            return _Bad("head without an end", max(1, len(data) - _NEXT_BYTES), is_cut)
    version = _WARC.match(data)
    if not version:
        return _Bad(f"version {data[:12]!r}", 4)
    inner = data.rfind(b"\nWARC/", 0, blank.start())
    if inner > 0:
        return _Bad("head without an end", inner)
    lines = data[version.end() : blank.start()]
    if b"\n " in lines or b"\n\t" in lines:
        lines = _FOLDED.sub(b" ", lines)
    fields: dict[str, str] = {}
    for line in lines.decode("utf-8", "replace").split("\n"):
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip().lower(), value.strip())
    length = fields.get("content-length", "")
    if not (length.isascii() and length.isdigit() and len(length) < 16):
        return _Bad(f"Content-Length {length!r:.40}", max(1, blank.start()))
    return _Head(fields, blank.end(), int(length))


def _arc_head(data: bytes) -> _Head | _Bad:
    """URL, address, date, type and length, in one line; URLs and types may hold blanks."""
    line, newline, _ = data.partition(b"\n")
    words = line.rstrip(b"\r").decode("utf-8", "replace").split(" ")
    at = next((i for i, w in enumerate(words[2:-1], 2) if w.isdigit() and 12 <= len(w) <= 18), 0)
    if not (newline and at and _SCHEME.match(line)):
        return _Bad("no head of a record", 1)
    url, date, length = " ".join(words[: at - 1]), words[at], words[-1]
    if not (length.isascii() and length.isdigit() and len(length) < 16):
        return _Bad(f"length {length!r:.40}", len(line))
    day, time = (date[:4], date[4:6], date[6:8]), (date[8:10], date[10:12], date[12:14] or "00")
    is_page = url.lower().startswith(("http:", "https:"))
    fields = {
        "arc": "1",
        "warc-type": "response" if is_page else "warcinfo",
        "warc-target-uri": url,
        "warc-date": f"{'-'.join(day)}T{':'.join(time)}Z",
        "content-type": " ".join(words[at + 1 : -1]),
    }
    return _Head(fields, len(line) + 1, int(length))


def _next_head(text: IO[bytes], start: int, end: int) -> int:
    """Where the next line that is a head begins, or `end`."""
    position, kept = start, b""
    while position < end:
        piece = _at(text, position, min(streams.BLOCK_BYTES, end - position))
        if not piece:
            break
        window = kept + piece
        found = _NEXT_HEAD.search(window)
        if found:
            return position - len(kept) + found.end()
        position += len(piece)
        kept = window[-_NEXT_BYTES:]
    return end


def _behind_line_ends(text: IO[bytes], at: int, end: int) -> int:
    n_next = 16
    while at < end:
        piece = _at(text, at, min(n_next, end - at))
        rest = piece.lstrip(_LINE_ENDS)
        if rest or not piece:
            return at + len(piece) - len(rest)
        at += len(piece)
        n_next = streams.BLOCK_BYTES
    return at


def _at(text: IO[bytes], start: int, n_bytes: int) -> bytes:
    text.seek(start)
    return streams._read(text, n_bytes)
