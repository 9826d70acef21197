"""EPUB to text; called in the watched process.

    META-INF/container.xml ─▶ the package (.opf) ─▶ its spine ─▶ chapters in order, one document

Chapters are XHTML and go through the HTML parser without its search for the main content: in a
book all is content. The table of contents and what the spine calls not linear are left out.
Language, date and rights are the package's. A book whose chapters are enciphered is `encrypted`;
enciphered fonts are no obstacle. Reasons: bad_epub, encrypted, bomb.
"""

import io
import posixpath
import re
import urllib.parse
import xml.etree.ElementTree as ET
import zipfile
import zlib
from typing import Any

BOOK_BYTES = 64 << 20  # what the chapters of a book may be together
# Obfuscated fonts: the only cipher that leaves the text readable.
_FONTS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")
_PAGES = ("application/xhtml+xml", "text/html", "text/x-oeb1-document")
_CREATIVE = re.compile(r"creativecommons\.org/(licenses|publicdomain)/([a-z-]+)/(\d\.\d)", re.I)
_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError, ET.ParseError),
    *(NotImplementedError, RuntimeError, OSError),
)


class _Bomb(Exception):
    """The book unpacks to more than it may."""


def extract(data: bytes) -> dict[str, Any]:
    """Text, language, date and licence of a book; `reason` is set where there is none."""
    answer = {"text": "", "language": None, "date": None, "reason": "", "detail": ""}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if _is_encrypted(archive):
                return {**answer, "reason": "encrypted", "detail": "META-INF/encryption.xml"}
            return answer | _book(archive)
    except _Bomb:
        return {**answer, "reason": "bomb", "detail": f"more than {BOOK_BYTES} bytes"}
    except _ERRORS as error:
        detail = f"{type(error).__name__}: {error}"[:200]
        return {**answer, "reason": "bad_epub", "detail": detail}


def _is_encrypted(archive: zipfile.ZipFile) -> bool:
    if any(info.flag_bits & 1 for info in archive.infolist()):
        return True
    if "META-INF/encryption.xml" not in archive.namelist():
        return False
    methods = _parse(_read(archive, "META-INF/encryption.xml", BOOK_BYTES)).iter()
    names = [m.get("Algorithm", "") for m in methods if _local(m.tag) == "EncryptionMethod"]
    return any(name not in _FONTS for name in names) or not names


def _book(archive: zipfile.ZipFile) -> dict[str, Any]:
    container = _parse(_read(archive, "META-INF/container.xml", BOOK_BYTES))
    package = next((e.get("full-path", "") for e in _all(container, "rootfile")), "")
    opf = _parse(_read(archive, package, BOOK_BYTES))
    items = {item.get("id", ""): item for item in _all(opf, "item")}
    left = BOOK_BYTES
    chapters = []
    for reference in _all(opf, "itemref"):
        item = items.get(reference.get("idref", ""))
        if item is None or reference.get("linear") == "no":
            continue
        if item.get("media-type") not in _PAGES or "nav" in item.get("properties", "").split():
            continue
        href = urllib.parse.unquote(item.get("href", "").partition("#")[0])
        page = _read(archive, posixpath.normpath(posixpath.join(package, "..", href)), left)
        left -= len(page)
        chapters.append(_text(page).strip())
    text = "\n\n".join(c for c in chapters if c)
    return {
        "text": text + "\n" if text else "",
        "language": _language(_first(opf, "language")),
        "date": _date(opf),
        "license": license_of(_first(opf, "rights")),
    }


def _text(page: bytes) -> str:
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding
    from resiliparse.parse.html import HTMLTree

    encoding = detect_encoding(page, from_html_meta=True) or "utf-8"
    tree = HTMLTree.parse(bytes_to_str(page, encoding))
    text: str = extract_plain_text(
        tree, preserve_formatting=True, main_content=False, list_bullets=True, alt_texts=False
    )
    return text


def _read(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """A member whose checksum agreed. Raises: _Bomb beyond `most` bytes."""
    pieces = []
    with archive.open(name) as member:
        while piece := member.read(1 << 16):
            most -= len(piece)
            if most < 0:
                raise _Bomb
            pieces.append(piece)
    return b"".join(pieces)


def _parse(data: bytes) -> ET.Element:
    if b"<!ENTITY" in data:  # the only way in which a small file becomes a large tree
        raise ValueError("defines entities")
    return ET.fromstring(data)


def _local(tag: Any) -> str:
    return str(tag).rpartition("}")[2]


def _all(root: ET.Element, name: str) -> list[ET.Element]:
    """The elements of a name, whatever its namespace."""
    return [element for element in root.iter() if _local(element.tag) == name]


def _first(root: ET.Element, name: str) -> str:
    texts = (" ".join((element.text or "").split()) for element in _all(root, name))
    return next((text for text in texts if text), "")


def _language(stated: str) -> str | None:
    code = stated.replace("_", "-").partition("-")[0].lower()
    return code if code.isascii() and code.isalpha() and 2 <= len(code) <= 3 else None


def _date(opf: ET.Element) -> str | None:
    """The first date of the book itself, not of its file."""
    found = []
    for element in _all(opf, "date"):
        event = next((v for k, v in element.attrib.items() if _local(k) == "event"), "")
        text = (element.text or "").strip()
        if text[:4].isdigit() and len(text) <= 40:
            found.append((event not in ("publication", "original-publication"), text))
    return min(found, key=lambda f: f[0])[1] if found else None


def license_of(rights: str) -> str | None:
    """The SPDX name of a Creative Commons address, or a short statement of rights as it stands."""
    found = _CREATIVE.search(rights)
    if found:
        kind, name, version = found[1].lower(), found[2].upper(), found[3]
        return f"CC0-{version}" if kind == "publicdomain" else f"CC-{name}-{version}"
    return rights if rights and len(rights) <= 120 else None
