"""The items of a task's files: JSON lines, JSON, CSV, plain or compressed, or a Hub data set.

    path      bbh/bbh/*.json*       one part per file; the first * names it
    records   data.paragraphs.qas   the way to the items of a JSON file: each list is gone through,
                                    and an item keeps the plain fields of what it lies in

Nothing is downloaded unless the path says hf://.
"""

import contextlib
import csv
import glob  # pathlib's takes no absolute pattern
import gzip
import io
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import zstandard

from pretrain import store
from pretrain.errors import DataError
from pretrain.evaluate.settings import Task

Record = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """One file of a task: its name within the task, its records, and one hash of its bytes."""

    name: str
    path: str
    records: list[Record]
    digest: str


def find(task: Task) -> dict[str, str]:
    """Name of each part of a task and its path, sorted; empty where no file matches.

    Files that the first * does not tell apart are named by what is different in their paths.
    """
    if task.path.startswith("hf://"):
        return {task.path.rpartition("/")[2]: task.path}
    paths = sorted(p for p in glob.glob(task.path, recursive=True) if Path(p).is_file())
    names = [_star(task.path, p) or Path(p).name.partition(".")[0] for p in paths]
    if len(set(names)) < len(names):
        shared = os.path.commonpath([str(Path(p).parent) for p in paths])
        names = [os.path.relpath(p, shared) for p in paths]
    return dict(zip(names, paths, strict=True))


def beside(task: Task, pattern: str, part: str) -> str:
    """The one file that `pattern` stands for, for a part of the task. DataError unless it is one.

    The pattern's first * is what the first * of the task's path stood for.
    """
    wanted = pattern.replace("*", glob.escape(part), 1) if "*" in task.path else pattern
    found = sorted(glob.glob(wanted))
    if len(found) != 1:
        raise DataError(f"evaluate: {len(found)} files match {wanted}; must be one")
    return found[0]


def files(task: Task) -> list[str]:
    """Every file that a task is asked from: its parts, and the shots and preludes beside them."""
    parts = find(task)
    found = dict.fromkeys(parts.values())
    for part in parts:
        for pattern in filter(None, (task.shots_path, task.prelude_path)):
            with contextlib.suppress(DataError):  # one that is not there is told where it is read
                found[beside(task, pattern, part)] = None
    return list(found)


def read(part: str, path: str, task: Task) -> Part:
    """The records of one file, unchecked. DataError names file and line."""
    if path.startswith("hf://"):
        return _from_hub(part, path)
    try:
        data = raw = Path(path).read_bytes()
        if path.endswith(".gz"):
            data = gzip.decompress(raw)
        elif path.endswith(".zst"):
            data = unzstd(raw)
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise DataError(f"evaluate: cannot read {path}: {error}") from error
    kind = re.sub(r"\.(gz|zst)$", "", path).rpartition(".")[2]
    records = list({"json": _json, "csv": _csv}.get(kind, _json_lines)(data, path, task))
    if not records:
        raise DataError(f"evaluate: {path} has no item; must have at least one")
    return Part(part, path, records, store.hash_bytes(data))


def field(record: Record, name: str) -> Any:
    """A field of a record; `answers.text` goes into it, through a list into each; else KeyError."""
    value: Any = record
    for key in name.split("."):
        if isinstance(value, list) and not key.isdigit():
            value = [v[key] for v in value if isinstance(v, dict)]
        elif isinstance(value, list):
            if int(key) >= len(value):
                raise KeyError(name)
            value = value[int(key)]
        elif isinstance(value, dict):
            value = value[key]
        else:
            raise KeyError(name)
    return value


def unzstd(data: bytes) -> bytes:
    """All frames of a .zst file; EOFError where the last one is cut short."""
    parts = []
    while data:
        frame = zstandard.ZstdDecompressor().decompressobj()
        parts.append(frame.decompress(data))
        if not frame.eof:
            raise EOFError("the file ends within a zstd frame")
        data = frame.unused_data
    return b"".join(parts)


def _star(pattern: str, path: str) -> str:
    """What the first * of a glob stood for in a path that it matched."""
    before, star, after = pattern.partition("*")
    if not star or after.startswith("*"):
        return ""
    rest = re.escape(after).replace(r"\*", "[^/]*").replace(r"\?", ".")
    found = re.fullmatch(f"{re.escape(before)}([^/]*?){rest}", path)
    return found[1] if found else ""


def _json_lines(data: bytes, path: str, task: Task) -> Iterator[Record]:
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise _bad(path, f"line {number}", f"not JSON: {error}") from error
        if not isinstance(record, dict):
            raise _bad(path, f"line {number}", f"a {type(record).__name__}")
        yield record


def _json(data: bytes, path: str, task: Task) -> Iterator[Record]:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise _bad(path, "the whole", f"not JSON: {error}") from error
    yield from _walk(value, task.records.split(".") if task.records else [], {}, path)


def _walk(value: Any, way: list[str], above: Record, path: str) -> Iterator[Record]:
    if isinstance(value, list):
        for one in value:
            yield from _walk(one, way, above, path)
    elif not isinstance(value, dict):
        raise _bad(path, "an item", f"a {type(value).__name__}")
    elif not way:
        yield above | value
    elif way[0] not in value:
        raise _bad(path, "an object", f"without '{way[0]}' (key records)")
    else:
        plain = {k: v for k, v in value.items() if not isinstance(v, list | dict)}
        yield from _walk(value[way[0]], way[1:], above | plain, path)


def _csv(data: bytes, path: str, task: Task) -> Iterator[Record]:
    try:
        rows = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        for number, row in enumerate(rows, 2):
            if None in row or None in row.values():
                must = f"{len(rows.fieldnames or ())} fields, as the first row has"
                raise _bad(path, f"row {number}", "a row of another width", must)
            yield row
    except (csv.Error, UnicodeDecodeError) as error:
        raise _bad(path, "the whole", f"not CSV: {error}", "CSV with a head") from error


def _from_hub(part: str, path: str) -> Part:
    name, _, rest = path.removeprefix("hf://").rpartition("/")[0].rpartition("/")
    split = path.rpartition("/")[2]
    if not name or not rest:
        raise DataError(f"evaluate: '{path}' is no data set; must be hf://dataset/config/split")
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise DataError(
            f"evaluate: {path} needs the package datasets; pip install pretrain[datasets]"
        ) from error
    try:
        records = [dict(row) for row in load_dataset(name, rest, split=split)]
    except Exception as error:  # its errors have no common kind
        raise DataError(f"evaluate: cannot read {path}: {error}") from error
    digest = store.hash_bytes(orjson.dumps(records, default=str))
    return Part(part, path, records, digest)


def _bad(path: str, where: str, what: str, must: str = "one JSON object") -> DataError:
    return DataError(f"evaluate: {where} of {path} is {what}; must be {must}")
