import gzip
import random
import sys
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pretrain.collect import payload
from pretrain.collect.payload import Answer, Undecodable
from tests.collect.webarchives import PAGE

MOST = 1 << 20


def chunked(data: bytes, *sizes: int, end: bytes = b"0\r\n\r\n") -> bytes:
    out, at = b"", 0
    for size in [*sizes, len(data)]:
        part = data[at : at + size]
        at += size
        out += b"%x\r\n%s\r\n" % (len(part), part) if part else b""
    return out + end


def undone(body: bytes, most: int = MOST, **headers: str) -> tuple[bytes, bool]:
    named = {n.replace("_", "-"): [v] for n, v in headers.items()}
    return payload.decoded(Answer(200, named, body), most)


def test_an_answer_in_its_parts() -> None:
    head = b"HTTP/1.1 200 OK\r\nA: 1\r\nX-Robots-Tag: noai\r\n more\r\na: 2\r\nbroken\r\n\r\n"
    block = head + b"body\r\n\r\n"
    found = payload.answer(block)
    assert (found.status, found.body) == (200, b"body\r\n\r\n")
    assert found.headers == {"a": ["1", "2"], "x-robots-tag": ["noai more"]}
    assert payload.answer(b"HTTP/1.0 404\n\nx")[::2] == (404, b"x")
    assert payload.answer(b"ICY 200 OK\r\nno end")[::2] == (200, b"")
    assert payload.answer(b"<html>")[::2] == (None, b"<html>")


@given(st.binary(max_size=400), st.lists(st.integers(1, 90), max_size=6))
def test_chunks_are_joined(data: bytes, sizes: list[int]) -> None:
    assert payload.unchunked(chunked(data, *sizes)) == (data, True)


def test_broken_chunks() -> None:
    data = chunked(PAGE, 20, 20)
    assert payload.unchunked(data[:-5]) == (PAGE, False)  # the last one is missing
    assert payload.unchunked(data[:40]) == (PAGE[:30], False)
    assert payload.unchunked(PAGE) == (PAGE, True)  # stored without chunks
    assert payload.unchunked(b"face\r\n" + PAGE) == (PAGE, False)  # ends early
    assert payload.unchunked(b"fa\r\n" + PAGE * 9) == (b"fa\r\n" + PAGE * 9, True)  # a word
    with pytest.raises(Undecodable) as caught:
        payload.unchunked(data.replace(b"\r\n14\r\n", b"\r\nzz\r\n"))
    assert caught.value.reason == "bad_encoding"
    assert payload.unchunked(b"14;name=value\r\n" + PAGE[:20] + b"\n0\n\n") == (PAGE[:20], True)


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", lambda d: zlib.compress(d)[2:-4]),
        ("zstd", zstandard.ZstdCompressor().compress),
    ],
)
def test_content_encodings_are_undone_once_and_bounded(name: str, pack) -> None:
    assert undone(pack(PAGE), content_encoding=name) == (PAGE, True)
    assert undone(PAGE, content_encoding=name) == (PAGE, True)  # stored decoded
    both = chunked(pack(PAGE), 10, 10)
    assert undone(both, content_encoding=name, transfer_encoding="chunked") == (PAGE, True)
    with pytest.raises(Undecodable) as caught:
        undone(pack(bytes(1 << 22)), content_encoding=name)
    assert caught.value.reason == "too_long"


def test_two_encodings_are_undone_in_turn() -> None:
    body = zlib.compress(gzip.compress(PAGE))
    assert undone(body, content_encoding="gzip, deflate") == (PAGE, True)
    assert undone(PAGE, content_encoding="identity, utf-8") == (PAGE, True)


def test_a_packed_body_that_ends_early_is_kept_and_a_spoilt_one_is_not() -> None:
    text = random.Random(1).randbytes(3000)
    packed = gzip.compress(text)
    part, whole = undone(packed[:-400], content_encoding="gzip")
    assert not whole
    assert text.startswith(part)
    assert len(part) > 1000
    with pytest.raises(Undecodable) as caught:
        undone(packed[:-8] + b"12345678", content_encoding="gzip")
    assert caught.value.reason == "bad_encoding"


def test_brotli_where_it_is_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    brotli = pytest.importorskip("brotli")
    packed = brotli.compress(PAGE)
    assert undone(packed, content_encoding="br") == (PAGE, True)
    assert undone(PAGE, content_encoding="br") == (PAGE, True)
    assert undone(brotli.compress(PAGE * 99)[:40], content_encoding="br")[1] is False
    for body, reason in ((brotli.compress(bytes(1 << 22)), "too_long"), (b"\xff" * 80, "bad_enc")):
        with pytest.raises(Undecodable) as caught:
            undone(body, content_encoding="br")
        assert caught.value.reason.startswith(reason)
    monkeypatch.setitem(sys.modules, "brotli", None)
    assert undone(PAGE, content_encoding="br") == (PAGE, True)
    with pytest.raises(Undecodable) as caught:
        undone(packed, content_encoding="br")
    assert "pip install" in caught.value.detail


@pytest.mark.parametrize(
    ("declared", "body", "kind"),
    [
        ("text/html; charset=utf-8", PAGE, "text/html"),
        ("TEXT/HTML", b"words only", "text/html"),
        ("application/xhtml+xml", b"<?xml ?><!DOCTYPE html><html>", "application/xhtml+xml"),
        ("", PAGE, "text/html"),
        ("", b"words", "text/plain"),
        ("text/plain", b" \n<!-- a - b --><HTML lang=en>", "text/html"),
        ("text/plain", b"words <b>", "text/plain"),
        ("text/plain", "\ufeffwords".encode("utf-16"), "text/plain"),
        ("application/octet-stream", PAGE, "text/html"),
        ("application/octet-stream", b"words", "application/octet-stream"),
        ("text/html", b"%PDF-1.4 ...", "application/pdf"),
        ("text/html", b"\x89PNG\r\n\x1a\n", "image/png"),
        ("text/html", b"\x00\x01\x02", "application/octet-stream"),
        ("image/png", PAGE, "image/png"),
        ("application/json", b"{}", "application/json"),
    ],
)  # fmt: skip
def test_the_type_is_the_declared_one_unless_it_is_vague_or_false(
    declared: str, body: bytes, kind: str
) -> None:
    assert payload.media_type(declared, body) == kind


def test_texts_are_decoded_by_what_they_are() -> None:
    assert payload.text("grün".encode(), "cp1252") == "grün"  # what is UTF-8 is so
    assert payload.text(b"\xef\xbb\xbfgr\xc3\xbcn", "") == "grün"
    assert (
        payload.text("grün".encode("cp1252"), payload.charset("text/plain; charset=Latin1"))
        == "grün"
    )
    assert payload.text("日本語の文".encode("shift_jis"), "shift_jis") == "日本語の文"
    assert (
        payload.text("über grüne Wälder, schön".encode("cp1252"), "") == "über grüne Wälder, schön"
    )
    assert payload.text("grün".encode("utf-16"), "utf-8") == "grün"
    assert payload.text("grün".encode("cp1252"), "no-such-set") == "grün"
    with pytest.raises(Undecodable) as caught:
        payload.text(b"\xff\xfe\x00", "utf-16")
    assert caught.value.reason == "not_utf8"


def test_a_page_without_a_declaration_is_read_by_its_header() -> None:
    page = "<html><body>Привет, мир</body></html>"
    assert payload.for_extraction(page.encode("koi8-r"), "koi8-r") == page.encode()
    said = b"<meta charset=koi8-r>" + page.encode("koi8-r")
    assert payload.for_extraction(said, "cp1251") == said
    assert payload.for_extraction(page.encode(), "ascii") == page.encode()
    assert payload.charset('text/html; charset="Windows-1251"') == "windows-1251"
