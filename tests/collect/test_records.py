import base64
import hashlib
import io
import random
from pathlib import Path

import pytest

from pretrain.collect.records import Lost, Record, records
from pretrain.collect.streams import Damage
from tests.collect.webarchives import PACKINGS, arc, gz, http, page, plain, record, zst


def walk(data: bytes, name: str = "x.warc", folder: Path = Path("/tmp")) -> list[tuple]:
    """(offset, length, number, url, content) of records, the rest as they are."""
    return [
        (r.offset, r.length, r.number, r.url, r.content()) if isinstance(r, Record) else r
        for r in records(io.BytesIO(data), name, folder)
    ]


def urls(data: bytes, name: str = "x.warc") -> list[str]:
    return [r[3] if not isinstance(r, Lost | Damage) else r.reason for r in walk(data, name)]


THREE = [page(f"http://{name}.example/", name.encode() * 50) for name in "abc"]


@pytest.mark.parametrize("suffix", PACKINGS)
def test_offsets_are_those_of_members_or_of_the_record_itself(suffix: str) -> None:
    pack = PACKINGS[suffix]
    found = walk(pack(*THREE), f"x.warc{suffix}")
    assert [f[3] for f in found] == [f"http://{n}.example/" for n in "abc"]
    assert [f[4] for f in found] == [http(n.encode() * 50) for n in "abc"]
    data = pack(*THREE)
    for (offset, length, number, *_), one in zip(found, THREE, strict=True):
        part = pack(one) if suffix else one.removesuffix(b"\r\n\r\n")
        assert data[offset : offset + length] == part
        assert number == 0  # its offset is its own


@pytest.mark.parametrize("pack", [gz, zst])
def test_several_records_of_one_member_are_numbered(pack) -> None:
    suffix = ".gz" if pack is gz else ".zst"
    first, second = pack(b"".join(THREE)), pack(THREE[0])
    found = walk(first + second, f"x.warc{suffix}")
    assert [f[:3] for f in found] == [
        *((0, len(first), n) for n in range(3)),
        (len(first), len(second), 0),
    ]


@pytest.mark.parametrize("version", ["WARC/0.17", "WARC/0.18", "WARC/1.0", "WARC/1.1"])
def test_versions(version: str) -> None:
    assert urls(record(version=version, body=b"x")) == ["http://a.example/"]


def test_heads_with_line_feeds_alone_folded_fields_and_brackets() -> None:
    head = b"WARC/1.0\nWARC-Type: resource\nwarc-target-uri:\n  <http://a.example/x>\n"
    (found,) = records(io.BytesIO(head + b"Content-Length: 2\n\nhi\n\n"), "x.warc", Path("/tmp"))
    assert isinstance(found, Record)
    assert (found.kind, found.url, found.content()) == ("resource", "http://a.example/x", b"hi")


def test_missing_line_ends_between_records_lose_nothing() -> None:
    data = record(body=b"one", end=b"") + record(body=b"two", end=b"\r\n") + record(body=b"three")
    assert [f[4] for f in walk(data)] == [b"one", b"two", b"three"]


def test_garbage_between_records_is_lost_alone() -> None:
    found = walk(THREE[0] + b"garbage\nmore\n" + THREE[1])
    assert [f[3] for f in (found[0], found[2])] == ["http://a.example/", "http://b.example/"]
    assert found[1] == (len(THREE[0]), 13, 0, "bad_record", "no head of a record")


@pytest.mark.parametrize("suffix", PACKINGS)
@pytest.mark.parametrize("lie", [-7, 5, 10_000])
def test_a_lying_length_costs_its_record_alone(suffix: str, lie: int) -> None:
    body = http(b"b" * 400)
    liar = record(url="http://b.example/", body=body, length=len(body) + lie)
    found = walk(PACKINGS[suffix](THREE[0], liar, THREE[2]), f"x.warc{suffix}")
    assert [type(f) for f in found] == [tuple, Lost, tuple]
    assert found[1].reason == "bad_record"
    assert (found[0][3], found[2][3]) == ("http://a.example/", "http://c.example/")


@pytest.mark.parametrize("length", ["", "abc", "-1", "9" * 20, "1e3", None])
def test_a_length_that_is_no_number_costs_its_record_alone(length: str | None) -> None:
    found = walk(THREE[0] + record(body=b"x" * 30, length=length) + THREE[2])
    assert [type(f) for f in found] == [tuple, Lost, tuple]


def test_the_block_digest_decides_what_lies_where_garbage_follows() -> None:
    body = http(b"one\r\n\r\ntwo, which the length forgets")
    whole = base64.b32encode(hashlib.sha1(body).digest()).decode()
    cut = body[: body.index(b"\r\n\r\ntwo")]
    liar = record(body=body, length=len(cut), WARC_Block_Digest=f"sha1:{whole}")
    assert urls(liar + THREE[1]) == ["bad_record", "http://b.example/"]
    told = record(body=b"x", end=b"", WARC_Block_Digest="sha1:" + hashlib.sha1(b"x").hexdigest())
    assert urls(told + b"garbage\n" + THREE[1])[::2] == ["http://a.example/", "http://b.example/"]


@pytest.mark.parametrize("lost", [3, 90, 200])
def test_a_plain_file_that_breaks_off_is_truncated(lost: int) -> None:
    data = plain(*THREE)[: -4 - lost]
    found = walk(data)
    assert [f[3] for f in found] == ["http://a.example/", "http://b.example/", "truncated"]
    assert found[2].offset + found[2].length == len(data)


def test_a_damaged_member_is_damage_and_the_next_is_read() -> None:
    data = bytearray(gz(*THREE))
    first, second = len(gz(THREE[0])), len(gz(THREE[1]))
    data[first + second // 2] ^= 0x10
    found = walk(bytes(data), "x.warc.gz")
    assert [type(f) for f in found] == [tuple, Damage, tuple]
    assert found[1][:2] == (first, second)


def test_what_is_no_archive_is_lost_whole() -> None:
    assert [f[:2] for f in walk(b"no archive at all\n" * 9)] == [(0, 162)]
    assert walk(b"") == []
    assert walk(b"\r\n\r\n\n") == []


def test_arc_records_and_their_lies() -> None:
    files = b"1 0 Test\nURL IP-address Archive-date Content-type Archive-length\n"
    head = arc("filedesc://x.arc", files, "text/plain")
    good = arc("http://a.example/with blank", http(), "text/html; charset=utf-8")
    found = walk(head + good + arc("http://b.example/", b"short", length=3) + good, "x.arc")
    assert [f[3] for f in (*found[:2], found[3])] == [
        "filedesc://x.arc",
        *("http://a.example/with blank",) * 2,
    ]
    assert found[1][4] == http()
    assert isinstance(found[2], Lost)
    assert urls(gz(head, good), "x.arc.gz") == ["filedesc://x.arc", "http://a.example/with blank"]
    one = next(records(io.BytesIO(good), "x.arc", Path("/tmp")))
    assert isinstance(one, Record)
    assert (one.kind, one.fields["warc-date"]) == ("response", "2014-02-16T05:02:21Z")


def test_every_byte_of_a_spoilt_file_is_in_a_record_or_lost() -> None:
    """Ranges of a plain file never overlap, and only line ends lie between them."""
    draw = random.Random(3)
    for _ in range(150):
        data = bytearray(plain(*THREE, arc("http://d.example/", b"text"), *THREE))
        for _ in range(draw.randint(1, 4)):
            at = draw.randrange(len(data))
            if draw.random() < 0.5:
                data[at : at + draw.randint(1, 40)] = draw.randbytes(draw.randint(0, 40))
            else:
                data[at] = draw.choice(b"\r\nW:0 ")
        at = 0
        for offset, length, *_ in walk(bytes(data)):
            assert offset >= at
            assert not bytes(data[at:offset]).strip(b"\r\n")
            at = offset + length
        assert not bytes(data[at:]).strip(b"\r\n")


def test_heads_without_end_are_read_in_linear_time() -> None:
    """A page of 200,000 false heads behind a lying length: minutes if each were looked up anew."""
    false = b"\nWARC/1.0\r\na:" * 200_000
    found = walk(record(body=false, length=len(false) - 9) + THREE[0])
    assert found[-1][3] == "http://a.example/"
    assert sum(isinstance(f, Lost) for f in found) < 200


def test_real_archives_hold_what_fastwarc_finds(data: Path) -> None:
    fastwarc = pytest.importorskip("fastwarc.warc")
    n_files = 0
    for path in sorted((data / "web/warc").rglob("*.warc*")):
        if path.name == "example-wrong-chunks.warc.gz":  # one record over two members
            continue
        n_files += 1
        with open(path, "rb") as file:
            peer = [
                (r.stream_pos, r.headers.get("WARC-Target-URI", "").strip("<>"), r.content_length)
                for r in fastwarc.ArchiveIterator(file, parse_http=False)
            ]
        with open(path, "rb") as file:
            ours = [(r.offset, r.url, r.n_bytes) for r in records(file, path.name, Path("/tmp"))]
        if path.name == "example-bad-non-chunked.warc.gz":  # one member: it counts unpacked bytes
            peer, ours = [p[1:] for p in peer], [o[1:] for o in ours]
        assert ours == peer, path.name
    assert n_files == 13
