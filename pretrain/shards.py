"""Parquet shards of documents: written durably, with the same bytes for the same rows."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pretrain import store

ROW_GROUP_BYTES = 16 << 20


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table as zstd Parquet in row groups of about 16 MiB."""
    rows = max(1, int(table.num_rows * ROW_GROUP_BYTES / max(table.nbytes, 1)))
    with store.atomic(path) as temporary:
        pq.write_table(
            table,
            temporary,
            row_group_size=min(rows, 1 << 20),
            compression="zstd",
            write_statistics=False,
        )


def write_rows(path: Path, rows: Iterable[dict[str, Any]], schema: pa.Schema) -> None:
    write_table(path, pa.Table.from_pylist(list(rows), schema=schema))


def read(path: Path, columns: list[str] | None = None) -> pa.Table:
    """One shard as a table; with `columns` only those are read from the disk."""
    return pq.read_table(path, columns=columns)


def column_names(path: Path) -> list[str]:
    """The columns of a shard, from its footer alone."""
    return pq.read_schema(path).names


def read_all(paths: Iterable[Path], columns: list[str] | None = None) -> pa.Table:
    """Several shards as one table, in the order given (at least one path)."""
    return pa.concat_tables([read(path, columns) for path in paths])


def batches(path: Path, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of a shard in record batches, memory bounded by one row group."""
    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(batch_size=4096, columns=columns)
