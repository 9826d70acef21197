"""The items of benchmark files: all their texts, whatever the format calls them.

.jsonl .ndjson (.gz .zst)   a value a line             .csv .tsv   a row
.json (.gz .zst)            a list, or the longest     .parquet    a row
                            list in an object          .txt        a paragraph
An item's texts are all its strings, at any depth, with the names of their fields.
"""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pretrain import shards
from pretrain.collect import streams
from pretrain.errors import DataError

Texts = list[tuple[str, str]]  # (field, text)


def items(paths: Sequence[str], key: str) -> Iterator[Texts]:
    """The items of the files of one benchmark, in order.

    Raises: DataError where a file cannot be read, naming `key` of the recipe.
    """
    for path in paths:
        try:
            for value in _values(Path(path)):
                yield list(texts_of(value))
        except (OSError, ValueError, csv.Error, streams.Unreadable) as error:
            raise DataError(
                f"curate: benchmark file {path} cannot be read: {error}; must be JSON, JSON lines, "
                f"CSV, Parquet or text (recipe key {key})"
            ) from error


def texts_of(value: Any, field: str = "") -> Iterator[tuple[str, str]]:
    """All strings in a value, with the names of where they are."""
    if isinstance(value, str):
        yield field, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from texts_of(inner, f"{field}.{name}" if field else str(name))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from texts_of(inner, field)


def _values(path: Path) -> Iterator[Any]:
    name = path.name.lower()
    for end in (".gz", ".zst"):
        name = name.removesuffix(end)
    if name.endswith((".parquet", ".pq")):
        for batch in shards.batches(path):
            yield from batch.to_pylist()
        return
    text = _read(path)
    if name.endswith((".jsonl", ".ndjson")):
        for line in text.splitlines():
            if line.strip():
                yield json.loads(line)
    elif name.endswith(".json"):
        yield from _longest_list(json.loads(text))
    elif name.endswith((".csv", ".tsv")):
        csv.field_size_limit(1 << 30)
        yield from csv.DictReader(io.StringIO(text), delimiter="\t" if ".tsv" in name else ",")
    else:
        yield from (part for part in text.split("\n\n") if part.strip())


def _longest_list(value: Any) -> list[Any]:
    """The items of a JSON file: the list itself, or the longest one anywhere in it."""
    if isinstance(value, list):
        return value
    found: list[list[Any]] = []
    waiting = [value]
    while waiting:
        inner = waiting.pop()
        for child in inner.values() if isinstance(inner, dict) else ():
            if isinstance(child, list):
                found.append(child)
            elif isinstance(child, dict):
                waiting.append(child)
    return max(found, key=len, default=[value])


def _read(path: Path) -> str:
    with streams.opened(str(path), path.parent) as file:
        pieces = []
        for block in streams.blocks(file, str(path), path.parent):
            if isinstance(block, streams.Damage):
                raise ValueError(f"{block.reason} at byte {block.start}")
            pieces.append(bytes(block))
    return b"".join(pieces).decode("utf-8-sig")
