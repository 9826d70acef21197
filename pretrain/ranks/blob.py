"""Tensors in one file of a host's memory, with a checksum: whole, or seen to be none.

    0        32 hex digits, xxh3-128 of all that follows; zeros while it is being written
    32       16 digits: bytes of the tensors;  16 digits: bytes of the JSON behind them
    64       tensors, each begins at a multiple of 64 bytes
    …        JSON: what the writer tells, and dtype, shape and begin of each tensor

An older file is written over in place: its memory is not given back and taken anew. Checksum and
copy go over a chunk together, while the processor holds it.
"""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import xxhash
from torch import Tensor

from pretrain import store

_ALIGN = 64
_DIGEST_BYTES = 32
_CHUNK_BYTES = 1 << 20


def write(paths: Sequence[Path], tensors: Mapping[str, Tensor], told: Mapping[str, Any]) -> int:
    """Write the same file to several places. Returns its bytes.

    told: JSON-like values. Raises: DiskError where memory is full.
    """
    table, n_bytes = {}, 0
    for name, tensor in tensors.items():
        dtype = str(tensor.dtype).removeprefix("torch.")
        table[name] = {"dtype": dtype, "shape": list(tensor.shape), "begin": n_bytes}
        n_bytes += _padded(tensor.nbytes)
    tail = json.dumps({"told": dict(told), "tensors": table}, sort_keys=True).encode()
    head = f"{n_bytes:016d}{len(tail):016d}".encode()
    return _pour(paths, [memoryview(head), *map(_bytes, tensors.values()), memoryview(tail)])


def put(path: Path, data: Tensor) -> None:
    """Write what `raw` gave of another host's file."""
    _pour([path], [_view(data)[_DIGEST_BYTES:]])


def raw(path: Path) -> Tensor:
    """The bytes of a file, mapped."""
    n_bytes = path.stat().st_size
    return torch.from_file(str(path), shared=False, size=n_bytes, dtype=torch.uint8)


def told(path: Path) -> dict[str, Any] | None:
    """What the writer of a sound file told; None where the file is torn or damaged."""
    data = raw(path) if path.stat().st_size > _ALIGN else torch.zeros(_ALIGN, dtype=torch.uint8)
    view = _view(data)
    if xxhash.xxh3_128_hexdigest(view[_DIGEST_BYTES:]).encode() != bytes(view[:_DIGEST_BYTES]):
        return None
    found: dict[str, Any] = _tail(view)["told"]
    return found


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a sound file, mapped."""
    data = raw(path)
    found = {}
    for name, at in _tail(_view(data))["tensors"].items():
        empty = torch.empty(at["shape"], dtype=getattr(torch, at["dtype"]), device="meta")
        begin = _ALIGN + at["begin"]
        part = data[begin : begin + empty.nbytes]
        found[name] = part.view(empty.dtype).view(empty.shape)
    return found


def _tail(data: memoryview) -> dict[str, Any]:
    n_bytes = int(bytes(data[_DIGEST_BYTES : _DIGEST_BYTES + 16]))
    found: dict[str, Any] = json.loads(bytes(data[_ALIGN + n_bytes :]))
    return found


def _padded(n_bytes: int) -> int:
    return -(-n_bytes // _ALIGN) * _ALIGN


def _bytes(tensor: Tensor) -> memoryview:
    """A tensor's bytes in the processor's memory, sharing them where they are there."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return _view(flat.view(torch.uint8))


def _view(data: Tensor) -> memoryview:
    values: Any = data.numpy()
    return memoryview(values)


def _pour(paths: Sequence[Path], parts: Iterable[memoryview]) -> int:
    digest, end = xxhash.xxh3_128(), _DIGEST_BYTES
    with contextlib.ExitStack() as opened, store.disk_errors(paths[0]):
        files = [opened.enter_context(open(path, "r+b" if path.exists() else "w+b", 0))
                 for path in paths]  # fmt: skip
        for file in files:
            file.write(b"0" * _DIGEST_BYTES)
        for chunk in _chunks(parts):
            digest.update(chunk)
            end += len(chunk)
            for file in files:
                rest = chunk
                while rest:
                    rest = rest[file.write(rest) :]
        for file in files:
            file.truncate(end)
            file.seek(0)
            file.write(digest.hexdigest().encode())
    return end


def _chunks(parts: Iterable[memoryview]) -> Iterator[memoryview]:
    """Parts in chunks; zeros behind each that ends between two beginnings, but behind the last."""
    n_bytes, missing = _DIGEST_BYTES, 0
    for part in parts:
        if missing:
            yield memoryview(bytes(missing))
        for begin in range(0, len(part), _CHUNK_BYTES):
            yield part[begin : begin + _CHUNK_BYTES]
        n_bytes += missing + len(part)
        missing = _padded(n_bytes) - n_bytes
