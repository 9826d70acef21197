"""A corpus of hostile files, each with the exact counts that reading it must give.

    python -m tests.hostile.corpus FOLDER      writes it; the same bytes every time

A case is a file (or what stands for one) of a source, and what must become of its records:
`documents`, and by reason what is dropped and quarantined. The counts are made by hand from what
the file holds, not by running the reader.
"""

import bz2
import gzip
import io
import json
import lzma
import os
import random
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

SENTENCE = "A good line of text that nobody should ever lose. "
GOOD = (SENTENCE * 3).encode()


@dataclass(frozen=True)
class Case:
    source: str
    name: str | bytes
    make: Callable[[Path], None] | bytes
    documents: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    quarantined: dict[str, int] = field(default_factory=dict)
    listed: bool = True  # false: the file is left out when files are listed


def lines(n: int, start: int = 0) -> bytes:
    values = [{"text": f"Line {i}: {SENTENCE}"} for i in range(start, start + n)]
    return b"".join(json.dumps(v).encode() + b"\n" for v in values)


def gz(data: bytes) -> bytes:
    return gzip.compress(data, 6, mtime=0)


def flipped(data: bytes, at: int, bit: int = 4) -> bytes:
    """One bit changed; a negative place counts from the end."""
    at %= len(data)
    return data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :]


def noise(n: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(n)


# --- JSON lines -------------------------------------------------------------------------------


def jsonl() -> list[Case]:
    ten = gz(lines(10))
    two = [gz(lines(10)), gz(lines(10, 10))]
    deep = b'{"text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n"
    frame = zstandard.ZstdCompressor(write_checksum=True).compress(lines(10))

    def mixed(bad: bytes) -> bytes:
        return lines(3) + bad + b"\n" + lines(3, 3)

    def long_line(path: Path) -> None:
        """1 GB without a line break, as a hole in the file: it costs no disk."""
        with open(path, "wb") as file:
            file.write(lines(2))
            file.truncate(1 << 30)
            file.seek(0, 2)
            file.write(b"\n" + lines(2, 2))

    def case(name: str, data: bytes | Callable[[Path], None], n: int = 0, **bad: int) -> Case:
        return Case("lines", name, data, n, quarantined=bad)

    return [
        case("good.jsonl", lines(10), 10),
        case("no_end.jsonl", lines(3).rstrip(b"\n"), 3),
        case("crlf.jsonl", lines(3).replace(b"\n", b"\r\n"), 3),
        case("bom.jsonl", b"\xef\xbb\xbf" + lines(3), 3),
        case("empty.jsonl", b""),
        case("only_newlines.jsonl", b"\n\r\n\n" * 50),
        case("duplicate_keys.jsonl", mixed(b'{"text": "first", "text": "A last one."}'), 7),
        case("nan.jsonl", mixed(b'{"text": "x", "score": NaN}'), 6, bad_json=1),
        case("deep.jsonl", lines(2) + deep + lines(2, 2), 4, bad_json=1),
        case("surrogate.jsonl", mixed(b'{"text": "a \\ud800 b"}'), 6, bad_json=1),
        case("pair.jsonl", mixed(b'{"text": "a \\ud83d\\ude00 b is fine"}'), 7),
        case("cesu.jsonl", mixed(b'{"text": "a \xed\xa0\xbd\xed\xb8\x80"}'), 6, not_utf8=1),
        case("latin1.jsonl", mixed(b'{"text": "caf\xe9"}'), 6, not_utf8=1),
        case("nul.jsonl", mixed(b'{"text": "a\0b"}'), 6, bad_json=1),
        case("escaped_nul.jsonl", mixed(b'{"text": "a\\u0000b and more of it"}'), 7),
        case("list.jsonl", mixed(b'["a", "b"]'), 6, not_an_object=1),
        case("number.jsonl", mixed(b"12"), 6, not_an_object=1),
        case("null_text.jsonl", mixed(b'{"text": null}'), 6, no_text=1),
        case("int_text.jsonl", mixed(b'{"text": 5}'), 6, text_not_a_string=1),
        case("no_text.jsonl", mixed(b'{"body": "x"}'), 6, no_text=1),
        case("half.jsonl", lines(3) + b'{"text": "cut in the mid', 3, bad_json=1),
        Case("lines", "blank_text.jsonl", mixed(b'{"text": "  \\n "}'), 6, {"empty": 1}),
        case("long_number.jsonl", mixed(b'{"text": "x", "n": ' + b"7" * 100_000_000 + b"}"), 6,
             too_long=1),
        case("line_of_1gb.jsonl", long_line, 4, too_long=1),
        case("cut.jsonl.gz", ten[:-9], 0, truncated=1),
        case("cut_in_data.jsonl.gz", ten[:40], 0, truncated=1),
        case("cut_header.jsonl.gz", ten[:5], 0, truncated=1),
        case("flipped_data.jsonl.gz", flipped(ten, 60), 0, corrupt=1),
        case("flipped_crc.jsonl.gz", flipped(ten, -7), 0, corrupt=1),
        case("flipped_length.jsonl.gz", flipped(ten, -2), 0, corrupt=1),
        case("two_members.jsonl.gz", two[0] + two[1], 20),
        case("second_cut.jsonl.gz", two[0] + two[1][:-12], 10, truncated=1),
        case("second_flipped.jsonl.gz", two[0] + flipped(two[1], -6), 10, corrupt=1),
        case("garbage_after.jsonl.gz", two[0] + b"garbage that is no member", 10, corrupt=1),
        case("zeros_after.jsonl.gz", two[0] + bytes(512), 10),
        case("bomb.jsonl.gz", gz(b"a" * (64 << 20)), 0, bomb=1),
        case("not_gzip.jsonl.gz", lines(3), 0, corrupt=1),
        case("good.jsonl.zst", frame, 10),
        case("cut.jsonl.zst", frame[:-6], 0, truncated=1),
        case("flipped.jsonl.zst", flipped(frame, -2), 0, corrupt=1),
        case("bomb.jsonl.zst", zstandard.ZstdCompressor().compress(bytes(64 << 20)), 0, bomb=1),
    ]  # fmt: skip


# --- text, pages, archives ---------------------------------------------------------------------


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, data in members:
            info.size = len(data) if info.isreg() else 0
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def zipped(*members: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), data)
    return buffer.getvalue()


def nested(depth: int) -> bytes:
    data = zipped(("inner.txt", GOOD))
    for level in range(depth):
        data = zipped((f"level{level}.zip", data), (f"text{level}.txt", GOOD))
    return data


def page(body: bytes, head: bytes = b"") -> bytes:
    return b"<html><head>" + head + b"</head><body><p>" + GOOD + b"</p>" + body + b"</body></html>"


def files() -> list[Case]:
    def case(name: str, data: bytes, n: int = 0, **bad: int) -> Case:
        return Case("files", name, data, n, quarantined=bad)

    def drop(name: str, data: bytes, n: int = 0, **why: int) -> Case:
        return Case("files", name, data, n, dropped=why)

    encrypted = bytearray(zipped(("secret.txt", GOOD)))
    encrypted[6] |= 1  # the flag in the local header
    encrypted[encrypted.index(b"PK\1\2") + 8] |= 1
    lying = bytearray(zipped(("lying.txt", GOOD)))
    at = lying.index(b"PK\1\2")
    lying[at + 16 : at + 20] = struct.pack("<I", zlib.crc32(GOOD) ^ 1)
    good_tar = tar((entry("one.txt"), GOOD), (entry("two.txt"), GOOD))
    attributes = b"<p " + b" ".join(b'a%d="x"' % n for n in range(200_000)) + b">x</p>"
    return [
        case("good.txt", GOOD, 1),
        drop("empty.txt", b"", empty=1),
        drop("blank.txt", b" \n\t\n" * 20, empty=1),
        case("binary.txt", noise(5000), binary=1),
        case("nul_late.txt", GOOD + b"\0" * 10 + GOOD, binary=1),
        case("latin1.txt", "Grüße aus Köln. ".encode("latin-1") * 20, not_utf8=1),
        case("half_utf8.txt", GOOD + b"\xe2\x82", not_utf8=1),
        case("surrogates.txt", GOOD + b"\xed\xa0\x80", not_utf8=1),
        case("utf16.txt", "A text of two bytes a letter. ".encode("utf-16") * 9, not_utf8=1),
        case("cr_only.txt", b"one line\rother line\r" * 20, 1),
        case("bidi.txt", "\u202eright to left\u202c and \u2066so on\u2069. ".encode() * 9, 1),
        case("bomb.txt.gz", gz(bytes(64 << 20)), bomb=1),
        case("gzip_in_gzip.txt.gz", gz(gz(GOOD)), binary=1),
        case("cut.txt.bz2", bz2.compress(GOOD)[:-5], truncated=1),
        case("flipped.txt.bz2", flipped(bz2.compress(GOOD), -9), corrupt=1),
        case("cut.txt.xz", lzma.compress(GOOD)[:-9], truncated=1),
        case("flipped.txt.xz", flipped(lzma.compress(GOOD), 30), corrupt=1),
        case("name\nwith newline.txt", GOOD, 1),
        case("n" * 251 + ".txt", GOOD, 1),
        case("attributes.html", page(attributes), extract_timeout=1),
        case("nesting.html", b"<div>" * 100_000 + GOOD, extract_timeout=1),
        case("unclosed.html", page(b'<a href="' + b"x" * 5_000_000), 1),
        case("entities.html", page(b"&amp;&#x41;&bogus;" * 170_000), 1),
        case("nuls.html", page(b"\0\0\0 with nuls"), binary=1),
        case("charset_lies.html", page("Grüße".encode("latin-1"), b"<meta charset=utf-8>"), 1),
        case("charset_unknown.html", page(b"x", b"<meta charset=no-such-thing>"), 1),
        case("utf7.html", page(b"+ADw-script+AD4-", b"<meta charset=utf-7>"), 1),
        drop("no_text.html", b"<html><body><script>1</script></body></html>", no_text=1),
        drop("empty.html", b"", empty=1),
        case("surrogate_entity.html", page(b"&#xd800; &#x110000; &#0;"), 1),
        case("good.tar", good_tar, 2),
        case("good.tar.gz", gz(good_tar), 2),
        case("no_end.tar", good_tar[: 512 * 4 + 20], 2, truncated=1),
        case("cut.tar", good_tar[: 512 * 3 + 20], 1, truncated=2),  # the member, and the end
        case("cut.tar.gz", gz(good_tar)[:-10], truncated=1),
        case("escape.tar", tar((entry("../out.txt"), GOOD), (entry("in.txt"), GOOD)), 1,
             unsafe_path=1),
        case("absolute.tar", tar((entry("/etc/out.txt"), GOOD), (entry("in.txt"), GOOD)), 1,
             unsafe_path=1),
        case("links.tar", tar((entry("to", tarfile.SYMTYPE, "/etc/passwd"), b""),
                              (entry("hard", tarfile.LNKTYPE, "in.txt"), b""),
                              (entry("in.txt"), GOOD)), 1, link=2),
        case("device.tar", tar((entry("null", tarfile.CHRTYPE), b""),
                               (entry("fifo", tarfile.FIFOTYPE), b""),
                               (entry("in.txt"), GOOD)), 1, device=2),
        case("twice.tar", tar((entry("a.txt"), GOOD), (entry("a.txt"), GOOD + b"2")), 2),
        case("good.zip", zipped(("a.txt", GOOD), ("b/c.txt", GOOD)), 2),
        case("escape.zip", zipped(("../out.txt", GOOD), ("in.txt", GOOD)), 1, unsafe_path=1),
        case("bomb.zip", zipped(("zeros.txt", bytes(64 << 20)), ("in.txt", GOOD)), 1, too_long=1),
        case("encrypted.zip", bytes(encrypted), encrypted=1),
        case("crc_lies.zip", bytes(lying), corrupt=1),
        case("cut.zip", zipped(("a.txt", GOOD * 50))[:-30], corrupt=1),
        case("not.zip", GOOD, corrupt=1),
        case("nested.zip", nested(4), 2, nested=1),
        Case("files", "strange.zip", zipped(("a.xyz", GOOD), ("in.txt", GOOD)), 1, {"suffix": 1}),
        case("twice.zip", zipped(("a.txt", GOOD), ("A.txt", GOOD)), 2),
        case("recursive.tex", b"\\documentclass{a}\\def\\x{\\x\\x}\\begin{document}" + GOOD +
             b"\\x \\end{document}", 1),
        case("braces.tex", b"{" * 3_000_000, extract_timeout=1),
        case("bad.pdf", b"%PDF-1.7 nothing of the kind", bad_pdf=1),
        case("bad.epub", b"PK\3\4 nothing", bad_epub=1),
    ]  # fmt: skip


def special_files() -> list[Case]:
    """What is no regular file."""

    def link(target: str) -> Callable[[Path], None]:
        return lambda path: os.symlink(target, path)  # noqa: PTH211

    return [
        Case("files", "alias.txt", link("good.txt"), listed=False),
        Case("files", "broken.txt", link("nowhere.txt"), quarantined={"unreadable": 1}),
        Case("files", "circle.txt", link("circle.txt"), quarantined={"unreadable": 1}),
        Case("files", "pipe.txt", lambda path: os.mkfifo(path), quarantined={"unreadable": 1}),
        Case("files", "above", link(".."), listed=False),
        Case("files", b"not \xff utf8.txt", GOOD, 1),
    ]


# --- tables -------------------------------------------------------------------------------------


def parquet_bytes(**columns: list[object]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()


def tables() -> list[Case]:
    texts = [SENTENCE + str(i) for i in range(10)]
    good = parquet_bytes(text=texts)
    footer = struct.unpack("<I", good[-8:-4])[0]
    beyond = good[:-8] + struct.pack("<I", footer + 10**6) + b"PAR1"
    rows = ["text,n", *(f'"{t}",{i}' for i, t in enumerate(texts))]
    csv = "\n".join(rows).encode() + b"\n"

    def table(name: str, data: bytes, n: int = 0, **bad: int) -> Case:
        return Case("tables", name, data, n, quarantined=bad)

    def sheet(name: str, data: bytes, n: int = 0, **bad: int) -> Case:
        return Case("sheets", name, data, n, quarantined=bad)

    return [
        table("good.parquet", good, 10),
        table("nulls.parquet", parquet_bytes(text=[*texts, None]), 10, no_text=1),
        table("ints.parquet", parquet_bytes(text=[1, 2, 3]), 0, text_not_a_string=3),
        table("no_text.parquet", parquet_bytes(body=texts), 0, no_text=10),
        table("magic.parquet", b"PAR1" + bytes(64) + b"PAR1", 0, bad_parquet=1),
        table("cut.parquet", good[:-20], 0, bad_parquet=1),
        table("beyond.parquet", beyond, 0, bad_parquet=1),
        table("flipped_data.parquet", flipped(good, 60), 0, bad_parquet=10),
        table("flipped_length.parquet", flipped(good, -6), 0, bad_parquet=1),
        table("empty.parquet", b"", 0, bad_parquet=1),
        table("not.parquet", GOOD, 0, bad_parquet=1),
        sheet("good.csv", csv, 10),
        sheet("ragged.csv", csv + b'"more",1,2,3\n"less"\n' + csv.split(b"\n")[1], 11, bad_csv=2),
        sheet("nul.csv", csv + b'"a\0b",1\n', 11),
        sheet("open_quote.csv", csv + b'"never closed\n' * 5, 10, bad_csv=5),
        sheet("latin1.csv", csv + '"Grüße",1\n'.encode("latin-1"), 10, not_utf8=1),
        sheet("empty.csv", b""),
        sheet("head_only.csv", b"text,n\n"),
    ]


# --- web archives -------------------------------------------------------------------------------


def record(body: bytes, kind: str = "response", length: int | None = None, more: str = "",
           url: str = "https://a.example/", http: str = "text/html") -> bytes:  # fmt: skip
    if kind == "response":
        body = f"HTTP/1.1 200 OK\r\nContent-Type: {http}\r\n{more}\r\n".encode() + body
        content = "application/http; msgtype=response"
    else:
        content = "text/plain"
    length = len(body) if length is None else length
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\n"
        f"WARC-Date: 2024-01-01T00:00:00Z\r\nContent-Type: {content}\r\n"
        f"Content-Length: {length}\r\n\r\n"
    )
    return head.encode() + body + b"\r\n\r\n"


def warcs() -> list[Case]:
    good = record(page(b""))
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in (page(b"")[:50], page(b"")[50:]))

    def case(name: str, data: bytes, n: int = 0, **bad: int) -> Case:
        return Case("crawl", name, data, n, quarantined=bad)

    def gone(name: str, data: bytes, n: int = 0, **why: int) -> Case:
        return Case("crawl", name, data, n, dropped=why)

    gzipped = "Content-Encoding: gzip\r\n"
    in_chunks = "Transfer-Encoding: chunked\r\n"
    body_bomb = gz(page(b" " * (64 << 20)))
    return [
        case("good.warc.gz", gz(good) + gz(good), 2),
        case("good.warc", good + good, 2),
        case("two_in_one.warc.gz", gz(good + good), 2),
        case("cut.warc.gz", gz(good) + gz(good)[:-9], 1, truncated=1),
        case("flipped.warc.gz", gz(good) + flipped(gz(good), 80) + gz(good), 2, corrupt=1),
        case("too_long.warc.gz", gz(record(page(b""), length=10**6)) + gz(good), 1, bad_record=1),
        case("too_short.warc.gz", gz(record(page(b""), length=100)) + gz(good), 1, bad_record=1),
        case("negative.warc.gz", gz(record(page(b""), length=-5)) + gz(good), 1, bad_record=1),
        case("huge.warc.gz", gz(record(page(b""), length=10**30)) + gz(good), 1, bad_record=1),
        case("garbage.warc.gz", gz(b"garbage\r\n") + gz(good), 1, bad_record=1),
        case("garbage.warc", good + b"garbage between\r\n" + good, 2, bad_record=1),
        case("empty.warc.gz", b""),
        case("chunked.warc.gz", gz(record(chunked + b"0\r\n\r\n", more=in_chunks)), 1),
        case("gzip_body.warc.gz", gz(record(gz(page(b"")), more=gzipped)), 1),
        case("gzip_lies.warc.gz", gz(record(page(b""), more=gzipped)), 1),
        case("body_bomb.warc.gz", gz(record(body_bomb, more=gzipped)) + gz(good), 1, too_long=1),
        gone("kinds.warc.gz", gz(record(b"x", "warcinfo")) + gz(record(b"x", "request")) + gz(good),
             1, not_a_page=2),
        gone("images.warc.gz", gz(record(noise(999), http="image/png")) + gz(good), 1, mime=1),
        gone("opt_out.warc.gz", gz(record(page(b""), more="X-Robots-Tag: noai\r\n")) +
             gz(record(page(b""), more="tdm-reservation: 1\r\n")) + gz(good), 1, opt_out=2),
        gone("robots.warc.gz", gz(record(b"User-agent: GPTBot\nDisallow: /\n", http="text/plain",
             url="https://b.example/robots.txt")) + gz(record(page(b""), url="https://b.example/x"))
             + gz(good), 1, opt_out=1, not_a_page=1),
    ]  # fmt: skip


def dumps() -> list[Case]:
    head = '<mediawiki xml:lang="en"><siteinfo><dbname>t</dbname></siteinfo>'

    def article(text: str, ns: int = 0, more: str = "") -> str:
        return (
            f"<page><title>T</title><ns>{ns}</ns><id>1</id>{more}<revision><id>1</id>"
            f"<timestamp>2020-01-01T00:00:00Z</timestamp><text>{text}</text></revision></page>"
        )

    laughs = (
        '<!DOCTYPE m [<!ENTITY a "ha">'
        + "".join(
            f'<!ENTITY a{i} "{"&a" + str(i - 1) + ";" if i else "&a;"}{"&a;" * 9}">'
            for i in range(9)
        )
        + "]>"
    )
    external = '<!DOCTYPE m [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    good = article(SENTENCE * 3)
    talk, moved = article(SENTENCE, 1), article("x", 0, '<redirect title="U"/>')
    return [
        Case("wiki", "good.xml", f"{head}{good}{good}</mediawiki>".encode(), 2),
        Case("wiki", "kinds.xml", f"{head}{talk}{moved}{good}</mediawiki>".encode(), 1,
             {"namespace": 1, "redirect": 1}),
        Case("wiki", "cut.xml", f"{head}{good}{good[:150]}".encode(), 1,
             quarantined={"truncated": 1}),
        Case("wiki", "laughs.xml", f"{laughs}{head}{article('&a8;')}</mediawiki>".encode(), 0,
             quarantined={"bad_xml": 1}),
        Case("wiki", "external.xml", f"{external}{head}{article('&x;')}</mediawiki>".encode(), 0,
             quarantined={"bad_xml": 1}),
    ]  # fmt: skip


KINDS = {
    "lines": "jsonl",
    "files": "files",
    "tables": "parquet",
    "sheets": "csv",
    "crawl": "warc",
    "wiki": "wikipedia",
}


def cases() -> list[Case]:
    return [*jsonl(), *files(), *special_files(), *tables(), *warcs(), *dumps()]


def write(folder: Path) -> list[Case]:
    """Write the corpus, a folder a source; the cases."""
    made = cases()
    for case in made:
        (folder / case.source).mkdir(parents=True, exist_ok=True)
        name = case.name if isinstance(case.name, str) else os.fsdecode(case.name)
        path = folder / case.source / name
        if callable(case.make):
            case.make(path)
        else:
            path.write_bytes(case.make)
    return made


if __name__ == "__main__":
    print(f"{len(write(Path(sys.argv[1])))} files below {sys.argv[1]}")
