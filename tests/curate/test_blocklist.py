import gzip

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.curate import blocklist
from pretrain.errors import DataError, RecipeError

LIST = """# a comment
! another
bad.org
*.Star.com
0.0.0.0 ads.example.com  # hosts form
127.0.0.1\ttrack.net
||adblock.io^
||options.io^$third-party
www.site.de
müller.de
last.dot.
@@||allowed.io^
no/path.org
two words.org
||half.io
"""


def hosts(*urls: str | None) -> list[str | None]:
    return blocklist.domains(pa.array(urls, pa.string())).to_pylist()


@pytest.fixture
def listed(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text(LIST, encoding="utf-8")
    return blocklist.load(str(path))


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://www.Example.com:8080/x?y#z", "example.com"),
        ("HTTP://BAD.ORG.", "bad.org"),
        ("http://user:p@sub.bad.org", "sub.bad.org"),
        ("//a.b/", "a.b"),
        ("http://[::1]:80/", "[::1]"),
        ("http://müller.de/ä", "xn--mller-kva.de"),
        ("http://www.com/", "www.com"),
        ("http://h.org?q=http://x.y", "h.org"),
        ("mailto:x@y.z", ""),
        ("plain.org/x", ""),
        ("", ""),
        ("http://", ""),
        ("http://..", ""),
        (None, None),
    ],
)
def test_hosts_of_urls(url, host) -> None:
    assert hosts(url) == [host]


@given(st.lists(st.text() | st.text("htp:/@.wW[]é%#? 1").map("http://".__add__), max_size=6))
def test_no_url_breaks_it(urls) -> None:
    urls = [u.encode("utf-8", "ignore").decode() for u in urls]
    assert [hosts(u)[0] for u in urls] == hosts(*urls)
    assert all(h == h.lower() for h in hosts(*urls) if h.isascii())


def test_a_listed_domain_blocks_what_is_below_it(listed) -> None:
    blocked = ["bad.org", "a.b.bad.org", "star.com", "x.star.com", "ads.example.com", "track.net"]
    blocked += [
        "adblock.io",
        "options.io",
        "site.de",
        "sub.site.de",
        "xn--mller-kva.de",
        "last.dot",
    ]
    free = [
        "good.org",
        "notbad.org",
        "example.com",
        "org",
        "allowed.io",
        "half.io",
        "words.org",
        "",
    ]
    assert listed.blocks(pa.array(blocked)).all()
    assert not listed.blocks(pa.array([*free, None])).any()
    assert listed.blocks(pa.chunked_array([["good.org"], ["bad.org"]])).tolist() == [False, True]


def test_what_cannot_be_read_is_counted(listed) -> None:
    assert listed.n_domains == 9
    assert listed.n_unreadable == 4


@given(st.lists(st.text("ab.c", min_size=1, max_size=8), max_size=6), st.text("ab.c", max_size=10))
def test_blocks_like_a_set_of_names(names, host) -> None:
    entries = {n.strip(".") for n in names} - {""}
    hashes, _ = blocklist.parse("\n".join(names).encode())
    chosen = blocklist.Blocklist(sorted_array(hashes), len(hashes), 0)
    parts = host.split(".")
    expected = any(".".join(parts[i:]) in entries for i in range(len(parts)))
    assert chosen.blocks(pa.array([host])).tolist() == [expected]


def sorted_array(hashes):
    hashes.sort()
    return hashes


def test_several_files_and_gzip(tmp_path) -> None:
    (tmp_path / "a.txt").write_text("a.org\n")
    (tmp_path / "b.txt").write_text("a.org\nb.org")
    (tmp_path / "c.gz").write_bytes(gzip.compress(b"\xef\xbb\xbfc.org\r\n"))
    assert blocklist.load(str(tmp_path / "*.txt")).n_domains == 2
    found = blocklist.load([str(tmp_path / "a.txt"), str(tmp_path / "c.gz")])
    assert found.blocks(pa.array(["c.org", "b.org"])).tolist() == [True, False]
    (tmp_path / "c.gz").write_bytes(gzip.compress(b"c.org" * 99)[:-9])
    with pytest.raises(DataError, match="gzip"):
        blocklist.load(str(tmp_path / "c.gz"))


def test_lists_that_name_nothing_are_errors(tmp_path) -> None:
    (tmp_path / "empty.txt").write_text("# nothing\n\n")
    with pytest.raises(DataError, match="names no domain"):
        blocklist.load(str(tmp_path / "empty.txt"))
    with pytest.raises(RecipeError, match="block_domains"):
        blocklist.load(str(tmp_path / "absent.txt"))
