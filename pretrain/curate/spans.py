"""Parts of texts that stood before: paragraphs, and runs of words, to be cut where they come again.

    texts/S ─emit─▶ rows/S      hash of each paragraph, of some windows of words; by hash
     rows/* ─mark─▶ again/k     all rows of a hash but the first; by shard
    again/* ─tell─▶ spans/S     row, bytes, what

paragraph   a line of 50 characters or more, as CCNet and Dolma have it, by its bytes without white
            space at its ends
window      a run of `window_words` words (50, as Lee et al. 2022, arXiv 2107.06499), case and
            marks apart. Of every 16 windows in a row the one with the smallest hash is kept
            (winnowing, Schleimer et al. 2003), so a run of window_words + 15 words that stood
            before is found, whatever stands around it, but for up to 15 words at its ends

First is what has the smallest document id, then the smallest place: nothing depends on shards.
Only documents that are kept take part, so that no text is cut in favour of one that is gone. Hashes
have 64 bits: in 10^9 paragraphs one is cut wrongly with a probability of 3 %.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pretrain import shards
from pretrain.curate import shuffle, word_scan
from pretrain.curate.chain import Chain
from pretrain.curate.compiled import kernel
from pretrain.curate.normalize import buffers
from pretrain.flow import Stage

PARAGRAPH, WINDOW = "duplicate_paragraph", "duplicate_window"
LEAST_CHARS = 50
EVERY = 16  # windows of which one is kept
ROWS_BYTES = 128 << 20
WORK = "repeats"

ROW = np.dtype(
    [("key", "<u8"), ("id", "<u8"), ("shard", "<u4"), ("row", "<u4"), ("start", "<u8"),
     ("end", "<u8"), ("kind", "u1")]
)  # fmt: skip
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
    """Find repeated parts in all shards; hashes of spans/S."""
    kinds = ("texts", "verdicts", "duplicates")
    basis = {f"{k}/{n}": hashes[f"{k}/{n}"] for n in names for k in kinds}
    wanted = {k: chosen[k] for k in ("paragraphs", "window_words")}
    chain = Chain(stage, WORK, [basis, wanted])
    n_bytes = sum((stage.folder / "texts" / name).stat().st_size for name in names)
    known = {"parts": 1 + 4 * n_bytes // ROWS_BYTES, "n_shards": len(names)}
    last = [
        chain.task(
            tell, f"spans-{Path(n).stem}", {"shard": n, "number": i, **known}, (f"spans/{n}",)
        )
        for i, n in enumerate(names)
    ]
    if not stage.has_run(last):
        chain.each(emit, len(names), {**known, **wanted, "shards": names}, "rows/{}.bin")
        chain.each(mark, known["parts"], known, "again/{}.bin")
    receipts = stage.run_tasks(last, "spans")
    return {name: digest for receipt in receipts for name, digest in receipt.outputs.items()}


def emit(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """The rows of one shard, by range of hashes."""
    number = arguments["number"]
    name = arguments["shards"][number]
    table = shards.read(folder / "texts" / name, ["id", "text"])
    keep = shards.read(folder / "verdicts" / name, ["keep"])["keep"]
    gone = pc.is_valid(shards.read(folder / "duplicates" / name, ["kind"])["kind"])
    inside = np.flatnonzero(pc.and_(keep, pc.invert(gone)).to_numpy())
    texts = table["text"].cast(pa.large_string()).combine_chunks()
    data, offsets = buffers(texts)
    found = []
    if arguments["paragraphs"]:
        found.append((0, _paragraphs(data, offsets, inside)))
    if arguments["window_words"]:
        n = arguments["window_words"]
        found.append((1, _windows(data, offsets, inside, *word_scan.tables(), n)))
    ids = np.array([int(i[:16], 16) for i in table["id"].to_pylist()], np.uint64)
    rows = np.empty(sum(len(values) for _, values in found), ROW)
    at = 0
    for kind, values in found:
        part = rows[at : at + len(values)]
        part["kind"], part["shard"] = kind, number
        part["key"], part["row"] = values[:, 0], values[:, 1]
        part["start"], part["end"], part["id"] = values[:, 2], values[:, 3], ids[values[:, 1]]
        at += len(values)
    shuffle.write(
        _file(folder, "rows", number), rows, _part(rows["key"], arguments), arguments["parts"]
    )
    return {"rows": len(rows)}


def mark(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """Of the rows of one range, those that are not the first of their hash, by shard."""
    files = [_file(folder, "rows", i) for i in range(arguments["n_shards"])]
    rows = shuffle.read(files, arguments["number"], ROW)
    order = np.lexsort((rows["start"], rows["id"], rows["kind"], rows["key"]))
    rows = rows[order]
    again = np.zeros(len(rows), bool)
    again[1:] = rows["key"][1:] == rows["key"][:-1]
    again[1:] &= rows["kind"][1:] == rows["kind"][:-1]
    found = rows[again]
    path = _file(folder, "again", arguments["number"])
    shuffle.write(path, found, found["shard"].astype(np.int64), arguments["n_shards"])
    return {"rows": len(found)}


def tell(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """spans/S: the repeated parts of one shard, in order and apart."""
    files = [_file(folder, "again", k) for k in range(arguments["parts"])]
    rows = shuffle.read(files, arguments["number"], ROW)
    rows = rows[np.lexsort((rows["end"], rows["start"], rows["kind"], rows["row"]))]
    result: list[dict[str, Any]] = []
    for row, start, end, kind in zip(
        *(rows[n].tolist() for n in ("row", "start", "end", "kind")), strict=True
    ):
        what = WINDOW if kind else PARAGRAPH
        last = result[-1] if result else None
        if last and (last["row"], last["what"]) == (row, what) and start <= last["end"]:
            last["end"] = max(last["end"], end)
        else:
            result.append({"row": row, "start": start, "end": end, "what": what})
    shards.write_rows(folder / "spans" / arguments["shard"], result, SPAN)
    return {"spans": len(result)}


def _part(keys: np.ndarray, arguments: dict[str, Any]) -> np.ndarray:
    shift, n = np.uint64(32), np.uint64(arguments["parts"])
    return ((keys >> shift) * n >> shift).astype(np.int64)


def _file(folder: Path, kind: str, number: int) -> Path:
    return folder / WORK / kind / f"{number:05d}.bin"


@kernel
def _paragraphs(data: np.ndarray, offsets: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """uint64[n, 4]: hash, row, first byte, byte after (its line break too) of each long line."""
    out = np.empty((1024, 4), np.uint64)
    n_out = 0
    for row in rows:
        base, end = offsets[row], offsets[row + 1]
        at = base
        while at < end:
            stop = at
            n_chars = 0
            while stop < end and data[stop] != 10:
                n_chars += (data[stop] & 0xC0) != 0x80
                stop += 1
            low, high = at, stop
            while low < high and (data[low] == 32 or data[low] == 9):
                low, n_chars = low + 1, n_chars - 1
            while high > low and (data[high - 1] == 32 or data[high - 1] == 9):
                high, n_chars = high - 1, n_chars - 1
            after = min(stop + 1, end)
            if n_chars >= LEAST_CHARS:
                value = np.uint64(0)
                for i in range(low, high):
                    value = (value ^ np.uint64(data[i])) * word_scan.STEP
                    value ^= value >> np.uint64(29)
                if n_out == len(out):
                    grown = np.empty((2 * n_out, 4), np.uint64)
                    grown[:n_out] = out
                    out = grown
                out[n_out, 0], out[n_out, 1] = word_scan.mixed(value), np.uint64(row)
                out[n_out, 2], out[n_out, 3] = np.uint64(at - base), np.uint64(after - base)
                n_out += 1
            at = after
    return out[:n_out].copy()


@kernel
def _windows(
    data: np.ndarray, offsets: np.ndarray, rows: np.ndarray, small: np.ndarray,
    classes: np.ndarray, folds: np.ndarray, size: int,
) -> np.ndarray:  # fmt: skip
    """uint64[n, 4]: hash, row, first byte, byte after of the windows that winnowing keeps."""
    n = word_scan.longest(offsets)
    hashes, starts, ends = np.empty(n, np.uint64), np.empty(n, np.int64), np.empty(n, np.int64)
    windows = np.empty(n, np.uint64)
    out = np.empty((1024, 4), np.uint64)
    n_out = 0
    leave = word_scan.power(size)
    for row in rows:
        base = offsets[row]
        n = word_scan.scan(
            data, base, offsets[row + 1], small, classes, folds, hashes, starts, ends
        )
        value = np.uint64(0)
        for i in range(n):
            value = value * word_scan.STEP + hashes[i]
            if i >= size:
                value -= hashes[i - size] * leave
            if i >= size - 1:
                windows[i - size + 1] = word_scan.mixed(value + np.uint64(size))
        n_windows = max(0, n - size + 1)
        least, last = -1, -1
        for first in range(max(1, n_windows - EVERY + 1) if n_windows else 0):
            stop = min(first + EVERY, n_windows)
            if least < first:
                least = first
                for i in range(first, stop):
                    if windows[i] <= windows[least]:
                        least = i
            elif windows[stop - 1] <= windows[least]:
                least = stop - 1
            if least == last:
                continue
            last = least
            if n_out == len(out):
                grown = np.empty((2 * n_out, 4), np.uint64)
                grown[:n_out] = out
                out = grown
            out[n_out, 0], out[n_out, 1] = windows[least], np.uint64(row)
            out[n_out, 2] = np.uint64(starts[least] - base)
            out[n_out, 3] = np.uint64(ends[least + size - 1] - base)
            n_out += 1
    return out[:n_out].copy()
