"""The few members of a gzip archive that somebody wants, without unpacking the others.

    │ gzip member: head ┊ content  size │ gzip member: head ┊ content  size │ ...
      ▲ unpack 1 KiB: whose, how long?  ▲ agrees, so it was this record alone

A member ends with the size of what it holds. Where that is the size its first record states, the
member is this record alone and the next magic number is a true boundary; only the head was
unpacked. Where it is not (several records in a member, a magic number by chance, damage) the member
is unpacked in full, as `streams` does. So nothing is missed, and a search for robots.txt costs a
tenth of an unpacking. A damaged member is passed over: the reader proper accounts for it.
"""

import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

from pretrain.collect import streams
from pretrain.collect.streams import Member

MAGIC = b"\x1f\x8b\x08"
HEAD_BYTES = (1 << 10, 1 << 14)  # what is unpacked of a member, where the first is too little: more
SLACK_BYTES = 8  # line ends behind a record; too few for another one
_BLANK_LINE = re.compile(rb"\n\r?\n")
_LENGTH = re.compile(rb"\ncontent-length[ \t]*:[ \t]*(\d{1,10})[ \t]*\r?\n", re.I)
_URL = re.compile(rb"\nwarc-target-uri[ \t]*:[ \t]*<?([^\r\n>]*)", re.I)


class _Head(NamedTuple):
    url: bytes
    n_bytes: int  # of head and content; 0: unknown


def members(file: IO[bytes], folder: Path, wanted: Callable[[bytes], bool]) -> Iterator[Member]:
    """The members whose first record has a wanted address, and those that hide what they hold.

    The text of a member is closed when the next is asked for.
    """
    end = streams.count_bytes(file)
    at, head = 0, _head(file, 0)
    while at < end:
        following, next_head = _next(file, at + len(MAGIC), end)
        if head and not wanted(head.url) and _is_single(file, head, following):
            at, head = following, next_head
            continue
        with streams.new_spool(folder) as spool:
            try:
                following = streams._gunzip(file, at, spool, folder)
            except streams._Broken:
                at, head = _next(file, at + 1, end)
                continue
            n_bytes = spool.tell()
            spool.seek(0)
            yield Member(at, following - at, spool, n_bytes)
        at = streams._behind_zeros(file, following)
        head = _head(file, at)


def _is_single(file: IO[bytes], head: _Head, following: int) -> bool:
    """Whether a member that ends here holds one record, by the size in its trailer."""
    file.seek(following - 4)
    made = int.from_bytes(streams._read(file, 4), "little")
    return 0 < head.n_bytes <= made <= head.n_bytes + SLACK_BYTES


def _next(file: IO[bytes], start: int, end: int) -> tuple[int, _Head | None]:
    """Where a magic number with a record behind it comes next, or `end`."""
    position, kept, n_next = start, b"", 1 << 12
    while position < end:
        file.seek(position)
        piece = streams._read(file, n_next)
        if not piece:
            break
        window, base = kept + piece, position - len(kept)
        at = window.find(MAGIC)
        while at >= 0:
            head = _head(file, base + at)
            if head:
                return base + at, head
            at = window.find(MAGIC, at + 1)
        position += len(piece)
        kept = window[-(len(MAGIC) - 1) :]
        n_next = min(2 * n_next, streams.BLOCK_BYTES)
    return end, None


def _head(file: IO[bytes], at: int) -> _Head | None:
    """The head of the first record of a member; None where there is no member of an archive."""
    for n_bytes in HEAD_BYTES:
        file.seek(at)
        data = streams._read(file, n_bytes)
        try:
            text = zlib.decompressobj(31).decompress(data, n_bytes)
        except zlib.error:
            return None
        if not text.startswith(b"WARC/"):
            return _arc_head(text)
        blank = _BLANK_LINE.search(text)
        if blank:
            break
    url, length = _URL.search(text), _LENGTH.search(text)
    if not (blank and length and length.end() <= blank.end()):
        return _Head(b"", 0)
    return _Head(url[1].strip() if url else b"", blank.end() + int(length[1]))


def _arc_head(text: bytes) -> _Head | None:
    line = text.partition(b"\n")[0]
    words = line.split()
    if len(words) < 5 or b":" not in words[0]:
        return None
    known = words[-1].isdigit() and len(words[-1]) < 11
    return _Head(words[0], len(line) + 1 + int(words[-1]) if known else 0)
