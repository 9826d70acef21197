import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash

from pretrain import settings, shards
from pretrain.collect import optout, selection
from pretrain.collect.settings import Source
from pretrain.errors import DataError


def surt(host: str) -> str:
    return ",".join(reversed(host.split("."))) + ")/"


def index_rows(n: int, seed: int = 1) -> list[dict[str, Any]]:
    """Rows as Common Crawl's columnar index has them, sorted by reversed host."""
    draw = random.Random(seed)
    hosts = ["a.example", "www.a.example", "x-a.example", "b.example", "docs.b.example", "c.co.uk"]
    rows = []
    for i in range(n):
        host = draw.choice(hosts)
        rows.append(
            {
                "url_surtkey": surt(host) + str(i),
                "url": f"https://{host}/{i}",
                "url_host_registered_domain": ".".join(host.split(".")[-2 - (host == "c.co.uk") :]),
                "fetch_status": draw.choice([200, 200, 200, 404]),
                "content_mime_type": draw.choice(["text/html", None, "image/png"]),
                "content_mime_detected": draw.choice(["text/html", "application/pdf", None]),
                "content_languages": draw.choice(["eng", "eng,deu", "deu,eng", "", None]),
                "content_digest": "X" * 32,
                "warc_filename": f"crawl/{draw.randrange(5)}.warc.gz",
                "warc_record_offset": 1000 * i,
                "warc_record_length": draw.randint(100, 900),
            }
        )
    return sorted(rows, key=lambda r: r["url_surtkey"])


SCHEMA = pa.schema(
    [
        *[(n, pa.string()) for n in ("url_surtkey", "url", "url_host_registered_domain")],
        ("fetch_status", pa.int16()),
        *[(n, pa.string()) for n in ("content_mime_type", "content_mime_detected")],
        *[(n, pa.string()) for n in ("content_languages", "content_digest", "warc_filename")],
        ("warc_record_offset", pa.int32()),
        ("warc_record_length", pa.int32()),
    ]
)


def write(rows: list[dict[str, Any]], path: Any, without: tuple[str, ...] = ()) -> None:
    table = pa.Table.from_pylist(rows, SCHEMA).drop_columns(list(without))
    pq.write_table(table, path, row_group_size=max(50, len(rows) // 8))


def source(**own: Any) -> Source:
    return settings.parse(Source, {"kind": "common-crawl", "path": "x", **own})


def choose(
    rows: list[dict[str, Any]], without: tuple[str, ...] = (), **own: Any
) -> list[dict[str, Any]]:
    file = io.BytesIO()
    write(rows, file, without)
    file.seek(0)
    table, n_rows = selection.chosen(file, "index", source(**own))
    assert n_rows == len(rows)
    assert table.schema == selection.SELECTED
    return table.to_pylist()


def reference(rows: list[dict[str, Any]], chosen: Source) -> list[tuple[str, int]]:
    """The naive choice."""
    found = []
    for row in rows:
        mime = row["content_mime_detected"] or row["content_mime_type"]
        host = row["url"].split("/")[2]
        if (
            row["fetch_status"] in chosen.status
            and mime in chosen.mime
            and (not chosen.domains or optout.covers(frozenset(chosen.domains), host))
            and (
                not chosen.languages
                or (row["content_languages"] or "").split(",")[0] in chosen.languages
            )
        ):
            found.append((row["warc_filename"], row["warc_record_offset"]))
    found.sort()
    if chosen.max_records:
        rank = {f: xxhash.xxh3_64_intdigest(f"{f[0]}\0{f[1]}".encode()) for f in found}
        best = set(sorted(found, key=rank.__getitem__)[: chosen.max_records])
        found = [f for f in found if f in best]
    return found


@pytest.mark.parametrize(
    "own",
    [
        {},
        {"domains": ["a.example"]},
        {"domains": ["docs.b.example", "co.uk"]},
        {"domains": ["example"], "languages": ["deu"]},
        {"languages": ["eng", "deu"]},
        {"mime": ["application/pdf"], "status": [404]},
        {"max_records": 7},
        {"domains": ["b.example"], "max_records": 1000},
        {"domains": ["nowhere.example"]},
    ],
)
@pytest.mark.parametrize(
    "without", [(), ("url_surtkey",), ("url_surtkey", "url_host_registered_domain")]
)
def test_rows_are_those_of_a_naive_choice(own: dict[str, Any], without: tuple[str, ...]) -> None:
    rows = index_rows(400)
    found = choose(rows, without, **own)
    assert [(f["warc_filename"], f["offset"]) for f in found] == reference(rows, source(**own))


def test_optional_columns_may_be_absent_and_required_ones_are_named() -> None:
    rows = index_rows(60)
    optional = ("content_mime_type", "content_mime_detected", "fetch_status", "content_languages")
    assert len(choose(rows, optional)) == 60
    one = [r for r in rows if r["content_mime_type"] == "text/html" and r["fetch_status"] == 200]
    assert len(choose(rows, ("content_mime_detected",))) == len(one)
    with pytest.raises(DataError, match="index has no column warc_filename, warc_record_length"):
        choose(rows, ("warc_filename", "warc_record_length"))
    with pytest.raises(DataError, match="no column content_languages"):
        choose(rows, ("content_languages",), languages=["eng"])


def test_a_record_that_the_index_names_twice_is_read_once() -> None:
    rows = index_rows(50)
    assert choose(rows + rows[:20], mime=["text/html"]) == choose(rows, mime=["text/html"])


def test_only_row_groups_that_may_hold_a_domain_are_read(tmp_path: Path) -> None:
    write(index_rows(3_000), tmp_path / "i.parquet")
    n_read = 0

    class Counting(io.BytesIO):
        def read(self, n: int | None = -1) -> bytes:
            nonlocal n_read
            data = super().read(n)
            n_read += len(data)
            return data

    sizes = []
    for own in ({}, {"domains": ["c.co.uk"]}):
        n_read = 0
        selection.chosen(Counting((tmp_path / "i.parquet").read_bytes()), "i", source(**own))
        sizes.append(n_read)
    assert sizes[1] < 0.6 * sizes[0]


def test_max_records_are_the_smallest_over_all_selections(tmp_path: Path) -> None:
    rows = index_rows(500)
    for parts in ([rows], [rows[:100], rows[100:130], rows[130:]]):
        paths = []
        for number, part in enumerate(parts):
            file = io.BytesIO()
            write(part, file)
            file.seek(0)
            table, _ = selection.chosen(file, "i", source(max_records=40))
            paths.append(tmp_path / f"{len(parts)}-{number}.parquet")
            shards.write_table(paths[-1], table)
        limit = selection.cutoff(paths, 40)
        assert (limit is None) == (len(parts) == 1)
        taken = [
            (r["warc_filename"], r["offset"])
            for p in paths
            for r in shards.read(p).to_pylist()
            if limit is None or r["rank"] <= limit
        ]
        assert sorted(taken) == reference(rows, source(max_records=40))
    assert selection.cutoff(paths, None) is None
    assert selection.cutoff(paths, 10**9) is None


def test_memory_is_bounded_by_what_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = index_rows(300)
    own = {"max_records": 5, "mime": ["text/html", "application/pdf"]}
    expected = choose(rows, **own)
    seen = []
    real = selection._smallest
    monkeypatch.setattr(selection, "BATCH_ROWS", 16)
    monkeypatch.setattr(selection, "_smallest", lambda t, n: seen.append(t.num_rows) or real(t, n))
    assert choose(rows, **own) == expected
    assert len(seen) > 5
    assert max(seen) <= 2 * 5 + 2 * 16


def test_slices_are_runs_of_about_a_shard_that_hold_all_that_is_taken(tmp_path: Path) -> None:
    draw = np.random.default_rng(5)
    ranks = draw.integers(0, 1000, 200).astype(np.uint64)
    table = pa.table(
        {"length": pa.array([None, -4, *draw.integers(1, 500, 198).tolist()]), "rank": ranks}
    )
    path = tmp_path / "s.parquet"
    shards.write_table(path, table)
    lengths = np.maximum(table["length"].fill_null(0).to_numpy(), 0)
    for limit in (None, 300, 0):
        taken = ranks <= (limit if limit is not None else 10**6)
        runs = list(selection.slices(path, limit, 2_000))
        rows = [r for first, stop, _ in runs for r in range(first, stop)]
        assert rows == list(range(rows[0], rows[-1] + 1)) if rows else not taken.any()
        assert set(np.flatnonzero(taken)) <= set(rows)
        assert [n for *_, n in runs] == [int(lengths[a:b][taken[a:b]].sum()) for a, b, _ in runs]
        assert all(n <= 2_000 for *_, n in runs)
