"""JSON lines: one object per line, one field of it the text.

A bad line costs itself and no neighbour. orjson is strict where the standard library is not: it
refuses NaN, lone surrogates and nesting beyond 1024, which would break later stages. Blank lines
are no records. Reasons: not_utf8, bad_json, not_an_object, no_text, text_not_a_string, too_long;
an empty text is dropped.
"""

from typing import Any

import orjson

from pretrain.collect import streams
from pretrain.collect.ledger import Ledger
from pretrain.collect.lines import Line, lines
from pretrain.collect.listing import Entry
from pretrain.collect.settings import Source


def read(entry: Entry, source: Source, ledger: Ledger, extract: Any = None) -> None:
    """Every line of a file (plain, .gz, .zst) into the ledger."""

    def on_damage(damage: streams.Damage) -> None:
        ledger.take()
        ledger.quarantine(*damage)

    with streams.opened(entry.address, ledger.folder) as file:
        ledger.read_bytes(streams.count_bytes(file))
        blocks = streams.blocks(file, entry.address, ledger.folder)
        for line in lines(blocks, source.max_record_bytes, on_damage):
            if line.data is not None and (not line.data or line.data.isspace()):
                continue
            ledger.take()
            _record(line, source, ledger)


def _record(line: Line, source: Source, ledger: Ledger) -> None:
    where = (line.offset, line.length)
    if line.data is None:
        ledger.quarantine(*where, "too_long", f"more than {source.max_record_bytes} bytes")
        return
    try:
        value = orjson.loads(line.data)
    except orjson.JSONDecodeError as error:
        reason, detail = _why(line.data, error)
        ledger.quarantine(*where, reason, detail)
        return
    if not isinstance(value, dict):
        ledger.quarantine(*where, "not_an_object", f"a {type(value).__name__}")
        return
    text = value.get(source.text_field)
    if text is None:
        has = ", ".join(sorted(value))[:200]
        detail = f"field '{source.text_field}' is missing or null; the record has {has or 'none'}"
        ledger.quarantine(*where, "no_text", detail)
    elif not isinstance(text, str):
        ledger.quarantine(*where, "text_not_a_string", f"a {type(text).__name__}")
    elif not text or text.isspace():
        ledger.drop(*where, "empty")
    else:
        url, license, date = fields(value, source)
        ledger.keep(*where, text, url, license, date, source.language)


def fields(value: dict[str, Any], source: Source) -> tuple[str | None, str | None, str | None]:
    """url, license and date of a record: strings that are not blank, else None."""
    found = (value.get(n) for n in (source.url_field, source.license_field, source.date_field))
    url, license, date = (f if isinstance(f, str) and f.strip() else None for f in found)
    return url, license, date


def _why(data: bytes, error: Exception) -> tuple[str, str]:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as bad:
        return "not_utf8", f"byte {data[bad.start]:#04x} at {bad.start} of the record"
    return "bad_json", str(error)[:200]
