"""Parts of texts that stood before, to be cut where they come again: paragraphs and runs of words.

    texts/S ─emit─▶ rows/S     each hash of the shard once, with the first document that has it
     rows/* ─mark─▶ told/k     of one range of hashes: which shards have a hash that stood before
     told/* ─tell─▶ spans/S    row, first byte, byte after, what

paragraph   of LEAST_CHARS characters or more that stood before
run         every window of `window_words` words (50, as Lee et al. 2022) that stood before; what
            overlaps with the place where it stood does not count, so that a text which repeats one
            phrase keeps it once. Windows that come again are found exactly, in two rounds of emit
            and mark: of shorter windows only samples (span_keys.py) are looked for in all shards,
            12 % of them; then all windows around a sample that two places share.

First is what has the smallest document id, then the smallest place: nothing depends on shards,
their order or the number of workers. Only documents that are kept take part: no text is cut in
favour of one that is gone. Memory: a shard, or a range of hashes; a boilerplate of 10^8 documents
is one row a shard. Disk, until the stage ends: 16 bytes for each different paragraph and sample of
a shard, and for each window around what is shared. Equal hashes of 64 bits count as equal: of 10^9
different parts one is cut wrongly with a probability of 3 %, of 10^10 three are.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pretrain import shards
from pretrain.curate import shuffle, span_keys, word_places
from pretrain.curate.chain import Chain
from pretrain.curate.normalize import buffers
from pretrain.curate.word_places import powers
from pretrain.flow import Stage

PARAGRAPH, WINDOW = "duplicate_paragraph", "duplicate_window"
SAMPLE = "sample"
LEAST_CHARS = 50
EVERY = 16  # windows of which one is a sample
ROWS_BYTES = 64 << 20

_FOLDERS = {PARAGRAPH: "spans-paragraphs", SAMPLE: "spans-samples", WINDOW: "spans-windows"}
_U8 = np.dtype("<u8")
_ROW = np.dtype([("key", "<u8"), ("id", "<u8")])
SPAN = pa.schema(
    [("row", pa.int64()), ("start", pa.int64()), ("end", pa.int64()), ("what", pa.string())]
)


def versions(chosen: dict[str, Any]) -> dict[str, str]:
    """what -> the rule that lineage names; empty where the recipe asks for neither."""
    found = {}
    if chosen["paragraphs"]:
        found[PARAGRAPH] = f"spans 1: paragraphs of {LEAST_CHARS} characters"
    if chosen["window_words"]:
        found[WINDOW] = f"spans 1: {chosen['window_words']} words"
    return found


def run(
    stage: Stage, names: list[str], hashes: dict[str, str], chosen: dict[str, Any]
) -> dict[str, str]:
    """Find repeated parts in all shards; hashes of spans/S.

    Reads texts/S, verdicts/S and duplicates/S, whose hashes are given. `chosen` are the settings
    `curate.duplicates`. What it makes on the way is no output of the stage.
    """
    kinds = ("texts", "verdicts", "duplicates")
    basis = {f"{k}/{n}": hashes[f"{k}/{n}"] for n in names for k in kinds}
    wanted = {k: chosen[k] for k in ("paragraphs", "window_words")}
    chains = {k: Chain(stage, folder, [basis, wanted]) for k, folder in _FOLDERS.items()}
    n_bytes = sum((stage.folder / "texts" / name).stat().st_size for name in names)
    known = {"shards": names, "parts": 1 + n_bytes // ROWS_BYTES, **wanted}
    last = [
        chains[WINDOW].task(tell, f"spans-{Path(n).stem}", {"number": i, **known}, (f"spans/{n}",))
        for i, n in enumerate(names)
    ]
    if not stage.has_run(last):
        for kind in _asked(chosen):
            own = {**known, "kind": kind}
            chains[kind].each(emit, len(names), own, "rows/{}.bin")
            chains[kind].each(mark, known["parts"], own, "told/{}.bin")
    receipts = stage.run_tasks(last, "spans")
    return {name: digest for receipt in receipts for name, digest in receipt.outputs.items()}


def emit(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """The hashes of one shard by range, each once, with the id of the first document of each."""
    texts, rows, ids = _read(folder, arguments)
    found = _parts(folder, arguments, texts, rows, arguments["kind"])
    found = found[_in_order(found, ids)]
    keys = found[:, 0].view(np.uint64)
    first = np.flatnonzero(_starts(keys))
    out = np.empty(len(first), _ROW)
    out["key"], out["id"] = keys[first], ids[found[first, 1]]
    n_parts = arguments["parts"]
    where = ((out["key"] >> np.uint64(32)) * np.uint64(n_parts) >> np.uint64(32)).astype(np.int64)
    shuffle.write(_file(folder, arguments, "rows", arguments["number"]), out, where, n_parts)
    return {"parts": len(found), "rows": len(out)}


def mark(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """Of one range: the hashes of each shard that stand in an earlier document of another one.

    Samples: those that stand in another shard at all.
    """
    n_shards = len(arguments["shards"])
    files = [_file(folder, arguments, "rows", i) for i in range(n_shards)]
    pieces = [shuffle.read([path], arguments["number"], _ROW) for path in files]
    rows, shard = np.concatenate(pieces), np.repeat(np.arange(n_shards), [len(p) for p in pieces])
    order = np.lexsort((shard, rows["id"], rows["key"]))
    keys, shard = rows["key"][order], shard[order]
    told = ~_starts(keys)
    if arguments["kind"] == SAMPLE:
        told[:-1] |= told[1:]
    path = _file(folder, arguments, "told", arguments["number"])
    shuffle.write(path, keys[told], shard[told], n_shards)
    return {"told": int(told.sum())}


def tell(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """spans/S: the repeated parts of one shard, in order; those of one kind are apart."""
    texts, rows, ids = _read(folder, arguments)
    tables = []
    for kind in _asked(arguments):
        if kind == SAMPLE:
            continue
        found = _parts(folder, arguments, texts, rows, kind)
        again = _again(folder, {**arguments, "kind": kind}, found, ids)
        reach = arguments["window_words"] if kind == WINDOW else 1
        row, start, end = _joined(found[again], reach)
        what = pa.array([kind] * len(row), pa.string())
        columns = {"row": row, "start": start, "end": end, "what": what}
        tables.append(pa.table(columns, schema=SPAN))
    order = [(name, "ascending") for name in SPAN.names]
    table = pa.concat_tables(tables).sort_by(order)
    shards.write_table(folder / "spans" / arguments["shards"][arguments["number"]], table)
    taken = pc.sum(pc.subtract(table["end"], table["start"])).as_py() or 0
    return {"spans": len(table), "bytes": taken}


def _asked(chosen: dict[str, Any]) -> list[str]:
    windows = [SAMPLE, WINDOW] if chosen["window_words"] else []
    return [PARAGRAPH] * bool(chosen["paragraphs"]) + windows


def _read(folder: Path, arguments: dict[str, Any]) -> tuple[pa.Array, np.ndarray, np.ndarray]:
    """(texts of a shard, rows of those that are kept, first 64 bits of all ids)."""
    name = arguments["shards"][arguments["number"]]
    table = shards.read(folder / "texts" / name, ["id", "text"])
    keep = shards.read(folder / "verdicts" / name, ["keep"])["keep"]
    gone = pc.is_valid(shards.read(folder / "duplicates" / name, ["kind"])["kind"])
    rows = np.flatnonzero(pc.and_(keep, pc.invert(gone)).to_numpy())
    ids = np.array([int(i[:16], 16) for i in table["id"].to_pylist()], np.uint64)
    return table["text"].cast(pa.large_string()).combine_chunks(), rows, ids


def _parts(
    folder: Path, arguments: dict[str, Any], texts: pa.Array, rows: np.ndarray, kind: str
) -> np.ndarray:
    """(hash, row, place, …) of all parts of a kind, in the order of row and place."""
    data, offsets = buffers(texts)
    if kind == PARAGRAPH:
        return span_keys.paragraphs(data, offsets, rows, LEAST_CHARS)
    size = arguments["window_words"]
    every = max(1, min(EVERY, size // 3))
    short = size - every + 1
    tables = word_places.tables()
    found = span_keys.samples(data, offsets, rows, *tables, short, every, powers(short)[short])
    if kind == SAMPLE:
        return found
    keys = found[:, 0].view(np.uint64)
    values, counts = np.unique(keys, return_counts=True)
    told = _told(folder, {**arguments, "kind": SAMPLE})
    shared = np.union1d(values[counts > 1], told)
    found = np.ascontiguousarray(found[np.isin(keys, shared), 1:])
    return span_keys.windows(data, offsets, found, *tables, size, every, powers(size)[size])


def _again(
    folder: Path, arguments: dict[str, Any], found: np.ndarray, ids: np.ndarray
) -> np.ndarray:
    """Which parts stood before: in another shard, in another document of this one, or in the same
    document far enough before.
    """
    order = _in_order(found, ids)
    ordered = found[order]
    keys = ordered[:, 0].view(np.uint64)
    starts = _starts(keys)
    first = np.maximum.accumulate(np.where(starts, np.arange(len(keys)), 0))
    reach = arguments["window_words"] if arguments["kind"] == WINDOW else 1
    apart = ordered[:, 1] != ordered[first, 1]
    apart |= ordered[:, 2] - ordered[first, 2] >= reach
    again = np.zeros(len(found), bool)
    again[order] = (~starts & apart) | np.isin(keys, _told(folder, arguments))
    return again


def _joined(found: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(row, first byte, byte after) of parts; those at most `reach` places apart as one."""
    if not len(found):
        return (np.empty(0, np.int64),) * 3
    row, place, start, end = found[:, 1], found[:, 2], found[:, 3], found[:, 4]
    new = np.ones(len(found), bool)
    new[1:] = (row[1:] != row[:-1]) | (place[1:] - place[:-1] > reach)
    at = np.flatnonzero(new)
    return row[at], np.minimum.reduceat(start, at), np.maximum.reduceat(end, at)


def _in_order(found: np.ndarray, ids: np.ndarray) -> np.ndarray:
    return np.lexsort((found[:, 2], found[:, 1], ids[found[:, 1]], found[:, 0].view(np.uint64)))


def _starts(keys: np.ndarray) -> np.ndarray:
    """Where a new key begins."""
    starts = np.ones(len(keys), bool)
    starts[1:] = keys[1:] != keys[:-1]
    return starts


def _told(folder: Path, arguments: dict[str, Any]) -> np.ndarray:
    files = [_file(folder, arguments, "told", k) for k in range(arguments["parts"])]
    return shuffle.read(files, arguments["number"], _U8)


def _file(folder: Path, arguments: dict[str, Any], what: str, number: int) -> Path:
    return folder / _FOLDERS[arguments["kind"]] / what / f"{number:05d}.bin"
