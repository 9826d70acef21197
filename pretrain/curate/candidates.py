"""Which documents may be alike: tasks `spread`, `propose` and `link`.

    signatures of shard S ─spread──▶ rows/S     a row a band and document, by range of band keys
             range k of all ─propose─▶ edges/k    pairs that share a bucket (pairs.py)
                 all edges ─link────▶ batches    components of pairs, put together to batches
                                      routed/k   the pairs, by the task that verifies them

`link` alone looks at all documents at once: 16 bytes each. Its batches say only who is looked at
together, so a component that is too heavy for one batch is simply cut: a pair across the cut gets
a task that holds two batches.
"""

from pathlib import Path
from typing import Any

import numpy as np

from pretrain import shards
from pretrain.curate import clusters, pairs, preference, shuffle
from pretrain.curate.preference import path

U4, U8 = np.dtype("<u4"), np.dtype("<u8")


def spread(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """The band keys of one shard's documents, by range."""
    number = arguments["number"]
    some = preference.ranks_of(folder, number, arguments["ranges"])
    signatures = np.empty((0, 1), U4)
    if len(some):
        column = shards.read(folder / "signals" / arguments["shard"], ["signature"])["signature"]
        signatures = preference.fixed(column, U4)[some["row"]]
    return write_rows(folder, number, signatures, some["rank"], arguments)


def write_rows(
    folder: Path, number: int, signatures: np.ndarray, ranks: np.ndarray, arguments: dict[str, Any]
) -> dict[str, Any]:
    """rows/S of signatures and ranks."""
    bands = [tuple(band) for band in arguments["bands"]]
    rows, parts = pairs.rows_of(signatures, ranks, bands, arguments["parts"])
    shuffle.write(path(folder, "rows", number), rows, parts, arguments["parts"])
    return {"rows": len(rows)}


def propose(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """The pairs of one range of keys."""
    files = [path(folder, "rows", i) for i in range(arguments["shards"])]
    rows = shuffle.read(files, arguments["number"], pairs.ROW)
    least = pairs.least_agreement(arguments["split"])
    found = pairs.proposed(rows, least, pairs.sure_agreement(arguments["near"]))
    shuffle.write(path(folder, "edges", arguments["number"]), found)
    return {"pairs": len(found)}


def link(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """Batches of the documents that have pairs, and the pairs by the task that verifies them.

    The counts tell the batches that each task holds: task i of the first ones holds batch i.
    """
    n = arguments["documents"]
    parent = np.arange(n, dtype=U4)
    edges = [path(folder, "edges", k) for k in range(arguments["parts"])]
    for file in edges:
        clusters.join(parent, shuffle.read([file], 0, U8))
    clusters.roots(parent)
    n_bytes = np.empty(n, U4)
    start = 0
    for k in range(arguments["ranges"]):
        places = shuffle.read([path(folder, "places", k)], 0, preference.PLACE)
        n_bytes[start : start + len(places)] = places["n_bytes"]
        start += len(places)
    batch, n_batches = clusters.packed(parent, n_bytes, arguments["batch_bytes"] >> 10)
    del parent, n_bytes
    shuffle.write_array(path(folder, "batches", 0), batch)
    across = _across(edges, batch)
    for k, file in enumerate(edges):
        found = shuffle.read([file], 0, U8)
        one, other = _batches(found, batch)
        task = one.astype(np.int64)
        cut = one != other
        task[cut] = n_batches + np.searchsorted(across, _code(one[cut], other[cut]))
        shuffle.write(path(folder, "routed", k), found, task, max(1, n_batches + len(across)))
    tasks = [[b] for b in range(n_batches)]
    return {"tasks": tasks + [[c >> 32, c & 0xFFFFFFFF] for c in across.tolist()]}


def _across(edges: list[Path], batch: np.ndarray) -> np.ndarray:
    """The codes of all pairs of batches that have pairs of documents between them, sorted."""
    codes = np.empty(0, U8)
    for file in edges:
        one, other = _batches(shuffle.read([file], 0, U8), batch)
        cut = one != other
        codes = np.union1d(codes, _code(one[cut], other[cut]))
    return codes


def _batches(found: np.ndarray, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return batch[found >> np.uint64(32)], batch[found & np.uint64(0xFFFFFFFF)]


def _code(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    low, high = np.minimum(one, other), np.maximum(one, other)
    return low.astype(U8) << np.uint64(32) | high.astype(U8)
