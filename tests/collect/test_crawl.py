import functools
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pretrain import settings, shards, store
from pretrain.collect import crawl, ranges
from pretrain.collect.listing import list_source
from pretrain.collect.settings import Source
from pretrain.errors import DataError
from tests.collect import server as tricks
from tests.collect.conftest import Collected
from tests.collect.server import Server, says, serving
from tests.collect.webarchives import fake_guard, gz, http, page, record, text_page

FILES = ("crawl/segment-1/a.warc.gz", "crawl/segment-2/b.warc.gz")


class FakeGuard:
    def __init__(self, *_: Any) -> None:
        pass

    def __call__(self, data: bytes) -> dict[str, Any]:
        return fake_guard(data)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: Any) -> None:
        pass


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crawl, "Guard", FakeGuard)
    patient = functools.partial(ranges.Fetcher, sleep=lambda seconds: None)
    monkeypatch.setattr(ranges, "Fetcher", patient)


@pytest.fixture
def archive(tmp_path: Path) -> tuple[Path, list[dict[str, Any]]]:
    """A base folder of two WARC files, and the rows of their index."""
    rows: list[dict[str, Any]] = []
    for number, name in enumerate(FILES):
        data = gz(record("warcinfo", url=None, body=b"software: x"))
        for i in range(12):
            host = ("a.example", "b.example", "c.example")[i % 3]
            url = f"https://{host}/{number}/{i}"
            member = gz(text_page(f"page {number} {i}", url))
            data += gz(record("request", url, b"GET / HTTP/1.1\r\n\r\n"))
            rows.append(index_row(url, name, len(data), len(member)))
            data += member
        path = tmp_path / "base" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
    return tmp_path / "base", rows


def index_row(url: str, name: str, offset: int, length: int, **own: Any) -> dict[str, Any]:
    return {
        "url": url,
        "url_host_registered_domain": url.split("/")[2],
        "fetch_status": 200,
        "content_mime_detected": "text/html",
        "content_languages": "eng",
        "warc_filename": name,
        "warc_record_offset": offset,
        "warc_record_length": length,
        **own,
    }


class Stage(SimpleNamespace):
    """Runs tasks here and now, as the stage would."""

    def run_tasks(self, tasks: list[Any], what: str) -> list[Any]:
        receipts = []
        for task in tasks:
            counts = task.function(self.folder, task.arguments)
            outputs = {name: store.hash_file(self.folder / name) for name in task.outputs}
            receipts.append(SimpleNamespace(outputs=outputs, counts=counts))
        return receipts


def run(
    folder: Path, rows: list[list[dict[str, Any]]], shard_bytes: int = 1 << 20, **own: Any
) -> Collected:
    """Choose and read everything of these index files."""
    (folder / "index").mkdir(parents=True, exist_ok=True)
    for number, part in enumerate(rows):
        pq.write_table(pa.Table.from_pylist(part), folder / f"index/part-{number}.parquet")
    table = {"kind": "common-crawl", "path": str(folder / "index"), **own}
    source = settings.parse(Source, table)
    limits = {"shard_bytes": shard_bytes, "extract_seconds": 1.0, "extract_megabytes": 512}
    stage = Stage(folder=folder / "out", settings=SimpleNamespace(**limits))
    tasks = crawl.tasks(stage, "cc", source, list_source(source).entries)  # type: ignore[arg-type]
    assert len({t.name for t in tasks}) == len(tasks)
    receipts = stage.run_tasks(tasks, "reading")
    assert not (folder / "out/fetched").exists() or not list((folder / "out/fetched").iterdir())
    counts: dict[str, Any] = {"reasons": {"dropped": {}, "quarantined": {}}}
    for receipt in receipts:
        for kind, found in receipt.counts["reasons"].items():
            for reason, n in found.items():
                sums = counts["reasons"][kind]
                sums[reason] = sums.get(reason, 0) + n
    return Collected(folder / "out", counts)


def texts_of(found: Collected) -> set[str]:
    return set(found.texts)


ALL = {f"page {n} {i}" for n in (0, 1) for i in range(12)}


def test_records_are_read_by_their_ranges(archive: Any, tmp_path: Path) -> None:
    base, rows = archive
    found = run(tmp_path, [rows[:9], rows[9:]], base=str(base))
    assert texts_of(found) == ALL
    assert found.rejects == []
    where = {
        r["url"]: (r["warc_filename"], r["warc_record_offset"], r["warc_record_length"])
        for r in rows
    }
    for document in found.documents:
        assert (document["path"], document["offset"], document["length"]) == where[document["url"]]
        assert document["date"] == "2024-05-18T01:58:10Z"
        assert document["language_hint"] == "en"  # what the page says before what the index says
    assert sum(f["records_in"] for f in found.rows("files")) == 24


def test_the_shards_do_not_change_what_is_read(archive: Any, tmp_path: Path) -> None:
    base, rows = archive
    one = run(tmp_path / "one", [rows], base=str(base))
    many = run(tmp_path / "many", [rows], shard_bytes=700, base=str(base))
    assert len(list((tmp_path / "many/out/documents").iterdir())) > 5
    assert one.documents == many.documents


def test_choices(archive: Any, tmp_path: Path) -> None:
    base, rows = archive
    found = run(tmp_path / "1", [rows[:12], rows[12:]], base=str(base), domains=["a.example"])
    assert {d["url"].split("/")[2] for d in found.documents} == {"a.example"}
    assert len(found.documents) == 8
    some = [
        texts_of(run(tmp_path / f"{n}-{len(parts)}", parts, base=str(base), max_records=n))
        for n in (5, 10)
        for parts in ([rows], [rows[:7], rows[7:8], rows[8:]])
    ]
    assert [len(s) for s in some] == [5, 5, 10, 10]
    assert some[0] == some[1] < some[2] == some[3]  # more records hold the fewer ones


def test_the_domain_list_is_asked_before_the_server(archive: Any, tmp_path: Path) -> None:
    base, rows = archive
    (tmp_path / "no").write_text("b.example")
    with serving() as web:
        web.files = {f"/{n}": (base / n).read_bytes() for n in FILES}
        own = {"base": web.address, "requests_per_second": 1e6}
        found = run(tmp_path, [rows], opt_out={"domains": str(tmp_path / "no")}, **own)
        stops = [int(r.partition("-")[2]) for _, r in web.asked]
    assert found.why == {"opt_out": 8}
    assert len(found.documents) == 16
    assert max(stops) < len(web.files[f"/{FILES[0]}"])


def test_neighbours_are_asked_for_together(archive: Any, tmp_path: Path) -> None:
    base, rows = archive
    with serving() as web:
        web.files = {f"/{n}": (base / n).read_bytes() for n in FILES}
        run(tmp_path, [rows], base=web.address, requests_per_second=1e6)
        assert [path for path, _ in web.asked] == [f"/{n}" for n in FILES]
        assert web.n_connections == 1


def test_merged_ranges_hold_every_row() -> None:
    rows = [
        crawl.Row("u", name, offset, length, None)
        for name, offset, length in [
            *(("a", 0, 10), ("a", 10, 5), ("a", 12, 2)),
            *(("a", 15 + crawl.GAP_BYTES, 5), ("a", 21 + 2 * crawl.GAP_BYTES, crawl.RANGE_BYTES)),
            *(("b", 22, 9), ("b", 31, crawl.RANGE_BYTES)),
        ]
    ]
    found = crawl.merged(rows)
    assert [r for one in found for r in one.rows] == rows
    assert [len(one.rows) for one in found] == [4, 1, 1, 1]
    assert all(
        one.start <= r.offset and r.offset + r.length <= one.stop for one in found for r in one.rows
    )
    assert crawl.merged([]) == []


@pytest.fixture
def web(archive: Any) -> Iterator[Server]:
    with serving() as server:
        server.files = {f"/{n}": (archive[0] / n).read_bytes() for n in FILES}
        yield server


def test_a_server_in_trouble_costs_time_and_no_record(
    archive: Any, web: Server, tmp_path: Path
) -> None:
    web.tricks = [
        *(says(403), says(429, Retry_After=3), says(503), tricks.breaks_off, tricks.hangs_up),
        *(tricks.lies_about_the_range, tricks.ignores_range, says(500), tricks.sends_too_much),
    ]
    found = run(tmp_path, [archive[1]], base=web.address, requests_per_second=1e6)
    assert texts_of(found) == ALL
    assert found.rejects == []


def test_what_cannot_be_fetched_costs_itself(archive: Any, web: Server, tmp_path: Path) -> None:
    rows = archive[1]
    bad = [
        index_row("https://x.example/1", "crawl/none.warc.gz", 0, 100),
        index_row("https://x.example/2", FILES[1], len(web.files[f"/{FILES[1]}"]) - 20, 900),
        index_row("https://x.example/3", "../secret.warc.gz", 0, 100),
        index_row("https://x.example/4", "/etc/passwd", 0, 100),
        index_row("https://x.example/5", "https://x.example/y.warc.gz", 0, 100),
        index_row("https://x.example/6", FILES[0], -5, 100),
        index_row("https://x.example/7", FILES[0], 5, 0),
        index_row("https://x.example/8", FILES[0], 0, 1 << 30),
        {**index_row("https://x.example/9", FILES[0], 0, 9), "warc_filename": None},
        {**index_row("https://x.example/10", FILES[0], 1, 9), "warc_record_length": None},
        index_row(rows[0]["url"] + "no", FILES[0], *where(rows[1])),
        index_row(rows[2]["url"], FILES[0], where(rows[2])[0] + 3, where(rows[2])[1]),
        index_row(rows[3]["url"], FILES[0], where(rows[3])[0], where(rows[3])[1] - 9),
        index_row(
            rows[4]["url"], FILES[0], where(rows[4])[0], sum(where(rows[5])) - where(rows[4])[0]
        ),
    ]
    found = run(tmp_path, [rows[6:] + bad], base=web.address, requests_per_second=1e6)
    assert texts_of(found) == ALL - {f"page 0 {i}" for i in range(6)}
    assert found.counts["reasons"]["dropped"] == {}
    assert found.counts["reasons"]["quarantined"] == {
        **{"fetch_failed": 2, "bad_index": 7, "too_long": 1},
        **{"bad_record": 2, "corrupt": 1, "truncated": 1},
    }
    details = {r["path"]: r["detail"] for r in found.rejects if r["reason"] == "fetch_failed"}
    assert details["crawl/none.warc.gz"] == "HTTP 404"
    assert details[FILES[1]].startswith("the file ends at byte")


def where(row: dict[str, Any]) -> tuple[int, int]:
    return row["warc_record_offset"], row["warc_record_length"]


def test_a_server_that_gives_nothing(archive: Any, web: Server, tmp_path: Path) -> None:
    web.tricks = [says(503)] * 3
    found = run(tmp_path, [archive[1]], base=web.address, requests_per_second=1e6, retries=2)
    assert found.counts["reasons"]["quarantined"] == {"fetch_failed": 12}  # one range, not twelve
    assert len(web.asked) == 4
    assert {r["detail"] for r in found.rejects} == {"HTTP 503, 3 attempts"}


def test_a_spoilt_member_costs_itself(archive: Any, tmp_path: Path) -> None:
    base, rows = archive
    data = bytearray((base / FILES[0]).read_bytes())
    offset, length = where(rows[4])
    data[offset + length - 6] ^= 1  # its checksum
    (base / FILES[0]).write_bytes(data)
    found = run(tmp_path, [rows], base=str(base))
    assert texts_of(found) == ALL - {"page 0 4"}
    (reject,) = found.rejects
    assert (reject["reason"], reject["offset"], reject["length"]) == ("corrupt", offset, length)


def test_a_killed_task_asks_only_for_the_rest(
    archive: Any, web: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = archive[1][:12]
    monkeypatch.setattr(crawl, "GAP_BYTES", -1)  # a request for each record
    own = {"base": web.address, "requests_per_second": 1e6}

    class Killed(BaseException):
        pass

    n_pages = 0

    def dies(data: bytes) -> dict[str, Any]:
        nonlocal n_pages
        n_pages += 1
        if n_pages == 5:
            raise Killed
        return fake_guard(data)

    monkeypatch.setattr(FakeGuard, "__call__", lambda self, data: dies(data))
    with pytest.raises(Killed):
        run(tmp_path / "killed", [rows], **own)
    assert len(web.asked) == 5
    monkeypatch.setattr(FakeGuard, "__call__", lambda self, data: fake_guard(data))
    found = run(tmp_path / "killed", [rows], **own)
    assert len(web.asked) == 12
    assert len(set(web.asked)) == 12
    straight = run(tmp_path / "straight", [rows], **own)
    assert len(web.asked) == 24
    for name in ("documents", "rejects", "files"):
        (one,), (two,) = (list((f.folder / name).iterdir()) for f in (found, straight))
        assert one.read_bytes() == two.read_bytes()


def test_what_no_index_is_stops_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "index").mkdir()
    (tmp_path / "index/part-0.parquet").write_bytes(b"no parquet")
    with pytest.raises(DataError, match=r"part-0.parquet cannot be read.*sources\.cc\.path"):
        run(tmp_path, [])
    shutil.rmtree(tmp_path / "index")
    rows = [{"url": "https://a.example/", "warc_filename": "a"}]
    with pytest.raises(DataError, match="has no column warc_record_offset, warc_record_length"):
        run(tmp_path, [rows])


def test_records_are_judged_as_in_an_archive(tmp_path: Path) -> None:
    pages = [
        page("https://a.example/1", b"%PDF-1.4"),
        page("https://a.example/2", status=404),
        page("https://a.example/3", http(), "X-Robots-Tag: noai"),
        record("revisit", "https://a.example/4", http(b"")),
        page("https://a.example/5", b"no words", type="text/plain"),
    ]
    data, rows = b"", []
    for number, one in enumerate(pages, 1):
        url = f"https://a.example/{number}"
        rows.append(
            index_row(url, "a.warc.gz", len(data), len(gz(one)), content_languages="deu,eng")
        )
        data += gz(one)
    (tmp_path / "base").mkdir()
    (tmp_path / "base/a.warc.gz").write_bytes(data)
    found = run(tmp_path, [rows], base=str(tmp_path / "base"))
    assert found.why == {"mime": 1, "status": 1, "opt_out": 1, "not_a_page": 1}
    (document,) = found.documents
    assert (document["text"], document["language_hint"]) == ("no words", "deu")
    assert shards.read(tmp_path / "out/selected/cc-00000.parquet").num_rows == 5
