"""Which of two duplicates stays: documents numbered by preference, and exact copies among them.

    longest text, then smallest content hash, then smallest id        rank 0, 1, 2, …

Equal texts follow each other in this order, so that one sort finds exact copies too; of those the
smallest id is kept. The sort is one of two steps: `sort` writes a shard's documents in order,
`rank` merges one range of all of them, so neither holds more than its share.

    order/S     a shard's documents that take part, in order, with the first key of each block
    places/k    of range k, by rank: shard, row, bytes, rank of the first equal text
    ids/k       of range k, by rank: the id
    ranks/k     of range k, by shard: row and rank of what is no exact copy

Two texts of equal length are equal where the 128 bits of their hashes are.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pretrain import shards
from pretrain.curate import shuffle
from pretrain.curate.clusters import NONE
from pretrain.errors import DataError

WORK = "pairs"  # folder of what only the search for duplicates reads; the stage's end removes it
END = 1 << 64  # above all keys

# key: bytes, complemented, and the first half of the hash's first half
ORDER = np.dtype(
    [("key", "<u8"), ("hash", "<u8"), ("rest", "<u4"), ("row", "<u4"), ("id", "<u8", 2)]
)
PLACE = np.dtype([("shard", "<u4"), ("row", "<u4"), ("n_bytes", "<u4"), ("first", "<u4")])
RANK = np.dtype([("row", "<u4"), ("rank", "<u4")])
ID = np.dtype("V16")


def path(folder: Path, kind: str, number: int) -> Path:
    return folder / WORK / kind / f"{number:05d}.bin"


def sort(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """The documents of one shard that take part, in the order of preference."""
    name = arguments["shard"]
    keep = shards.read(folder / "verdicts" / name, ["keep"])["keep"].combine_chunks()
    table = shards.read(folder / "signals" / name, ["id", "n_bytes", "content_hash"]).filter(keep)
    contents = fixed(table["content_hash"], np.dtype("<u8"))
    rows = np.zeros(len(table), ORDER)
    size = np.minimum(table["n_bytes"].to_numpy(), NONE).astype(np.uint64)
    rows["key"] = (np.uint64(NONE) - size) << np.uint64(32) | contents[:, 0] >> np.uint64(32)
    rows["rest"], rows["hash"] = contents[:, 0] & np.uint64(NONE), contents[:, 1]
    rows["row"] = np.flatnonzero(keep.to_numpy(zero_copy_only=False))
    rows["id"] = _packed(table["id"], name).view(">u8").reshape(-1, 2)
    return write_order(folder, arguments["number"], rows)


def write_order(folder: Path, number: int, rows: np.ndarray) -> dict[str, Any]:
    """order/S of unordered rows; the counts tell the first key and rows of each block."""
    rows = _ordered(rows)
    blocks = shuffle.write_sorted(path(folder, "order", number), rows, rows["key"])
    return {"documents": len(rows), "blocks": blocks}


def ranges(blocks: list[list[int]], limit: int) -> list[int]:
    """Keys that cut the rows of blocks to ranges of about `limit` rows: one more than ranges."""
    cuts, filled = [0], 0
    for first, n_rows in sorted(blocks):
        if filled >= limit and first > cuts[-1]:
            cuts.append(first)
            filled = 0
        filled += n_rows
    return [*cuts, END]


def rank(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """Number the documents of one range of keys; ranks that are not taken up are exact copies."""
    number, n_shards = arguments["number"], arguments["shards"]
    low, high = arguments["cuts"][number : number + 2]
    files = [path(folder, "order", i) for i in range(n_shards)]
    starts, pieces, base = [0], [], 0
    for file in files:
        piece, n_below = shuffle.read_range([file], low, high, ORDER, "key")
        pieces.append(piece)
        starts.append(starts[-1] + len(piece))
        base += n_below
    rows = np.concatenate(pieces)
    order = _sorted(rows)
    places = np.empty(len(rows), PLACE)
    places["shard"] = np.searchsorted(np.array(starts[1:]), order, side="right")
    rows = rows[order]
    places["row"] = rows["row"]
    places["n_bytes"] = np.uint64(NONE) - (rows["key"] >> np.uint64(32))
    first = _first_equal(rows) if arguments["exact"] else np.arange(len(rows))
    copies = first < np.arange(len(rows))
    places["first"] = np.where(copies, base + first, NONE)
    taken = np.empty(len(rows) - copies.sum(), RANK)
    taken["row"], taken["rank"] = rows["row"][~copies], base + np.flatnonzero(~copies)
    of_shard = places["shard"][~copies]
    shuffle.write(path(folder, "places", number), places)
    shuffle.write_array(path(folder, "ids", number), rows["id"].astype(">u8"))
    shuffle.write(path(folder, "ranks", number), taken, of_shard, n_shards)
    return {"documents": len(rows), "left": len(taken)}


def ranks_of(folder: Path, number: int, n_ranges: int) -> np.ndarray:
    """RANK of each document of a shard that takes part and is no exact copy, in its rows' order."""
    files = [path(folder, "ranks", k) for k in range(n_ranges)]
    found = shuffle.read(files, number, RANK)
    return found[np.argsort(found["row"])]


def ids_of(folder: Path, ranks: np.ndarray, bases: Sequence[int]) -> np.ndarray:
    """The ids of ranks; `bases` are the first rank of each range, then how many ranks there are."""
    out = np.empty(len(ranks), ID)
    order = np.argsort(ranks)
    ends = np.searchsorted(ranks[order], bases)
    for k, (base, end) in enumerate(pairwise(bases)):
        some = order[ends[k] : ends[k + 1]]
        if len(some):
            ids = shuffle.map_array(path(folder, "ids", k), ID, end - base)
            out[some] = ids[ranks[some] - base]
    return out


def fixed(column: pa.ChunkedArray, dtype: np.dtype) -> np.ndarray:
    """Fixed-size binary values as the rows of a matrix."""
    values = column.combine_chunks()
    width = values.type.byte_width // dtype.itemsize
    data = np.frombuffer(values.buffers()[1] or b"", dtype)
    return data[values.offset * width : (values.offset + len(values)) * width].reshape(-1, width)


def _packed(ids: pa.ChunkedArray, name: str) -> np.ndarray:
    """Ids of 32 hexadecimal digits as 16 bytes each, in the order of the text."""
    if len(ids) and set(pc.unique(pc.binary_length(ids)).to_pylist()) != {32}:
        raise DataError(f"curate: signals/{name} has an id that is not 32 hexadecimal digits")
    return np.frombuffer(bytes.fromhex("".join(ids.to_pylist())), ID)


def _ordered(rows: np.ndarray) -> np.ndarray:
    return rows[_sorted(rows)]


def _sorted(rows: np.ndarray) -> np.ndarray:
    """The order of preference. By key first: only where keys are equal are the others asked."""
    order = np.argsort(rows["key"], kind="stable")
    key = rows["key"][order]
    equal = np.zeros(len(rows), bool)
    equal[1:] = key[1:] == key[:-1]
    equal[:-1] |= equal[1:]
    some = order[equal]
    tied = rows[some]
    names = ("key", "rest", "hash")
    by = [tied["id"][:, 1], tied["id"][:, 0], *(tied[n] for n in reversed(names))]
    order[equal] = some[np.lexsort(by)]
    return order


def _first_equal(rows: np.ndarray) -> np.ndarray:
    """For rows in order: the first one with the same text."""
    starts = np.ones(len(rows), bool)
    starts[1:] = False
    for name in ("key", "rest", "hash"):
        starts[1:] |= rows[name][1:] != rows[name][:-1]
    return np.maximum.accumulate(np.where(starts, np.arange(len(rows)), 0))
