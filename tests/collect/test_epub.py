import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.collect import epub, files
from pretrain.collect.epub import extract, license_of
from tests.collect import stub

CONTAINER = (
    '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    '<rootfile full-path="OPS/book.opf" media-type="application/oebps-package+xml"/>'
    "</rootfiles></container>"
)
PACKAGE = """<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:opf="http://www.idpf.org/2007/opf"><metadata><dc:title>T</dc:title>
<dc:language>de-AT</dc:language><dc:date opf:event="conversion">2020-01-01</dc:date>
<dc:date opf:event="publication">1912</dc:date><dc:rights>{rights}</dc:rights></metadata>
<manifest><item id="b" href="two%20b.xhtml" media-type="application/xhtml+xml"/>
<item id="a" href="one.xhtml" media-type="application/xhtml+xml"/>
<item id="n" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>
<item id="i" href="i.png" media-type="image/png"/></manifest>
<spine><itemref idref="n"/><itemref idref="a"/><itemref idref="i"/><itemref idref="b"/>
<itemref idref="none"/></spine></package>"""


def book(changes: dict[str, str | None] | None = None, rights: str = "") -> bytes:
    members = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": CONTAINER,
        "OPS/book.opf": PACKAGE.replace("{rights}", rights),
        "OPS/one.xhtml": "<html><body><h1>One</h1><p>First words.</p></body></html>",
        "OPS/two b.xhtml": "<html><body><nav>x</nav><p>Zweite Wörter.</p></body></html>",
        "OPS/nav.xhtml": "<html><body><p>Contents</p></body></html>",
        **(changes or {}),
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            if text is not None:
                archive.writestr(name, text)
    return file.getvalue()


def test_chapters_in_the_order_of_the_spine() -> None:
    answer = extract(book(rights="https://creativecommons.org/licenses/by-sa/4.0/"))
    assert answer["text"].startswith("One\n\nFirst words.")
    assert answer["text"].endswith("Zweite Wörter.\n")
    assert "Contents" not in answer["text"]
    assert (answer["language"], answer["date"], answer["license"]) == ("de", "1912", "CC-BY-SA-4.0")


def test_rights() -> None:
    assert license_of("http://creativecommons.org/publicdomain/zero/1.0/") == "CC0-1.0"
    assert license_of("Public domain in the USA.") == "Public domain in the USA."
    assert license_of("") is None
    assert license_of("x" * 500) is None


def encryption(algorithm: str) -> str:
    return (
        '<encryption xmlns:enc="http://www.w3.org/2001/04/xmlenc#"><enc:EncryptedData>'
        f'<enc:EncryptionMethod Algorithm="{algorithm}"/></enc:EncryptedData></encryption>'
    )


def test_enciphered_books_and_fonts() -> None:
    name = "META-INF/encryption.xml"
    aes = "http://www.w3.org/2001/04/xmlenc#aes128-cbc"
    assert extract(book({name: encryption(aes)}))["reason"] == "encrypted"
    assert extract(book({name: encryption("http://www.idpf.org/2008/embedding")}))["text"]


@pytest.mark.parametrize(
    "changes",
    [
        {"META-INF/container.xml": None},
        {"META-INF/container.xml": "<container/>"},
        {"OPS/book.opf": None},
        {"OPS/book.opf": "<package>"},
        {"OPS/book.opf": '<!DOCTYPE p [<!ENTITY a "b">]><package>&a;</package>'},
        {"OPS/one.xhtml": None},
    ],
)
def test_books_that_cannot_be_read(changes: dict[str, str | None]) -> None:
    answer = extract(book(changes))
    assert (answer["text"], answer["reason"]) == ("", "bad_epub" if changes else "")


def test_bombs_and_broken_archives(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(book())
    assert extract(bytes(data[:-60]))["reason"] == "bad_epub"
    data[60] ^= 255
    assert extract(bytes(data))["reason"] in ("bad_epub", "")
    monkeypatch.setattr(epub, "BOOK_BYTES", 2000)
    assert extract(book({"OPS/one.xhtml": "<p>" + "x" * 9000}))["reason"] == "bomb"


@settings(max_examples=60)
@given(st.integers(0, 1500), st.binary(min_size=1, max_size=9))
def test_no_bytes_make_it_fail(at: int, patch: bytes) -> None:
    sound = book()
    extract(sound[:at] + patch + sound[at + len(patch) :])


def test_a_book_is_one_document(tmp_path: Path, read_one) -> None:
    (tmp_path / "x.epub").write_bytes(book())

    def reader(*arguments: object) -> None:
        files.read(*arguments[:3], stub.guard)

    (d,) = read_one(reader, tmp_path / "x.epub", "files").documents
    assert (d["offset"], d["length"], d["language_hint"]) == (0, len(book()), "de")
