"""Overlap of texts with benchmarks, seen from both sides.

    benchmark files ─build▶ contamination/index.safetensors  items.parquet      one task
    texts/S         ─scan─▶ contamination/S       a row for each span of a document and its item

Overlap is a run of n words (13) of an item's text, case and marks apart (word_scan.py). An item's
text of 8 words or more, but fewer than n, counts as one run; shorter ones cannot be told from
ordinary language, and are counted as too short. A run that stands in more than 10 items of one
benchmark is its prompt, not its content, and is left out (counted too). Each run is kept under the
hash of its first 8 words: a text is hashed once, a bit table turns nearly all of it away, and what
is left is compared whole. Hashes have 64 bits: a false hit is one in 10^13 words for 10^6 runs.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from safetensors import numpy as safetensors

from pretrain import shards, store
from pretrain.curate import benchmark_items, files, sensitive, word_scan
from pretrain.curate.compiled import kernel
from pretrain.curate.normalize import buffers, normalize

KEY_WORDS = 8  # the least that is an overlap, and what a run is looked up by
MOST_ITEMS = 10  # of one benchmark that share a run which is content
AROUND_CHARS = 200  # cut on each side of an overlap
N_SAMPLES = 3
CONTEXT_BYTES = 80

INDEX = ("contamination/index.safetensors", "contamination/items.parquet")
ITEM = pa.schema(
    [("benchmark", pa.string()), ("item", pa.int64()), ("n_runs", pa.int64()),
     ("too_short", pa.bool_()), ("excerpt", pa.string())]
)  # fmt: skip
SPAN = pa.schema(
    [
        ("row", pa.int64()),
        ("id", pa.string()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("benchmark", pa.string()),
        ("item", pa.int64()),
        ("n_runs", pa.int64()),  # of the item's, that this span holds
        ("excerpt", pa.string()),  # of the document, around
    ]
)

Index = dict[str, np.ndarray]


def build_task(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """Read the benchmarks; write the index of their runs and a row for each item."""
    rows: list[dict[str, Any]] = []
    runs: list[np.ndarray] = []
    counts: dict[str, Any] = {}
    for name, paths in arguments["benchmarks"].items():
        key = f"curate.decontaminate.benchmarks.{name}"
        found = [list(_runs(item, arguments["n_words"])) for item in
                 benchmark_items.items(files.expanded(paths, key), key)]  # fmt: skip
        items = list(benchmark_items.items(files.expanded(paths, key), key))
        shared = Counter(run[1] for own in found for run in set(own))
        for number, own in enumerate(found):
            content = sorted({run for run in own if shared[run[1]] <= MOST_ITEMS})
            excerpt = " ".join(" ".join(text for _, text in items[number]).split())[:200]
            rows.append(
                {"benchmark": name, "item": number, "n_runs": len(content),
                 "too_short": not own, "excerpt": excerpt}
            )  # fmt: skip
            table = np.array(content, np.uint64).reshape(-1, 3)
            runs.append(np.column_stack([table, np.full(len(table), len(rows) - 1, np.uint64)]))
        common = sum(n > MOST_ITEMS for n in shared.values())
        counts[name] = {
            "items": len(found),
            "too_short": sum(not own for own in found),
            "prompt_runs": common,
        }
    table = np.concatenate(runs) if runs else np.empty((0, 4), np.uint64)
    table = table[np.lexsort((table[:, 3], table[:, 1], table[:, 0]))]
    names = ("key", "hash", "words", "item")
    data = safetensors.save({n: np.ascontiguousarray(table[:, k]) for k, n in enumerate(names)})
    store.write_bytes(folder / INDEX[0], data)
    shards.write_rows(folder / INDEX[1], rows, ITEM)
    return {"runs": len(table), "n_words": arguments["n_words"], "benchmarks": counts}


def scan_task(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """The overlaps of one shard."""
    name = arguments["shard"]
    table = shards.read(folder / "texts" / name, ["id", "text"])
    texts = table["text"].cast(pa.large_string()).combine_chunks()
    index = safetensors.load((folder / INDEX[0]).read_bytes())
    items = shards.read(folder / INDEX[1], ["benchmark", "item"]).to_pylist()
    rows = []
    for row, start, end, item, n_runs in overlaps(texts, index).tolist():
        data = texts[row].as_py().encode()
        around = data[max(0, start - CONTEXT_BYTES) : end + CONTEXT_BYTES]
        where = (row, table["id"][row].as_py(), start, end, items[item]["benchmark"])
        excerpt = sensitive.hidden(around.decode(errors="ignore"))
        values = (*where, items[item]["item"], n_runs, excerpt)
        rows.append(dict(zip(SPAN.names, values, strict=True)))
    shards.write_rows(folder / "contamination" / name, rows, SPAN)
    return {"documents": len({row["row"] for row in rows}), "spans": len(rows)}


def overlaps(texts: pa.Array, index: Index) -> np.ndarray:
    """int64[n, 5]: row, first byte, byte after, item, runs; by row and item, apart and in order."""
    data, offsets = buffers(texts)
    if not len(index["key"]):
        return np.empty((0, 5), np.int64)
    n_bits = max(16, int(len(index["key"]) * 16).bit_length())
    bits = np.zeros(1 << n_bits, np.bool_)
    shift = np.uint64(64 - n_bits)
    bits[index["key"] >> shift] = True
    columns = (index[n] for n in ("key", "hash", "words", "item"))
    return _overlaps(data, offsets, *word_scan.tables(), bits, shift, *columns)


def cuts(text: str, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans of bytes with 200 characters on each side, out to the next white space, merged."""
    result: list[tuple[int, int]] = []
    data = text.encode()
    for start, end in sorted(spans):
        before, after = data[:start].decode(), data[end:].decode()
        left = before[: max(0, len(before) - AROUND_CHARS)]
        space = max(left.rfind(" "), left.rfind("\n")) + 1 if left else 0
        right = re.search(r"\s", after[AROUND_CHARS:])
        low = len(before[:space].encode())
        stop = AROUND_CHARS + right.start() if right else len(after)
        high = end + len(after[:stop].encode())
        if result and low <= result[-1][1]:
            result[-1] = (result[-1][0], max(high, result[-1][1]))
        else:
            result.append((low, high))
    return result


def report(folder: Path, names: Sequence[str], counts: Mapping[str, Any]) -> dict[str, Any]:
    """Both sides: of each benchmark the items found, of the documents those that hold them."""
    items = shards.read(folder / INDEX[1])
    n_runs = dict(zip(zip(*(items[n].to_pylist() for n in ("benchmark", "item")), strict=True),
                      items["n_runs"].to_pylist(), strict=True))  # fmt: skip
    hit: Counter[tuple[str, int]] = Counter()
    spans: Counter[str] = Counter()
    documents: dict[str, set[str]] = {}
    samples: dict[str, list[dict[str, Any]]] = {}
    for name in names:
        source = shards.read(folder / "signals" / name, ["source", "path"])
        for row in shards.read(folder / "contamination" / name).to_pylist():
            benchmark = row["benchmark"]
            hit[benchmark, row["item"]] += row["n_runs"]
            spans[benchmark] += 1
            documents.setdefault(benchmark, set()).add(row["id"])
            where = {n: source[n][row["row"]].as_py() for n in ("source", "path")}
            shown = {k: row[k] for k in ("id", "item", "excerpt")}
            samples.setdefault(benchmark, []).append(where | shown | {"n_runs": row["n_runs"]})
    result = {}
    for benchmark, known in counts["benchmarks"].items():
        best = sorted(samples.get(benchmark, []), key=lambda s: (-s["n_runs"], s["id"], s["item"]))
        shares = [min(1.0, n / n_runs[key]) for key, n in hit.items() if key[0] == benchmark]
        result[benchmark] = known | {
            "items_hit": len(shares),
            "items_half_hit": sum(share >= 0.5 for share in shares),
            "documents_hit": len(documents.get(benchmark, ())),
            "spans": spans[benchmark],
            "samples": best[:N_SAMPLES],
        }
    return {"n_words": counts["n_words"], "benchmarks": result}


def _runs(item: benchmark_items.Texts, n_words: int) -> list[tuple[int, int, int]]:
    """(hash of the first 8 words, hash, words) of every run of an item's texts."""
    column = pa.array([normalize(text) for _, text in item], pa.large_string())
    data, offsets = buffers(column)
    n = word_scan.longest(offsets)
    hashes, places = np.empty(n, np.uint64), (np.empty(n, np.int64), np.empty(n, np.int64))
    found = []
    for t in range(len(column)):
        n = word_scan.scan(data, offsets[t], offsets[t + 1], *word_scan.tables(), hashes, *places)
        size = min(n, n_words)
        for first in range(n - size + 1) if n >= KEY_WORDS else ():
            key = int(word_scan.gram(hashes, first, KEY_WORDS))
            found.append((key, int(word_scan.gram(hashes, first, size)), size))
    return found


@kernel
def _overlaps(
    data: np.ndarray, offsets: np.ndarray, small: np.ndarray, classes: np.ndarray,
    folds: np.ndarray, bits: np.ndarray, shift: np.uint64, keys: np.ndarray, runs: np.ndarray,
    sizes: np.ndarray, items: np.ndarray,
) -> np.ndarray:  # fmt: skip
    n = word_scan.longest(offsets)
    hashes, starts, ends = np.empty(n, np.uint64), np.empty(n, np.int64), np.empty(n, np.int64)
    out = np.empty((1024, 5), np.int64)
    n_out = 0
    leave = word_scan.power(KEY_WORDS)
    for row in range(len(offsets) - 1):
        base = offsets[row]
        n = word_scan.scan(
            data, base, offsets[row + 1], small, classes, folds, hashes, starts, ends
        )
        value, row_out = np.uint64(0), n_out
        for i in range(n):
            value = value * word_scan.STEP + hashes[i]
            if i >= KEY_WORDS:
                value -= hashes[i - KEY_WORDS] * leave
            first = i - KEY_WORDS + 1
            if first < 0:
                continue
            key = word_scan.mixed(value + np.uint64(KEY_WORDS))
            if not bits[key >> shift]:
                continue
            at = np.searchsorted(keys, key)
            while at < len(keys) and keys[at] == key:
                size = np.int64(sizes[at])
                last = first + size - 1
                if last < n and word_scan.gram(hashes, first, size) == runs[at]:
                    item, found = np.int64(items[at]), False
                    start, end = starts[first] - base, ends[last] - base
                    for k in range(n_out - 1, row_out - 1, -1):
                        if out[k, 3] == item and start <= out[k, 2]:
                            out[k, 2], out[k, 4] = max(end, out[k, 2]), out[k, 4] + 1
                            found = True
                            break
                    if not found:
                        if n_out == len(out):
                            grown = np.empty((2 * n_out, 5), np.int64)
                            grown[:n_out] = out
                            out = grown
                        out[n_out, 0], out[n_out, 1], out[n_out, 2] = row, start, end
                        out[n_out, 3], out[n_out, 4] = item, 1
                        n_out += 1
                at += 1
    return out[:n_out].copy()
