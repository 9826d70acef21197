import datetime
import email.utils
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pretrain.collect import ranges
from pretrain.collect.ranges import Failed, Fetcher
from pretrain.errors import PretrainError
from tests.collect import server as tricks
from tests.collect.server import Server, says, serving

DATA = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def web() -> Iterator[Server]:
    with serving() as server:
        server.files = {"/base/a.warc.gz": DATA, "/base/with%20blank": DATA}
        yield server


class Time:
    """A clock that only sleeping moves on."""

    def __init__(self) -> None:
        self.now, self.naps = 0.0, []

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now


def get(
    web: Server, *scripted: Any, stop: int = 300, name: str = "a.warc.gz", retries: int = 3
) -> tuple[bytes, list[float]]:
    """Bytes [100, stop) with a server of these tricks, and how long was waited."""
    web.tricks, web.asked, time = list(scripted), [], Time()
    fetcher = Fetcher(f"{web.address}/base/", 1e9, retries, time.sleep, time.clock)
    with fetcher:
        try:
            data = fetcher.get(name, 100, stop)
        finally:
            web.tricks = []
    return data, [n for n in time.naps if n > 1e-6]


def test_a_range_is_got_byte_by_byte(web: Server) -> None:
    assert get(web) == (DATA[100:300], [])
    assert web.asked == [("/base/a.warc.gz", "bytes=100-299")]
    assert get(web, name="with blank") == (DATA[100:300], [])


@pytest.mark.parametrize(
    ("trick", "nap"),
    [
        (says(403), 1),
        (says(429, Retry_After=7), 7),
        (says(503, Retry_After="0"), 1),
        (says(500), 1),
        (says(502, Retry_After="nonsense"), 1),
        (tricks.breaks_off, 1),
        (tricks.hangs_up, 1),
        (tricks.lies_about_the_range, 1),
        (says(206), 1),  # no Content-Range
    ],
)
def test_what_is_asked_for_again(web: Server, trick: Any, nap: float) -> None:
    assert get(web, trick) == (DATA[100:300], [nap])
    assert len(web.asked) == 2


def test_the_wait_doubles_and_the_attempts_end(web: Server) -> None:
    assert get(web, *[says(403)] * 3) == (DATA[100:300], [1, 2, 4])
    with pytest.raises(Failed) as caught:
        get(web, *[says(503)] * 9)
    assert (caught.value.detail, caught.value.final) == ("HTTP 503, 4 attempts", False)
    assert len(web.asked) == 4
    assert get(web, says(429, Retry_After=86_400))[1] == [ranges.LONGEST_WAIT]
    date = email.utils.format_datetime(
        datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=90), usegmt=True
    )
    ((nap,)) = get(web, says(503, Retry_After=date))[1]
    assert 60 < nap <= 90


def test_a_server_that_falls_silent_is_left(web: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "TIMEOUT", 0.3)
    data, naps = get(web, says(200, Content_Length=999), says(206, Content_Length=999))
    assert data == DATA[100:300]
    assert len(naps) >= 2


@pytest.mark.parametrize(
    ("trick", "why"),
    [
        (says(404), "HTTP 404"),
        (says(416), "HTTP 416"),
        (says(200, Content_Encoding="gzip"), "HTTP 200, gzip"),
        (says(301, Location="file:///etc/passwd"), "redirected to file:///etc/passwd"),
        (says(200), "the file ends at byte 5"),
    ],
)
def test_what_is_not_asked_for_again(web: Server, trick: Any, why: str) -> None:
    with pytest.raises(Failed) as caught:
        get(web, trick)
    assert (caught.value.detail, caught.value.final) == (why, True)
    assert len(web.asked) == 1


def test_a_server_that_ignores_ranges_is_read_so_far_and_no_further(
    web: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert get(web, tricks.ignores_range)[0] == DATA[100:300]
    assert get(web, tricks.sends_too_much)[0] == DATA[100:300]
    monkeypatch.setattr(ranges, "WHOLE_BYTES", 299)
    with pytest.raises(Failed) as caught:
        get(web, tricks.ignores_range)
    assert caught.value.detail == "the server ignores ranges"


def test_a_range_beyond_the_end(web: Server) -> None:
    with pytest.raises(Failed) as caught:
        get(web, stop=len(DATA) + 50)
    assert caught.value.detail == f"the file ends at byte {len(DATA)}"


def test_redirects_are_followed_a_few_times(web: Server) -> None:
    there = says(302, Location=f"{web.address}/base/a.warc.gz")
    assert get(web, there, there)[0] == DATA[100:300]
    with pytest.raises(Failed):
        get(web, *[there] * 9)


def test_one_connection_is_kept_and_a_stale_one_replaced(web: Server) -> None:
    web.n_connections, web.asked = 0, []
    time = Time()
    with Fetcher(f"{web.address}/base", 1e9, 0, time.sleep, time.clock) as fetcher:
        for _ in range(5):
            fetcher.get("a.warc.gz", 0, 9)
        assert web.n_connections == 1
        web.tricks = [tricks.hangs_up]  # no attempt is left, and none is needed
        assert fetcher.get("a.warc.gz", 0, 9) == DATA[:9]
        assert web.n_connections == 2


def test_requests_keep_their_pace(web: Server) -> None:
    time = Time()
    with Fetcher(f"{web.address}/base", 4, 1, time.sleep, time.clock) as fetcher:
        for _ in range(5):
            fetcher.get("a.warc.gz", 0, 9)
        assert time.naps == [0.25] * 4
        time.now += 10  # no credit for having been idle
        for _ in range(3):
            fetcher.get("a.warc.gz", 0, 9)
        assert time.naps == [0.25] * 6


def test_folders_and_other_file_systems(tmp_path: Path) -> None:
    import fsspec

    (tmp_path / "crawl").mkdir()
    (tmp_path / "crawl/a").write_bytes(DATA)
    with fsspec.open("memory://bucket/crawl/a", "wb") as file:
        file.write(DATA)
    for base in (str(tmp_path), "memory://bucket/"):
        time = Time()
        fetcher = Fetcher(base, 1e9, 1, time.sleep, time.clock)
        assert fetcher.get("crawl/a", 7, 90) == DATA[7:90]
        with pytest.raises(Failed):
            fetcher.get("crawl/none", 0, 5)
        with pytest.raises(Failed) as caught:
            fetcher.get("crawl/a", 0, len(DATA) + 1)
        assert "ends" in caught.value.detail
    with pytest.raises(PretrainError, match=r"collect\.sources\.NAME\.base"):
        Fetcher("nosuch://x", 1, 0).get("a", 0, 1)


def test_what_was_fetched_is_not_asked_for_again(web: Server, tmp_path: Path) -> None:
    web.asked, web.tricks = [], []
    with Fetcher(f"{web.address}/base", 1e9, 0) as fetcher:
        for _ in range(3):
            assert ranges.fetch(fetcher, tmp_path, "a.warc.gz", 5, 50) == DATA[5:50]
        assert len(web.asked) == 1
        (kept,) = tmp_path.iterdir()
        kept.write_bytes(b"x" + kept.read_bytes()[1:])  # spoilt: fetched again
        assert ranges.fetch(fetcher, tmp_path, "a.warc.gz", 5, 50) == DATA[5:50]
        kept.write_bytes(b"")
        assert ranges.fetch(fetcher, tmp_path, "a.warc.gz", 5, 50) == DATA[5:50]
        assert len(web.asked) == 3


def test_a_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    import boto3
    import s3fs

    for name, value in {
        "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    served = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    served.start()
    try:
        host, port = served.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        client = boto3.client("s3")
        client.create_bucket(Bucket="commoncrawl")
        client.put_object(Bucket="commoncrawl", Key="crawl-data/a.warc.gz", Body=DATA)
        client.close()
        time = Time()
        fetcher = Fetcher("s3://commoncrawl/", 1e9, 1, time.sleep, time.clock)
        assert fetcher.get("crawl-data/a.warc.gz", 100, 300) == DATA[100:300]
        with pytest.raises(Failed) as caught:
            fetcher.get("crawl-data/none", 0, 5)
        assert caught.value.final
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
        served.stop()
