"""Whole files of every kind that a suffix tells: text, pages, papers, books and archives of them.

    file ──┬ text                 cut into exact byte ranges                      text.py
           ├ html latex epub pdf  one document, parsed in a watched process       pages.py
           └ tar zip              each member is a file again                     archives.py

Compression (.gz .zst .bz2 .xz) may surround any of them. A file whose name tells no more than that,
as of arXiv's papers, is known by its first bytes. A file of another suffix that the recipe names is
text; in an archive it is dropped as `suffix`.
"""

import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Any

from pretrain.collect import archives, compression, pages, streams, tar, text
from pretrain.collect.ledger import Ledger
from pretrain.collect.listing import Entry, is_remote
from pretrain.collect.members import (
    ARCHIVES,
    NESTED_FACTOR,
    Member,
    chosen,
    format_of,
    is_compressed,
)
from pretrain.collect.settings import Source
from pretrain.collect.streams import Damage

_TEX = re.compile(
    rb"^[^%\n]*\\(?:document(?:class|style)|begin|input|magnification|section|def)\b", re.M
)


def read(entry: Entry, source: Source, ledger: Ledger, guard: Any) -> None:
    """One file, with all that lies in it, into the ledger."""
    with streams.opened(entry.address, ledger.folder) as file:
        ledger.read_bytes(streams.count_bytes(file))
        url = entry.address if is_remote(entry.address) and "http" in entry.address[:5] else None
        read_member(Member(entry.address, file, url, 0), source, ledger, guard)


def read_text(entry: Entry, source: Source, ledger: Ledger) -> None:
    """The documents of a file that is text, whatever its suffix says."""
    with streams.opened(entry.address, ledger.folder) as file:
        ledger.read_bytes(streams.count_bytes(file))
        text.read(compression.blocks(file, entry.address, ledger.folder), source, ledger)


def read_member(member: Member, source: Source, ledger: Ledger, guard: Any) -> None:
    """A file by its format: the way on for files and for members of archives."""
    most = source.max_record_bytes * NESTED_FACTOR if member.depth else None
    blocks = compression.blocks(member.file, member.name, ledger.folder, most)
    kind = format_of(member.name)
    if not kind and is_compressed(member.name):
        kind, blocks = by_first_bytes(blocks)
    elif not kind and (not member.depth or chosen(member.name, source)):
        kind = "text"  # the recipe names it
    if kind == "tar" and member.depth >= archives.DEPTH:
        ledger.take()
        ledger.quarantine(0, streams.count_bytes(member.file), "nested", "an archive by its bytes")
    elif kind in ARCHIVES:
        is_tar = kind == "tar"
        archives.read(member, blocks, is_tar, source, ledger, guard, read_member)
    elif kind == "text":
        text.read(blocks, source, ledger, member.url)
    elif kind:
        pages.read(blocks, kind, member.url, source, ledger, guard)
    else:
        ledger.take()
        ledger.drop(0, streams.count_bytes(member.file), "suffix", "nothing reads such files")


def by_first_bytes(
    blocks: Iterable[bytes | Damage],
) -> tuple[str, Iterator[bytes | Damage]]:
    """The format of a file without a telling name, and its blocks again."""
    blocks = iter(blocks)
    first = next(blocks, b"")
    head = first if isinstance(first, bytes) else b""
    if tar.looks_like_tar(head):
        kind = "tar"
    elif head.startswith(b"%PDF-"):
        kind = "pdf"
    elif head.startswith(b"%!"):
        kind = ""  # PostScript
    else:
        kind = "latex" if _TEX.search(head) else "text"
    return kind, itertools.chain([first] if first else [], blocks)
