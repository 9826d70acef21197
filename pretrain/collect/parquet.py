"""Parquet of others: one record per row; offsets and lengths count rows.

Nothing in the footer is trusted beyond the row count. A file whose footer cannot be read is
quarantined; a damaged page costs the rest of its row group, and the other groups are kept. Rows are
decoded a few hundred at a time, the text column as a dictionary: a page that repeats one long value
a million times stays as small as it is on the disk until single values are taken out of it, and
those are checked for length first. Reasons: bad_parquet, no_text, text_not_a_string, not_utf8,
too_long; an empty text is dropped.
"""

from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pretrain.collect import streams
from pretrain.collect.jsonl import fields
from pretrain.collect.ledger import Ledger
from pretrain.collect.listing import Entry
from pretrain.collect.settings import Source

BATCH_ROWS = 256


def read(entry: Entry, source: Source, ledger: Ledger, extract: Any = None) -> None:
    """Every row of a file into the ledger."""
    with streams.opened(entry.address, ledger.folder) as raw:
        ledger.read_bytes(streams.count_bytes(raw))
        try:
            file, problem = _open(raw, source)
        except Exception as error:  # pyarrow raises errors of many kinds on damaged bytes
            ledger.take()
            ledger.quarantine(0, 0, "bad_parquet", streams.describe(error))
            return
        if problem:
            # A file without rows is one record that cannot be read, not a silent nothing.
            n_rows = file.metadata.num_rows
            ledger.take(max(1, n_rows))
            ledger.quarantine(0, n_rows, *problem, n_records=max(1, n_rows))
        else:
            _rows(file, source, ledger)


def _open(raw: IO[bytes], source: Source) -> tuple[pq.ParquetFile, tuple[str, str] | None]:
    """The open file, and reason and detail where its text column cannot be used."""
    file = pq.ParquetFile(raw)
    problem = _problem(file.schema_arrow, source)
    if problem:
        return file, problem
    field = [source.text_field]
    return pq.ParquetFile(raw, read_dictionary=field, page_checksum_verification=True), None


def _rows(file: pq.ParquetFile, source: Source, ledger: Ledger) -> None:
    wanted = (source.text_field, source.url_field, source.license_field, source.date_field)
    columns = [c for c in dict.fromkeys(wanted) if c in file.schema_arrow.names]
    first = 0
    for group in range(file.metadata.num_row_groups):
        n_group = file.metadata.row_group(group).num_rows
        done = 0
        error = "fewer rows than the footer says"
        batches = file.iter_batches(BATCH_ROWS, row_groups=[group], columns=columns)
        while done < n_group:
            try:
                batch = next(batches, None)
            except (OSError, ValueError, pa.ArrowException) as damage:
                error = streams.describe(damage)
                break
            if batch is None:
                break
            _batch(batch, first + done, source, ledger)
            done += batch.num_rows
        if done < n_group:
            ledger.take(n_group - done)
            ledger.quarantine(
                first + done, n_group - done, "bad_parquet", error, n_records=n_group - done
            )
        first += n_group


def _problem(schema: pa.Schema, source: Source) -> tuple[str, str] | None:
    if source.text_field not in schema.names:
        return "no_text", f"no column '{source.text_field}'"
    kind = schema.field(source.text_field).type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return "text_not_a_string", f"column '{source.text_field}' is {kind}"
    return None


def _batch(batch: pa.RecordBatch, first: int, source: Source, ledger: Ledger) -> None:
    for row, (text, others) in enumerate(_values(batch, source), first):
        ledger.take()
        if text is None:
            ledger.quarantine(row, 1, "no_text", f"field '{source.text_field}' is null")
        elif isinstance(text, int):
            ledger.quarantine(row, 1, "too_long", f"{text} bytes")
        elif isinstance(text, UnicodeDecodeError):
            ledger.quarantine(row, 1, "not_utf8", f"byte {text.start} of the text")
        elif not text or text.isspace():
            ledger.drop(row, 1, "empty")
        else:
            ledger.keep(row, 1, text, *fields(others, source), source.language)


def _values(
    batch: pa.RecordBatch, source: Source
) -> Iterator[tuple[str | int | UnicodeDecodeError | None, dict[str, Any]]]:
    """Per row its text (a number of bytes when too long, an error when not UTF-8) and fields."""
    column = batch.column(source.text_field)
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    texts = column.dictionary.cast(
        pa.large_binary() if pa.types.is_large_string(column.type.value_type) else pa.binary()
    )
    lengths = pc.binary_length(texts).to_pylist()
    others = {n: batch.column(n) for n in batch.schema.names if n != source.text_field}
    for row, index in enumerate(column.indices.to_pylist()):
        values = {name: _string(other, row) for name, other in others.items()}
        if index is None or lengths[index] is None:
            yield None, values
        elif lengths[index] > source.max_record_bytes:
            yield lengths[index], values
        else:
            try:
                yield texts[index].as_py().decode("utf-8"), values
            except UnicodeDecodeError as error:
                yield error, values


def _string(column: pa.Array, row: int) -> str | None:
    """A string of a secondary column; None for anything else, also a string that is not UTF-8."""
    try:
        value = column[row].as_py()
    except (UnicodeDecodeError, ValueError, OverflowError):
        return None
    return value if isinstance(value, str) else None
