"""MediaWiki's XML dumps (.xml, .xml.bz2, also of many streams, .gz, .zst, .xz), page by page.

    <mediawiki xml:lang="de"> <siteinfo>...  <page>...</page>  <page>...</page>

A page is cut out at its tags, which cannot stand elsewhere in such a file, and parsed alone: memory
is bounded by the longest page that is allowed, a broken page costs itself, and reading goes on
behind damaged bytes. No document type is accepted, so no entity can be defined and none grows.
Offset and length are those of the <page> element in the decompressed file; the digest is the SHA-1
that the revision states, as it states it; of several revisions the last is taken. Reasons: bad_xml,
too_long, truncated, not_a_dump; dropped: namespace, redirect, model, deleted, no_text.
"""

import re
import urllib.parse
import xml.parsers.expat
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import orjson

from pretrain.collect import compression, streams
from pretrain.collect.extras import require
from pretrain.collect.ledger import Ledger
from pretrain.collect.listing import Entry
from pretrain.collect.settings import Source
from pretrain.collect.streams import Damage

LICENSE = "CC-BY-SA-4.0"
HEAD_BYTES = 1 << 20
_OPEN, _CLOSE = b"<page>", b"</page>"
_NO_TEXT = {"6", "14", "-2"}  # namespaces whose links are pictures and categories
_NAMESPACE = re.compile(rb'<namespace key="(-?\d{1,6})"[^<>]{0,200}>([^<]{1,200})<')
_LANGUAGE = re.compile(rb'<mediawiki\b[^<>]{0,2000}?xml:lang="([A-Za-z-]{2,20})"')
_BASE = re.compile(rb"<base>([^<]{1,500})</base>")
_WIKI = re.compile(rb"<dbname>([^<]{1,100})</dbname>")


class Page(NamedTuple):
    offset: int
    length: int
    data: bytes | None  # None: longer than allowed
    cut: bool = False


class Wiki(NamedTuple):
    """What the head of a dump says of all its pages."""

    language: str | None
    base: str  # address before a title
    tags: tuple[str, ...]
    links: tuple[str, ...]


def read(entry: Entry, source: Source, ledger: Ledger, guard: Any) -> None:
    """Every page of a dump into the ledger."""
    require("mwparserfromhell", "wikipedia", "reading Wikipedia's dumps")
    with streams.opened(entry.address, ledger.folder) as file:
        ledger.read_bytes(streams.count_bytes(file))
        blocks = compression.blocks(file, entry.address, ledger.folder)
        wiki: Wiki | None = None
        for found in pages(blocks, source.max_record_bytes):
            if isinstance(found, bytes):
                wiki = about(found)
                continue
            ledger.take()
            if isinstance(found, Damage):
                ledger.quarantine(*found)
            elif found.cut:
                ledger.quarantine(found.offset, found.length, "truncated", "part of a page")
            elif found.data is None:
                detail = f"more than {source.max_record_bytes} bytes"
                ledger.quarantine(found.offset, found.length, "too_long", detail)
            else:
                _page(found, wiki or about(b""), source, ledger, guard)
    if not ledger.of_file["records_in"]:
        ledger.take()
        ledger.quarantine(0, 0, "not_a_dump", "no <page> in it")


def pages(blocks: Iterable[bytes | Damage], longest: int) -> Iterator[bytes | Page | Damage]:
    """The head of the file (as bytes), then each page and each damage in order."""
    held = bytearray()
    start = 0  # offset of what is held
    inside = False
    n_lost = 0  # bytes of a page too long to hold that were thrown away
    head: bytes | None = None
    for block in blocks:
        if isinstance(block, Damage):
            if inside:
                yield Page(start - n_lost, n_lost + len(held), None, cut=True)
            yield block
            start += len(held)
            held.clear()
            inside, n_lost, head = False, 0, head or b""
            continue
        searched = max(0, len(held) - len(_CLOSE))
        held += block
        while True:
            if not inside:
                at = held.find(_OPEN, searched)
                if head is None and (at >= 0 or len(held) > HEAD_BYTES):
                    head = bytes(held[: at if at >= 0 else HEAD_BYTES])
                    yield head
                drop = at if at >= 0 else max(0, len(held) - len(_OPEN))
                if head is not None:
                    tail = held.find(_CLOSE, 0, drop)
                    if tail >= 0:
                        yield Page(start, tail + len(_CLOSE), None, cut=True)
                    del held[:drop]
                    start += drop
                if at < 0:
                    break
                inside, searched = True, 0
            end = held.find(_CLOSE, searched)
            if end < 0:
                if n_lost + len(held) > longest:
                    drop = len(held) - len(_CLOSE)
                    del held[:drop]
                    start, n_lost = start + drop, n_lost + drop
                break
            end += len(_CLOSE)
            fits = not n_lost and end <= longest
            yield Page(start - n_lost, n_lost + end, bytes(held[:end]) if fits else None)
            del held[:end]
            start, n_lost, inside, searched = start + end, 0, False, 0
    if inside:
        yield Page(start - n_lost, n_lost + len(held), None, cut=True)


def about(head: bytes) -> Wiki:
    """Language, address and names of namespaces from the head of a dump."""
    language, base, wiki = _LANGUAGE.search(head), _BASE.search(head), _WIKI.search(head)
    address = base[1].decode("utf-8", "replace").rpartition("/")[0] + "/" if base else ""
    named = _NAMESPACE.findall(head)
    links = {n.decode("utf-8", "replace").lower() for key, n in named if key.decode() in _NO_TEXT}
    return Wiki(
        language[1].decode().partition("-")[0].lower() if language else None,
        address,
        (f"wiki:{wiki[1].decode('utf-8', 'replace')}",) if wiki else (),
        tuple(sorted(links | {"file", "image", "category", "media"})),
    )


def _page(found: Page, wiki: Wiki, source: Source, ledger: Ledger, guard: Any) -> None:
    where = (found.offset, found.length)
    assert found.data is not None
    try:
        page = parse(found.data)
    except xml.parsers.expat.ExpatError as error:
        ledger.quarantine(*where, "bad_xml", str(error)[:200])
        return
    title, model = page.get("title", "").strip(), page.get("model", "wikitext").strip()
    if page.get("ns", "0").strip() != "0":
        ledger.drop(*where, "namespace", f"namespace {page['ns'].strip()[:20]}")
    elif "redirect" in page:
        ledger.drop(*where, "redirect", title)
    elif model != "wikitext":
        ledger.drop(*where, "model", model[:100])
    elif "deleted" in page:
        ledger.drop(*where, "deleted", title)
    else:
        request = {"title": title, "text": page.get("text", ""), "links": wiki.links}
        answer = guard(orjson.dumps(request), kind="wikitext")
        if answer["reason"]:
            ledger.quarantine(*where, answer["reason"], answer["detail"])
        elif not answer["text"] or answer["text"].isspace():
            ledger.drop(*where, "no_text", title)
        else:
            url = wiki.base + urllib.parse.quote(title.replace(" ", "_"), safe="/:,()'!*")
            digest = f"sha1:{page['sha1'].strip()}" if page.get("sha1") else None
            date = page.get("timestamp", "").strip() or None
            language, license = source.language or wiki.language, source.license or LICENSE
            address = url if wiki.base else None
            text = answer["text"]
            ledger.keep(*where, text, address, license, date, language, digest, wiki.tags)


def parse(data: bytes) -> dict[str, str]:
    """The fields of one <page> element. Raises: ExpatError."""
    found: dict[str, str] = {}
    path: list[str] = []
    parts: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        path.append(name)
        parts.clear()
        if name == "redirect" and len(path) == 2:
            found["redirect"] = attributes.get("title", "")
        elif path[1:] == ["revision"]:
            for key in ("text", "sha1", "timestamp", "model", "deleted"):
                found.pop(key, None)
        elif name == "text" and attributes.get("deleted"):
            found["deleted"] = "deleted"
        elif name == "text" and attributes.get("sha1"):
            found["sha1"] = attributes["sha1"]

    def end(name: str) -> None:
        inside = path[1:2] == ["revision"]
        if (len(path) == 3 and inside and name in ("text", "sha1", "timestamp", "model")) or (
            len(path) == 2 and name in ("title", "ns")
        ):
            found[name] = "".join(parts) or found.get(name, "")
        path.pop()
        parts.clear()

    parser = xml.parsers.expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = parts.append
    parser.Parse(data, True)
    return found
