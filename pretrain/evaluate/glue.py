"""Labelled texts for fine-tuning, from local files that a small TOML file describes. No network.

    name = "mrpc"                           of the command and the results
    kind = "texts"                          or "words": every word of a text has a label
    format = "tsv"                          tsv, jsonl, xml (RTE's pairs), conllu (words)
    metrics = ["f1", "accuracy"]            the first is the task's score
    classes = [["0"], ["1"]]                in their order, each with all its spellings
    text = "#1 String"                      a column's name or number, or a key of jsonl; xml: a tag
    pair = "#2 String"                      the second text, where there is one
    label = ["Quality"]                     the first that a record has; xml: an attribute
    train = ["mrpc/train.txt.gz"]           below the folder of data
    test = []                               empty: the last `test_share` of the training records
    test_share = 0.25

Tasks that come with the project: tasks/glue/*.toml. GLUE: Wang et al. 2018 (arXiv 1804.07461).
"""

import gzip
import json
import tomllib
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args
from xml.etree import ElementTree

from pretrain.errors import DataError

TASKS = Path(__file__).parent / "tasks" / "glue"
Format = Literal["tsv", "jsonl", "xml", "conllu"]
_UPOS = 3  # of the ten columns of CoNLL-U


@dataclass(frozen=True)
class Task:
    name: str
    kind: Literal["texts", "words"]
    format: Format
    metrics: tuple[str, ...]
    classes: tuple[tuple[str, ...], ...]
    train: tuple[str, ...]
    test: tuple[str, ...] = ()
    test_share: float = 0.25
    text: str | int = ""
    pair: str | int | None = None
    label: tuple[str | int, ...] = ()
    header: bool = True  # tsv: the first line names the columns
    about: str = ""


@dataclass(frozen=True)
class Example:
    """One text or pair with its class, or the words of one text with theirs."""

    texts: tuple[str, ...]
    labels: tuple[int, ...]


Record = Mapping[str | int, Any]


def read_task(path: Path) -> Task:
    """A task as its TOML file says. Raises: DataError that names file and field."""
    try:
        table = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"evaluate: cannot read the task {path}: {error}") from error
    known = {f.name for f in fields(Task)}
    needed = {"name", "kind", "format", "metrics", "classes", "train"}
    for what, names in (("no", needed - set(table)), ("a strange", set(table) - known)):
        if names:
            raise DataError(f"evaluate: {path} has {what} field '{min(names)}'; see glue.py")
    for field, allowed in (("kind", ("texts", "words")), ("format", get_args(Format))):
        if table[field] not in allowed:
            must = ", ".join(allowed)
            raise DataError(f"evaluate: {field} of {path} is {table[field]!r}; must be of {must}")
    if (table["kind"] == "words") != (table["format"] == "conllu"):
        raise DataError(f"evaluate: {path} mixes kind and format; words come as conllu, and only")
    table["classes"] = tuple(tuple(map(str, spellings)) for spellings in table["classes"])
    lists = ("metrics", "train", "test", "label")
    return Task(**(table | {k: tuple(table[k]) for k in lists if k in table}))


def named(name: str) -> Task:
    """One of the project's tasks by its name, or the task of a TOML file by its path."""
    if name.endswith(".toml"):
        return read_task(Path(name))
    tasks = {task.name: task for task in map(read_task, sorted(TASKS.glob("*.toml")))}
    if name not in tasks:
        have = ", ".join(tasks)
        raise DataError(f"evaluate: no task is called '{name}'; must be one of {have}, or a file")
    return tasks[name]


def read_examples(task: Task, data: Path) -> tuple[list[Example], list[Example]]:
    """(to train on, to test on), in the order of the files.

    Raises: DataError that names file, record and field of what cannot be read.
    """
    train = [e for name in task.train for e in _file(task, data / name)]
    if task.test:
        return train, [e for name in task.test for e in _file(task, data / name)]
    kept = len(train) - max(1, round(task.test_share * len(train)))
    return train[:kept], train[kept:]


def _file(task: Task, path: Path) -> list[Example]:
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"evaluate: cannot read {path} of task '{task.name}': {error}") from error
    classes = {s: number for number, spellings in enumerate(task.classes) for s in spellings}
    if task.kind == "words":
        read = _sentences(text, classes)
    else:
        records = {"tsv": _tsv, "jsonl": _jsonl, "xml": _xml}[task.format]
        read = (_example(task, record, classes) for record in records(text, task))
    examples: list[Example] = []
    try:
        examples.extend(read)
    except (KeyError, IndexError, ValueError, ElementTree.ParseError) as error:
        number = len(examples) + 1
        what = str(error.args[0] if error.args else error)
        raise DataError(
            f"evaluate: record {number} of {path} is not as task '{task.name}' says: {what}"
        ) from error
    if not examples:
        raise DataError(f"evaluate: {path} of task '{task.name}' has no record; must have one")
    return examples


def _example(task: Task, record: Record, classes: dict[str, int]) -> Example:
    keys = (task.text,) if task.pair is None else (task.text, task.pair)
    for key in keys:
        if not isinstance(record.get(key), str) or not record[key].strip():
            raise ValueError(f"no text in '{key}'")
    found = next((str(record[key]) for key in task.label if record.get(key) is not None), None)
    if found not in classes:
        raise ValueError(f"label {found!r}, none of {', '.join(classes)}")
    return Example(tuple(record[key].strip() for key in keys), (classes[found],))


def _tsv(text: str, task: Task) -> Iterator[Record]:
    """Columns by number and, below a header, by name; quotes are text."""
    lines = [line for line in text.split("\n") if line.strip()]
    names = lines.pop(0).rstrip("\r").split("\t") if task.header and lines else []
    for line in lines:
        cells = line.rstrip("\r").split("\t")
        yield {**dict(enumerate(cells)), **dict(zip(names, cells, strict=False))}


def _jsonl(text: str, task: Task) -> Iterator[Record]:
    for line in text.splitlines():
        if line.strip():
            record = json.loads(line)
            if not isinstance(record, dict):
                raise ValueError("no JSON object")
            yield record


def _xml(text: str, task: Task) -> Iterator[Record]:
    """Each <pair>: its attributes, and the texts of its elements."""
    for pair in ElementTree.fromstring(text.encode()).iter("pair"):
        record: dict[str | int, Any] = {child.tag: child.text or "" for child in pair}
        record.update(pair.attrib.items())
        yield record


def _sentences(text: str, classes: dict[str, int]) -> Iterator[Example]:
    """Words with their UPOS; tokens that join words (1-2) or stand for none (1.1) are left out."""
    for block in text.replace("\r\n", "\n").split("\n\n"):
        rows = [line.split("\t") for line in block.split("\n") if line and line[0] != "#"]
        words = [row for row in rows if row[0].isdigit()]
        for row in words:
            if len(row) <= _UPOS or row[_UPOS] not in classes:
                what = row[_UPOS] if len(row) > _UPOS else None
                raise ValueError(f"label {what!r}, none of {', '.join(classes)}")
        if words:
            yield Example(tuple(row[1] for row in words), tuple(classes[r[_UPOS]] for r in words))
