"""Parquet shards of documents: written durably, with the same bytes for the same rows."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
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
    with pq.ParquetFile(path) as file:  # pq.read_table would import data sets and pandas: 0.4 s
        table = file.read(columns=columns)
    return table if columns is None else table.select(columns)


def as_numpy(column: pa.ChunkedArray) -> np.ndarray:
    """A column's values: numbers (NaN for an absent one), booleans, else objects (None).

    Arrow's own `to_numpy` imports pandas where it is installed, which takes longer than most
    questions, and so do its compute functions.
    """
    array = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    validity, *data = array.buffers()
    if pa.types.is_boolean(array.type) and not array.null_count:
        return _bits(data[0], array)
    if pa.types.is_integer(array.type) or pa.types.is_floating(array.type):
        dtype = np.dtype(array.type.to_pandas_dtype())
        values = np.frombuffer(data[0], dtype, len(array), array.offset * dtype.itemsize)
        return np.where(_bits(validity, array), values, np.nan) if array.null_count else values
    return np.array(array.to_pylist(), object)


def _bits(buffer: pa.Buffer, array: pa.Array) -> np.ndarray:
    bits = np.unpackbits(np.frombuffer(buffer, np.uint8), bitorder="little")
    return bits[array.offset : array.offset + len(array)].view(bool)


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
