from pathlib import Path

import pytest

from pretrain.collect.ledger import Ledger
from pretrain.collect.listing import Entry
from pretrain.collect.members import chooses, chosen, format_of, inside, is_compressed
from pretrain.collect.settings import Source


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.txt", "text"),
        ("A.TXT.GZ", "text"),
        ("a.py", "text"),
        ("a.xhtml.zst", "html"),
        ("a.tex.bz2", "latex"),
        ("a.epub", "epub"),
        ("a.pdf.xz", "pdf"),
        ("a.tar", "tar"),
        ("a.tar.xz", "tar"),
        ("a.tgz", "tar"),
        ("a.zip", "zip"),
        ("a.gz", ""),
        ("a.png", ""),
        ("README", ""),
    ],
)
def test_the_suffix_tells_the_format(name: str, kind: str) -> None:
    assert format_of(name) == kind


def test_suffixes_of_the_recipe_are_for_what_lies_in_archives() -> None:
    both = Source("files", "x", suffixes=("tar", ".log"))
    assert chooses(both)
    assert chosen("a.log", both)
    assert not chosen("a.txt", both)
    only = Source("files", "x", suffixes=("tar.gz",))
    assert not chooses(only)
    assert not chosen("a.tar.gz", only)


def test_compression() -> None:
    assert is_compressed("a.gz")
    assert is_compressed("a.txt.bz2")
    assert not is_compressed("a.txt")


def test_within_a_member_records_have_its_path(tmp_path: Path) -> None:
    with Ledger(tmp_path, "t", "s") as ledger:
        ledger.begin(Entry("a.tar", "a.tar", "a.tar", 1, ""))
        with inside(ledger, "b.tar"), inside(ledger, "caf\udce9"):
            assert ledger.path == "a.tar!b.tar!caf\\xe9"
        assert ledger.path == "a.tar"
        with pytest.raises(ValueError, match="x"), inside(ledger, "b"):
            raise ValueError("x")
        assert ledger.path == "a.tar"
        ledger.finish()
