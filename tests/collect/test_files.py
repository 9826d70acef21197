import bz2
import gzip
import lzma
from pathlib import Path

import pytest
import zstandard

from pretrain.collect import files
from pretrain.collect.files import by_first_bytes
from tests.collect import stub
from tests.collect.test_tar import packed


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def read(read_one, path: Path, **own: object):
    def reader(*arguments: object) -> None:
        files.read(*arguments[:3], stub.guard)

    return read_one(reader, path, "files", **own)


def test_damaged_compression_keeps_the_sound_members(tmp_path: Path, read_one) -> None:
    first, second = gzip.compress(b"first member\n"), gzip.compress(b"second member\n")
    found = read(read_one, write(tmp_path / "x.txt.gz", first + second[:-9] + first))
    assert found.texts == ["first member\n", "first member\n"]
    assert [d["offset"] for d in found.documents] == [0, 13]
    assert found.counts["quarantined"] == 1
    assert (found.rejects[0]["offset"], found.rejects[0]["length"]) == (len(first), len(second) - 9)
    assert read(read_one, write(tmp_path / "y.txt.gz", first[:-1])).why == {"truncated": 1}
    assert read(read_one, write(tmp_path / "z.html.gz", first[:-1])).why == {"truncated": 1}
    assert read(read_one, write(tmp_path / "z.html.gz", first + second[:-1])).why == {
        "truncated": 2
    }


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst", ".bz2", ".xz"])
def test_every_format_under_every_compression(suffix: str, tmp_path: Path, read_one) -> None:
    pack = {
        "": bytes,
        ".gz": gzip.compress,
        ".zst": zstandard.compress,
        ".bz2": bz2.compress,
        ".xz": lzma.compress,
    }[suffix]
    cases = {
        "a.md": (b"# Title\n", ["# Title\n"]),
        "a.html": (b"<html><body><p>Some words of a page.</p></body></html>", None),
        "a.tex": (b"\\section{A} b % c\n", ["A\n\nb\n"]),
        "a.tar": (packed([("b.txt", b"words")]), ["words"]),
        "a.unknown": (b"as it is", ["as it is"] if not suffix else None),
    }
    for name, (data, expected) in cases.items():
        found = read(read_one, write(tmp_path / f"{name}{suffix}", pack(data)))
        assert found.counts["documents"] == 1, name
        assert expected is None or found.texts == expected


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (packed([("a.tex", b"x")]), "tar"),
        (b"%PDF-1.4", "pdf"),
        (b"%!PS-Adobe", ""),
        (b"% a comment\n\\documentclass{article}", "latex"),
        (b"plain words", "text"),
        (b"", "text"),
    ],
)
def test_a_file_without_a_telling_name_is_known_by_its_first_bytes(data: bytes, kind: str) -> None:
    found, blocks = by_first_bytes([data, b"more"])
    assert found == kind
    assert b"".join(b for b in blocks if isinstance(b, bytes)) == data + b"more"


def test_papers_as_arxiv_packs_them(tmp_path: Path, read_one) -> None:
    """A tar of gzip files without suffix, each one paper: a single file or a tar."""
    one = gzip.compress(b"\\documentclass{article}\\begin{document}One.\\end{document}")
    main = b"\\documentclass{article}\\begin{document}Two: \\input{part}\\end{document}"
    two = gzip.compress(packed([("main.tex", main), ("part.tex", b"a part."), ("f.eps", b"%!PS")]))
    postscript = gzip.compress(b"%!PS-Adobe-2.0")
    data = packed([("01/1.gz", one), ("01/2.gz", two), ("01/3.gz", postscript)])
    found = read(read_one, write(tmp_path / "bulk.tar", data))
    assert {d["path"]: d["text"] for d in found.documents} == {
        "bulk.tar!01/1.gz": "One.\n",
        "bulk.tar!01/2.gz!main.tex": "Two: a part.\n",
    }
    assert found.why == {"included": 1, "suffix": 2}


def test_a_file_of_the_recipe_needs_no_suffix(tmp_path: Path, read_one) -> None:
    assert read(read_one, write(tmp_path / "README", b"words")).texts == ["words"]
