"""The texts that a quality model is trained on: files of any kind, or documents of this run.

    .jsonl .ndjson .parquet     a record's field                 source:NAME     its documents,
    all other files             the whole file                                   line rules applied

A text of more than 100,000 characters (a book) is cut at blank lines into pieces of about 4,000. Of
a side the 20,000 texts of the smallest hashes are used, so memory is bounded and the order in which
files are named does not matter. What gives no text is counted with its reason; a damaged piece of a
compressed file costs only itself.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from pretrain import shards
from pretrain.collect import streams
from pretrain.curate import files
from pretrain.curate.normalize import normalize

MOST_TEXTS = 20_000  # a side
LONG_CHARS, PIECE_CHARS = 100_000, 4_000

Reasons = dict[str, int]


def least(texts: Iterable[str]) -> dict[int, str]:
    """The 20,000 texts of the smallest hashes, in that order; equal ones are one."""
    found: dict[int, str] = {}
    bound = 1 << 64
    for text in texts:
        value = xxhash.xxh3_64_intdigest(text.encode())
        if value < bound:
            found[value] = text
            if len(found) >= 2 * MOST_TEXTS:
                found = {key: found[key] for key in sorted(found)[:MOST_TEXTS]}
                bound = max(found)
    return {key: found[key] for key in sorted(found)[:MOST_TEXTS]}


def read(folder: Path, arguments: dict[str, Any], side: str, skipped: Reasons) -> Iterator[str]:
    """The normalised texts of a side, long ones in pieces; what gives none is counted."""
    key = f"curate.quality.{arguments['name']}.{side}"
    for path in files.expanded(arguments[side], key):
        if path.startswith(files.OF_RUN):
            source = path.removeprefix(files.OF_RUN)
            texts = _of_source(folder, arguments["shards"], source)
        else:
            texts = map(normalize, _of_file(Path(path), arguments["text_field"], folder, skipped))
        for text in texts:
            if text.strip():
                yield from pieces(text)
            else:
                _count(skipped, "empty")


def pieces(text: str) -> Iterator[str]:
    """The text itself; one above 100,000 characters in pieces of about 4,000, at blank lines."""
    if len(text) <= LONG_CHARS:
        yield text
        return
    piece: list[str] = []
    length = 0
    for paragraph in text.split("\n\n"):
        if paragraph.strip():
            piece.append(paragraph)
            length += len(paragraph)
        if length >= PIECE_CHARS:
            yield "\n\n".join(piece)
            piece, length = [], 0
    if piece:
        yield "\n\n".join(piece)


def _of_source(folder: Path, names: Sequence[str], source: str) -> Iterator[str]:
    for name in names:
        for batch in shards.batches(folder / "texts" / name, ["source", "text"]):
            yield from batch.filter(pc.equal(batch["source"], source))["text"].to_pylist()


def _of_file(path: Path, field: str, folder: Path, skipped: Reasons) -> Iterator[str]:
    """The texts of one file: a record's field (.parquet, .jsonl), else the whole file."""
    try:
        if path.suffix in (".parquet", ".pq"):
            yield from _of_parquet(path, field, skipped)
            return
        with streams.opened(str(path), folder) as file:
            found = _sound(streams.blocks(file, str(path), folder), skipped)
            if path.name.removesuffix(".gz").removesuffix(".zst").endswith((".jsonl", ".ndjson")):
                yield from _of_lines(found, field, skipped)
            else:
                yield b"".join(found).decode("utf-8-sig")
    except UnicodeDecodeError:
        _count(skipped, "files that are not UTF-8")
    except (streams.Unreadable, pa.ArrowException):
        _count(skipped, "files that cannot be read")


def _of_parquet(path: Path, field: str, skipped: Reasons) -> Iterator[str]:
    if field not in shards.column_names(path):
        _count(skipped, "files without the text field")
        return
    for batch in shards.batches(path, [field]):
        for value in batch[field].to_pylist():
            yield from _text(value, skipped)


def _of_lines(found: Iterable[bytes], field: str, skipped: Reasons) -> Iterator[str]:
    for line in _lines(found):
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError:
            _count(skipped, "lines that are not JSON")
            continue
        yield from _text(record.get(field) if isinstance(record, dict) else None, skipped)


def _sound(found: Iterable[Any], skipped: Reasons) -> Iterator[bytes]:
    for block in found:
        if isinstance(block, streams.Damage):
            _count(skipped, f"{block.reason} pieces of files")
        else:
            yield block


def _lines(found: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for block in found:
        *whole, rest = (rest + block).split(b"\n")
        yield from filter(bytes.strip, whole)
    if rest.strip():
        yield rest


def _text(value: Any, skipped: Reasons) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    else:
        _count(skipped, "records without the text field")


def _count(skipped: Reasons, reason: str) -> None:
    skipped[reason] = skipped.get(reason, 0) + 1
