"""Appending to a file of lines that several processes write: each line is whole, or not there.

A full disk takes half a line, and a process that is killed may leave one. The first is cut off at
once, the second before the next line, which would join it. So that no one cuts what another is
writing, each appends under the file's lock (flock).
"""

import fcntl
import os
from io import FileIO
from pathlib import Path


def append(path: Path, data: bytes, durably: bool = False) -> None:
    """Append whole lines; durably: flushed to the disk.

    Raises: OSError where there is no room; the file is as before then.
    """
    with open(path, "ab+", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            _write(file, data, durably)
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # a fork of this moment holds the file too


def _write(file: FileIO, data: bytes, durably: bool) -> None:
    end = _cut_half_line(file)
    try:
        while data:
            data = data[file.write(data) :]
        if durably:
            os.fsync(file.fileno())
    except OSError:
        file.truncate(end)
        raise


def _cut_half_line(file: FileIO) -> int:
    """Cut what a crash left of a last line. Returns the end."""
    end = file.seek(0, os.SEEK_END)
    if end and os.pread(file.fileno(), 1, end - 1) != b"\n":
        end = os.pread(file.fileno(), end, 0).rfind(b"\n") + 1
        file.truncate(end)
    return end
