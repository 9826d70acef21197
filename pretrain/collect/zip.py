"""The members of a zip archive, each handed on after its checksum agreed.

    member │ member │ ... │ central directory (names, sizes, checksums) │ end record

The directory is read by the standard library once its stated length has been checked, because every
name in it becomes an object. What a member says of its own length is not believed: reading stops at
the limit. Members may share compressed bytes, so that 10 MB hold 281 TB; the sum of what was made
is therefore held against the length of the archive too. Folders are no records.
"""

import lzma
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from pretrain import store
from pretrain.collect import streams
from pretrain.collect.tar import Found, unsafe

DIRECTORY_BYTES = 64 << 20  # longest directory that is read: about half a million names
_END, _END64, _LOCATOR64 = b"PK\5\6", b"PK\6\6", b"PK\6\7"
_ERRORS = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, struct.error)


def members(file: IO[bytes], most: Any, folder: Path) -> Iterator[Found]:
    """Every member in the order of the directory; `most(name)` bounds its bytes."""
    n_archive = streams.count_bytes(file)
    n_directory = directory_bytes(file, n_archive)
    if n_directory is None:
        yield Found("", n_archive, None, "corrupt", "no end record: truncated or not a zip archive")
        return
    if n_directory > DIRECTORY_BYTES:
        yield Found("", n_archive, None, "too_long", f"a directory of {n_directory} bytes")
        return
    try:
        archive = zipfile.ZipFile(file)
    except (*_ERRORS, OSError, NotImplementedError, OverflowError) as error:
        yield Found("", n_archive, None, "corrupt", streams.describe(error))
        return
    made = 0
    for info in archive.infolist():
        if info.filename.endswith("/"):  # is_dir() fails where there is no name
            continue
        with streams.new_spool(folder) as spool:
            found = _member(archive, info, most(info.filename), spool, folder)
            made += spool.tell()
            if made > streams.BOMB_BYTES and made > streams.BOMB_RATIO * n_archive:
                detail = f"{made} bytes from {n_archive}; the rest of the archive was not read"
                yield Found("", n_archive, None, "bomb", detail)
                return
            spool.seek(0)
            yield found


def directory_bytes(file: IO[bytes], n_archive: int) -> int | None:
    """The length of the central directory as the end record states it; None where there is none."""
    start = max(0, n_archive - (1 << 16) - 22)
    file.seek(start)
    tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < 22:
        return None
    (n_bytes,) = struct.unpack_from("<L", tail, at + 12)
    if at >= 20 and tail[at - 20 : at - 16] == _LOCATOR64:
        file.seek(min(struct.unpack_from("<Q", tail, at - 12)[0], n_archive))
        end64 = file.read(56)
        if end64.startswith(_END64) and len(end64) == 56:
            (n_bytes,) = struct.unpack_from("<Q", end64, 40)
    return int(n_bytes)


def _member(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int, spool: IO[bytes], folder: Path
) -> Found:
    def refused(reason: str, detail: str) -> Found:
        return Found(info.filename, info.file_size, None, reason, detail)

    mode = info.external_attr >> 16
    if stat.S_ISLNK(mode):
        return refused("link", "a symbolic link")
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return refused("device", f"mode {mode:o}")
    if unsafe(info.orig_filename) or unsafe(info.filename):
        return refused("unsafe_path", "leads out of the archive")
    if info.flag_bits & 0x41:
        return refused("encrypted", "a password is needed")
    if info.file_size > most:
        return refused("too_long", f"{info.file_size} bytes")
    # Only deflate bounds what one call makes; so the others are fed little at a time.
    n_piece = streams.BLOCK_BYTES if info.compress_type in (0, 8) else 4096
    try:
        with archive.open(info) as member:
            while piece := member.read(n_piece):
                with store.disk_errors(folder):
                    spool.write(piece)
                if spool.tell() > most:
                    return refused("too_long", f"more than {most} bytes")
    except NotImplementedError as error:
        return refused("compression", streams.describe(error))
    except (*_ERRORS, OSError) as error:
        return refused("corrupt", streams.describe(error))
    return Found(info.filename, spool.tell(), spool)
