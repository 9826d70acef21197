"""One file, one document: pages, papers and books whose bytes must be had whole.

Their parsers run in the watched child process of `guard.py`, which a hostile file may kill at no
cost but its own. The document's range is the file. Reasons: too_long, binary, not_utf8 (named after
the encoding) and those of the parser; dropped: empty, no_text.
"""

import codecs
from collections.abc import Iterable
from typing import Any

from pretrain.collect.ledger import Ledger
from pretrain.collect.settings import Source
from pretrain.collect.streams import Damage
from pretrain.collect.text import BINARY_BYTES, UTF16

TEXT_LIKE = ("html", "latex")


def read(
    blocks: Iterable[bytes | Damage],
    kind: str,
    url: str | None,
    source: Source,
    ledger: Ledger,
    guard: Any,
) -> None:
    """The document in verified bytes of a kind that the guard knows."""
    data = bytearray()
    n_bytes = 0
    damages: list[Damage] = []
    for block in blocks:
        if isinstance(block, Damage):
            damages.append(block)
            continue
        n_bytes += len(block)
        if n_bytes <= source.max_record_bytes:
            data += block
    for damage in damages:
        ledger.take()
        ledger.quarantine(*damage)
    if damages and not n_bytes:
        return
    if damages:  # what is left of a page is no page
        ledger.take()
        ledger.quarantine(0, n_bytes, damages[0].reason, "rest of a damaged page")
    elif n_bytes > source.max_record_bytes:
        ledger.take()
        ledger.quarantine(0, n_bytes, "too_long", f"more than {source.max_record_bytes} bytes")
    else:
        keep(bytes(data), n_bytes, kind, url, source, ledger, guard)


def keep(
    data: bytes,
    n_bytes: int,
    kind: str,
    url: str | None,
    source: Source,
    ledger: Ledger,
    guard: Any,
) -> None:
    """The document in `data`; `n_bytes` is the length of its file, where others were put in."""
    ledger.take()
    if not data or data.isspace():
        ledger.drop(0, n_bytes, "empty")
        return
    if kind in TEXT_LIKE and b"\0" in data[:BINARY_BYTES] and data[:2] not in UTF16:
        ledger.quarantine(0, n_bytes, "binary", f"NUL byte at {data.index(0)}")
        return
    if kind == "latex" and codecs.lookup(source.encoding).name != "utf-8":
        try:
            data = data.decode(source.encoding).encode("utf-8")
        except UnicodeError as error:
            ledger.quarantine(0, n_bytes, source.not_encoding, str(error)[:200])
            return
    page: dict[str, Any] = guard(data) if kind == "html" else guard(data, kind=kind)
    if page["reason"]:
        ledger.quarantine(0, n_bytes, page["reason"], page["detail"])
    elif not page["text"] or page["text"].isspace():
        ledger.drop(0, n_bytes, "no_text", page["detail"])
    else:
        language = source.language or page["language"]
        license, tags = page.get("license"), page.get("tags") or ()
        ledger.keep(0, n_bytes, page["text"], url, license, page["date"], language, None, tags)
