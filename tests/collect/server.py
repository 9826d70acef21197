"""A web server on this machine that answers ranges well, or as badly as it is told."""

import http.server
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Server:
    """`files` by path; `tricks` are used up one a request: functions of (handler, data)."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    tricks: list[Callable[[Any, bytes], None] | None] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)  # path and range
    n_connections: int = 0


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            server.n_connections += 1

        def do_GET(self) -> None:
            server.asked.append((self.path, self.headers.get("Range", "")))
            data = server.files.get(self.path)
            trick = server.tricks.pop(0) if server.tricks else None
            if data is None:
                answer(self, 404, b"no such file")
            elif trick:
                trick(self, data)
            else:
                part(self, data)

        def log_message(self, *_: Any) -> None:
            pass

    class Quiet(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:  # a client that hangs up is part of the game
            pass

    inner = Quiet(("127.0.0.1", 0), Handler)
    inner.daemon_threads = True
    thread = threading.Thread(target=inner.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    server.address = f"http://127.0.0.1:{inner.server_address[1]}"
    try:
        yield server
    finally:
        inner.shutdown()
        inner.server_close()
        thread.join()


def answer(handler: Any, status: int, body: bytes, **headers: Any) -> None:
    handler.send_response(status)
    headers = {"Content_Length": len(body)} | headers
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), str(value))
    handler.end_headers()
    handler.wfile.write(body)


def wanted(handler: Any) -> tuple[int, int]:
    found = re.fullmatch(r"bytes=(\d+)-(\d+)", handler.headers["Range"])
    assert found
    return int(found[1]), int(found[2]) + 1


def part(handler: Any, data: bytes) -> None:
    start, stop = wanted(handler)
    body = data[start:stop]
    if not body:
        answer(handler, 416, b"", Content_Range=f"bytes */{len(data)}")
        return
    stated = f"bytes {start}-{start + len(body) - 1}/{len(data)}"
    answer(handler, 206, body, Content_Range=stated)


def says(status: int, **headers: Any) -> Callable[[Any, bytes], None]:
    return lambda handler, data: answer(handler, status, b"words", **headers)


def breaks_off(handler: Any, data: bytes) -> None:
    start, stop = wanted(handler)
    handler.send_response(206)
    handler.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
    handler.send_header("Content-Length", str(stop - start))
    handler.end_headers()
    handler.wfile.write(data[start : (start + stop) // 2])
    handler.close_connection = True


def hangs_up(handler: Any, data: bytes) -> None:
    handler.close_connection = True


def ignores_range(handler: Any, data: bytes) -> None:
    answer(handler, 200, data)


def lies_about_the_range(handler: Any, data: bytes) -> None:
    start, stop = wanted(handler)
    body = data[start + 1 : stop + 1]
    answer(handler, 206, body, Content_Range=f"bytes {start + 1}-{stop}/{len(data)}")


def sends_too_much(handler: Any, data: bytes) -> None:
    start, stop = wanted(handler)
    stated = f"bytes {start}-{stop - 1}/{len(data)}"
    answer(handler, 206, data[start:], Content_Range=stated)
