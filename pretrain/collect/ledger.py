"""Where every record read ends: in exactly one of documents, dropped, quarantined.

A reader says `take` when it has read a record and then one of `keep`, `drop` or `quarantine`. When
a file is finished the two sides must agree, per file, or the task fails: a reader that loses or
doubles a record cannot go unnoticed. Three Parquet files per task:

    documents/SOURCE-00000.parquet   document.DOCUMENT
    rejects/SOURCE-00000.parquet     document.REJECT
    files/SOURCE-00000.parquet       FILE: the account of every source file

Rows are written as they come, in row groups of about 16 MiB, so a task's memory does not grow with
the size of its files. They become visible together, when all is written.
"""

import contextlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pretrain import store
from pretrain.collect.listing import Entry
from pretrain.document import DOCUMENT, REJECT, document_id
from pretrain.errors import DataError
from pretrain.shards import ROW_GROUP_BYTES

FILE = pa.schema(
    [
        ("path", pa.string()),
        ("bytes", pa.int64()),
        *[(name, pa.int64()) for name in ("records_in", "documents", "dropped", "quarantined")],
    ]
)
FOLDERS = {"documents": DOCUMENT, "rejects": REJECT, "files": FILE}
ROW_GROUP_ROWS = 1 << 16


def output_names(task: str) -> tuple[str, ...]:
    """The files that the ledger of a task writes, relative to the stage's folder."""
    return tuple(f"{folder}/{task}.parquet" for folder in FOLDERS)


class _Table:
    """One Parquet file that grows by row groups."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.schema = schema
        self.columns: list[list[Any]] = [[] for _ in schema]
        self.n_bytes = 0
        self.writer = pq.ParquetWriter(path, schema, compression="zstd", write_statistics=False)

    def append(self, *values: Any, n_bytes: int = 0) -> None:
        for column, value in zip(self.columns, values, strict=True):
            column.append(value)
        self.n_bytes += n_bytes
        if self.n_bytes >= ROW_GROUP_BYTES or len(self.columns[0]) >= ROW_GROUP_ROWS:
            self.flush()

    def flush(self) -> None:
        if self.columns[0]:
            table = pa.table(self.columns, schema=self.schema)
            self.writer.write_table(table, row_group_size=table.num_rows)
            self.columns = [[] for _ in self.schema]
            self.n_bytes = 0


class Ledger:
    """The account of one task; use as a context, after which its files are there or none is."""

    def __init__(self, folder: Path, task: str, source: str, license: str | None = None) -> None:
        self.folder, self.task, self.source, self.license = folder, task, source, license
        self.entry: Entry | None = None
        self.path = ""
        self.counts: Counter[str] = Counter()
        self.of_file: Counter[str] = Counter()
        self.reasons: dict[str, Counter[str]] = {"dropped": Counter(), "quarantined": Counter()}

    def __enter__(self) -> "Ledger":
        with contextlib.ExitStack() as stack:
            self.tables = {}
            for name, schema in FOLDERS.items():
                path = stack.enter_context(
                    store.atomic(self.folder / name / f"{self.task}.parquet")
                )
                self.tables[name] = _Table(path, schema)
                stack.callback(self.tables[name].writer.close)
            self.stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self.stack:
            if error is not None:
                # Raised again inside, so that the unfinished files are removed.
                raise error
            for table in self.tables.values():
                table.flush()

    def begin(self, entry: Entry) -> None:
        """From here on records are of this file."""
        self.entry, self.path, self.of_file = entry, entry.path, Counter()

    def read_bytes(self, n_bytes: int) -> None:
        self.of_file["bytes"] += n_bytes

    def take(self, n_records: int = 1) -> None:
        """Records have been read; each must now be kept, dropped or quarantined."""
        self.of_file["records_in"] += n_records

    def keep(
        self,
        offset: int,
        length: int,
        text: str,
        url: str | None = None,
        license: str | None = None,
        date: str | None = None,
        language: str | None = None,
        digest: str | None = None,
        tags: Sequence[str] = (),
    ) -> None:
        """A record that became a document."""
        self.of_file["documents"] += 1
        n_bytes = len(text) if text.isascii() else len(text.encode())
        self.counts["text_bytes"] += n_bytes
        license = license or self.license or (self.entry.license if self.entry else None)
        identity = document_id(self.source, self.path, offset)
        where = (identity, self.source, self.path, offset, length)
        self.tables["documents"].append(
            *where, url, license, date, digest, list(tags), language, text, n_bytes=n_bytes + 256
        )

    def drop(self, offset: int, length: int, reason: str, detail: str = "") -> None:
        """A record that was seen and refused by a rule."""
        self._reject("dropped", offset, length, reason, detail, 1)

    def quarantine(
        self, offset: int, length: int, reason: str, detail: str = "", n_records: int = 1
    ) -> None:
        """A record, or a range of several, that could not be read."""
        self._reject("quarantined", offset, length, reason, detail, n_records)

    def _reject(
        self, kind: str, offset: int, length: int, reason: str, detail: str, n_records: int
    ) -> None:
        self.of_file[kind] += n_records
        self.reasons[kind][reason] += n_records
        self.counts["rejects"] += 1
        detail = detail.encode("utf-8", "backslashreplace").decode()
        self.tables["rejects"].append(
            *(self.source, self.path, offset, length, kind, reason, detail, n_records), n_bytes=256
        )

    def finish(self) -> None:
        """Close the account of the current file.

        Raises: DataError where records went missing or were counted twice.
        """
        of = self.of_file
        out = of["documents"] + of["dropped"] + of["quarantined"]
        if of["records_in"] != out:
            raise DataError(
                f"collect: account of {self.path} (source '{self.source}'): {of['records_in']} "
                f"records read, but {of['documents']} kept + {of['dropped']} dropped + "
                f"{of['quarantined']} quarantined; must be equal: a fault of the reader, please "
                "report it with this file"
            )
        self.tables["files"].append(self.path, *(of[n] for n in FILE.names[1:]), n_bytes=64)
        self.counts["files"] += 1
        for name in ("records_in", "documents", "dropped", "quarantined"):
            self.counts[name] += of[name]
        self.counts["bytes_in"] += of["bytes"]

    def totals(self) -> dict[str, Any]:
        """The counts of the task, as its receipt keeps them."""
        names = ("files", "bytes_in", "records_in", "documents", "dropped", "quarantined")
        return {
            **{name: self.counts[name] for name in (*names, "rejects", "text_bytes")},
            "reasons": {kind: dict(sorted(c.items())) for kind, c in self.reasons.items()},
        }
