import io
from pathlib import Path

import pytest

from pretrain.collect import records, skim
from tests.collect.webarchives import arc, gz, http, page, record

WANTED = "http://w.example/robots.txt"


def found(data: bytes) -> tuple[list[str], int]:
    """Addresses of all records in the members that come, and how many members come."""
    urls, n_members = [], 0
    for member in skim.members(
        io.BytesIO(data), Path("/tmp"), lambda u: u.endswith(b"/robots.txt")
    ):
        n_members += 1
        urls += [r.url for r in records.of_member(member) if isinstance(r, records.Record)]
    return urls, n_members


def test_only_wanted_members_are_unpacked() -> None:
    pages = [page(f"http://{i}.example/", bytes([65 + i]) * 5_000) for i in range(9)]
    wanted = page(WANTED, b"User-agent: *", type="text/plain")
    assert found(gz(*pages[:5], wanted, *pages[5:])) == ([WANTED], 1)
    assert found(gz(wanted)) == ([WANTED], 1)
    assert found(gz(*pages)) == ([], 0)
    assert found(b"") == ([], 0)
    head = "x" * 3_000  # a head longer than the first look
    assert found(gz(*pages, page(WANTED, b"x", X_Long=head), *pages)) == ([WANTED], 1)
    assert found(gz(page("http://a.example/", b"x", X_Long=head), pages[0])) == ([], 0)


def test_what_shares_a_member_with_others_is_not_missed() -> None:
    both = page("http://a.example/") + page(WANTED)
    assert found(gz(page(), both, page()))[0] == ["http://a.example/", WANTED]


def test_an_archive_in_an_archive_is_not_taken_for_its_members() -> None:
    """gzip stores what is packed already as it is, magic numbers and all."""
    inner = gz(page(WANTED), page("http://c.example/"))
    outer = gz(page("http://a.example/"), record(body=http(inner)), page("http://b.example/"))
    assert WANTED not in found(outer)[0]


@pytest.mark.parametrize("spoil", [0, 40, -4])
def test_a_damaged_member_is_passed_over(spoil: int) -> None:
    members = [gz(page("http://a.example/", b"a" * 999)), gz(page(WANTED, b"w" * 999))]
    bad = bytearray(members[0])
    bad[spoil] ^= 0xFF
    assert WANTED in found(bytes(bad) + members[1])[0]
    assert WANTED in found(members[1] + bytes(bad) + bytes(700) + members[1])[0]
    assert found(members[1][:-9])[0] == []


def test_arc_members() -> None:
    data = gz(arc("http://a.example/", b"x" * 99), arc(WANTED, b"y"), arc("http://b.example/", b""))
    assert found(data)[0][0] == WANTED


def test_real_archives_give_what_a_full_reading_gives(data: Path) -> None:
    for path in sorted((data / "web/warc").rglob("*.gz")):
        with open(path, "rb") as file:
            members = skim.members(
                file, Path("/tmp"), lambda u: u.rstrip(b">").endswith(b"/robots.txt")
            )
            ours = [
                r.url
                for m in members
                for r in records.of_member(m)
                if isinstance(r, records.Record)
            ]
            every = [
                r.url
                for r in records.records(file, path.name, Path("/tmp"))
                if isinstance(r, records.Record)
            ]
        wanted = [u for u in every if u.endswith("/robots.txt")]
        assert [u for u in ours if u.endswith("/robots.txt")] == wanted, path.name
