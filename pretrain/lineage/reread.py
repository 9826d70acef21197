"""One record read once more from its source, by the reader that read it in the run."""

from pathlib import Path
from typing import Any

from pretrain import flow, settings, shards
from pretrain.collect import crawl, ranges
from pretrain.collect import run as collecting
from pretrain.collect.guard import Guard
from pretrain.collect.ledger import Ledger
from pretrain.collect.listing import Entry, list_source
from pretrain.collect.settings import Settings, Source
from pretrain.errors import DataError


def reread(run_folder: Path, document: dict[str, Any], folder: Path) -> str | None:
    """The text of the record at the document's path and offset; None where there is none.

    `folder` is for temporary files. Raises: DataError where the source's file is gone.
    """
    own = flow.recorded_recipe(run_folder).collect
    name = document["source"]
    source = own.sources[name]
    file = document["path"]
    if source.kind == "common-crawl":
        return _fetched(document, source, own, folder)
    entries = [e for e in list_source(source).entries if _holds(e.path, file)]
    if not entries:
        raise DataError(
            f"trace: source '{name}' has no file {file} any more; must be there to be read again "
            f"(recipe key collect.sources.{name}.path)"
        )
    arguments = {
        "task": "again",
        "source": name,
        "settings": settings.resolved(source),
        "extract_seconds": own.extract_seconds,
        "extract_megabytes": own.extract_megabytes,
        "entries": [e.to_json() for e in entries[:1]],
    }
    collecting.collect(folder, arguments)
    return _found(folder, document["id"])


def _fetched(document: dict[str, Any], source: Source, own: Settings, folder: Path) -> str | None:
    """The record of a crawl, its byte range fetched again."""
    where = (document["url"], document["path"], document["offset"], document["length"])
    guard = Guard(own.extract_seconds, own.extract_megabytes, source.extractor)
    ledger = Ledger(folder, "again", document["source"], source.license)
    fetcher = ranges.Fetcher(source.base, source.requests_per_second, source.retries)
    with guard, fetcher, ledger:
        ledger.begin(Entry(document["path"], document["path"], document["path"], None, ""))
        crawl.read([crawl.Row(*where, None)], source, ledger, guard, fetcher, folder / "fetched")
    return _found(folder, document["id"])


def _found(folder: Path, identity: str) -> str | None:
    for batch in shards.batches(folder / "documents" / "again.parquet", ["id", "text"]):
        for row in batch.to_pylist():
            if row["id"] == identity:
                return row["text"]
    return None


def _holds(path: str, file: str) -> bool:
    """Whether a listed file is the document's, or the archive that holds it."""
    return file == path or file.startswith(f"{path}!")
