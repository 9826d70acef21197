"""CSV and TSV with a header row: one record per row, one field of it the text.

A record may span lines inside quotes. The standard library's parser works on one record's lines at
a time, as bytes in disguise (Latin-1), so that a bad byte spoils only its own record and byte
ranges are exact. A record that does not close its quotes within `max_record_bytes`, or that breaks
the grammar, costs its first line; reading goes on at the next line. Reasons: not_utf8 (named after
the encoding), bad_csv, no_text, too_long, truncated; an empty text is dropped.
"""

import csv
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from pretrain.collect import streams
from pretrain.collect.jsonl import fields
from pretrain.collect.ledger import Ledger
from pretrain.collect.lines import Line, lines
from pretrain.collect.listing import COMPRESSED, Entry
from pretrain.collect.settings import Source


class Row(NamedTuple):
    offset: int
    length: int
    fields: list[bytes]  # none where `reason` says why
    reason: str = ""
    detail: str = ""


class _Stop(Exception):
    pass


def read(entry: Entry, source: Source, ledger: Ledger, extract: Any = None) -> None:
    """Every row of a file (plain, .gz, .zst) into the ledger; the header is no record."""

    def on_damage(damage: streams.Damage) -> None:
        ledger.take()
        ledger.quarantine(*damage)

    tab = entry.address.lower().endswith(tuple(f".tsv{c}" for c in COMPRESSED))
    with streams.opened(entry.address, ledger.folder) as file:
        ledger.read_bytes(streams.count_bytes(file))
        blocks = streams.blocks(file, entry.address, ledger.folder)
        found = lines(blocks, source.max_record_bytes, on_damage)
        rows_of_file = rows(found, b"\t" if tab else b",", source.max_record_bytes)
        header = next(rows_of_file, None)
        if header is None:
            return
        names = [f.decode(source.encoding, "replace").strip() for f in header.fields]
        if source.text_field not in names:
            last = [header, *deque(rows_of_file, maxlen=1)][-1]
            detail = header.detail or f"no column '{source.text_field}' in the header"
            ledger.take()
            ledger.quarantine(0, last.offset + last.length, header.reason or "no_text", detail)
            return
        for row in rows_of_file:
            ledger.take()
            _record(row, names, source, ledger)


def rows(found: Iterable[Line], delimiter: bytes, longest: int) -> Iterator[Row]:
    """Rows with their byte ranges; blank lines are passed over."""
    source = iter(found)
    again: deque[Line] = deque()  # lines to be read a second time, after a broken record
    limit = csv.field_size_limit(max(longest, 1 << 17))
    try:
        while True:
            line = again.popleft() if again else next(source, None)
            if line is None:
                return
            if line.data is None:
                yield Row(line.offset, line.length, [], "too_long", f"more than {longest} bytes")
            elif line.cut:
                yield Row(line.offset, line.length, [], "truncated", "beside a damaged part")
            elif line.data and line.data != b"\r":
                yield _row(line, line.data, source, again, delimiter, longest)
    finally:
        csv.field_size_limit(limit)


def _row(
    line: Line,
    data: bytes,
    source: Iterator[Line],
    again: deque[Line],
    delimiter: bytes,
    longest: int,
) -> Row:
    if b'"' not in data and b"\r" not in data[:-1]:  # most rows; the parser would say the same
        return Row(line.offset, line.length, data.removesuffix(b"\r").split(delimiter))
    used = [line]

    def feed() -> Iterator[str]:
        yield data.decode("latin-1") + "\n"
        while True:
            following = again.popleft() if again else next(source, None)
            if following is None:
                return
            used.append(following)
            n_bytes = following.offset + following.length - line.offset
            if following.data is None or n_bytes > longest:
                raise _Stop(f"quote not closed within {longest} bytes")
            if following.cut or following.fresh:
                raise _Stop("quote not closed before a damaged part")
            yield following.data.decode("latin-1") + "\n"

    try:
        values = next(csv.reader(feed(), delimiter=delimiter.decode(), strict=True))
    except (csv.Error, _Stop) as error:
        again.extendleft(reversed(used[1:]))
        return Row(line.offset, line.length, [], "bad_csv", str(error))
    length = used[-1].offset + used[-1].length - line.offset
    return Row(line.offset, length, [v.encode("latin-1") for v in values])


def _record(row: Row, names: list[str], source: Source, ledger: Ledger) -> None:
    where = (row.offset, row.length)
    if row.reason:
        ledger.quarantine(*where, row.reason, row.detail)
        return
    if len(row.fields) != len(names):
        detail = f"{len(row.fields)} fields where the header has {len(names)}"
        ledger.quarantine(*where, "bad_csv", detail)
        return
    try:
        values = [f.decode(source.encoding) for f in row.fields]
    except UnicodeDecodeError as error:
        ledger.quarantine(*where, source.not_encoding, f"{error.reason} in a field")
        return
    value = dict(zip(reversed(names), reversed(values), strict=True))  # the first of two wins
    text = value[source.text_field]
    if not text or text.isspace():
        ledger.drop(*where, "empty")
    else:
        ledger.keep(*where, text, *fields(value, source), source.language)
