import io
import stat
import struct
import warnings
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.collect import zip

FOLDER = Path("/nonexistent")  # small members stay in memory


def packed(members: list[tuple[str, bytes]], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of two members with one name
        with zipfile.ZipFile(file, "w", how) as archive:
            for name, data in members:
                archive.writestr(zipfile.ZipInfo(name), data, how)
    return file.getvalue()


def found(data: bytes, most: int = 1 << 20) -> list[tuple[str, bytes | str]]:
    """(name, bytes or reason) of every member."""
    result = []
    for one in zip.members(io.BytesIO(data), lambda name: most, FOLDER):
        result.append((one.name, one.file.read() if one.file else one.reason))
    return result


@pytest.mark.parametrize("how", [0, 8, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_members_in_every_packing(how: int) -> None:
    members = [("a.txt", b"one" * 9000), ("b/ü.txt", b"two"), ("a.txt", b"again"), ("e", b"")]
    assert found(packed(members, how)) == members
    assert found(packed([])) == []
    assert found(packed([("folder/", b"")])) == []


def test_what_is_refused_costs_no_neighbour() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("../a.txt", "/a.txt", "a/../../b.txt"):
            archive.writestr(name, b"x")
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        pipe = zipfile.ZipInfo("pipe")
        pipe.external_attr = (stat.S_IFIFO | 0o666) << 16
        archive.writestr(pipe, "")
        archive.writestr("long.txt", b"x" * 5000)
        archive.writestr("good.txt", b"good")
    assert [w for _, w in found(file.getvalue(), most=4000)] == [
        *["unsafe_path"] * 3,
        *("link", "device", "too_long", b"good"),
    ]


def test_enciphered_and_unknown_packing() -> None:
    data = bytearray(packed([("a.txt", b"words"), ("b.txt", b"more")], 0))
    at = data.find(b"PK\1\2")
    data[at + 8] |= 1
    assert found(bytes(data)) == [("a.txt", "encrypted"), ("b.txt", b"more")]
    data[at + 8] ^= 1
    data[at + 10] = 99
    assert found(bytes(data)) == [("a.txt", "compression"), ("b.txt", b"more")]


def test_a_wrong_checksum_costs_its_member() -> None:
    data = bytearray(packed([("a.txt", b"words"), ("b.txt", b"more")], 0))
    data[data.find(b"words")] ^= 1
    assert found(bytes(data)) == [("a.txt", "corrupt"), ("b.txt", b"more")]


def test_a_size_that_lies_is_not_believed() -> None:
    data = bytearray(packed([("a.txt", b"x" * 100_000)]))
    at = data.find(b"PK\1\2")
    data[at + 24 : at + 28] = struct.pack("<L", 10)
    assert found(bytes(data), most=1000) in ([("a.txt", "corrupt")], [("a.txt", "too_long")])


def test_bombs(monkeypatch: pytest.MonkeyPatch) -> None:
    data = packed([(f"{n}.txt", b"\0" * (1 << 20)) for n in range(20)])
    assert [w for _, w in found(data, most=1 << 19)] == ["too_long"] * 20
    monkeypatch.setattr(zip.streams, "BOMB_BYTES", 1 << 20)
    monkeypatch.setattr(zip.streams, "BOMB_RATIO", 100)
    assert [w for _, w in found(data, most=1 << 21)][-1] == "bomb"


def test_a_directory_of_any_length_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip, "DIRECTORY_BYTES", 1000)
    assert found(packed([(f"{n}.txt", b"") for n in range(50)])) == [("", "too_long")]


def test_a_member_without_a_name_is_refused() -> None:
    data = packed([("a.txt", b"x"), ("b.txt", b"good")]).replace(b"a.txt", b"\0.txt")
    assert found(data) == [("", "unsafe_path"), ("b.txt", b"good")]


def test_no_archive() -> None:
    data = packed([("a.txt", b"words")])
    for broken in (b"", b"PK", data[:-30], b"x" * 100_000):
        assert found(broken) == [("", "corrupt")]


@settings(max_examples=150)
@given(st.binary(max_size=500), st.integers(0, 400), st.binary(min_size=1, max_size=20))
def test_no_bytes_make_it_fail(data: bytes, at: int, patch: bytes) -> None:
    found(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sound = packed([("a.txt", b"x" * 70), ("b/ü.txt", b"y" * 40)])
        found(sound[:at] + patch + sound[at + len(patch) :])
