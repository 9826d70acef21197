"""The members of an archive, each with its own path and its own fate.

A member is read as if it lay on the disk. Refused are those that tar.py and zip.py refuse, and
archives below the second level (`nested`). Dropped are hidden members (`hidden`) and those of a
suffix that nothing reads (`suffix`). Of two members with one name the second is called NAME#2.
The .tex files of an archive are kept back until its end, because one may include another.
"""

from collections.abc import Callable, Iterable
from typing import Any

import xxhash

from pretrain.collect import pages, papers, tar, zip
from pretrain.collect.ledger import Ledger
from pretrain.collect.listing import shown
from pretrain.collect.members import (
    ARCHIVES,
    NESTED_FACTOR,
    Member,
    chooses,
    chosen,
    format_of,
    inside,
)
from pretrain.collect.settings import Source
from pretrain.collect.streams import Damage

DEPTH = 2
MOST_MEMBERS = 1_000_000  # the names of so many are remembered, in about 100 MB

ReadMember = Callable[[Member, Source, Ledger, Any], None]


def read(
    archive: Member,
    blocks: Iterable[bytes | Damage],
    is_tar: bool,
    source: Source,
    ledger: Ledger,
    guard: Any,
    read_member: ReadMember,
) -> None:
    """Every member of a tar (from its unpacked blocks) or zip (from its file)."""

    def most(name: str) -> int:
        return source.max_record_bytes * (NESTED_FACTOR if format_of(name) in ARCHIVES else 1)

    if is_tar:
        found = tar.members(blocks, most, ledger.folder)
    else:
        found = zip.members(archive.file, most, ledger.folder)
    seen: set[int] = set()
    paper = _Paper()
    for one in found:
        if not one.name and one.reason != "unsafe_path":  # a part of the archive itself
            ledger.take()
            ledger.quarantine(0, one.n_bytes, one.reason, one.detail)
            continue
        if len(seen) >= MOST_MEMBERS:
            ledger.take()
            ledger.quarantine(0, 0, "too_many", f"the rest was not read after {MOST_MEMBERS}")
            break
        name = _distinct(one.name, seen)
        with inside(ledger, name):
            if not _refuse(one, archive, source, ledger):
                assert one.file is not None
                member = Member(one.name, one.file, None, archive.depth + 1)
                if not paper.takes(name, member, one.n_bytes):
                    read_member(member, source, ledger, guard)
        if paper.n_bytes > source.max_record_bytes:
            paper.flush(source, ledger, guard)
            paper.is_collection = True
    paper.flush(source, ledger, guard)


class _Paper:
    """The .tex files of an archive, until there are too many for one paper."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.n_bytes = 0
        self.is_collection = False

    def takes(self, name: str, member: Member, n_bytes: int) -> bool:
        if self.is_collection or not member.name.lower().endswith(".tex"):
            return False
        self.files[name] = member.file.read()
        self.n_bytes += n_bytes
        return True

    def flush(self, source: Source, ledger: Ledger, guard: Any) -> None:
        files, n_bytes = self.files, self.n_bytes
        self.files, self.n_bytes = {}, 0
        if n_bytes > source.max_record_bytes:
            joined: Any = ((name, data, "") for name, data in files.items())
        else:
            joined = papers.assemble(files, source.max_record_bytes)
        for name, data, root in joined:
            with inside(ledger, name):
                if data is None:
                    ledger.take()
                    ledger.drop(0, len(files[name]), "included", f"in {shown(root)}")
                else:
                    pages.keep(data, len(files[name]), "latex", None, source, ledger, guard)


def _distinct(name: str, seen: set[int]) -> str:
    """The name, or with '#2', '#3', ... behind it where the archive has it more than once."""
    distinct, number = name, 1
    while (key := xxhash.xxh3_64_intdigest(distinct.encode("utf-8", "surrogateescape"))) in seen:
        number += 1
        distinct = f"{name}#{number}"
    seen.add(key)
    return distinct


def _refuse(one: tar.Found, archive: Member, source: Source, ledger: Ledger) -> bool:
    """Whether a member is not read; the ledger knows why."""
    is_archive = format_of(one.name) in ARCHIVES
    hidden = any(p.startswith(".") and p != "." for p in one.name.split("/"))
    if one.reason:
        ledger.quarantine(0, one.n_bytes, one.reason, one.detail)
    elif hidden:
        ledger.drop(0, one.n_bytes, "hidden", "a name that begins with a dot")
    elif is_archive and archive.depth + 1 >= DEPTH:
        ledger.quarantine(0, one.n_bytes, "nested", f"archives are read to level {DEPTH}")
    elif not is_archive and chooses(source) and not chosen(one.name, source):
        ledger.drop(0, one.n_bytes, "suffix", "not among the recipe's suffixes")
    else:
        return False
    ledger.take()
    return True
