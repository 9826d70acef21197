import gzip
import json
from pathlib import Path

import fsspec
import pytest

from pretrain import settings, store
from pretrain.collect import run as stage
from pretrain.collect.listing import local_entry
from pretrain.errors import DataError
from pretrain.recipe import Recipe


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A little of everything, good and bad."""
    root = tmp_path / "raw"
    (root / "sub").mkdir(parents=True)
    for n in range(20):
        (root / f"{n:02d}.txt").write_text(f"Document {n}.\n\n" + "word " * 300)
    (root / "empty.txt").write_bytes(b"")
    (root / "latin.txt").write_bytes(b"caf\xe9")
    (root / "page.html").write_text("<html lang=de><p>Ein Satz, der zum Inhalt gehört.</p></html>")
    (root / "none.html").write_text("<script>x</script>")
    (root / "cut.txt.gz").write_bytes(gzip.compress(b"x" * 999)[:-4])
    (root / "sub/up").symlink_to(root)
    (root / "gone.txt").symlink_to("nowhere")
    (root / "lines.jsonl").write_text('{"text": "one"}\n[1]\n{"text": "two"}\n')
    return root


def sources(root: Path) -> dict:
    return {
        "books": {"kind": "files", "path": str(root)},
        "lines": {"kind": "jsonl", "path": str(root)},
    }


def test_exact_counts_of_a_mixed_corpus(corpus: Path, collect) -> None:
    found = collect(sources(corpus))
    assert found.counts["documents"] == 23
    assert found.counts["reasons"] == {
        "dropped": {"empty": 1, "no_text": 1},
        # The links are met by both sources: each lists the whole folder.
        "quarantined": {"not_an_object": 1, "not_utf8": 1, "truncated": 1, "unreadable": 4},
    }
    books = found.counts["by_source"]["books"]
    assert (books["documents"], books["files"], books["records_in"]) == (21, 27, 27)
    assert books["files_skipped"] == {"suffix": 1}
    assert found.counts["by_source"]["lines"]["documents"] == 2
    (page,) = [d for d in found.documents if d["path"].endswith("page.html")]
    assert (page["language_hint"], page["length"]) == ("de", (corpus / "page.html").stat().st_size)
    assert {r["detail"] for r in found.rejects if r["reason"] == "unreadable"} == {
        "symbolic link to a folder above it",
        "broken symbolic link",
    }
    names = {p.relative_to(found.folder).as_posix() for p in found.folder.rglob("*.parquet")}
    assert names == {
        f"{kind}/{source}-00000.parquet"
        for kind in ("documents", "rejects", "files")
        for source in ("books", "lines")
    }


@pytest.mark.multi
def test_the_number_of_workers_changes_no_byte(corpus: Path, collect) -> None:
    own = {"shard_bytes": 4096}
    one = collect(sources(corpus), workers=1, run="one", **own)
    two = collect(sources(corpus), workers=2, run="two", **own)

    def outputs(found) -> dict[str, str]:
        return store.read_json(found.folder / "manifest.json")["outputs"]

    assert len(outputs(one)) > 20
    assert outputs(one) == outputs(two)
    assert one.counts == two.counts
    for name, digest in outputs(two).items():
        assert store.hash_file(two.folder / name) == digest


def test_shards_change_no_document(corpus: Path, collect) -> None:
    few = collect(sources(corpus), run="few")
    many = collect(sources(corpus), run="many", shard_bytes=1024)
    assert few.documents == many.documents
    assert few.rejects == many.rejects


def test_every_file_has_its_account(corpus: Path, collect) -> None:
    found = collect(sources(corpus))
    for row in found.rows("files"):
        assert row["records_in"] == row["documents"] + row["dropped"] + row["quarantined"]
    assert sum(r["records_in"] for r in found.rows("files")) == found.counts["records_in"]


def test_the_flow_skips_what_is_unchanged_and_sees_what_is_not(corpus: Path) -> None:
    recipe = settings.parse(Recipe, {"collect": {"sources": sources(corpus)}})
    before = stage.inputs(recipe)
    assert before == stage.inputs(recipe)
    json.dumps(before)
    (corpus / "00.txt").write_text("changed")
    after = stage.inputs(recipe)
    assert before["books"] != after["books"]
    assert before["lines"] == after["lines"]


def test_too_much_that_cannot_be_read_stops_and_a_higher_limit_reads_nothing_again(
    tmp_path: Path, collect
) -> None:
    lines = ['{"text": "one of many"}'] * 98 + ["no json"] * 2
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    table = {"a": {"kind": "jsonl", "path": str(tmp_path / "a.jsonl")}}
    with pytest.raises(DataError) as error:
        collect(table, max_quarantined=0.01)
    assert "2 of 100 records (2.0%) cannot be read: bad_json 2" in str(error.value)
    assert "the limit is 1.0%" in str(error.value)
    assert "set collect.max_quarantined" in str(error.value)
    receipt = tmp_path / "run" / "collect" / "receipts" / "a-00000.json"
    stamp = receipt.stat().st_mtime_ns
    assert collect(table, max_quarantined=0.02).counts["documents"] == 98
    assert receipt.stat().st_mtime_ns == stamp


def test_one_record_alone_never_stops(tmp_path: Path, collect) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\nno json\n')
    table = {"a": {"kind": "jsonl", "path": str(tmp_path / "a.jsonl")}}
    assert collect(table, max_quarantined=0.01).counts["quarantined"] == 1


def test_a_source_without_files_stops(tmp_path: Path, collect) -> None:
    (tmp_path / "x.bin").write_bytes(b"")
    with pytest.raises(DataError, match=r"'a'.*nothing.*collect\.sources\.a\.path"):
        collect({"a": {"kind": "files", "path": str(tmp_path / "nothing")}})
    with pytest.raises(DataError, match="1 files of other suffixes"):
        collect({"a": {"kind": "files", "path": str(tmp_path)}})
    assert DataError.exit_code == 65


def test_a_run_that_collects_nothing_says_why(tmp_path: Path, collect) -> None:
    (tmp_path / "a.txt").write_bytes(b"")
    (tmp_path / "b.txt").write_bytes(b"\xff")
    with pytest.raises(DataError, match=r"no document.*empty 1.*not_utf8 1"):
        collect({"a": {"kind": "files", "path": str(tmp_path)}})


def test_a_file_that_vanishes_costs_itself(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("stays")
    entries = [local_entry(str(tmp_path / n), n, n).to_json() for n in ("a.txt", "gone.txt")]
    entries[1] |= {"problem": "", "n_bytes": 5}  # it was there when it was listed
    counts = stage.collect(
        tmp_path / "out",
        {
            "task": "s-00000",
            "source": "s",
            "settings": {"kind": "files", "path": str(tmp_path), "license": None},
            "extract_seconds": 1.0,
            "extract_megabytes": 512,
            "entries": entries,
        },
    )
    assert counts["documents"] == 1
    assert counts["reasons"]["quarantined"] == {"unreadable": 1}


def test_remote_sources_through_fsspec(collect) -> None:
    fs = fsspec.filesystem("memory")
    fs.pipe("/run/a.txt", b"a remote text")
    fs.pipe("/run/b.jsonl.gz", gzip.compress(b'{"text": "remote line"}\n'))
    try:
        found = collect(
            {
                "a": {"kind": "files", "path": "memory://run"},
                "b": {"kind": "jsonl", "path": "memory://run/*.jsonl.gz"},
            }
        )
    finally:
        fs.rm("/run", recursive=True)
    assert found.texts == ["a remote text", "remote line"]
    assert found.documents[0]["path"] == "memory:///run/a.txt"


def test_the_environment_is_a_source(
    tmp_path: Path, collect, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site-packages"
    for name, text in {
        "p/__init__.py": '"""Of p."""',
        "p/m.py": "x = 1",
        "p-1.dist-info/METADATA": "Name: p\nLicense-Expression: MIT\n\nLong description.",
        "p-1.dist-info/RECORD": "p/__init__.py,sha256=x,12\np/m.py,,\n",
        "pretrain/cli.py": "ours",
        "__pycache__/a.py": "no",
    }.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    library = Path(json.__file__).parent
    paths = {"purelib": str(site), "platlib": str(site), "stdlib": str(library)}
    monkeypatch.setattr("sysconfig.get_paths", lambda: paths)
    own = {"kind": "python-environment"}
    found = collect({p: {**own, "part": p} for p in ("code", "docstrings", "texts")})
    rows = {(d["source"], d["path"]): d for d in found.documents}
    assert rows["code", "site-packages/p/m.py"]["license"] == "MIT"
    assert rows["code", "stdlib/decoder.py"]["license"] == "PSF-2.0"
    assert rows["docstrings", "site-packages/p/__init__.py"]["text"] == "p\n\nOf p.\n"
    metadata = rows["texts", "site-packages/p-1.dist-info/METADATA"]
    assert metadata["text"] == "Long description."
    assert not [path for _, path in rows if "pretrain" in path or "__pycache__" in path]
    assert found.counts["by_source"]["docstrings"]["reasons"]["dropped"]["no_text"] >= 1


def test_real_pages_all_end_somewhere(data: Path, collect) -> None:
    pages = sorted((data / "web/trafilatura/html").glob("*.html.gz"))
    if not pages:
        pytest.skip("no real pages there")
    found = collect({"web": {"kind": "files", "path": str(data / "web/trafilatura/html")}})
    assert found.counts["records_in"] == len(pages)
    assert found.counts["documents"] >= 0.9 * len(pages)
    assert "extract_failed" not in found.why
