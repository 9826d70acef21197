"""A file wherever it lies, and what its name says of its format.

    files/a.txt      archive.tar!chapter/a.tex      bulk.tar!paper.tar.gz!main.tex

What lies in an archive is named by the archive's path, `!`, and its own; offsets begin anew in it.
"""

import contextlib
from collections.abc import Iterator
from typing import IO, NamedTuple

from pretrain.collect import compression
from pretrain.collect.ledger import Ledger
from pretrain.collect.listing import FORMATS, shown
from pretrain.collect.settings import Source

ARCHIVES = ("tar", "zip")
NESTED_FACTOR = 64  # an archive in an archive may have so many times `max_record_bytes`


class Member(NamedTuple):
    """A file on the disk, behind an address, or in an archive."""

    name: str  # its suffixes tell what it is
    file: IO[bytes]
    url: str | None
    depth: int  # how many archives are around it


def format_of(name: str) -> str:
    """'text', 'html', 'latex', 'epub', 'pdf', 'tar', 'zip', or '' where the suffix is not known."""
    lower = name.lower()
    bare = compression.stripped(lower)
    for kind, suffixes in FORMATS.items():
        if bare.endswith(suffixes) or (kind in ARCHIVES and lower.endswith(suffixes)):
            return kind
    return ""


def is_compressed(name: str) -> bool:
    return compression.stripped(name) != name


def chosen(name: str, source: Source) -> bool:
    """Whether the recipe's suffixes, those of archives aside, name this file."""
    return name.endswith(tuple(s for s in _suffixes(source) if format_of(f"x{s}") not in ARCHIVES))


def chooses(source: Source) -> bool:
    """Whether the recipe has suffixes for what lies in archives."""
    return any(format_of(f"x{s}") not in ARCHIVES for s in _suffixes(source))


def _suffixes(source: Source) -> list[str]:
    return [s if s.startswith(".") else f".{s}" for s in source.suffixes]


@contextlib.contextmanager
def inside(ledger: Ledger, name: str) -> Iterator[None]:
    """Within it, records of the ledger are of the member `name` of the current file."""
    outer = ledger.path
    ledger.path = f"{outer}!{shown(name)}"
    try:
        yield
    finally:
        ledger.path = outer
