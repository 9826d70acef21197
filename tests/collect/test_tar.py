import io
import tarfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.collect import tar
from pretrain.collect.streams import Damage

FOLDER = Path("/nonexistent")  # small members stay in memory


def packed(members: list[tuple[str, bytes]], format: int = tarfile.GNU_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def special(name: str, kind: bytes, link: str = "") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info.tobuf(tarfile.GNU_FORMAT)


def found(data: bytes, block: int = 700, most: int = 1 << 20) -> list[tuple[str, bytes | str]]:
    """(name, bytes or reason) of every member."""
    blocks = [data[i : i + block] for i in range(0, len(data), block)]
    result = []
    for one in tar.members(blocks, lambda name: most, FOLDER):
        result.append((one.name, one.file.read() if one.file else one.reason))
    return result


names = st.text(st.characters(exclude_characters="\0\\/:", exclude_categories=["Cs"]), min_size=1)
paths = st.lists(names.filter(lambda n: n not in ("..", ".")), min_size=1, max_size=12).map(
    "/".join
)
formats = st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])


@settings(max_examples=60)
@given(st.lists(st.tuples(paths, st.binary(max_size=1500))), formats, st.integers(1, 2000))
def test_the_members_are_those_of_the_standard_library(members, format, block) -> None:
    assert found(packed(members, format), block) == members


def test_old_and_prefixed_names() -> None:
    name = "/".join(["folder-of-a-long-name"] * 9) + "/file.txt"
    assert found(packed([(name, b"x")], tarfile.USTAR_FORMAT)) == [(name, b"x")]
    latin = packed([("caf\udce9.txt", b"x"), ("two\nlines.txt", b"y")])
    assert found(latin) == [("caf\udce9.txt", b"x"), ("two\nlines.txt", b"y")]


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (special("../out.txt", tarfile.REGTYPE), "unsafe_path"),
        (special("/etc/passwd", tarfile.REGTYPE), "unsafe_path"),
        (special("a/../../b", tarfile.REGTYPE), "unsafe_path"),
        (special("C:\\a.txt", tarfile.REGTYPE), "unsafe_path"),
        (special("a", tarfile.SYMTYPE, "/etc/passwd"), "link"),
        (special("a", tarfile.LNKTYPE, "b"), "link"),
        (special("a", tarfile.CHRTYPE), "device"),
        (special("a", tarfile.FIFOTYPE), "device"),
        (special("a", tarfile.GNUTYPE_SPARSE), "sparse"),
        (special("a", b"Q"), "unknown_type"),
    ],
)
def test_what_is_refused_costs_no_neighbour(header: bytes, why: str) -> None:
    result = found(packed([("a.txt", b"1")])[:1024] + header + packed([("b.txt", b"2")]))
    assert [w for _, w in result] == [b"1", why, b"2"]


def test_folders_are_no_records() -> None:
    data = special("folder", tarfile.DIRTYPE) + special("old/", tarfile.AREGTYPE) + packed([])
    assert found(data) == []


def test_a_member_that_is_too_long_is_passed_over() -> None:
    data = packed([("a.txt", b"x" * 5000), ("b.txt", b"y")])
    assert found(data, most=100) == [("a.txt", "too_long"), ("b.txt", b"y")]


def test_what_stops_early_says_so() -> None:
    data = packed([("a.txt", b"x" * 600), ("b.txt", b"y" * 600)])
    assert found(data[: 512 + 1024 + 512 + 100]) == [
        ("a.txt", b"x" * 600),
        ("b.txt", "truncated"),
        ("", "truncated"),
    ]
    assert found(data[: 512 + 1024]) == [("a.txt", b"x" * 600), ("", "truncated")]
    assert found(b"") == [("", "truncated")]
    assert found(data + b"more") == [*found(data), ("", "trailing")]


def test_behind_a_damaged_header_reading_goes_on() -> None:
    data = bytearray(packed([("a.txt", b"1"), ("b.txt", b"2"), ("c.txt", b"3")]))
    data[1024 + 3] ^= 1  # in the name of b.txt
    assert found(bytes(data)) == [("a.txt", b"1"), ("", "corrupt"), ("c.txt", b"3")]
    assert found(b"no archive at all" * 100) == [("", "corrupt")]


def test_damage_of_the_compression_ends_the_archive() -> None:
    data = packed([("a.txt", b"1"), ("b.txt", b"2" * 600)])
    blocks = [data[:1600], Damage(77, 5, "corrupt", "gzip member at byte 77")]
    result = list(tar.members(blocks, lambda name: 1000, FOLDER))
    assert [(r.name, r.reason) for r in result] == [
        ("a.txt", ""),
        ("b.txt", "truncated"),
        ("", "corrupt"),
    ]
    assert "was not read" in result[-1].detail


def test_a_header_that_claims_much_takes_no_memory() -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = b"L", 1 << 40
    tracemalloc.start()
    assert found(info.tobuf(tarfile.GNU_FORMAT) + b"x" * 5000) == [("", "truncated")]
    info.type = b"0"
    assert found(info.tobuf(tarfile.GNU_FORMAT), most=1 << 50) == [
        ("././@LongLink", "truncated"),
        ("", "truncated"),
    ]
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()


@settings(max_examples=150)
@given(st.binary(max_size=3000), st.integers(0, 3000), st.binary(max_size=40))
def test_no_bytes_make_it_fail(data: bytes, at: int, patch: bytes) -> None:
    found(data)
    sound = packed([("a.txt", b"x" * 700), ("l" * 150, b"y")], tarfile.PAX_FORMAT)
    found(sound[:at] + patch + sound[at + len(patch) :])
