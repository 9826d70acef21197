"""Text cut into documents that are exact byte ranges of their file.

A text longer than `split_bytes` is cut at the last blank line that fits, else at a line's end, else
between two characters; the parts are byte ranges whose concatenation is the file. A file that is
not in the encoding, or holds NUL bytes at its beginning, is quarantined whole: half a file of
another encoding is as wrong as all of it. Markdown and reStructuredText are text as they stand:
their marks are what a model is to write, and a text from which something was taken would no longer
be the bytes that its range names. What is lost by that was measured: labels and tab commands are
2 % of 44 Markdown chapters, the heads of 40 PEPs 1.4 % (their directives, 6 %, hold notes and
code). Reasons: not_utf8 (named after the encoding), binary; dropped: empty.
"""

import codecs
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from pretrain import store
from pretrain.collect import streams
from pretrain.collect.ledger import Ledger
from pretrain.collect.lines import BOM
from pretrain.collect.settings import Source
from pretrain.collect.streams import Damage

Tags = Sequence[str]
# url, license, date, language, digest, tags
Known = tuple[str | None, str | None, str | None, str | None, str | None, Tags]
BINARY_BYTES = 8192  # a NUL byte among the first so many marks a binary file
UTF16 = (b"\xff\xfe", b"\xfe\xff")
# Encodings whose files begin with a mark of their order: what stands behind it is encoded so.
MARKED = {
    ("utf-16", codecs.BOM_UTF16_LE): "utf-16-le",
    ("utf-16", codecs.BOM_UTF16_BE): "utf-16-be",
    ("utf-32", codecs.BOM_UTF32_LE): "utf-32-le",
    ("utf-32", codecs.BOM_UTF32_BE): "utf-32-be",
}


class Segment(NamedTuple):
    """Verified bytes without a gap: the whole file, unless parts of it are damaged."""

    base: int
    file: IO[bytes]
    n_bytes: int


def read(
    blocks: Iterable[bytes | Damage],
    source: Source,
    ledger: Ledger,
    url: str | None = None,
    license: str | None = None,
    tags: Tags = (),
    date: str | None = None,
    digest: str | None = None,
) -> None:
    """The documents of one text; what is known of it is known of each."""
    known = (url, license, date, source.language, digest, tags)
    any_part = False
    for part in segments(blocks, ledger.folder):
        any_part = True
        if isinstance(part, Damage):
            ledger.take()
            ledger.quarantine(*part)
        else:
            keep(part, source, ledger, known)
    if not any_part:
        ledger.take()
        ledger.drop(0, 0, "empty")


def segments(blocks: Iterable[bytes | Damage], folder: Path) -> Iterator[Segment | Damage]:
    """The runs of bytes between damaged parts, each as a temporary file."""
    base = n_bytes = 0
    spool = streams.new_spool(folder)
    try:
        for block in blocks:
            if isinstance(block, Damage):
                if n_bytes:
                    yield Segment(base, spool, n_bytes)
                    base, n_bytes = base + n_bytes, 0
                    spool.close()
                    spool = streams.new_spool(folder)
                yield block
            else:
                with store.disk_errors(folder):
                    spool.write(block)
                n_bytes += len(block)
        if n_bytes:
            yield Segment(base, spool, n_bytes)
    finally:
        spool.close()


def keep(part: Segment, source: Source, ledger: Ledger, known: Known) -> None:
    """The documents of one segment, or the reason why it is none."""
    encoding = codecs.lookup(source.encoding).name
    if encoding == "utf-8-sig":  # as all UTF-8 here, which may have the mark
        encoding = "utf-8"
    wide = "\n".encode(encoding) != b"\n"  # UTF-16 and its like are full of NUL bytes
    part.file.seek(0)
    head = part.file.read(BINARY_BYTES)
    if b"\0" in head and not wide and not head.startswith(UTF16):
        ledger.take()
        detail = f"NUL byte at {part.base + head.index(0)}"
        ledger.quarantine(part.base, part.n_bytes, "binary", detail)
        return
    bad = first_bad_byte(part.file, encoding)
    if bad is not None:
        ledger.take()
        detail = f"byte {part.base + bad}"
        ledger.quarantine(part.base, part.n_bytes, source.not_encoding, detail)
        return
    if encoding == "utf-8":
        pieces = split(part.file, part.n_bytes, source.split_bytes)
        if part.base == 0 and head.startswith(BOM):
            pieces = _without_bom(pieces)
    else:
        pieces = _split_decoded(part.file, part.n_bytes, encoding, source.split_bytes)
    for offset, length, text in pieces:
        ledger.take()
        if not text or text.isspace():
            ledger.drop(part.base + offset, length, "empty")
        else:
            ledger.keep(part.base + offset, length, text, *known)


def first_bad_byte(file: IO[bytes], encoding: str) -> int | None:
    """Where the file stops being text of this encoding, or None where it is."""
    decoder = codecs.getincrementaldecoder(encoding)()
    file.seek(0)
    position = 0
    while True:
        piece = file.read(streams.BLOCK_BYTES)
        n_pending = len(decoder.getstate()[0])
        try:
            decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            return position - n_pending + error.start
        if not piece:
            return None
        position += len(piece)


def split(file: IO[bytes], n_bytes: int, split_bytes: int) -> Iterator[tuple[int, int, str]]:
    """(offset, length, text) of parts of at most `split_bytes` whose concatenation is the file.

    The file is valid UTF-8. A cut lies in the last three quarters of what fits, so that no sliver
    is left.
    """
    offset = 0
    while offset < n_bytes:
        file.seek(offset)
        window = file.read(split_bytes + 1)
        length = len(window) if len(window) <= split_bytes else _cut(window, split_bytes)
        yield offset, length, window[:length].decode("utf-8")
        offset += length


def _cut(window: bytes, split_bytes: int) -> int:
    least = split_bytes // 4
    blank = max(
        window.rfind(mark, least, split_bytes) + len(mark) if mark in window else 0
        for mark in (b"\n\n", b"\n\r\n")
    )
    if blank > least:
        return blank
    newline = window.rfind(b"\n", least, split_bytes) + 1
    if newline > least:
        return newline
    at = split_bytes
    while window[at] & 0xC0 == 0x80:  # in the middle of a character
        at -= 1
    return at


def _without_bom(pieces: Iterable[tuple[int, int, str]]) -> Iterator[tuple[int, int, str]]:
    for offset, length, text in pieces:
        if offset == 0:
            yield len(BOM), length - len(BOM), text[1:]
        else:
            yield offset, length, text


def _split_decoded(
    file: IO[bytes], n_bytes: int, encoding: str, split_bytes: int
) -> Iterator[tuple[int, int, str]]:
    """Parts of a text in another encoding; whole where encoding them does not give its bytes."""
    file.seek(0)
    data = file.read()
    text = data.decode(encoding)
    start, exact = 0, encoding
    for (name, mark), behind in MARKED.items():
        if name == encoding and data.startswith(mark):
            start, exact = len(mark), behind
    ranges = []
    for part in _parts(text, max(1, len(text) * split_bytes // max(1, n_bytes))):
        try:
            again = part.encode(exact)
        except UnicodeEncodeError:
            break
        if not data.startswith(again, start):
            break
        ranges.append((start, len(again), part))
        start += len(again)
    yield from ranges if ranges and start == n_bytes else [(0, n_bytes, text)]


def _parts(text: str, n_characters: int) -> Iterator[str]:
    """A text in parts of at most so many characters, cut where `split` cuts."""
    at = 0
    while at < len(text):
        end = len(text)
        if end - at > n_characters:
            least, most = at + n_characters // 4, at + n_characters
            blank, newline = text.rfind("\n\n", least, most), text.rfind("\n", least, most)
            end = blank + 2 if blank >= 0 else newline + 1 if newline >= 0 else most
        yield text[at:end]
        at = end
