"""Web archives made for tests: records, pages and their packings."""

import gzip
from collections.abc import Callable, Sequence
from typing import Any

import zstandard

PAGE = b"<!DOCTYPE html><html lang=en><body><p>The river runs over old stones.</p></body></html>"


def record(kind: str = "response", url: str = "http://a.example/", body: bytes = b"", **own: Any):
    """The bytes of one WARC record; `own` are more fields, `length` a lie about the length."""
    fields = {
        "WARC-Type": kind,
        "WARC-Target-URI": url,
        "WARC-Date": "2024-05-18T01:58:10Z",
        "Content-Type": "application/http; msgtype=response"
        if kind == "response"
        else "text/plain",
        "Content-Length": str(own.pop("length", len(body))),
    }
    version, end = own.pop("version", "WARC/1.0"), own.pop("end", b"\r\n\r\n")
    fields |= {name.replace("_", "-"): value for name, value in own.items()}
    lines = [version, *(f"{n}: {v}" for n, v in fields.items() if v is not None)]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body + end


def http(body: bytes = PAGE, status: int = 200, kind: str = "text/html", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Words", *([f"Content-Type: {kind}"] if kind else []), *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def page(url: str = "http://a.example/", body: bytes = PAGE, *headers: str, **own: Any) -> bytes:
    kind, status = own.pop("type", "text/html"), own.pop("status", 200)
    return record("response", url, http(body, status, kind, *headers), **own)


def text_page(text: str, url: str = "http://a.example/") -> bytes:
    return page(url, f"<!DOCTYPE html><html><body><p>{text}</p></body></html>".encode())


def arc(url: str, body: bytes, kind: str = "text/html", length: Any = None, end: bytes = b"\n"):
    line = f"{url} 1.2.3.4 20140216050221 {kind} {len(body) if length is None else length}\n"
    return line.encode() + body + end


def gz(*records: bytes) -> bytes:
    return b"".join(gzip.compress(r, mtime=0) for r in records)


def zst(*records: bytes) -> bytes:
    pack = zstandard.ZstdCompressor(write_checksum=True).compress
    return b"".join(pack(r) for r in records)


def plain(*records: bytes) -> bytes:
    return b"".join(records)


PACKINGS = {"": plain, ".gz": gz, ".zst": zst}


def fake_guard(data: bytes) -> dict[str, Any]:
    """Stands in for the extractor: what lies between the tags."""
    import re

    text = re.sub(rb"<[^>]*>", b" ", data).decode("utf-8", "replace").strip()
    return {"text": text, "language": "en", "date": None, "reason": "", "detail": ""}


class Guarding:
    """A guard of the real one's methods around a function that extracts one page."""

    def __init__(self, extract: Callable[[bytes], dict[str, Any]] = fake_guard) -> None:
        self.extract = extract

    def each(self, pages: Sequence[bytes]) -> list[dict[str, Any]]:
        return [self.extract(page) for page in pages]
