"""Benchmark files as items, and items as texts: whatever the format, no field must be named.

    .jsonl .ndjson   one item a line
    .json            one item an element of the list; of an object, of its longest list ("examples",
                     "data"); of an object of objects, one item each; else the object is the item
    .csv .tsv        one item a row; a first row of short cells names the columns
    .parquet         one item a row
    .txt             one item a paragraph (between blank lines); without blank lines, a line
    .gz .zst         after any of these names: compressed

The texts of an item are all its strings, nested ones too: `choices[2]`, `qas[0].question`. Left out
are addresses (no reader's text). A file that cannot be read to its end is an error: a benchmark
that is half looked for would be called clean.
"""

import csv
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from pretrain import shards
from pretrain.collect import streams
from pretrain.errors import DataError

Texts = list[tuple[str, str]]  # (field, text)

_ADDRESS = re.compile(r"[a-z]{2,6}://\S*\Z", re.IGNORECASE)
_BLANK_LINE = re.compile(r"\n[ \t\r]*\n")
_NAME_CHARS = 40  # a cell of a row that names columns is not longer
_CELL_BYTES = 1 << 30


def items(path: Path, key: str) -> Iterator[tuple[int, Texts]]:
    """(record number from 1, texts) of each item of one file, in its order.

    Raises: DataError where the file cannot be read to its end, naming `key` of the recipe.
    """
    n_texts = 0
    try:
        for number, value in _values(path):
            own = list(texts_of(value))
            n_texts += len(own)
            yield number, own
    except (OSError, ValueError, csv.Error, pa.ArrowException, streams.Unreadable) as error:
        raise DataError(
            f"curate: benchmark file {path} cannot be read: {error}; must be a whole file of "
            f"{', '.join([*_READERS, '.parquet'])} (recipe key {key})"
        ) from error
    if not n_texts:
        raise DataError(f"curate: benchmark file {path} has no text (recipe key {key})")


def texts_of(value: Any) -> Iterator[tuple[str, str]]:
    """(field, text) of all strings in a JSON value, in its order, but for addresses."""
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:  # not a recursion: a file may nest as deep as it likes
        field, one = waiting.pop()
        if isinstance(one, str):
            if one.strip() and not _ADDRESS.match(one):
                yield field, one
        elif isinstance(one, dict):
            prefix = f"{field}." if field else ""
            waiting += [(f"{prefix}{k}", v) for k, v in reversed(list(one.items()))]
        elif isinstance(one, list):
            waiting += [(f"{field}[{i}]", v) for i, v in reversed(list(enumerate(one)))]


def _values(path: Path) -> Iterator[tuple[int, Any]]:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in (".gz", ".zst"):
        suffixes.pop()
    kind = suffixes[-1] if suffixes else ""
    if kind == ".parquet":
        rows = (row for batch in shards.batches(path) for row in batch.to_pylist())
        yield from enumerate(rows, 1)
    elif kind in _READERS:
        yield from _READERS[kind](_read(path))
    else:
        raise ValueError(f"it is of the kind {kind!r}")


def _read(path: Path) -> str:
    pieces = []
    with streams.opened(str(path), path.parent) as file:
        for block in streams.blocks(file, str(path), path.parent):
            if isinstance(block, streams.Damage):
                raise ValueError(f"{block.reason}: {block.detail}")
            pieces.append(bytes(block))
    return b"".join(pieces).decode("utf-8-sig")


def _lines(text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield number, orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise ValueError(f"line {number} is not JSON: {error}") from error


def _json(text: str) -> Iterator[tuple[int, Any]]:
    value = orjson.loads(text)
    if isinstance(value, dict):
        inner = list(value.values())
        lists = [one for one in inner if isinstance(one, list)]
        if lists:
            value = max(lists, key=len)
        elif inner and all(isinstance(one, dict) for one in inner):
            value = inner
    yield from enumerate(value if isinstance(value, list) else [value], 1)


def _table(delimiter: str) -> Callable[[str], Iterator[tuple[int, Any]]]:
    def rows(text: str) -> Iterator[tuple[int, Any]]:
        csv.field_size_limit(_CELL_BYTES)
        names: list[str] = []
        for number, cells in enumerate(csv.reader(io.StringIO(text), delimiter=delimiter), 1):
            if number == 1 and all(0 < len(cell.strip()) <= _NAME_CHARS for cell in cells):
                names = [cell.strip() for cell in cells]  # it is an item too: that costs nothing
            own = names[: len(cells)] if len(set(names)) == len(names) else []
            own = own + [f"column {i + 1}" for i in range(len(own), len(cells))]
            yield number, dict(zip(own, cells, strict=True))

    return rows


def _paragraphs(text: str) -> Iterator[tuple[int, Any]]:
    parts = _BLANK_LINE.split(text)
    if sum(1 for part in parts if part.strip()) < 2:
        parts = text.split("\n")
    yield from enumerate((part.strip() for part in parts if part.strip()), 1)


_READERS: dict[str, Callable[[str], Iterator[tuple[int, Any]]]] = {
    ".jsonl": _lines,
    ".ndjson": _lines,
    ".json": _json,
    ".csv": _table(","),
    ".tsv": _table("\t"),
    ".txt": _paragraphs,
}
