"""Rows on their way between tasks: in blocks, checksummed, and checked whenever they are read.

    header   magic, blocks, bytes of a row; per block: rows, xxh3-64 of its bytes, first key;
             xxh3-64 of all that
    rows     those of block 0, of block 1, …

Written by part, block k is for reader k: a sort in two steps, of which neither holds more than its
share. Written in order, the first keys say which blocks a range of keys touches. A file that was
cut or changed is found when it is read, and named: what is wrong in one chunk must never become a
wrong decision somewhere else.
"""

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import xxhash

from pretrain import store
from pretrain.errors import DataError

BLOCK_ROWS = 4096  # of rows written in order

_MAGIC = b"PTROWS02"
_HEAD = struct.Struct("<8sQQ")
_BLOCK = np.dtype([("rows", "<u8"), ("hash", "<u8"), ("first", "<u8")])


def write(path: Path, rows: np.ndarray, parts: np.ndarray | None = None, n_parts: int = 1) -> None:
    """Write rows, each in its part (0 to n_parts - 1); within a part they keep their order."""
    n_rows = np.full(1, len(rows))
    if parts is not None:
        n_rows = np.bincount(parts, minlength=n_parts)
        if n_parts > 1:  # numpy sorts 16-bit numbers in linear time
            narrow = parts.astype(np.uint16 if n_parts <= 1 << 16 else np.uint32)
            rows = rows[np.argsort(narrow, kind="stable")]
    _write(path, rows, n_rows, np.zeros(len(n_rows), np.uint64))


def write_sorted(path: Path, rows: np.ndarray, keys: np.ndarray) -> list[list[int]]:
    """Write rows whose uint64 keys ascend; [first key, rows] of each block."""
    starts = np.arange(0, len(rows), BLOCK_ROWS)
    n_rows = np.diff(np.append(starts, len(rows)))
    _write(path, rows, n_rows, keys[starts])
    return [list(block) for block in zip(keys[starts].tolist(), n_rows.tolist(), strict=True)]


def read(paths: Sequence[Path], part: int, dtype: np.dtype) -> np.ndarray:
    """The rows of one part of all files, one file after another.

    Raises: DataError where a file is cut, changed or of other rows.
    """
    pieces = []
    for path in paths:
        with open(path, "rb") as file:
            index = _index(file, path, dtype)
            if part >= len(index):
                raise _damaged(path, f"it has only {len(index)} parts, so it")
            pieces.append(_rows(file, path, index, part, part + 1, dtype))
    return np.concatenate(pieces) if pieces else np.empty(0, dtype)


def read_range(
    paths: Sequence[Path], low: int, high: int, dtype: np.dtype, key: str
) -> tuple[np.ndarray, int]:
    """(rows with low <= key < high of files written in order, how many rows are below low).

    Raises: DataError as `read`.
    """
    pieces, n_below = [np.empty(0, dtype)], 0
    for path in paths:
        with open(path, "rb") as file:
            index = _index(file, path, dtype)
            at = max(0, int(np.searchsorted(index["first"], np.uint64(low))) - 1)
            end = len(index)
            if high < 1 << 64:
                end = int(np.searchsorted(index["first"], np.uint64(high)))
            n_below += int(index["rows"][:at].sum())
            rows = _rows(file, path, index, at, end, dtype)
        n_below += int((rows[key] < low).sum())
        inside = rows[key] >= low
        if high < 1 << 64:
            inside &= rows[key] < high
        pieces.append(rows[inside])
    return np.concatenate(pieces), n_below


def write_array(path: Path, values: np.ndarray) -> None:
    """An array that tasks map into memory; its dtype is the reader's to know."""
    with store.atomic(path) as temporary, open(temporary, "wb") as file:
        np.ascontiguousarray(values).tofile(file)


def map_array(path: Path, dtype: np.dtype, n: int) -> np.ndarray:
    """A read-only map of an array of `n` values.

    Raises: DataError where the file is of another size.
    """
    n_bytes = path.stat().st_size
    if n_bytes != n * dtype.itemsize:
        raise _damaged(path, f"it has {n_bytes:,} bytes and not {n * dtype.itemsize:,}, so it")
    return np.memmap(path, dtype, "r", shape=(n,)) if n else np.empty(0, dtype)


def _write(path: Path, rows: np.ndarray, n_rows: np.ndarray, first: np.ndarray) -> None:
    index = np.zeros(len(n_rows), _BLOCK)
    index["rows"], index["first"] = n_rows, first
    ends = np.cumsum(n_rows)
    data = np.ascontiguousarray(rows).view(np.uint8).reshape(-1)
    width = rows.dtype.itemsize
    for block, (n, end) in enumerate(zip(n_rows.tolist(), ends.tolist(), strict=True)):
        chunk = data[(end - n) * width : end * width]
        index["hash"][block] = xxhash.xxh3_64_intdigest(chunk.data)
    head = _HEAD.pack(_MAGIC, len(index), width) + index.tobytes()
    with store.atomic(path) as temporary, open(temporary, "wb") as file:
        file.write(head + struct.pack("<Q", xxhash.xxh3_64_intdigest(head)))
        data.tofile(file)


def _index(file, path: Path, dtype: np.dtype) -> np.ndarray:  # type: ignore[no-untyped-def]
    """The blocks of a file, which is left at the first row."""
    fixed = file.read(_HEAD.size)
    if len(fixed) < _HEAD.size or fixed[:8] != _MAGIC:
        raise _damaged(path, "it is not a file of rows, so it")
    _, n_blocks, row_bytes = _HEAD.unpack(fixed)
    n_bytes = n_blocks * _BLOCK.itemsize + 8
    rest = file.read(n_bytes) if n_bytes <= path.stat().st_size else b""
    head = fixed + rest[:-8]
    if rest[-8:] != struct.pack("<Q", xxhash.xxh3_64_intdigest(head)):
        raise _damaged(path, "its header")
    if row_bytes != dtype.itemsize:
        raise _damaged(path, f"its rows have {row_bytes} bytes and not {dtype.itemsize}, so it")
    return np.frombuffer(rest, _BLOCK, n_blocks)


def _rows(file, path: Path, index: np.ndarray, at: int, end: int, dtype: np.dtype) -> np.ndarray:  # type: ignore[no-untyped-def]
    """The rows of blocks at to end - 1, checked."""
    before, n_rows = int(index["rows"][:at].sum()), int(index["rows"][at:end].sum())
    file.seek(before * dtype.itemsize, 1)
    data = bytearray(n_rows * dtype.itemsize)
    got = file.readinto(data)
    for block, start, stop in _bounds(index, at, end, dtype.itemsize):
        piece = memoryview(data)[start:stop]
        if got < stop or xxhash.xxh3_64_intdigest(piece) != int(index["hash"][block]):
            raise _damaged(path, f"part {block}")
    return np.frombuffer(data, dtype)


def _bounds(index: np.ndarray, at: int, end: int, width: int) -> Iterator[tuple[int, int, int]]:
    start = 0
    for block in range(at, end):
        stop = start + int(index["rows"][block]) * width
        yield block, start, stop
        start = stop


def _damaged(path: Path, what: str) -> DataError:
    return DataError(
        f"curate: {path}: {what} is damaged; must be as it was written: remove the file and run "
        "the same command again (if it comes back, look at the disk)"
    )
