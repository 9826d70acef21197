import bz2
import gzip
import tarfile
from pathlib import Path

import pytest

from pretrain.collect import archives, files
from tests.collect import stub, test_zip
from tests.collect.test_tar import packed, special


def read(read_one, path: Path, data: bytes, **own: object):
    path.write_bytes(data)

    def reader(*arguments: object) -> None:
        files.read(*arguments[:3], stub.guard)

    return read_one(reader, path, "files", **own)


def test_members_are_documents_of_their_own(tmp_path: Path, read_one) -> None:
    members = [("a.txt", b"one"), ("d/b.md", b"two\n"), ("p.html", b"<p>Words of a page.</p>")]
    for name, data in (("x.tar", packed(members)), ("x.zip", test_zip.packed(members))):
        found = read(read_one, tmp_path / name, data)
        documents = {d["path"]: (d["offset"], d["length"], d["text"]) for d in found.documents}
        assert documents[f"{name}!a.txt"] == (0, 3, "one")
        assert documents[f"{name}!d/b.md"] == (0, 4, "two\n")
        assert f"{name}!p.html" in documents
        (account,) = found.rows("files")
        assert (account["path"], account["records_in"], account["bytes"]) == (name, 3, len(data))


def test_one_name_twice_stays_two_documents(tmp_path: Path, read_one) -> None:
    members = [("a.txt", b"one"), ("a.txt", b"two"), ("a.txt", b"three"), ("a.txt#2", b"four")]
    found = read(read_one, tmp_path / "x.tar", packed(members))
    assert [d["path"] for d in found.documents] == [
        *("x.tar!a.txt", "x.tar!a.txt#2", "x.tar!a.txt#3"),
    ]
    assert len({d["id"] for d in found.documents}) == 3
    assert found.why == {"suffix": 1}
    found = read(read_one, tmp_path / "y.zip", test_zip.packed(members[:2]))
    assert [d["path"] for d in found.documents] == ["y.zip!a.txt", "y.zip!a.txt#2"]


def test_odd_names(tmp_path: Path, read_one) -> None:
    members = [("two\nlines.txt", b"one"), ("caf\udce9.txt", b"two"), ("ü.txt", b"three")]
    found = read(read_one, tmp_path / "x.tar", packed(members))
    assert [d["path"] for d in found.documents] == [
        *("x.tar!two\nlines.txt", "x.tar!caf\\xe9.txt", "x.tar!ü.txt"),
    ]


def test_what_is_not_read_is_counted(tmp_path: Path, read_one) -> None:
    members = [
        ("a.txt", b"one"),
        ("a.png", b"\x89PNG"),
        (".git/config.txt", b"x"),
        ("./b.txt", b"2"),
    ]
    refused = special("../c.txt", tarfile.REGTYPE) + special("d", tarfile.SYMTYPE, "/")
    data = refused + packed(members)
    found = read(read_one, tmp_path / "x.tar", data)
    assert found.texts == ["one", "2"]
    assert found.why == {"suffix": 1, "hidden": 1, "unsafe_path": 1, "link": 1}
    found = read(read_one, tmp_path / "y.tar", data, suffixes=["tar", "png"])
    assert found.why == {"suffix": 2, "hidden": 1, "unsafe_path": 1, "link": 1, "not_utf8": 1}


def test_archives_in_archives_to_the_second_level(tmp_path: Path, read_one) -> None:
    third = test_zip.packed([("deep.txt", b"deep")])
    second = gzip.compress(packed([("b.txt", b"two"), ("third.zip", third)]))
    hidden = gzip.compress(packed([("deep.txt", b"deep")]))
    inner = gzip.compress(packed([("nameless.gz", hidden)]))
    data = packed([("a.txt", b"one"), ("second.tar.gz", second), ("c.tgz", inner)])
    found = read(read_one, tmp_path / "x.tar", data)
    assert {d["path"]: d["text"] for d in found.documents} == {
        "x.tar!a.txt": "one",
        "x.tar!second.tar.gz!b.txt": "two",
    }
    assert found.why == {"nested": 2}


@pytest.mark.parametrize("inside", [False, True])
def test_bombs_are_bounded(inside: bool, tmp_path: Path, read_one) -> None:
    zeros = gzip.compress(packed([("a.txt", b"\0" * 3_000_000)]))
    if inside:
        data = packed([("in.tar.gz", zeros), ("b.txt", b"good")])
        found = read(read_one, tmp_path / "x.tar", data, max_record_bytes=30_000)
        assert (found.texts, found.why) == (["good"], {"bomb": 1})
    else:
        found = read(read_one, tmp_path / "x.tar.gz", zeros, max_record_bytes=30_000)
        assert found.why == {"too_long": 1}


def test_a_damaged_archive_gives_what_was_sound(tmp_path: Path, read_one) -> None:
    first, second = packed([("a.txt", b"one")])[:1024], packed([("b.txt", b"two" * 900)])
    packed_twice = gzip.compress(first) + gzip.compress(second)
    damaged = bytearray(packed_twice)
    damaged[-7] ^= 1  # of the checksum
    found = read(read_one, tmp_path / "x.tar.gz", bytes(damaged))
    assert (found.texts, found.why) == (["one"], {"corrupt": 1})
    found = read(read_one, tmp_path / "y.tar", (first + second)[:2000])
    assert found.texts == ["one"]
    assert found.why == {"truncated": 2}


def test_papers_are_put_together_and_a_collection_is_not(tmp_path: Path, read_one) -> None:
    main = b"\\documentclass{a}\\begin{document}Main \\input{s/one}.\\end{document}"
    members = [("main.tex", main), ("s/one.tex", b"part"), ("other.tex", b"other")]
    found = read(read_one, tmp_path / "x.tar", packed(members))
    assert {d["path"]: d["text"] for d in found.documents} == {
        "x.tar!main.tex": "Main part.\n",
        "x.tar!other.tex": "other\n",
    }
    assert [d["length"] for d in found.documents] == [len(main), 5]
    assert [(r["path"], r["reason"], r["detail"]) for r in found.rejects] == [
        ("x.tar!s/one.tex", "included", "in main.tex")
    ]
    many = [*members, *[(f"{n}.tex", b"word " * 100) for n in range(5)]]
    found = read(read_one, tmp_path / "y.tar", packed(many), max_record_bytes=1024)
    assert found.counts["documents"] == 8
    assert not found.why


def test_too_many_members(tmp_path: Path, read_one, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_MEMBERS", 3)
    members = [(f"{n}.txt", b"x") for n in range(9)]
    found = read(read_one, tmp_path / "x.tar", packed(members))
    assert (found.counts["documents"], found.why) == (3, {"too_many": 1})


def test_it_is_read_through_the_stage(tmp_path: Path, collect) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    tex = b"\\section{A} text % why"
    (folder / "a.tar").write_bytes(packed([("a.txt", b"one"), ("b.txt", b"two"), ("c.tex", tex)]))
    (folder / "b.zip").write_bytes(test_zip.packed([("a.txt", b"three")]))
    (folder / "c.txt.bz2").write_bytes(bz2.compress(b"four"))
    found = collect({"s": {"kind": "files", "path": str(folder)}})
    assert sorted(found.texts) == ["A\n\ntext\n", "four", "one", "three", "two"]
