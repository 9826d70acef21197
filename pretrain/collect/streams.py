"""The bytes of a source file, plain or decompressed, of which none is handed on unverified.

A corrupt gzip member yields plausible false text before its checksum is reached: 140 of 200
single-bit flips gave valid JSON with altered words. So a member (gzip) or frame (zstd) is first
decompressed to a spool, in memory up to 32 MiB and on the disk beyond, and released when its
checksum agrees. A damaged one becomes a `Damage` with its range of compressed bytes, and reading
goes on at the next magic number behind it whose member verifies. The price is one more copy.

    file ── blocks ──▶ bytes, bytes, Damage, bytes, ...

Offsets of records count the bytes that were handed on.
"""

import contextlib
import functools
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from pretrain import store
from pretrain.collect.listing import is_remote

BLOCK_BYTES = 1 << 20
SPOOL_BYTES = 32 << 20
# A member that makes more than 16 MiB at a ratio above 1000 is a bomb (gzip ends at 1032, zstd at
# 32,000); text compresses to a third or a tenth.
BOMB_BYTES = 16 << 20
BOMB_RATIO = 1000
# A zstd frame makes up to 128 KiB of 4 bytes, so it is fed little at a time to bound its output.
ZSTD_PIECE_BYTES = 1 << 10
DICTIONARY_BYTES = 16 << 20


class Unreadable(Exception):
    """The file system refused: the rest of this file cannot be had."""


class Damage(NamedTuple):
    """Compressed bytes [start, start + length) that gave nothing."""

    start: int
    length: int
    reason: str  # 'truncated', 'corrupt' or 'bomb'
    detail: str


class Member(NamedTuple):
    """Compressed bytes [start, start + length) and the file of what they hold, of `n_bytes`."""

    start: int
    length: int
    text: IO[bytes]
    n_bytes: int


class _Broken(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, detail


@contextlib.contextmanager
def opened(address: str, folder: Path) -> Iterator[IO[bytes]]:
    """A seekable binary file at a local path or an fsspec address.

    Raises: Unreadable.
    """
    with contextlib.ExitStack() as stack:
        try:
            if is_remote(address):
                import fsspec

                file = stack.enter_context(fsspec.open(address, "rb"))
            else:
                # One buffer holds many members of a web archive: fewer calls of the kernel.
                file = stack.enter_context(open(address, "rb", buffering=BLOCK_BYTES))
            if not file.seekable():  # a web server that cannot give ranges
                copy = stack.enter_context(new_spool(folder))
                shutil.copyfileobj(file, copy, BLOCK_BYTES)
                copy.seek(0)
                file = copy
        except Exception as error:  # fsspec's file systems raise errors of their own kinds
            raise Unreadable(describe(error)) from error
        yield file


def blocks(file: IO[bytes], name: str, folder: Path) -> Iterator[bytes | Damage]:
    """The verified bytes of an open file in blocks of at most 1 MiB; `name` tells its format."""
    found = _format(file, name)
    return _verified(file, *found, folder) if found else _pieces(file)


def members(file: IO[bytes], name: str, folder: Path) -> Iterator[Member | Damage]:
    """The verified members of an open file one by one; a plain file is one, itself.

    The text of a member is closed when the next is asked for.
    """
    found = _format(file, name)
    if found:
        return _members(file, *found, folder)
    n_bytes = count_bytes(file)
    return iter([Member(0, n_bytes, file, n_bytes)])


def _format(file: IO[bytes], name: str) -> tuple[bytes, Callable[..., int]] | None:
    """The magic number and the decoder of a file's members; None where it is plain."""
    for suffix, (magic, decode) in FORMATS.items():
        if name.lower().endswith(suffix):
            dictionary = _dictionary(file) if decode is _unzstd else None
            return magic, functools.partial(decode, dictionary=dictionary) if dictionary else decode
    return None


def count_bytes(file: IO[bytes]) -> int:
    """The size of an open file; its position is the start afterwards."""
    try:
        n_bytes = file.seek(0, 2)
        file.seek(0)
    except Exception as error:
        raise Unreadable(describe(error)) from error
    return n_bytes


def new_spool(folder: Path) -> Any:
    """A temporary file in memory, beyond 32 MiB on the disk of `folder`, gone when closed."""
    return tempfile.SpooledTemporaryFile(SPOOL_BYTES, dir=str(folder), prefix=store.TEMPORARY)


def describe(error: BaseException) -> str:
    """One line about an error, without the path, which the reject row has already."""
    text = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
    return text.splitlines()[0][:200]


def _read(file: IO[bytes], n_bytes: int) -> bytes:
    try:
        return file.read(n_bytes)
    except Exception as error:
        raise Unreadable(describe(error)) from error


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := _read(file, BLOCK_BYTES):
        yield piece


def _verified(
    file: IO[bytes], magic: bytes, decode: Callable[..., int], folder: Path
) -> Iterator[bytes | Damage]:
    for member in _members(file, magic, decode, folder):
        if isinstance(member, Damage):
            yield member
        else:
            yield from _pieces(member.text)


def _members(
    file: IO[bytes], magic: bytes, decode: Callable[..., int], folder: Path
) -> Iterator[Member | Damage]:
    end = count_bytes(file)
    position, bad_from, first = 0, 0, None
    while position < end:
        with new_spool(folder) as spool:
            try:
                following = decode(file, position, spool, folder)
            except _Broken as broken:
                if first is None:
                    bad_from, first = position, broken
                position = _find(file, magic, position + 1, end)
                continue
            if first is not None:
                yield Damage(bad_from, position - bad_from, first.reason, first.detail)
                first = None
            n_bytes = spool.tell()
            spool.seek(0)
            yield Member(position, following - position, spool, n_bytes)
        position = _behind_zeros(file, following)
    if first is not None:
        yield Damage(bad_from, end - bad_from, first.reason, first.detail)


def _gunzip(file: IO[bytes], start: int, spool: IO[bytes], folder: Path) -> int:
    """Decompress the gzip member at `start` into `spool`; the position behind it."""
    engine = zlib.decompressobj(31)  # 31: a gzip header and trailer, both checked
    file.seek(start)
    position, made, n_next = start, 0, 1 << 12
    while not engine.eof:
        piece = engine.unconsumed_tail
        if not piece:
            piece = _read(file, n_next)
            position += len(piece)
            n_next = min(2 * n_next, 1 << 16)  # most members are small: little is read twice
        if not piece:
            raise _Broken("truncated", f"gzip member at byte {start} has no end")
        try:
            text = engine.decompress(piece, BLOCK_BYTES)
        except zlib.error as error:
            raise _Broken("corrupt", f"gzip member at byte {start}: {error}") from error
        made += len(text)
        _check_ratio(made, position - start - len(engine.unconsumed_tail), start)
        with store.disk_errors(folder):
            spool.write(text)
    return position - len(engine.unused_data)


def _unzstd(
    file: IO[bytes], start: int, spool: IO[bytes], folder: Path, dictionary: Any = None
) -> int:
    """Decompress the zstd frame at `start` into `spool`; the position behind it."""
    import zstandard

    file.seek(start)
    head = _read(file, 8)
    if _is_skippable(head):
        following = start + 8 + int.from_bytes(head[4:], "little")
        if following > file.seek(0, 2):
            raise _Broken("truncated", f"skippable frame at byte {start} has no end")
        return following
    engine = zstandard.ZstdDecompressor(dict_data=dictionary).decompressobj()
    file.seek(start)
    position, made = start, 0
    while not engine.eof:
        piece = _read(file, ZSTD_PIECE_BYTES)
        position += len(piece)
        if not piece:
            raise _Broken("truncated", f"zstd frame at byte {start} has no end")
        try:
            text = engine.decompress(piece)
        except zstandard.ZstdError as error:
            raise _Broken("corrupt", f"zstd frame at byte {start}: {error}") from error
        made += len(text)
        _check_ratio(made, position - start, start)
        with store.disk_errors(folder):
            spool.write(text)
    return position - len(engine.unused_data)


def _is_skippable(head: bytes) -> bool:
    return len(head) == 8 and head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50


def _dictionary(file: IO[bytes]) -> Any:
    """The dictionary of a .warc.zst, which lies in its first frame, itself packed or not."""
    import zstandard

    file.seek(0)
    head = _read(file, 8)
    n_bytes = int.from_bytes(head[4:], "little")
    if head[:4] != b"\x5d\x2a\x4d\x18" or n_bytes > DICTIONARY_BYTES:
        return None
    data = _read(file, n_bytes)
    try:
        if data.startswith(b"\x28\xb5\x2f\xfd"):
            data = zstandard.ZstdDecompressor().decompress(data, max_output_size=DICTIONARY_BYTES)
        return zstandard.ZstdCompressionDict(data)
    except (zstandard.ZstdError, ValueError):
        return None  # the frames that need it will say so


FORMATS: dict[str, tuple[bytes, Callable[..., int]]] = {
    ".gz": (b"\x1f\x8b\x08", _gunzip),
    ".zst": (b"\x28\xb5\x2f\xfd", _unzstd),
}


def _check_ratio(made: int, used: int, start: int) -> None:
    if made > BOMB_BYTES and made > BOMB_RATIO * used:
        raise _Broken("bomb", f"member at byte {start}: {made} bytes from {used}")


def _find(file: IO[bytes], magic: bytes, start: int, end: int) -> int:
    """Where `magic` comes next, or `end`."""
    file.seek(start)
    position, kept = start, b""
    while piece := _read(file, BLOCK_BYTES):
        window = kept + piece
        at = window.find(magic)
        if at >= 0:
            return position - len(kept) + at
        position += len(piece)
        kept = window[-(len(magic) - 1) :]
    return end


def _behind_zeros(file: IO[bytes], position: int) -> int:
    """The first position that holds no zero byte: some writers pad members with them."""
    file.seek(position)
    while piece := _read(file, 1 << 12):
        rest = piece.lstrip(b"\0")
        if rest:
            return position + len(piece) - len(rest)
        position += len(piece)
    return position
