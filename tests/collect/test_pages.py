from pathlib import Path

import pytest

from pretrain.collect import files
from tests.collect import stub


def read(read_one, path: Path, data: bytes, guard=stub.guard, **own: object):
    path.write_bytes(data)

    def reader(*arguments: object) -> None:
        files.read(*arguments[:3], guard)

    return read_one(reader, path, "files", **own)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"<p>a\0b</p>", "binary"),
        (b"<p>" + b"x" * 2000, "too_long"),
    ],
)
@pytest.mark.parametrize("name", ["x.html", "x.tex"])
def test_what_needs_no_parser(name: str, data: bytes, why: str, tmp_path: Path, read_one) -> None:
    found = read(read_one, tmp_path / name, data, guard=None, max_record_bytes=1024)
    assert found.why == {why: 1}


def test_what_the_parser_says_is_written_down(tmp_path: Path, read_one) -> None:
    def guard(data: bytes, kind: str = "html") -> dict[str, object]:
        answer = {"text": "", "language": None, "date": None, "reason": "", "detail": ""}
        if data == b"late":
            return {**answer, "reason": "extract_timeout", "detail": "more than 1 s"}
        if data == b"book":
            known = {"language": "de", "date": "1912", "license": "CC0-1.0", "tags": ["t"]}
            return {**answer, **known, "text": "Text"}
        return answer

    found = read(read_one, tmp_path / "x.epub", b"late", guard)
    assert found.why == {"extract_timeout": 1}
    found = read(read_one, tmp_path / "y.epub", b"none", guard)
    assert found.why == {"no_text": 1}
    (d,) = read(read_one, tmp_path / "z.epub", b"book", guard).documents
    assert (d["license"], d["date"], d["language_hint"], d["tags"]) == (
        "CC0-1.0",
        "1912",
        "de",
        ["t"],
    )
    assert (d["offset"], d["length"]) == (0, 4)


def test_papers_in_the_encoding_of_the_recipe(tmp_path: Path, read_one) -> None:
    data = "\\section{Über}".encode("cp1252")
    assert read(read_one, tmp_path / "x.tex", data).why == {"not_utf8": 1}
    assert read(read_one, tmp_path / "x.tex", data, encoding="cp1252").texts == ["Über\n"]
    found = read(read_one, tmp_path / "x.tex", b"\x81", encoding="cp1252")
    assert found.why == {"not_cp1252": 1}
