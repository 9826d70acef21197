import codecs
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.collect import files, text
from pretrain.collect.text import first_bad_byte, split


def read(read_one, path: Path, data: bytes, **own: object):
    path.write_bytes(data)
    return read_one(files.read, path, "files", **own)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(8, 40))
def test_parts_are_exact_ranges_that_make_up_the_file(text: str, split_bytes: int) -> None:
    data = text.encode()
    position = 0
    for offset, length, part in split(io.BytesIO(data), len(data), split_bytes):
        assert offset == position
        assert 0 < length <= split_bytes
        assert data[offset : offset + length].decode() == part
        position += length
    assert position == len(data)


@pytest.mark.parametrize(
    ("data", "first"),
    [
        (b"a" * 40 + b"\n\n" + b"b\n" * 20 + b"c" * 99, 42),  # a blank line before later lines
        (b"a" * 40 + b"\r\n\r\n" + b"b\r\n" * 10 + b"c" * 99, 44),
        (b"a" * 70 + b"\n" + b"b" * 99, 71),
        ("é".encode() * 60, 100),
        (b"a" + "é".encode() * 60, 99),
        (b"a\n\n" + b"b" * 120, 100),  # no sliver of one letter
        (b"a" * 100, 100),
    ],
)
def test_where_a_text_is_cut(data: bytes, first: int) -> None:
    parts = list(split(io.BytesIO(data), len(data), 100))
    assert parts[0][1] == first


def test_a_long_file_becomes_several_documents(tmp_path: Path, read_one) -> None:
    data = "\n\n".join(f"Paragraph {n}. " + "wörd " * 40 for n in range(100)).encode()
    found = read(read_one, tmp_path / "x.txt", data, split_bytes=1024)
    assert found.counts["documents"] == found.counts["records_in"] > 20
    assert "".join(found.texts).encode() == data
    for d in found.documents:
        assert data[d["offset"] : d["offset"] + d["length"]].decode() == d["text"]
        assert d["text"].startswith("Paragraph")
    assert len({d["id"] for d in found.documents}) == len(found.documents)


def test_empty_files_and_byte_order_marks(tmp_path: Path, read_one) -> None:
    for data in (b"", b" \n\t\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"):
        found = read(read_one, tmp_path / "x.txt", data)
        assert (found.counts["documents"], found.why) == (0, {"empty": 1})
    found = read(read_one, tmp_path / "x.txt", codecs.BOM_UTF16_LE, encoding="utf-16")
    assert (found.counts["documents"], found.why) == (0, {"empty": 1})
    found = read(read_one, tmp_path / "x.txt", b"\xef\xbb\xbfabc")
    assert [(d["offset"], d["length"], d["text"]) for d in found.documents] == [(3, 3, "abc")]


def test_another_encoding_is_quarantined_whole_and_located(tmp_path: Path, read_one) -> None:
    data = b"good line\n" * 200_000 + b"caf\xe9" + b"more"
    found = read(read_one, tmp_path / "x.txt", data)
    assert (found.counts["documents"], found.why) == (0, {"not_utf8": 1})
    (reject,) = found.rejects
    assert (reject["offset"], reject["length"]) == (0, len(data))
    assert reject["detail"] == "byte 2000003"


@given(st.binary(max_size=40))
def test_the_first_bad_byte_is_that_of_a_strict_decoder(data: bytes) -> None:
    try:
        data.decode()
        expected = None
    except UnicodeDecodeError as error:
        expected = error.start
    assert first_bad_byte(io.BytesIO(data), "utf-8") == expected


def test_a_character_over_two_blocks_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text.streams, "BLOCK_BYTES", 4)
    assert first_bad_byte(io.BytesIO("abcäöüß€".encode()), "utf-8") is None
    assert first_bad_byte(io.BytesIO("abc€".encode()[:-1]), "utf-8") == 3


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "cp1252", "shift_jis"])
def test_other_encodings_have_exact_ranges(encoding: str, tmp_path: Path, read_one) -> None:
    text = "\n\n".join(f"paragraph {n} " + "text " * 60 for n in range(30))
    text += "あいう" if encoding == "shift_jis" else "éü"
    data = text.encode(encoding)
    found = read(read_one, tmp_path / "x.txt", data, encoding=encoding, split_bytes=2048)
    assert "".join(found.texts) == text
    assert len(found.texts) > 3
    exact = encoding + "-le" if data.startswith(codecs.BOM_UTF16_LE) else encoding
    for d in found.documents:
        assert data[d["offset"] : d["offset"] + d["length"]].decode(exact) == d["text"]


@pytest.mark.parametrize("mark", [codecs.BOM_UTF8, b""])
def test_utf8_with_or_without_its_mark(mark: bytes, tmp_path: Path, read_one) -> None:
    text = "\n\n".join(f"paragraph {n} " + "wörd " * 60 for n in range(30))
    data = mark + text.encode()
    found = read(read_one, tmp_path / "x.txt", data, encoding="utf-8-sig", split_bytes=2048)
    assert "".join(found.texts) == text
    assert len(found.texts) > 3
    ranges = [data[d["offset"] : d["offset"] + d["length"]].decode() for d in found.documents]
    assert ranges == found.texts
    bad = read(read_one, tmp_path / "x.txt", mark + b"caf\xe9 ", encoding="utf-8-sig")
    assert bad.why == {"not_utf8sig": 1}
    assert bad.rejects[0]["detail"] == f"byte {len(mark) + 3}"
    found = read(read_one, tmp_path / "x.txt", mark + b"a\0b", encoding="utf-8-sig")
    assert found.why == {"binary": 1}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
@pytest.mark.parametrize("order", ["-le", "-be"])
def test_a_mark_is_in_no_range(encoding: str, order: str, tmp_path: Path, read_one) -> None:
    text = "\n\n".join(f"paragraph {n} " + "text " * 60 for n in range(30))
    data = ("\ufeff" + text).encode(encoding + order)
    found = read(read_one, tmp_path / "x.txt", data, encoding=encoding, split_bytes=2048)
    assert "".join(found.texts) == text
    assert len(found.texts) > 3
    for d in found.documents:
        at = data[d["offset"] : d["offset"] + d["length"]]
        assert at.decode(encoding + order) == d["text"]


def test_a_text_whose_parts_are_written_otherwise_than_the_whole_is_one(
    tmp_path: Path, read_one
) -> None:
    """ISO-2022-JP changes its alphabet by marks in the text, which a part would repeat."""
    data = ("あいうえお" * 1000).encode("iso2022_jp")
    found = read(read_one, tmp_path / "x.txt", data, encoding="iso2022_jp", split_bytes=2048)
    ranges = [data[d["offset"] : d["offset"] + d["length"]] for d in found.documents]
    assert [r.decode("iso2022_jp") for r in ranges] == found.texts
    assert "".join(found.texts) == "あいうえお" * 1000


def test_binary_files_are_known_by_their_nul_bytes(tmp_path: Path, read_one) -> None:
    found = read(read_one, tmp_path / "x.py", b"abc\0def")
    assert found.why == {"binary": 1}
    assert found.rejects[0]["detail"] == "NUL byte at 3"
    found = read(read_one, tmp_path / "x.py", "abc".encode("utf-16"))
    assert found.why == {"not_utf8": 1}
    found = read(read_one, tmp_path / "y.txt", "abc".encode("utf-16-le"), encoding="cp1252")
    assert found.why == {"binary": 1}
