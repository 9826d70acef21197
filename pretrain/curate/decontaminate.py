"""Overlap of documents with benchmarks, both sides told: which documents, which items, which spans.

    benchmark files ─▶ items ─▶ texts ─▶ n-grams    benchmarks/ngrams.safetensors, items.parquet
    texts/S ─scan─▶ contamination/S                 a row a span: document, place, item, share

A document overlaps with an item where they share n_words words in a row, in any case, punctuation
and line breaks (ngram_index.py says what is looked for and what is ignored). Every document that
was collected is scanned, whatever the rules say of it. What follows is the recipe's choice: drop
the document, cut the overlap with CONTEXT_CHARS characters on both sides (as GPT-3's authors did,
with 13 words), or only report. Price: a quotation that an item makes of a public text is an overlap
as well; the report shows what was found, so that it can be judged.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pretrain import shards, store
from pretrain.curate import benchmark_items, files, ngram_index, ngram_scan, sensitive
from pretrain.curate.ngram_index import Index
from pretrain.errors import DataError

INDEX = ("benchmarks/ngrams.safetensors", "benchmarks/items.parquet")
CONTEXT_CHARS = 200
_SEEK_CHARS = 40  # how much farther a cut reaches for a white space
_EXCERPT_BYTES = 400
_TOP, _SAMPLES = 10, 3

OVERLAP = pa.schema(
    [
        ("row", pa.int64()),  # of texts/S
        ("id", pa.string()),
        ("source", pa.string()),
        ("path", pa.string()),
        ("start", pa.int64()),  # bytes of the text
        ("end", pa.int64()),
        ("benchmark", pa.string()),
        ("item", pa.int64()),  # number within the benchmark, from 0
        ("file", pa.string()),
        ("record", pa.int64()),
        ("field", pa.string()),
        ("n_grams", pa.int64()),  # matched within the span
        ("share", pa.float64()),  # of the item's n-grams, how many are anywhere in the document
        ("excerpt", pa.string()),  # what stands in the document, without personal data
        ("item_excerpt", pa.string()),  # what stands in the item
    ]
)


def build(benchmarks: Mapping[str, Iterable[str | Path]], n_words: int) -> Index:
    """The index of all items of the benchmarks' files.

    Raises: DataError where a file cannot be read.
    """
    entries: list[tuple[str, int, str, int, str, str]] = []
    for name, paths in benchmarks.items():
        item = 0
        key = f"curate.decontaminate.benchmarks.{name}"
        for path in paths:
            for record, texts in benchmark_items.items(Path(path), key):
                where = (name, item, str(path), record)
                entries += [(*where, *text) for text in texts or [("", "")]]
                item += 1
    return ngram_index.build(entries, n_words)


def overlaps(texts: pa.Array, index: Index) -> list[list[tuple[int, int, str, int, int]]]:
    """Per large_string text: (start, end, benchmark, item, matched n-grams) of each span."""
    found = ngram_scan.find(texts, index)
    result: list[list[tuple[int, int, str, int, int]]] = [[] for _ in range(len(texts))]
    names = index.entries["benchmark"].to_pylist()
    items = index.entries["item"].to_pylist()
    columns = (found.row, found.start, found.end, found.entry, found.n_grams)
    for row, start, end, entry, n in zip(*(c.tolist() for c in columns), strict=True):
        result[row].append((start, end, names[entry], items[entry], n))
    return result


def cuts(text: str | bytes, spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans with CONTEXT_CHARS characters on both sides, on to a white space; apart, in order.

    Spans and results are bytes of the text in UTF-8.
    """
    data = text.encode() if isinstance(text, str) else text
    result: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        start = _before(data, start)
        if result and start <= result[-1][1]:
            start = result.pop()[0]
        result.append((start, _after(data, end)))
    return result


def _before(data: bytes, at: int) -> int:
    low = max(0, at - 4 * (CONTEXT_CHARS + _SEEK_CHARS))
    piece = data[low:at].decode(errors="ignore")  # may begin within a character: that one is lost
    far = max(0, len(piece) - CONTEXT_CHARS)
    near = far
    while near and far - near < _SEEK_CHARS and not piece[near - 1].isspace():
        near -= 1
    if near and not piece[near - 1].isspace():
        near = far
    return at - len(piece[near:].encode())


def _after(data: bytes, at: int) -> int:
    piece = data[at : at + 4 * (CONTEXT_CHARS + _SEEK_CHARS)].decode(errors="ignore")
    far = near = min(len(piece), CONTEXT_CHARS)
    while near < len(piece) and near - far < _SEEK_CHARS and not piece[near].isspace():
        near += 1
    if near < len(piece) and not piece[near].isspace():
        near = far
    return at + len(piece[:near].encode())


def build_task(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """Write the index of the recipe's benchmarks."""
    found = {
        name: files.expanded(paths, f"curate.decontaminate.benchmarks.{name}")
        for name, paths in arguments["benchmarks"].items()
    }
    index = build(found, arguments["n_words"])
    save(folder, index)
    return {"n_words": index.n_words, "benchmarks": index.about}


def save(folder: Path, index: Index) -> None:
    """Write INDEX under a folder; equal indexes give equal bytes."""
    from safetensors.numpy import save as packed

    about = {"n_words": index.n_words, "benchmarks": index.about}
    metadata = {"about": orjson.dumps(about).decode()}  # one key: safetensors orders none
    store.write_bytes(folder / INDEX[0], packed(index.arrays, metadata))
    shards.write_table(folder / INDEX[1], index.entries)


def load(folder: Path) -> Index:
    """The index that `save` wrote.

    Raises: DataError where it is damaged.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / INDEX[0]
    try:
        with safe_open(path, "numpy") as file:
            arrays = {name: file.get_tensor(name) for name in sorted(file.keys())}
            about = orjson.loads(file.metadata()["about"])
        entries = shards.read(folder / INDEX[1])
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"curate: {path} cannot be read: {error}; remove it and run the same command again"
        ) from error
    return Index(about["n_words"], entries, about["benchmarks"], arrays)


def scan_task(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """Write the overlaps of one shard's documents with all benchmarks."""
    name = arguments["shard"]
    index = load(folder)
    tables = []
    n_documents = 0
    for batch in shards.batches(folder / "texts" / name, ["id", "source", "path", "text"]):
        tables.append(_overlaps(batch, n_documents, index))
        n_documents += len(batch)
    table = pa.concat_tables(tables) if tables else OVERLAP.empty_table()
    shards.write_table(folder / "contamination" / name, table)
    return {
        "documents": n_documents,
        "contaminated": len(pc.unique(table["row"])),
        "spans": len(table),
    }


def _overlaps(batch: pa.RecordBatch, first: int, index: Index) -> pa.Table:
    texts = batch.column("text").cast(pa.large_string())
    found = ngram_scan.find(texts, index)
    own = index.entries.take(pa.array(found.entry))
    columns = {
        "row": pa.array(found.row + first),
        **{n: batch.column(n).take(pa.array(found.row)) for n in ("id", "source", "path")},
        **{n: own[n] for n in ("benchmark", "item", "file", "record", "field")},
        **{n: pa.array(getattr(found, n)) for n in ("start", "end", "n_grams", "share")},
        "excerpt": _excerpts(texts, found.row, found.start, found.end),
        "item_excerpt": _excerpts(
            index.entries["text"], found.entry, found.item_start, found.item_end
        ),
    }
    return pa.table({n: columns[n] for n in OVERLAP.names}, schema=OVERLAP)


def _excerpts(
    texts: pa.Array | pa.ChunkedArray, rows: np.ndarray, starts: np.ndarray, ends: np.ndarray
) -> pa.Array:
    known: dict[int, bytes] = {}
    result = []
    for row, start, end in zip(rows.tolist(), starts.tolist(), ends.tolist(), strict=True):
        if row not in known:
            known = {row: texts[row].as_py().encode()}
        stop = min(end, start + _EXCERPT_BYTES)
        result.append(known[row][start:stop].decode(errors="ignore"))
    return pa.array(_hidden(result), pa.string())


def report(folder: Path, names: Sequence[str], counts: Mapping[str, Any]) -> dict[str, Any]:
    """Per benchmark: its items and those found, documents and spans, and samples of both sides.

    `counts` are those of `build_task`.
    """
    tables = [shards.read(folder / "contamination" / name) for name in names]
    table = pa.concat_tables(tables) if tables else OVERLAP.empty_table()
    result: dict[str, Any] = {}
    for name, about in counts["benchmarks"].items():
        own = table.filter(pc.equal(table["benchmark"], name))
        share = np.array(own.group_by("item").aggregate([("share", "max")])["share_max"])
        result[name] = {
            **about,
            "items_hit": len(share),
            "items_half_hit": int((share >= 0.5).sum()),
            "documents_hit": len(pc.unique(own["id"])),
            "spans": len(own),
            "by_source": _documents_by_source(own),
            "top_documents": _top(own, "id"),
            "top_items": _top(own, "item"),
            "samples": _samples(own),
        }
    everywhere = {"documents_hit": len(pc.unique(table["id"])), "spans": len(table)}
    return {"n_words": counts["n_words"], **everywhere, "benchmarks": result}


def _documents_by_source(own: pa.Table) -> dict[str, int]:
    counts = own.group_by("source").aggregate([("id", "count_distinct")]).to_pylist()
    return {c["source"]: c["id_count_distinct"] for c in sorted(counts, key=lambda c: c["source"])}


def _top(own: pa.Table, key: str) -> list[dict[str, Any]]:
    """The documents with the most items, or the items with the most documents."""
    other = "item" if key == "id" else "id"
    kinds = [(other, "count_distinct"), (key, "count"), ("share", "max")]
    counts = own.group_by(key).aggregate(kinds).to_pylist()
    counts.sort(key=lambda c: (-c[f"{other}_count_distinct"], -c[f"{key}_count"], c[key]))
    what = {"id": "documents", "item": "items"}[other]
    return [
        {
            key: c[key],
            what: c[f"{other}_count_distinct"],
            "spans": c[f"{key}_count"],
            "share": round(c["share_max"], 6),
        }
        for c in counts[:_TOP]
    ]


def _samples(own: pa.Table) -> list[dict[str, Any]]:
    """The spans with the most n-grams, one an item: what stands here, what stands there."""
    order = [("n_grams", "descending"), ("item", "ascending"), ("id", "ascending")]
    result: dict[int, dict[str, Any]] = {}
    for row in own.sort_by([*order, ("start", "ascending")]).to_pylist():
        if row["item"] not in result and len(result) < _SAMPLES:
            result[row["item"]] = {n: v for n, v in row.items() if n != "row"}
    return list(result.values())


def _hidden(texts: list[str]) -> list[str]:
    """The texts without personal data: excerpts are shown to people who never asked for them."""
    shown = list(texts)
    for row, spans in sensitive.find(pa.array(texts, pa.large_string())).by_text():
        shown[row] = sensitive.hide(texts[row].encode(), spans)
    return shown
