"""The process that extracts HTML, watched: one hostile page costs no neighbour.

All of four measured extractors hang on a 2 MB page of 200,000 attributes, and none can be
interrupted from within. So pages go to a child process (`extract.py`) that lives on from page to
page and is started anew only after a page that killed it. Its limit is CPU time, not wall time, so
that the verdict on a page does not depend on what else the machine does; a wall limit ten times as
long catches a child that sleeps. Reasons: extract_timeout, extract_memory, extract_failed.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

import pretrain
from pretrain.collect import extract
from pretrain.errors import PretrainError

Extract = Callable[[bytes], dict[str, Any]]
WALL_FACTOR = 10


class _Gone(Exception):
    """The child ended, or was ended for being late."""


class Guard:
    """`guard(data)` is the page's text, or the reason why there is none; use as a context."""

    def __init__(self, seconds: float, megabytes: int) -> None:
        self.seconds, self.megabytes = seconds, megabytes
        self.child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Guard":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def __call__(self, data: bytes) -> dict[str, Any]:
        """What `extract.page` gives, or {"reason", "detail"} where it gave nothing."""
        if self.child is None:
            self.child = self._start()
        deadline = time.monotonic() + WALL_FACTOR * self.seconds + 1
        late = False
        try:
            self._write(len(data).to_bytes(4, "big") + data)
            n_bytes = int.from_bytes(self._read(4, deadline), "big")
            answer: dict[str, Any] = orjson.loads(self._read(n_bytes, deadline))
            if answer["reason"] == "extract_memory":  # what it holds must not weigh on the next
                self._end()
            return answer
        except TimeoutError:
            late = True
        except (_Gone, BrokenPipeError):
            pass
        code = self._end()
        if late or code in (-signal.SIGPROF, -signal.SIGXCPU):
            return {"reason": "extract_timeout", "detail": f"more than {self.seconds:g} s"}
        if code == -signal.SIGKILL:  # not by us: the kernel ran out of memory
            return {"reason": "extract_memory", "detail": "killed"}
        return {"reason": "extract_failed", "detail": f"the extractor ended with code {code}"}

    def _start(self) -> subprocess.Popen[bytes]:
        root = str(Path(pretrain.__file__).parents[1])
        path = os.pathsep.join(p for p in (root, os.environ.get("PYTHONPATH")) if p)
        limits = [str(os.getpid()), str(self.seconds), str(self.megabytes)]
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", extract.__name__, *limits],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
        )
        self.child = child
        # A first page, so that an extractor that cannot start at all is no fault of the data.
        try:
            self._write((8).to_bytes(4, "big") + b"<p>a</p>")
            self._read(int.from_bytes(self._read(4, time.monotonic() + 60), "big"), None)
        except (_Gone, BrokenPipeError, TimeoutError) as error:
            code = self._end()
            raise PretrainError(
                f"collect: the HTML extractor does not start (exit code {code}); must run: "
                f"{sys.executable} -m {extract.__name__}; mend the installation of resiliparse"
            ) from error
        return child

    def _write(self, data: bytes) -> None:
        assert self.child is not None
        assert self.child.stdin is not None
        self.child.stdin.write(data)
        self.child.stdin.flush()

    def _read(self, n_bytes: int, deadline: float | None) -> bytes:
        assert self.child is not None
        assert self.child.stdout is not None
        pieces = []
        while n_bytes:
            wait = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([self.child.stdout], [], [], wait)[0]:
                raise TimeoutError
            piece = os.read(self.child.stdout.fileno(), min(n_bytes, 1 << 20))
            if not piece:
                raise _Gone
            pieces.append(piece)
            n_bytes -= len(piece)
        return b"".join(pieces)

    def _end(self) -> int | None:
        """End the child; its exit code, that of its own end where it had ended already."""
        child, self.child = self.child, None
        if child is None:
            return None
        assert child.stdin is not None
        assert child.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
        try:
            return child.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            child.kill()
            return child.wait()
        finally:
            child.stdout.close()
