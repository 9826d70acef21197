"""Byte ranges of files elsewhere, asked for at a stated pace and never twice.

    range ─▶ in the cache? ─▶ wait for the pace ─▶ ask ─▶ check ─▶ cache
                                   ▲                 │ 403 429 5xx, broken or wrong answer
                                   └── back off ◀────┘ 1 s, 2 s, 4 s, ... or what Retry-After says

`base` is http(s)://, any fsspec address (s3://), or a local folder. An answer counts when it is the
range that was asked for, to the byte. A server that ignores ranges is read from the beginning up to
32 MiB, beyond that it is refused. What was fetched lies in a file of its own until the task is
done, so that a killed task asks only for the rest; a kill between the task's end and its receipt
costs its ranges again.
"""

import contextlib
import email.utils
import http.client
import re
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from pretrain import __version__, store
from pretrain.collect.listing import is_remote
from pretrain.collect.streams import describe
from pretrain.errors import PretrainError

AGAIN = {403, 408, 425, 429, 500, 502, 503, 504}
WHOLE_BYTES = 32 << 20  # so far a file is read whose server ignores ranges
LONGEST_WAIT = 600.0  # seconds, whatever a server asks for
TIMEOUT = 60.0  # seconds of silence
N_REDIRECTS = 5
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(?:\d+|\*)")


class Failed(Exception):
    """A range that cannot be had; `final` where asking again would change nothing."""

    def __init__(self, detail: str, final: bool = True) -> None:
        self.detail, self.final = detail, final


class _Again(Exception):
    """Worth another attempt, not before `wait` seconds."""

    def __init__(self, detail: str, wait: float = 0.0) -> None:
        self.detail, self.wait = detail, wait


class Fetcher:
    """An open way to one base; use as a context. Errors are `Failed`."""

    def __init__(
        self,
        base: str,
        requests_per_second: float,
        retries: int,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.base, self.retries, self.sleep, self.clock = base, retries, sleep, clock
        self.spacing, self.free_at = 1 / requests_per_second, clock()
        self.connection: http.client.HTTPConnection | None = None
        self.connected = ("", "")  # scheme and place of the connection

    def __enter__(self) -> "Fetcher":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def get(self, name: str, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of a file below the base.

        Raises: Failed.
        """
        ask = self._http if self.base.startswith(("http://", "https://")) else self._file_system
        why = ""
        for attempt in range(self.retries + 1):
            self._keep_pace()
            try:
                return ask(name, start, stop)
            except _Again as again:
                why = again.detail
                if attempt < self.retries:
                    self.sleep(min(max(2.0**attempt, again.wait), LONGEST_WAIT))
        raise Failed(f"{why}, {self.retries + 1} attempts", final=False)

    def _keep_pace(self) -> None:
        now = self.clock()
        if now < self.free_at:
            self.sleep(self.free_at - now)
        self.free_at = max(now, self.free_at) + self.spacing

    def _file_system(self, name: str, start: int, stop: int) -> bytes:
        try:
            if is_remote(self.base):
                file_system, root = _file_system(self.base)
                data = file_system.cat_file(f"{root.rstrip('/')}/{name}", start=start, end=stop)
            else:
                with open(Path(self.base) / name, "rb") as file:
                    file.seek(start)
                    data = file.read(stop - start)
        except PretrainError:
            raise
        except FileNotFoundError as error:
            raise Failed("no such file") from error
        except Exception as error:  # file systems raise errors of their own kinds
            raise _Again(describe(error)) from error
        if len(data) != stop - start:
            raise Failed(f"{len(data)} of {stop - start} bytes: the file ends there")
        return bytes(data)

    def _http(self, name: str, start: int, stop: int) -> bytes:
        address = urljoin(self.base.rstrip("/") + "/", quote(name))
        for _ in range(N_REDIRECTS + 1):
            try:
                response = self._answer(address, start, stop)
                location = response.headers.get("Location")
                if response.status in (301, 302, 303, 307, 308) and location:
                    self._close()
                    address = urljoin(address, location)
                    if urlsplit(address).scheme not in ("http", "https"):
                        raise Failed(f"redirected to {address[:100]}")
                    continue
                return self._body(response, start, stop)
            except (OSError, http.client.HTTPException) as error:
                self._close()
                raise _Again(describe(error)) from error
        raise Failed("too many redirects")

    def _answer(self, address: str, start: int, stop: int) -> http.client.HTTPResponse:
        if self.connection is None:
            return self._request(address, start, stop)
        try:
            return self._request(address, start, stop)
        except (ConnectionError, http.client.BadStatusLine):
            self._close()  # kept open, and closed by the server in the meantime: no fault
            return self._request(address, start, stop)

    def _request(self, address: str, start: int, stop: int) -> http.client.HTTPResponse:
        parts = urlsplit(address)
        place = (parts.scheme, parts.netloc)
        if self.connection is None or self.connected != place:
            self._close()
            kind = (
                http.client.HTTPSConnection if place[0] == "https" else http.client.HTTPConnection
            )
            self.connection, self.connected = kind(parts.netloc, timeout=TIMEOUT), place
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {
            "Range": f"bytes={start}-{stop - 1}",
            "Accept-Encoding": "identity",
            "User-Agent": f"pretrain/{__version__}",
        }
        self.connection.request("GET", target, headers=headers)
        return self.connection.getresponse()

    def _body(self, response: http.client.HTTPResponse, start: int, stop: int) -> bytes:
        """The bytes that were asked for, out of an answer."""
        if response.status in AGAIN:
            self._close()
            wait = _seconds(response.headers.get("Retry-After"))
            raise _Again(f"HTTP {response.status}", wait)
        encoding = response.headers.get("Content-Encoding", "identity")
        if response.status not in (200, 206) or encoding != "identity":
            self._close()
            raise Failed(
                f"HTTP {response.status}" + (f", {encoding}" if encoding[0] != "i" else "")
            )
        first, behind = 0, stop
        if response.status == 206:
            stated = response.headers.get("Content-Range", "")
            found = _CONTENT_RANGE.fullmatch(stated.strip())
            if not found or int(found[1]) != start or int(found[2]) >= stop:
                self._close()
                raise _Again(f"Content-Range {stated[:60]!r} for bytes {start}-{stop - 1}")
            first, behind = start, int(found[2]) + 1
        elif stop > WHOLE_BYTES:
            self._close()
            raise Failed("the server ignores ranges")
        data = response.read(behind - first)
        if not response.isclosed():  # more than that comes: another connection is cheaper
            self._close()
        whole = response.headers.get("Content-Length", "")
        if len(data) < behind - first and not (response.status == 200 and whole == str(len(data))):
            self._close()
            raise _Again(f"broken off after {len(data)} of {behind - first} bytes")
        if first + len(data) < stop:
            raise Failed(f"the file ends at byte {first + len(data)}")
        return data[start - first :]

    def _close(self) -> None:
        if self.connection is not None:
            with contextlib.suppress(OSError):
                self.connection.close()
        self.connection = None


def _file_system(base: str) -> tuple[Any, str]:
    import fsspec

    try:
        return fsspec.core.url_to_fs(base)
    except (ImportError, ValueError) as error:
        hint = "pip install 'pretrain[s3]'" if base.startswith("s3:") else str(error)
        raise PretrainError(
            f"collect: {base} cannot be read: {error}; must be an address that fsspec can read: "
            f"{hint} (recipe key collect.sources.NAME.base)"
        ) from error


def _seconds(stated: str | None) -> float:
    """What Retry-After asks for: a number of seconds, or a date."""
    if not stated:
        return 0.0
    if stated.strip().isdigit():
        return float(stated)
    try:
        date = email.utils.parsedate_to_datetime(stated)
    except ValueError:
        return 0.0
    return max(0.0, date.timestamp() - time.time())


def fetch(fetcher: Fetcher, cache: Path, name: str, start: int, stop: int) -> bytes:
    """A range out of the cache, or fetched into it; of a local base it is read where it lies.

    Raises: Failed.
    """
    if not is_remote(fetcher.base):
        return fetcher.get(name, start, stop)
    file = cache / f"{store.hash_json([fetcher.base, name, start, stop])}.range"
    if file.is_file():
        kept = file.read_bytes()
        data = kept[:-32]
        if store.hash_bytes(data).encode() == kept[-32:]:
            return data
    data = fetcher.get(name, start, stop)
    store.write_bytes(file, data + store.hash_bytes(data).encode())
    return data
