"""Which records of a crawl to read: rows of Common Crawl's columnar index, chosen and ranked.

    index file ── filter by domain, language, type, status ─▶ url, file, offset, length, rank

The filter is pushed down to the statistics of row groups: the index is sorted by reversed host, so
a domain costs the groups that may hold it. `rank` is a hash of file and offset; the records with
the smallest ranks are taken, so that a choice of n depends on nothing else, and one of 2 n holds
it. Memory: the chosen rows of one index file.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from pretrain import shards
from pretrain.collect import optout
from pretrain.collect.settings import Source
from pretrain.errors import DataError

REQUIRED = ("url", "warc_filename", "warc_record_offset", "warc_record_length")
BATCH_ROWS = 1 << 16
SELECTED = pa.schema(
    [
        ("url", pa.string()),
        ("warc_filename", pa.string()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("language", pa.string()),
        ("rank", pa.uint64()),
    ]
)


def chosen(file: Any, path: str, source: Source) -> tuple[pa.Table, int]:
    """The chosen rows of an open index file by WARC file and offset, and how many it has.

    Raises: DataError where a column is missing; pyarrow's and the system's errors.
    """
    import pyarrow.dataset as ds  # takes a second, with pandas

    fragment = ds.ParquetFileFormat().make_fragment(pa.PythonFile(file, mode="r"))
    names = fragment.physical_schema.names
    missing = [c for c in REQUIRED if c not in names]
    if source.languages and "content_languages" not in names:
        missing.append("content_languages")
    if missing:
        raise DataError(
            f"collect: index file {path} has no column {', '.join(missing)}; must be Common "
            f"Crawl's columnar index (it has {', '.join(names)[:300]})"
        )
    columns = [*REQUIRED, *(c for c in ("content_languages",) if c in names)]
    parts: list[pa.Table] = []
    n_held = 0
    for batch in fragment.to_batches(
        columns=columns, filter=where(source, names), batch_size=BATCH_ROWS, use_threads=False
    ):
        part = _rows(batch, source)
        parts.append(part)
        n_held += part.num_rows
        if source.max_records and n_held > 2 * source.max_records + BATCH_ROWS:
            parts = [_smallest(pa.concat_tables(parts), source.max_records)]
            n_held = parts[0].num_rows
    table = pa.concat_tables(parts) if parts else SELECTED.empty_table()
    table = _unique(table.sort_by([("warc_filename", "ascending"), ("offset", "ascending")]))
    if source.max_records:
        table = _smallest(table, source.max_records)
    return table, fragment.metadata.num_rows


def where(source: Source, names: Sequence[str]) -> Any:
    """The filter that row groups' statistics can answer; it may let through a little too much."""
    tests = []
    if source.domains and "url_surtkey" in names:
        # 'org,python,docs)/3/' sorts behind 'org,python,docs', as do its subdomains
        key = pc.field("url_surtkey")
        starts = [",".join(reversed(d.lower().split("."))) for d in source.domains]
        tests.append(_any((key >= s) & (key < s + ";") for s in starts))
    elif source.domains and "url_host_registered_domain" in names:
        column = pc.field("url_host_registered_domain")
        above = {p for d in source.domains for p in _parents(d.lower())}
        below = (pc.ends_with(column, pattern=f".{d.lower()}") for d in source.domains)
        tests.append(_any([column.isin(sorted(above)), *below]))
    if source.languages:
        column = pc.field("content_languages")
        tests.append(_any(pc.starts_with(column, pattern=n) for n in source.languages))
    mime = [c for c in ("content_mime_detected", "content_mime_type") if c in names]
    if source.mime and mime:
        stated = pc.coalesce(*(pc.field(c) for c in mime)) if len(mime) > 1 else pc.field(mime[0])
        tests.append(stated.isin(list(source.mime)))
    if source.status and "fetch_status" in names:
        tests.append(pc.field("fetch_status").cast(pa.int64()).isin(list(source.status)))
    result = None
    for test in tests:
        result = test if result is None else result & test
    return result


def _any(tests: Iterable[Any]) -> Any:
    first, *others = tests
    for test in others:
        first = first | test
    return first


def _parents(domain: str) -> Iterator[str]:
    while domain:
        yield domain
        domain = domain.partition(".")[2]


def _rows(batch: pa.RecordBatch, source: Source) -> pa.Table:
    """Rows of the index as SELECTED, those that the filter let through by mistake left out."""
    table = pa.Table.from_batches([batch])
    languages = (
        pc.list_element(pc.split_pattern(pc.fill_null(table["content_languages"], ""), ","), 0)
        if "content_languages" in table.column_names
        else pa.nulls(table.num_rows, pa.string())
    )
    rank = [
        xxhash.xxh3_64_intdigest(f"{name}\0{offset}".encode())
        for name, offset in zip(
            table["warc_filename"].to_pylist(), table["warc_record_offset"].to_pylist(), strict=True
        )
    ]
    columns = [*(table[c] for c in REQUIRED), languages, pa.array(rank, pa.uint64())]
    found = pa.table(
        [c.cast(f.type) for c, f in zip(columns, SELECTED, strict=True)], schema=SELECTED
    )
    if source.languages:
        found = found.filter(pc.is_in(found["language"], pa.array(source.languages)))
    if source.domains:
        hosts = (optout.host(url or "") for url in found["url"].to_pylist())
        found = found.filter(pa.array([optout.covers(source.wanted, h) for h in hosts], pa.bool_()))
    return found


def _unique(table: pa.Table) -> pa.Table:
    """A sorted table without the second of two rows of one record."""
    if table.num_rows < 2:
        return table
    same = pc.and_(
        *(pc.equal(table[c][1:], table[c][:-1]) for c in ("warc_filename", "offset"))
    ).fill_null(False)
    keep = np.concatenate([[True], ~np.asarray(same.combine_chunks())])
    return table.filter(pa.array(keep))


def _smallest(table: pa.Table, most: int) -> pa.Table:
    """The rows with the smallest ranks, in their order."""
    if table.num_rows <= most:
        return table
    ranks = table["rank"].to_numpy()
    return table.filter(pa.array(ranks <= np.partition(ranks, most - 1)[most - 1]))


def cutoff(paths: Sequence[Path], most: int | None) -> int | None:
    """The rank up to which records are taken, over all selections; None: all."""
    best = np.empty(0, np.uint64)
    n_rows = 0
    for path in paths if most else ():
        ranks = shards.read(path, ["rank"])["rank"].to_numpy()
        n_rows += len(ranks)
        best = np.concatenate([best, ranks])
        if most and len(best) > most:
            best = np.partition(best, most - 1)[:most]
    return int(best.max()) if most and n_rows > most else None


def slices(path: Path, limit: int | None, shard_bytes: int) -> Iterator[tuple[int, int, int]]:
    """(first row, row behind, bytes) of runs of a selection that are about a shard."""
    table = shards.read(path, ["length", "rank"])
    lengths = np.maximum(pc.fill_null(table["length"], 0).to_numpy(), 0)
    if limit is not None:
        lengths = np.where(table["rank"].to_numpy() <= np.uint64(limit), lengths, -1)
    first = total = 0
    for row, n_bytes in enumerate(lengths.tolist()):
        if total and n_bytes >= 0 and total + n_bytes > shard_bytes:
            yield first, row, total
            first, total = row, 0
        total += max(n_bytes, 0)
    if (lengths[first:] >= 0).any():
        yield first, len(lengths), total
