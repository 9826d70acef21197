"""Common Crawl by its index: choose records in Parquet, then read their byte ranges and no more.

    index files ── select ─▶ selected/S-00000.parquet ─▶ cutoff ─▶ rows ── collect ─▶ documents/ ...
      one task each            url, file, offset, length    over all       one task per ~shard_bytes

`selection` chooses; `collect` asks for the ranges, neighbours in one request (`ranges`), and reads
each record as `warc` does. A document's path, offset and length are those of the WARC file. A range
that cannot be had costs its records (fetch_failed); a row that names no range costs itself
(bad_index); a record that is not the one of the index is a bad_record.

The index holds no robots.txt: of the opt-outs those in header, page and domain list are honoured.
"""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from pretrain import settings, shards, store
from pretrain.collect import optout, ranges, selection, streams, warc
from pretrain.collect.guard import Extract, Guard
from pretrain.collect.ledger import Ledger, output_names
from pretrain.collect.listing import Entry, is_remote
from pretrain.collect.optout import Policies
from pretrain.collect.records import Record, records
from pretrain.collect.settings import Source
from pretrain.errors import DataError
from pretrain.tasks import Task

if TYPE_CHECKING:
    from pretrain.flow import Stage

# One request for two records when so little lies between them, and never more than this at once.
GAP_BYTES = 64 << 10
RANGE_BYTES = 8 << 20


class Row(NamedTuple):
    url: str
    warc_filename: str
    offset: int
    length: int
    language: str | None


class Range(NamedTuple):
    start: int
    stop: int
    rows: list[Row]


def tasks(stage: "Stage", name: str, source: Source, entries: Sequence[Entry]) -> list[Task]:
    """Choose the records of a source, then the tasks that read them."""
    receipts = stage.run_tasks(select_tasks(name, source, entries), "choosing")
    selected = {path: digest for r in receipts for path, digest in r.outputs.items()}
    limit = selection.cutoff([stage.folder / path for path in selected], source.max_records)
    found: list[Task] = []
    for path, digest in selected.items():
        runs = selection.slices(stage.folder / path, limit, stage.settings.shard_bytes)
        for first, stop, n_bytes in runs:
            task = f"{name}-{len(found):05d}"
            arguments = {
                "task": task,
                "source": name,
                "settings": settings.resolved(source),
                "extract_seconds": stage.settings.extract_seconds,
                "extract_megabytes": stage.settings.extract_megabytes,
                **{"selected": path, "rows": [first, stop], "cutoff": limit},
            }
            inputs = {path: digest, **optout.inputs(source.opt_out)}
            found.append(Task(task, collect, arguments, output_names(task), inputs, float(n_bytes)))
    return found


def select_tasks(name: str, source: Source, entries: Sequence[Entry]) -> list[Task]:
    """One task per index file."""
    return [
        Task(
            name=f"{name}-select-{number:05d}",
            function=select,
            arguments={
                "source": name,
                "settings": settings.resolved(source),
                "entry": entry.to_json(),
                "output": f"selected/{name}-{number:05d}.parquet",
            },
            outputs=(f"selected/{name}-{number:05d}.parquet",),
            weight=float(entry.n_bytes or 1),
        )
        for number, entry in enumerate(entries)
    ]


def select(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """The task: the chosen rows of one index file, sorted by WARC file and offset."""
    source = _source(arguments)
    entry = Entry(**arguments["entry"])
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if entry.problem:
            raise streams.Unreadable(entry.problem)
        with streams.opened(entry.address, folder) as file:
            table, n_rows = selection.chosen(file, entry.path, source)
    except (streams.Unreadable, OSError, pa.ArrowException) as error:
        raise DataError(
            f"collect: index file {entry.path} cannot be read: {streams.describe(error)}; must be "
            f"Parquet of Common Crawl's columnar index (recipe key {_key(arguments)}.path)"
        ) from error
    shards.write_table(folder / arguments["output"], table)
    return {"rows": n_rows, "selected": table.num_rows}


def collect(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """The task: fetch the records of some rows of a selection and read them into one shard."""
    source = _source(arguments)
    first, stop = arguments["rows"]
    rows = chosen_rows(folder / arguments["selected"], first, stop, arguments["cutoff"])
    cache = folder / "fetched" / arguments["task"]
    limits = arguments["extract_seconds"], arguments["extract_megabytes"]
    guard = Guard(*limits, source.extractor)
    ledger = Ledger(folder, arguments["task"], arguments["source"], source.license)
    fetcher = ranges.Fetcher(source.base, source.requests_per_second, source.retries)
    with guard, fetcher, ledger:
        name = f"{arguments['selected']}:{first}-{stop}"
        ledger.begin(Entry(name, name, name, None, ""))
        read(rows, source, ledger, guard, fetcher, cache)
        ledger.path = name
        ledger.finish()
    store.remove(cache)
    return ledger.totals()


def chosen_rows(path: Path, first: int, stop: int, limit: int | None) -> list[Row]:
    """Some rows of a selection, those beyond the cutoff left out."""
    values = shards.read(path).slice(first, stop - first).to_pylist()
    names = Row._fields
    return [Row(*(v[n] for n in names)) for v in values if limit is None or v["rank"] <= limit]


def read(
    rows: Sequence[Row],
    source: Source,
    ledger: Ledger,
    guard: Extract,
    fetcher: ranges.Fetcher,
    cache: Path,
) -> None:
    """The records of rows, sorted by WARC file and offset, into the ledger."""
    policies = optout.new_policies(source.opt_out)
    wanted = []
    for row in rows:
        ledger.take()
        ledger.path = row.warc_filename or ""
        problem = _problem(row, source)
        try:
            if problem:
                raise warc.Refused("quarantined", *problem)
            warc.check_host(row.url, source, policies)
            wanted.append(row)
        except warc.Refused as refused:
            _refuse(row, refused, ledger)
    for one in merged(wanted):
        for part, data in _fetched(one, ledger, fetcher, cache):
            ledger.read_bytes(len(data))
            for row in part.rows:
                start = row.offset - part.start
                piece = data[start : start + row.length]
                ledger.path = row.warc_filename
                _enter(row, piece, source, policies, ledger, guard)


def _problem(row: Row, source: Source) -> tuple[str, str] | None:
    name = row.warc_filename or "/"
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or is_remote(name) or "\0" in name:
        return "bad_index", f"warc_filename {row.warc_filename!r:.100}"
    if not row.url:
        return "bad_index", "no url"
    if row.offset is None or row.length is None or row.offset < 0 or row.length < 1:
        return "bad_index", f"offset {row.offset}, length {row.length}"
    if row.length > source.max_record_bytes:
        return "too_long", f"{row.length} bytes, packed"
    return None


def merged(rows: Sequence[Row]) -> list[Range]:
    """Ranges to ask for: neighbours of one file in one, in the order of the rows."""
    found: list[Range] = []
    for row in rows:
        stop = row.offset + row.length
        last = found[-1] if found else None
        if (
            last
            and last.rows[0].warc_filename == row.warc_filename
            and last.start <= row.offset <= last.stop + GAP_BYTES
            and stop - last.start <= RANGE_BYTES
        ):
            found[-1] = Range(last.start, max(last.stop, stop), [*last.rows, row])
        else:
            found.append(Range(row.offset, stop, [row]))
    return found


def _fetched(
    wanted: Range, ledger: Ledger, fetcher: ranges.Fetcher, cache: Path
) -> Iterator[tuple[Range, bytes]]:
    """The range with its bytes; one by one where it cannot be had as a whole."""
    name = wanted.rows[0].warc_filename
    try:
        yield wanted, ranges.fetch(fetcher, cache, name, wanted.start, wanted.stop)
    except ranges.Failed as failed:
        if failed.final and len(wanted.rows) > 1:
            for row in wanted.rows:
                alone = Range(row.offset, row.offset + row.length, [row])
                yield from _fetched(alone, ledger, fetcher, cache)
            return
        for row in wanted.rows:
            ledger.path = row.warc_filename
            _refuse(row, warc.Refused("quarantined", "fetch_failed", failed.detail), ledger)


def _enter(
    row: Row, piece: bytes, source: Source, policies: Policies, ledger: Ledger, guard: Extract
) -> None:
    """The one record of a range into the ledger."""
    try:
        found = records(io.BytesIO(piece), row.warc_filename, ledger.folder)
        record = next(found, None)
        if not isinstance(record, Record):
            reason, detail = ("bad_record", "empty") if record is None else record[-2:]
            raise warc.Refused("quarantined", str(reason), str(detail))
        if record.url != row.url:
            detail = f"the index says {row.url[:200]}, the record {record.url[:200]}"
            raise warc.Refused("quarantined", "bad_record", detail)
        text, url, date, language, digest, tags = warc.page(record, source, policies, guard)
        if next(found, None) is not None:
            raise warc.Refused("quarantined", "bad_record", "more than one record in the range")
    except warc.Refused as refused:
        _refuse(row, refused, ledger)
        return
    language = language or row.language or None
    ledger.keep(row.offset, row.length, text, url, None, date, language, digest, tags)


def _refuse(row: Row, refused: warc.Refused, ledger: Ledger) -> None:
    put = ledger.drop if refused.kind == "dropped" else ledger.quarantine
    put(row.offset or 0, row.length or 0, refused.reason, refused.detail)


def _key(arguments: dict[str, Any]) -> str:
    return f"collect.sources.{arguments['source']}"


def _source(arguments: dict[str, Any]) -> Source:
    return settings.again(Source, arguments["settings"], _key(arguments))
