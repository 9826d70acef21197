"""Web archives: pages of WARC and ARC files, texts of WET files, as documents.

    records ─▶ is it a page, of our domains? ─▶ status, type ─▶ reserved? ─▶ HTML to text ─▶ ledger

A file is read twice where opt-outs are honoured: first only for the robots.txt, ai.txt and
tdmrep.json in it, so that they hold for pages that come before them. Every record is accounted for.
Dropped: not_a_page (requests, metadata, revisits, WAT, robots.txt, ...), domain, status, mime,
opt_out, empty, no_text. Quarantined: bad_record, bad_encoding, not_utf8, too_long, what `streams`
could not verify, what the extractor could not do.

The second and later records of one compressed member have no offset of their own: their path ends
in `!1`, `!2`, ...
"""

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from pretrain import store
from pretrain.collect import batches, optout, payload, skim, streams
from pretrain.collect.batches import Held
from pretrain.collect.guard import Extract, Guard
from pretrain.collect.ledger import Ledger
from pretrain.collect.listing import Entry, is_remote
from pretrain.collect.optout import Policies
from pretrain.collect.records import Lost, Record, of_member, records
from pretrain.collect.settings import Source
from pretrain.collect.streams import Damage

PAGES = {"response", "resource", "conversion"}
POLICIES = tuple(path.encode() for path in optout.POLICY_PATHS)
SCHEMES = ("http://", "https://", "ftp://", "file://")
TEXTS = re.compile(r"text/.*|application/(.*\+)?(json|xml)|application/javascript")


class Page(NamedTuple):
    """What `Ledger.keep` is told of a record."""

    text: str
    url: str
    date: str | None
    language: str | None
    digest: str | None
    tags: tuple[str, ...]


class Draft(NamedTuple):
    """What a record holds: HTML that is yet to be extracted, or else its text."""

    html: bytes | None
    text: str
    tags: tuple[str, ...]


class Refused(Exception):
    """Why a record is no document."""

    def __init__(self, kind: str, reason: str, detail: str = "") -> None:
        self.kind, self.reason, self.detail = kind, reason, detail


def read(entry: Entry, source: Source, ledger: Ledger, guard: Guard) -> None:
    """Every record of an archive (plain, .gz, .zst) into the ledger."""
    policies = optout.new_policies(source.opt_out)
    with _opened(entry, source, ledger) as file:
        ledger.read_bytes(streams.count_bytes(file))
        if source.opt_out.honour:
            for found in _heads(file, entry.address, ledger.folder):
                learn(found, source, policies)
        every = records(file, entry.address, ledger.folder)
        batches.run((_held(one, entry.path, source, policies, ledger) for one in every), guard)
        ledger.path = entry.path


def _heads(file: IO[bytes], name: str, folder: Path) -> Iterator[Record | Lost | Damage]:
    """All records among which a policy file may be."""
    if not name.lower().endswith(".gz"):
        yield from records(file, name, folder)
        return
    for member in skim.members(file, folder, lambda url: url.endswith(POLICIES)):
        yield from of_member(member)


@contextlib.contextmanager
def _opened(entry: Entry, source: Source, ledger: Ledger) -> Iterator[IO[bytes]]:
    """The open archive; a copy of a remote one that is read twice, so that it is fetched once."""
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(streams.opened(entry.address, ledger.folder))
        if is_remote(entry.address) and source.opt_out.honour:
            copy = stack.enter_context(streams.new_spool(ledger.folder))
            try:
                with store.disk_errors(ledger.folder):
                    shutil.copyfileobj(file, copy, streams.BLOCK_BYTES)
            except store.DiskError:
                raise
            except Exception as error:  # file systems raise errors of their own kinds
                raise streams.Unreadable(streams.describe(error)) from error
            file = copy
        yield file


def learn(found: Record | Lost | Damage, source: Source, policies: Policies) -> None:
    """Take up what a record says of its host, if it is a policy file."""
    if not isinstance(found, Record) or found.kind not in PAGES or not optout.is_policy(found.url):
        return
    if found.n_bytes > source.max_record_bytes:
        return
    message = payload.answer(found.content())
    with contextlib.suppress(payload.Undecodable):  # the second reading will say so
        body, _ = payload.decoded(message, source.max_record_bytes)
        policies.add(found.url, message.status, body)


def _held(
    found: Record | Lost | Damage, path: str, source: Source, policies: Policies, ledger: Ledger
) -> Held:
    """One record, or what was lost, on its way into the ledger under the path of its archive."""
    ledger.take()
    draft: Draft | Refused
    if isinstance(found, Record):
        try:
            draft = drafted(found, source, policies)
        except Refused as refused:
            draft = Refused(*refused.args)  # without the traceback, which holds the page
    else:
        draft = Refused("quarantined", found.reason, found.detail)
    if not isinstance(found, Damage) and found.number:
        path = f"{path}!{found.number}"

    def enter(answer: dict[str, Any] | None) -> None:
        ledger.path = path
        try:
            if isinstance(draft, Refused):
                raise draft
            assert isinstance(found, Record)
            text, url, date, language, digest, tags = finished(found, draft, source, answer)
        except Refused as refused:
            put = ledger.drop if refused.kind == "dropped" else ledger.quarantine
            put(*found[:2], refused.reason, refused.detail)
            return
        ledger.keep(*found[:2], text, url, None, date, language, digest, tags)

    if isinstance(draft, Refused):
        return Held(None, 0, enter)
    return Held(draft.html, len(draft.text if draft.html is None else draft.html), enter)


def page(record: Record, source: Source, policies: Policies, guard: Extract) -> Page:
    """The document of a record.

    Raises: Refused.
    """
    draft = drafted(record, source, policies)
    answer = None if draft.html is None else guard(draft.html)
    return finished(record, draft, source, answer)


def drafted(record: Record, source: Source, policies: Policies) -> Draft:
    """The body of a record that is a page.

    Raises: Refused.
    """
    url = record.url
    if record.kind not in PAGES or not url.lower().startswith(SCHEMES):
        raise Refused("dropped", "not_a_page", record.kind)
    if optout.is_policy(url):
        raise Refused("dropped", "not_a_page", "policy of a host")
    check_host(url, source, policies)
    if record.n_bytes > source.max_record_bytes:
        raise Refused("quarantined", "too_long", f"{record.n_bytes} bytes")
    message = payload.Answer(None, {}, record.content())
    stated = record.fields.get("content-type", "")
    if record.kind == "response":
        message = payload.answer(message.body)
        stated = message.header("content-type")
        if message.status not in source.status:
            raise Refused("dropped", "status", str(message.status or "no status line"))
    try:
        body, whole = payload.decoded(message, source.max_record_bytes)
        kind = payload.media_type(stated, body)
        if kind not in source.mime:
            raise Refused("dropped", "mime", kind[:100])
        if not body or body.isspace():
            raise Refused("dropped", "empty")
        is_html = kind in payload.HTML
        why = optout.reserved(url, message.headers, body, is_html, policies)
        if why:
            raise Refused("dropped", "opt_out", why)
        tags = () if whole and not _is_part(record) else ("truncated",)
        charset = payload.charset(stated)
        if is_html:
            return Draft(payload.for_extraction(body, charset), "", tags)
        if not TEXTS.fullmatch(kind):
            raise Refused("dropped", "mime", f"no reader of {kind}"[:100])
        return Draft(None, payload.text(body, charset), tags)
    except payload.Undecodable as error:
        raise Refused("quarantined", error.reason, error.detail) from error


def finished(record: Record, draft: Draft, source: Source, answer: dict[str, Any] | None) -> Page:
    """The document of a record whose HTML, if it is HTML, was extracted.

    Raises: Refused.
    """
    text, language = draft.text, None
    if answer is not None:
        if answer["reason"]:
            raise Refused("quarantined", answer["reason"], answer.get("detail", ""))
        text, language = answer["text"], answer.get("language")
    if not text or text.isspace():
        raise Refused("dropped", "no_text")
    language = source.language or _language(record) or language
    date, digest = record.fields.get("warc-date"), record.fields.get("warc-payload-digest")
    return Page(text, record.url, date, language, digest, draft.tags)


def check_host(url: str, source: Source, policies: Policies) -> None:
    """Refuse what is of no wanted domain, or of one that opted out."""
    host = optout.host(url)
    if source.domains and not optout.covers(source.wanted, host):
        raise Refused("dropped", "domain", host)
    if optout.covers(policies.listed, host):
        raise Refused("dropped", "opt_out", "listed domain")


def _is_part(record: Record) -> bool:
    """Whether the archive says that it holds only a part of what the server sent."""
    return bool(record.fields.get("warc-truncated") or record.fields.get("warc-segment-number"))


def _language(record: Record) -> str | None:
    """The first language that a WET record names (ISO 639-3: its authors' choice)."""
    stated = record.fields.get("warc-identified-content-language", "")
    return stated.partition(",")[0].strip() or None
