"""Durable files: the only module that creates, replaces, deletes or locks anything in a run folder.

Every write goes to a temporary file beside its target, is flushed to the disk (fsync), renamed over
the target, and the folder's entry is flushed too. A reader therefore sees the old file or the new
one, never a part of one, and a crash leaves at most a `.tmp-*` file that the next run sweeps away.
The price is two fsync calls per file, so stages write few large files.

A full or read-only disk becomes DiskError (exit code 74): what was complete before stays complete.
"""

import contextlib
import errno
import fcntl
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import xxhash

from pretrain import lines
from pretrain.errors import DiskError, LockedError

TEMPORARY = ".tmp-"
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG}


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn 'no space left' and its kin into DiskError that names the path."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        raise DiskError(
            f"store: cannot write {path}: {error.strerror}; "
            "free space there (what was complete is untouched) and run the same command again"
        ) from error


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path to write to; on leaving without an error it becomes `path`, durably."""
    temporary = path.parent / f"{TEMPORARY}{os.getpid()}-{path.name}"
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            _flush(temporary)
            temporary.replace(path)
            _flush(path.parent)
        except BaseException:
            remove(temporary)
            raise


def begin_folder(path: Path) -> Path:
    """The temporary folder of `path`, empty: for several processes to fill."""
    temporary = path.parent / f"{TEMPORARY}{os.getpid()}-{path.name}"
    with disk_errors(path):
        remove(temporary)
        temporary.mkdir(parents=True)
    return temporary


@contextlib.contextmanager
def atomic_folder(path: Path, begun: Path | None = None) -> Iterator[Path]:
    """A temporary folder to fill; on leaving without an error it becomes `path`, durably.

    An older folder at `path` is replaced. Between its removal and the rename neither exists, so a
    caller that must never lose the older one writes to a new name, as checkpoints do.
    begun: the temporary folder, where other processes fill it already.
    """
    temporary = begun or begin_folder(path)
    with disk_errors(path):
        try:
            yield temporary
            for file in sorted(temporary.rglob("*")):
                _flush(file)
            _flush(temporary)
            remove(path)
            temporary.replace(path)
            _flush(path.parent)
        except BaseException:
            remove(temporary)
            raise


def write_bytes(path: Path, data: bytes) -> None:
    with atomic(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: Any, sort: bool = True) -> None:
    """Write JSON; with sorted keys, so that equal values give equal bytes, unless order tells."""
    write_bytes(path, json_bytes(value, sort))


def replace_json(path: Path, value: Any) -> None:
    """Replace a small file at once but not durably: for what no later attempt reads."""
    temporary = path.parent / f"{TEMPORARY}{os.getpid()}-{path.name}"
    temporary.write_bytes(json_bytes(value))
    temporary.replace(path)


def json_bytes(value: Any, sort: bool = True) -> bytes:
    text = json.dumps(value, indent=1, sort_keys=sort, ensure_ascii=False, allow_nan=False)
    return _utf8(text) + b"\n"


def _utf8(text: str) -> bytes:
    r"""The text as UTF-8; what a file name has that is none (a surrogate) as JSON's own \udcXX."""
    return text.encode(errors="backslashreplace")


def read_json(path: Path) -> Any:
    return json.loads(path.read_bytes())


def read_json_or_none(path: Path) -> Any:
    """The JSON value of a file, or None where there is none or it is not JSON."""
    try:
        return read_json(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def append_line(path: Path, line: str) -> None:
    """Append one line, whole or not at all, so that lines of several processes never mix."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lines.append(path, _utf8(line) + b"\n")


def append_durably(path: Path, data: bytes) -> None:
    """Append whole lines and flush them to the disk."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lines.append(path, data, durably=True)


def read_lines(path: Path) -> list[Any]:
    """The JSON values of a .jsonl file; a last line cut by a crash is left out."""
    if not path.exists():
        return []
    whole = path.read_bytes().split(b"\n")[:-1]
    return [json.loads(line) for line in whole if line]


def remove(path: Path) -> None:
    """Remove a file or folder; nothing happens where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def discard(folder: Path) -> None:
    """Remove a folder so that a crash leaves it whole or gone: renamed first, then removed."""
    temporary = folder.parent / f"{TEMPORARY}{os.getpid()}-gone-{folder.name}"
    folder.replace(temporary)
    _flush(folder.parent)
    remove(temporary)


def set_aside(path: Path, target: Path) -> Path:
    """Rename a file or folder durably to the target, or target-2, -3, … where something lies there.

    Returns the new name.
    """
    free, n = target, 1
    while free.exists():
        n += 1
        free = target.with_name(f"{target.stem}-{n}{target.suffix}")
    with disk_errors(free):
        free.parent.mkdir(parents=True, exist_ok=True)
        path.replace(free)
        _flush(free.parent)
    return free


def link_folder(source: Path, target: Path, only: Collection[str] | None = None) -> None:
    """The same files, or `only` those, under another name, hard links where the disk has them.

    Files of a run are replaced, never written into, so neither folder can change the other.
    """

    def ignore(folder: str, names: list[str]) -> list[str]:
        return [] if only is None else [name for name in names if name not in only]

    with atomic_folder(target) as temporary:
        shutil.copytree(source, temporary, ignore=ignore, copy_function=_link, dirs_exist_ok=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def sweep(folder: Path) -> int:
    """Remove what interrupted writes left behind. Returns how many files and folders went."""
    leftovers = list(folder.rglob(f"{TEMPORARY}*")) if folder.exists() else []
    for path in leftovers:
        remove(path)
    return len(leftovers)


def hash_bytes(data: bytes | memoryview) -> str:
    return xxhash.xxh3_128_hexdigest(data)


def hash_json(value: Any, sort: bool = True) -> str:
    """The hash of a JSON value, independent of the order of its keys unless order tells."""
    return hash_bytes(json.dumps(value, sort_keys=sort, allow_nan=False).encode())


def hash_file(path: Path) -> str:
    """xxh3-128 of a file, read in 4 MiB pieces."""
    digest = xxhash.xxh3_128()
    with open(path, "rb") as file:
        while piece := file.read(1 << 22):
            digest.update(piece)
    return digest.hexdigest()


def hash_chunks(path: Path, chunk_bytes: int) -> Iterator[str]:
    """xxh3-128 of each chunk of a file, from the disk where the system lets go of its copy."""
    with open(path, "rb") as file:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while chunk := file.read(chunk_bytes):
            yield hash_bytes(chunk)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the run folder; a second process is refused at once and told who holds it.

    The lock is the kernel's (flock), so it is free the moment its holder dies, however it dies.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            _take(descriptor)
        except BlockingIOError:
            holder = os.read(descriptor, 4096).decode(errors="replace").strip() or "another process"
            raise LockedError(
                f"store: {folder} is in use by {holder}; wait for it, stop it, or give this run "
                "another name (recipe key name)"
            ) from None
        os.ftruncate(descriptor, 0)
        who = f"process {os.getpid()} on {socket.gethostname()} ({' '.join(sys.argv[:3])})\n"
        os.pwrite(descriptor, who.encode(), 0)
        for leftover in folder.glob(f"{TEMPORARY}*"):  # of a holder that was killed
            remove(leftover)
        yield
    finally:
        os.close(descriptor)


def is_locked(folder: Path) -> bool:
    """Whether a process holds the folder."""
    try:
        descriptor = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _take(descriptor: int, attempts: int = 5) -> None:
    """Take the lock; `is_locked` of another process may have it for some microseconds."""
    for left in reversed(range(attempts)):
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not left:
                raise
            time.sleep(0.005)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
