import os
from pathlib import Path

import fsspec
import pytest

from pretrain.collect.listing import Entry, group, list_source, sample, shown
from pretrain.collect.settings import Source
from pretrain.errors import DataError


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def paths(root: Path, *patterns: str, **own: object) -> list[str]:
    source = Source(kind="files", path=tuple(str(root / p) for p in patterns), **own)  # type: ignore[arg-type]
    return [os.path.relpath(e.path, root) for e in list_source(source).entries]


def test_a_folder_is_every_known_file_below_it_sorted(tmp_path: Path) -> None:
    make(tmp_path, "b.txt", "a/z.py", "a/y.md.gz", "c.HTML", "d.bin", ".hidden.txt", "a/.git/x.py")
    listing = list_source(Source(kind="files", path=str(tmp_path)))
    assert [e.name for e in listing.entries] == ["a/y.md.gz", "a/z.py", "b.txt", "c.HTML"]
    assert listing.skipped == {"hidden": 2, "suffix": 1}


def test_globs_and_suffixes(tmp_path: Path) -> None:
    make(tmp_path, "a.txt", "x/b.txt", "x/y/c.txt", "x/y/d.odd", "happy")
    assert paths(tmp_path, "*.txt") == ["a.txt"]
    assert paths(tmp_path, "**/*.txt") == ["a.txt", "x/b.txt", "x/y/c.txt"]
    assert paths(tmp_path, "**") == ["a.txt", "happy", "x/b.txt", "x/y/c.txt", "x/y/d.odd"]
    assert paths(tmp_path, "x/y/d.odd") == ["x/y/d.odd"]  # named itself: no suffix is needed
    assert paths(tmp_path, ".", suffixes=("odd",)) == ["x/y/d.odd"]
    assert paths(tmp_path, ".", suffixes=("py",)) == []  # not 'happy'


def test_a_file_reached_twice_is_listed_once(tmp_path: Path) -> None:
    make(tmp_path, "a/one.txt")
    (tmp_path / "a/alias.txt").symlink_to("one.txt")
    (tmp_path / "0-link").symlink_to("a")
    assert paths(tmp_path, ".", "a/one.txt", "a/*.txt") == ["a/one.txt"]


def test_circles_broken_links_and_pipes_are_problems_not_traps(tmp_path: Path) -> None:
    make(tmp_path, "a/one.txt")
    (tmp_path / "a/round").symlink_to(tmp_path)
    (tmp_path / "a/self.txt").symlink_to("self.txt")
    (tmp_path / "a/gone.txt").symlink_to("nowhere")
    os.mkfifo(tmp_path / "a/pipe.txt")
    found = {
        e.name: e.problem for e in list_source(Source(kind="files", path=str(tmp_path))).entries
    }
    assert found == {
        "a/one.txt": "",
        "a/round": "symbolic link to a folder above it",
        "a/self.txt": "broken symbolic link",
        "a/gone.txt": "broken symbolic link",
        "a/pipe.txt": "not a regular file",
    }
    assert len(paths(tmp_path, "**/*.txt")) == 4


def test_the_fingerprint_sees_every_change(tmp_path: Path) -> None:
    make(tmp_path, "a.txt", "b.txt")
    source = Source(kind="files", path=str(tmp_path))
    seen = {list_source(source).fingerprint()}
    assert list_source(source).fingerprint() in seen
    os.utime(tmp_path / "a.txt", ns=(1, 1))
    seen.add(list_source(source).fingerprint())
    (tmp_path / "b.txt").rename(tmp_path / "c.txt")
    seen.add(list_source(source).fingerprint())
    make(tmp_path, "d.txt")
    seen.add(list_source(source).fingerprint())
    assert len(seen) == 4


def entries(*sizes: int) -> list[Entry]:
    return [Entry(f"{i:03d}", f"{i:03d}", f"{i:03d}", n, "") for i, n in enumerate(sizes)]


def test_groups_follow_from_sizes_alone() -> None:
    groups = group(entries(1, 1, 1, 50, 2, 2, 9, 0), 10)
    assert [[e.n_bytes for e in g] for g in groups] == [[1, 1, 1], [50], [2, 2], [9, 0]]
    assert [len(g) for g in group(entries(*[1] * 100), 10)] == [10] * 10


def test_a_sample_depends_on_names_alone_and_is_sorted() -> None:
    every = entries(*[10] * 100)
    chosen = sample(every, 300)
    assert len(chosen) == 30
    assert chosen == sorted(chosen, key=lambda e: e.path)
    assert chosen != every[:30]
    assert sample(every[::-1], 300) == chosen
    assert set(sample(every, 100)) < set(chosen)  # a smaller sample is part of the larger one
    assert len(sample(every, 1)) == 1
    assert len(sample(every, 10**9)) == 100


def test_remote_files_have_addresses() -> None:
    fs = fsspec.filesystem("memory")
    for name in ("a.txt", "sub/b.txt", "c.bin"):
        fs.pipe(f"/listing/{name}", b"x")
    try:
        found = list_source(Source(kind="files", path="memory://listing")).entries
        assert [e.path for e in found] == ["memory:///listing/a.txt", "memory:///listing/sub/b.txt"]
        found = list_source(Source(kind="files", path="memory://listing/*.txt")).entries
        assert [(e.name, e.n_bytes) for e in found] == [("a.txt", 1)]
        assert list_source(Source(kind="files", path="memory://listing/none.txt")).entries == []
    finally:
        fs.rm("/listing", recursive=True)
    with pytest.raises(DataError, match="nonsense://x"):
        list_source(Source(kind="files", path="nonsense://x"))


def test_names_that_are_no_unicode_can_be_shown() -> None:
    assert shown(os.fsdecode(b"caf\xe9.txt")) == "caf\\xe9.txt"
    assert shown("é.txt") == "é.txt"
