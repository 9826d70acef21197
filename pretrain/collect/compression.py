"""bzip2 and xz beside gzip and zstd, and a bound on what one file may unpack to.

The same promise as `streams`: a member is released when its checksum agreed, a damaged one becomes
a `Damage` and reading goes on behind it. A bzip2 file of several streams (a multistream dump of
Wikipedia) is so read stream by stream. An xz header may ask for a dictionary of gigabytes; beyond
256 MiB it is refused. `most` bounds the unpacked bytes of a file that lies inside another one,
where nobody chose its size.
"""

import bz2
import lzma
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from pretrain import store
from pretrain.collect import streams
from pretrain.collect.streams import Damage

SUFFIXES = (".gz", ".zst", ".bz2", ".xz")
SHORT = {".tgz": ".gz", ".tzst": ".zst", ".tbz2": ".bz2", ".txz": ".xz"}
XZ_MEMORY_BYTES = 256 << 20
PIECE_BYTES = 1 << 14


def blocks(
    file: IO[bytes], name: str, folder: Path, most: int | None = None
) -> Iterator[bytes | Damage]:
    """The verified bytes of an open file; the suffix of `name` tells its format.

    A member that unpacks to more than `most` bytes is a `Damage` with the reason 'bomb'.
    """
    suffix = next((s for s in (*SUFFIXES, *SHORT) if name.lower().endswith(s)), "")
    suffix = SHORT.get(suffix, suffix)
    if most is None and suffix not in OURS:
        return streams.blocks(file, f"x{suffix}", folder)
    if not suffix:
        return streams._pieces(file)
    magic, decode = {**streams.FORMATS, **OURS}[suffix]
    decode = decode if most is None else _bounded(decode, most)
    return streams._verified(file, magic, decode, folder)


def stripped(name: str) -> str:
    """A name without the suffix of its compression."""
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


class _Bounded:
    """A spool that refuses what goes beyond the bound."""

    def __init__(self, spool: IO[bytes], most: int) -> None:
        self.spool, self.most, self.n_bytes = spool, most, 0

    def write(self, data: bytes) -> int:
        self.n_bytes += len(data)
        if self.n_bytes > self.most:
            raise streams._Broken("bomb", f"more than {self.most} bytes in an archive")
        return self.spool.write(data)


def _bounded(decode: Callable[..., int], most: int) -> Callable[..., int]:
    left = most

    def decode_at_most(file: IO[bytes], start: int, spool: IO[bytes], folder: Path) -> int:
        nonlocal left
        bounded = _Bounded(spool, left)
        position = decode(file, start, bounded, folder)
        left -= bounded.n_bytes
        return position

    return decode_at_most


def _decoder(
    what: str, new_engine: Callable[[], Any], errors: tuple[type[Exception], ...]
) -> Callable[..., int]:
    """A function that unpacks the stream at a position into a spool and returns where it ends."""

    def decode(file: IO[bytes], start: int, spool: IO[bytes], folder: Path) -> int:
        engine = new_engine()
        file.seek(start)
        position, made = start, 0
        while not engine.eof:
            piece = b""
            if engine.needs_input:
                piece = streams._read(file, PIECE_BYTES)
                position += len(piece)
                if not piece:
                    raise streams._Broken("truncated", f"{what} at byte {start} has no end")
            try:
                text = engine.decompress(piece, streams.BLOCK_BYTES)
            except errors as error:
                raise streams._Broken("corrupt", f"{what} at byte {start}: {error}") from error
            made += len(text)
            streams._check_ratio(made, position - start, start)
            with store.disk_errors(folder):
                spool.write(text)
        return position - len(engine.unused_data)

    return decode


def _new_unxz() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_BYTES)


OURS: dict[str, tuple[bytes, Callable[..., int]]] = {
    ".bz2": (b"BZh", _decoder("bzip2 stream", bz2.BZ2Decompressor, (OSError, EOFError))),
    ".xz": (b"\xfd7zXZ\0", _decoder("xz stream", _new_unxz, (lzma.LZMAError, EOFError))),
}
