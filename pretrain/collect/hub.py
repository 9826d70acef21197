"""Data sets of the Hugging Face Hub, or of a folder laid out like one, through its own loader.

    hf://datasets/OWNER/NAME ─▶ builder: which files a split has ─▶ one entry per file ─▶ its rows

The loader decides what belongs to a split (names, folders, the card's table), and streams the rows;
nothing is copied to a cache. Files stand in the loader's order made fast by their commit, so that a
listing is the same until the data set changes. Offsets are row numbers of a file, lengths are 1. No
code of a data set runs: the loader has none of it since version 4. The loader gives no row behind
one that it cannot read: a broken file costs its rest. Reasons: no_text, text_not_a_string,
too_long, bad_rows; an empty text is dropped.
"""

import os
from collections.abc import Iterator
from typing import Any

from pretrain.collect import streams
from pretrain.collect.extras import require
from pretrain.collect.jsonl import fields
from pretrain.collect.ledger import Ledger
from pretrain.collect.listing import Entry, local_entry, shown
from pretrain.collect.settings import Source
from pretrain.errors import DataError

PREFIX = "hf://datasets/"
OLDEST = 4  # older loaders run scripts that a data set brings along


def entries(path: str, source: Source) -> Iterator[Entry]:
    """One entry per file of the split; `name` is FORMAT:FILE.

    Raises: DataError where the data set, its configuration or the split cannot be found.
    """
    datasets = _datasets()
    where, revision = _place(path)
    try:
        builder = datasets.load_dataset_builder(where, name=source.subset, revision=revision)
        files = dict(builder.config.data_files or {})
    except Exception as error:  # the loader and the network raise errors of many kinds
        raise DataError(
            f"collect: cannot open the data set {path}: {streams.describe(error)}; must be a "
            "folder or hf://datasets/OWNER/NAME with this configuration (recipe keys "
            "collect.sources.NAME.path, subset)"
        ) from error
    if source.split not in files:
        has = ", ".join(sorted(map(str, files))) or "none"
        raise DataError(
            f"collect: the data set {path} has no split '{source.split}'; must be one of: {has} "
            "(recipe key collect.sources.NAME.split)"
        )
    module = type(builder).__module__.rpartition(".")[2]
    root = where if os.path.isdir(where) else ""  # noqa: PTH112
    for file in files[source.split]:
        address = str(file)
        if "://" in address:
            yield Entry(address, address, f"{module}:{_tail(address)}", None, address)
        else:
            name = os.path.relpath(address, root or ".")
            yield local_entry(address, shown(address), f"{module}:{name}")


def _datasets() -> Any:
    require("datasets", "datasets", "kind 'hf'")
    import datasets

    if int(datasets.__version__.partition(".")[0]) < OLDEST:
        raise DataError(
            f"collect: datasets {datasets.__version__} may run code of a data set; must be "
            f"{OLDEST}.0 or later: pip install 'pretrain[datasets]'"
        )
    return datasets


def _place(path: str) -> tuple[str, str | None]:
    """What the loader is to be asked for: OWNER/NAME and its revision, or a folder."""
    if not path.startswith(PREFIX):
        return os.path.expanduser(path.removeprefix("file://")), None  # noqa: PTH111
    name, _, revision = path.removeprefix(PREFIX).strip("/").partition("@")
    return name, revision or None


def _tail(address: str) -> str:
    """The name of a file within its repository, without owner and commit."""
    return address.partition("@")[2].partition("/")[2] or address.rpartition("/")[2]


def read(entry: Entry, source: Source, ledger: Ledger, guard: Any = None) -> None:
    """Every row of a file into the ledger."""
    datasets = _datasets()
    ledger.read_bytes(entry.n_bytes or 0)
    module = entry.name.partition(":")[0]
    number = 0
    try:
        rows = datasets.load_dataset(
            module, data_files={"train": [entry.address]}, split="train", streaming=True
        )
        for row in rows:
            ledger.take()
            _row(row, number, source, ledger)
            number += 1
    except (OSError, ValueError, KeyError, TypeError, ArithmeticError, RuntimeError) as error:
        ledger.take()
        detail = f"{streams.describe(error)}; the rest of the file was not read"
        ledger.quarantine(number, 1, "bad_rows", detail)


def _row(row: dict[str, Any], number: int, source: Source, ledger: Ledger) -> None:
    text = row.get(source.text_field)
    if text is None:
        has = ", ".join(sorted(row))[:200]
        detail = f"field '{source.text_field}' is missing or null; the record has {has or 'none'}"
        ledger.quarantine(number, 1, "no_text", detail)
    elif not isinstance(text, str):
        ledger.quarantine(number, 1, "text_not_a_string", f"a {type(text).__name__}")
    elif not text or text.isspace():
        ledger.drop(number, 1, "empty")
    else:
        n_bytes = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
        if n_bytes > source.max_record_bytes:
            ledger.quarantine(number, 1, "too_long", f"{n_bytes} bytes")
        else:
            ledger.keep(number, 1, text, *fields(row, source), source.language)
