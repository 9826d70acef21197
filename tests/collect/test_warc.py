import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pretrain import settings
from pretrain.collect import warc
from pretrain.collect.guard import Guard
from pretrain.collect.ledger import Ledger
from pretrain.collect.listing import list_source, local_entry
from pretrain.collect.settings import Source
from tests.collect.conftest import Collected
from tests.collect.webarchives import (
    PACKINGS,
    PAGE,
    Guarding,
    arc,
    fake_guard,
    gz,
    http,
    page,
    record,
    text_page,
)

# file: (records, documents, dropped, quarantined)
REAL: dict[str, tuple[int, int, dict[str, int], dict[str, int]]] = {
    "archive-it-example-prefix.warc.gz": (
        *(241, 15, {"not_a_page": 181, "mime": 40, "status": 5}, {}),
    ),
    "commoncrawl-whirlwind.warc.gz": (4, 1, {"not_a_page": 3}, {}),
    "commoncrawl-whirlwind.warc.wat.gz": (2, 0, {"not_a_page": 2}, {}),
    "commoncrawl-whirlwind.warc.wet.gz": (2, 1, {"not_a_page": 1}, {}),
    "dolma-sample-0000.warc.gz": (48, 22, {"not_a_page": 26}, {}),
    "iana-crawl.warc.gz": (343, 16, {"not_a_page": 295, "mime": 28, "status": 4}, {}),
    "warcio-edge-cases/bad.arc": (2, 0, {}, {"bad_record": 2}),
    "warcio-edge-cases/example-bad-non-chunked.warc.gz": (6, 1, {"not_a_page": 5}, {}),
    "warcio-edge-cases/example-digest.warc": (4, 0, {"not_a_page": 4}, {}),
    "warcio-edge-cases/example-iana.org-chunked.warc": (3, 1, {"not_a_page": 2}, {}),
    "warcio-edge-cases/example-resource.warc.gz": (3, 1, {"not_a_page": 2}, {}),
    "warcio-edge-cases/example-space-in-target-uri.warc.gz": (
        *(2, 0, {"not_a_page": 1, "mime": 1}, {}),
    ),
    # One response over two gzip members: neither half is a record.
    "warcio-edge-cases/example-wrong-chunks.warc.gz": (3, 0, {"not_a_page": 1}, {"bad_record": 2}),
    "warcio-edge-cases/example.arc": (2, 1, {"not_a_page": 1}, {}),
    "warcio-edge-cases/example.arc.gz": (2, 1, {"not_a_page": 1}, {}),
    "warcio-edge-cases/example.warc": (6, 1, {"not_a_page": 5}, {}),
    "warcio-edge-cases/example.warc.gz": (6, 1, {"not_a_page": 5}, {}),
}  # fmt: skip


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Collected]:
    """One archive, given by its bytes, through the reader."""

    def run(data: bytes, name: str = "x.warc", guard: Any = fake_guard, **own: Any) -> Collected:
        path = tmp_path / name
        path.write_bytes(data)
        source = settings.parse(Source, {"kind": "warc", "path": str(path), **own})
        with Ledger(tmp_path / "out", "one", "s", source.license) as ledger:
            ledger.begin(local_entry(str(path), name, name))
            warc.read(local_entry(str(path), name, name), source, ledger, Guarding(guard))
            ledger.finish()
        return Collected(tmp_path / "out", ledger.totals())

    return run


def refusals(result: Collected) -> list[tuple[str, str]]:
    return [(r["kind"], r["reason"]) for r in result.rejects]


def test_real_archives_account_for_every_record(data: Path, tmp_path: Path) -> None:
    with Guard(1.0, 512) as guard:
        for name, (n_records, n_documents, dropped, quarantined) in REAL.items():
            path = data / "web/warc" / name
            source = settings.parse(Source, {"kind": "warc", "path": str(path)})
            with Ledger(tmp_path / "out", "one", "s") as ledger:
                entry = local_entry(str(path), name, name)
                ledger.begin(entry)
                warc.read(entry, source, ledger, guard)
                ledger.finish()
            counts = ledger.totals()
            assert (counts["records_in"], counts["documents"]) == (n_records, n_documents), name
            assert counts["reasons"] == {"dropped": dropped, "quarantined": quarantined}, name
            identities = [d["id"] for d in Collected(tmp_path / "out", counts).documents]
            assert len(set(identities)) == len(identities)


def test_the_text_of_a_wet_file_is_what_stands_in_it(data: Path, tmp_path: Path) -> None:
    path = data / "web/warc/commoncrawl-whirlwind.warc.wet.gz"
    source = settings.parse(Source, {"kind": "warc", "path": str(path)})
    entry = local_entry(str(path), "wet", "wet")
    with Ledger(tmp_path, "one", "s") as ledger:
        ledger.begin(entry)
        warc.read(entry, source, ledger, Guarding())
        ledger.finish()
    (found,) = Collected(tmp_path, ledger.totals()).documents
    raw = gzip.decompress(path.read_bytes())
    start = raw.index(b"\r\n\r\n", raw.index(b"WARC-Type: conversion")) + 4
    assert found["text"].encode() == raw[start : start + 4456]
    assert found["url"] == "https://an.wikipedia.org/wiki/Escopete"
    assert found["date"] == "2024-05-18T01:58:10Z"
    assert found["digest"] == "sha1:RDTSR52RUHWDA7QK4BK7OUHU3EXTXYUL"
    assert found["language_hint"] == "spa"
    first = len(path.read_bytes()) - found["length"]
    assert found["offset"] == first  # the last member of the file
    assert gzip.decompress(path.read_bytes()[first:]).startswith(b"WARC/1.0\r\nWARC-Type: conv")


@pytest.mark.parametrize("suffix", PACKINGS)
def test_what_becomes_of_each_kind_of_record(read: Callable[..., Collected], suffix: str) -> None:
    members = [
        record("warcinfo", url=None, body=b"software: x"),
        record("request", body=b"GET / HTTP/1.1\r\n\r\n"),
        record("revisit", body=http(b"")),
        record("metadata", body=b"a: b"),
        record(
            "response", "dns:a.example", b"20080430\na.example 1.2.3.4", Content_Type="text/dns"
        ),
        record("resource", "metadata://gnu.org/wget.log", b"words"),
        page("http://a.example/robots.txt", b"Sitemap: x", type="text/plain"),
        page("http://a.example/1"),
        page("http://a.example/2", status=404),
        page("http://a.example/3", b"\x89PNG....", type="image/png"),
        page("http://a.example/4", b" \r\n "),
        page("http://a.example/5", b"<html><body></body></html>"),
        record("response", "http://a.example/6", b"<html>no status line"),
        record("resource", "http://a.example/7", b"a text", Content_Type="text/plain"),
        record("conversion", "http://a.example/8", "grün".encode()),
        page("http://a.example/9", PAGE, "Content-Encoding: gzip", "Transfer-Encoding: chunked"),
        page("http://a.example/10", b"\x1f\x8b\x08" + bytes(90), "Content-Encoding: gzip"),
        page("http://a.example/11", b"b" * 2_000),
    ]
    found = read(PACKINGS[suffix](*members), f"x.warc{suffix}", max_record_bytes=1024)
    assert found.counts["records_in"] == len(members)
    assert [d["url"][17:] for d in found.documents] == ["1", "7", "8", "9"]
    assert found.texts == ["The river runs over old stones.", "a text", "grün", found.texts[0]]
    assert found.why == {
        **{"not_a_page": 7, "status": 2, "mime": 1, "empty": 1, "no_text": 1},
        **{"bad_encoding": 1, "too_long": 1},
    }
    assert [k for k, r in refusals(found)].count("quarantined") == 2


def test_columns_of_a_document(read: Callable[..., Collected]) -> None:
    members = [
        page("<http://a.example/x>", PAGE, WARC_Payload_Digest="sha1:ABC", WARC_Truncated="length"),
        page("http://b.example/", gzip.compress(PAGE * 9)[:-9], "Content-Encoding: gzip"),
        record("conversion", body=b"text", **{"WARC_Identified_Content_Language": "deu,eng"}),
    ]
    data = gz(*members)
    first, second, third = read(data, "x.warc.gz").documents
    assert (first["url"], first["date"]) == ("http://a.example/x", "2024-05-18T01:58:10Z")
    assert (first["digest"], first["tags"]) == ("sha1:ABC", ["truncated"])
    assert (first["language_hint"], third["language_hint"]) == ("en", "deu")
    assert second["tags"] == ["truncated"]
    assert third["tags"] == []
    assert data[second["offset"] :][: second["length"]] == gz(members[1])
    assert read(data, "x.warc.gz", language="fr").documents[0]["language_hint"] == "fr"


def test_records_of_one_member_have_ids_of_their_own(read: Callable[..., Collected]) -> None:
    data = gz(
        text_page("one") + text_page("two") + b"junk\n" + text_page("three"), text_page("four")
    )
    found = read(data, "x.warc.gz")
    paths = ["x.warc.gz", "x.warc.gz!1", "x.warc.gz!3", "x.warc.gz"]
    assert [d["path"] for d in found.documents] == paths
    assert [r["path"] for r in found.rejects] == ["x.warc.gz!2"]
    assert [f["path"] for f in found.rows("files")] == ["x.warc.gz"]
    assert len({d["id"] for d in found.documents}) == 4


def test_what_the_extractor_cannot_do_is_quarantined(read: Callable[..., Collected]) -> None:
    def guard(data: bytes) -> dict[str, Any]:
        return {"reason": "extract_timeout", "detail": "more than 1 s"}

    assert refusals(read(page(), guard=guard)) == [("quarantined", "extract_timeout")]


def test_character_sets_of_the_header_reach_the_extractor(read: Callable[..., Collected]) -> None:
    body = "<html><body>Привет</body></html>".encode("koi8-r")
    assert read(page(body=body, type="text/html; charset=koi8-r")).texts == ["Привет"]
    assert read(page(body=b"gr\xfcn", type="text/plain; charset=latin1")).texts == ["grün"]


def test_types_and_status_are_settings(read: Callable[..., Collected]) -> None:
    data = page(body=b'{"a": 1}', type="application/json", status=206)
    assert refusals(read(data)) == [("dropped", "status")]
    own = {"mime": ["application/json", "application/pdf"], "status": [206]}
    assert read(data, **own).texts == ['{"a": 1}']
    pdf = page(body=b"%PDF-1.4", status=206)
    assert refusals(read(pdf, **own)) == [("dropped", "mime")]


def test_only_wanted_domains(read: Callable[..., Collected], tmp_path: Path) -> None:
    hosts = ("a.example", "www.a.example", "ba.example", "b.example")
    data = b"".join(page(f"https://{h}/") for h in hosts)
    for written in ("a.example", "A.Example"):
        found = read(data, domains=[written])
        urls = [d["url"] for d in found.documents]
        assert urls == ["https://a.example/", "https://www.a.example/"]
        assert found.why == {"domain": 2}
    (tmp_path / "out-of-it").write_text("a.example\n")
    for honour in (True, False):  # the list is always honoured
        listed = {"domains": str(tmp_path / "out-of-it"), "honour": honour}
        assert read(data, opt_out=listed).why == {"opt_out": 2}


@pytest.mark.parametrize("suffix", PACKINGS)
def test_reservations_hold_for_the_whole_file(read: Callable[..., Collected], suffix: str) -> None:
    no = b"User-agent: CCBot\nDisallow: /private"
    members = [
        page("https://a.example/private/1"),
        page("https://a.example/open"),
        page("https://b.example/1"),
        page("https://c.example/1", PAGE, "X-Robots-Tag: noai"),
        page("https://c.example/2", b"<meta name=robots content=noai>" + PAGE),
        page("https://c.example/3", PAGE, "tdm-reservation: 1"),
        page("https://a.example/robots.txt", no, type="text/plain"),
        page("http://b.example/.well-known/tdmrep.json", b'[{"location":"/","tdm-reservation":1}]'),
        page("https://d.example/robots.txt", b"User-agent: *\nDisallow: /", status=404),
        page("https://d.example/1"),
    ]  # fmt: skip
    data = PACKINGS[suffix](*members)
    found = read(data, f"x.warc{suffix}")
    assert [d["url"] for d in found.documents] == ["https://a.example/open", "https://d.example/1"]
    assert found.why == {"opt_out": 5, "not_a_page": 3}
    details = {r["detail"] for r in found.rejects if r["reason"] == "opt_out"}
    assert details == {
        *("robots.txt: CCBot", "tdmrep.json", "header X-Robots-Tag: noai"),
        *("meta robots: noai", "header tdm-reservation"),
    }
    free = read(data, f"x.warc{suffix}", opt_out={"honour": False})
    assert free.why == {"not_a_page": 3}


def test_arc_files(read: Callable[..., Collected]) -> None:
    head = arc("filedesc://x.arc", b"1 0 Test\n", "text/plain")
    data = head + arc("http://a.example/", http()) + arc("dns:a.example", b"x", "text/dns")
    found = read(data, "x.arc")
    assert found.why == {"not_a_page": 2}
    assert found.documents[0]["date"] == "2014-02-16T05:02:21Z"


def test_damage_costs_no_neighbour(read: Callable[..., Collected]) -> None:
    data = bytearray(gz(*(text_page(w) for w in ("one", "two", "three"))))
    first = len(gz(text_page("one")))
    data[first + 30] ^= 4
    found = read(bytes(data), "x.warc.gz")
    assert found.texts == ["one", "three"]
    assert refusals(found) == [("quarantined", "corrupt")]


def test_a_remote_archive_is_fetched_once(tmp_path: Path) -> None:
    import fsspec

    address = "memory://archives/x.warc.gz"
    with fsspec.open(address, "wb") as file:
        file.write(gz(text_page("one"), page("http://a.example/robots.txt", b"", status=503)))
    source = settings.parse(Source, {"kind": "warc", "path": address})
    (entry,) = list_source(source).entries
    with Ledger(tmp_path, "one", "s") as ledger:
        ledger.begin(entry)
        warc.read(entry, source, ledger, Guarding())
        ledger.finish()
    assert ledger.totals()["reasons"]["dropped"] == {"not_a_page": 1, "opt_out": 1}
