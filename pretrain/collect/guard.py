"""The processes that parse what strangers wrote, watched: one hostile page costs no neighbour.

All of four measured extractors hang on a 2 MB page of 200,000 attributes, and none can be
interrupted from within. So files go to a child process (`extract.py`), one for each kind of file,
that lives on from file to file and is started anew only after one that killed it. Its limit is CPU
time, not wall time, so that the verdict does not depend on what else the machine does; a wall limit
ten times as long catches a child that sleeps. Reasons: extract_timeout, extract_memory,
extract_failed.

Files may be sent several at once, which spares both processes turns (`batches.py`). Each has its
CPU and memory limits for itself all the same: where the child ended or a file ran out of memory,
all files of the batch are read again one by one, so that the verdict is that of the file alone. The
price: a hostile file costs its time twice, and its neighbours' once more.
"""

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

import pretrain
from pretrain.collect import extract, extras
from pretrain.errors import PretrainError

Extract = Callable[..., dict[str, Any]]  # (data, kind="html"): text, language, date, reason, …
WALL_FACTOR = 10
_START_SECONDS = 60
_PIPE_BYTES = 1 << 20
_READ_BYTES = 1 << 16  # more would be memory fresh from the kernel at each call


class _Gone(Exception):
    """The child ended, or was ended for being late."""


class Guard:
    """`guard(data, kind)` is a file's text, or the reason why there is none; use as a context.

    Kinds are those of `extract.KINDS`; pages go to the extractor that the source names.
    """

    def __init__(self, seconds: float, megabytes: int, extractor: str = "resiliparse") -> None:
        self.seconds, self.megabytes = seconds, megabytes
        self.html = "html-strict" if extractor == "trafilatura" else "html"
        self.children: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "Guard":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for kind_of_file in list(self.children):
            self._end(kind_of_file)

    def __call__(self, data: bytes, kind: str = "html") -> dict[str, Any]:
        """What the parser gives, or {"reason", "detail"} where it gave nothing.

        Raises: PretrainError where the parser is not installed or does not start.
        """
        return self.each([data], kind)[0]

    def each(self, files: Sequence[bytes], kind: str = "html") -> list[dict[str, Any]]:
        """What `self(data, kind)` is for each of some files, which are sent together.

        Raises: PretrainError where the parser is not installed or does not start.
        """
        if not files:
            return []
        kind = self.html if kind == "html" else kind
        child = self.children.get(kind) or self._start(kind)
        deadline = time.monotonic() + WALL_FACTOR * self.seconds * len(files) + 1
        late = False
        try:
            answers: list[dict[str, Any]] = orjson.loads(_ask(child, files, deadline))
            is_full = any(answer["reason"] == "extract_memory" for answer in answers)
            if not is_full or len(files) == 1:
                if is_full:  # what the child holds must not weigh on the next file
                    self._end(kind)
                return answers
        except TimeoutError:
            late = True
        except (_Gone, BrokenPipeError):
            pass
        code = self._end(kind)
        if len(files) > 1:
            return [self(data, kind) for data in files]
        if late or code in (-signal.SIGPROF, -signal.SIGXCPU):
            return [{"reason": "extract_timeout", "detail": f"more than {self.seconds:g} s"}]
        if code == -signal.SIGKILL:  # not by us: the kernel ran out of memory
            return [{"reason": "extract_memory", "detail": "killed"}]
        return [{"reason": "extract_failed", "detail": f"the extractor ended with code {code}"}]

    def _start(self, kind: str) -> "subprocess.Popen[bytes]":
        _, package, extra = extract.KINDS[kind]
        if package:
            extras.require(package, extra, f"a source of kind {kind}")
        root = str(Path(pretrain.__file__).parents[1])
        path = os.pathsep.join(p for p in (root, os.environ.get("PYTHONPATH")) if p)
        limits = [str(os.getpid()), str(self.seconds), str(self.megabytes), kind]
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", extract.__name__, *limits],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={**os.environ, "PYTHONPATH": path},
        )
        _widen(child)
        self.children[kind] = child
        # A first file, so that a parser that cannot start at all is no fault of the data.
        try:
            _ask(child, [b"<p>a</p>"], time.monotonic() + _START_SECONDS)
        except (_Gone, BrokenPipeError, TimeoutError) as error:
            code = self._end(kind)
            raise PretrainError(
                f"collect: the parser of {kind} does not start (exit code {code}); must run: "
                f"{sys.executable} -m {extract.__name__}; mend the installation of "
                f"{package or 'resiliparse'}"
            ) from error
        return child

    def _end(self, kind: str) -> int | None:
        """End a child; its exit code, that of its own end where it had ended already."""
        child = self.children.pop(kind, None)
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


def _widen(child: "subprocess.Popen[bytes]") -> None:
    """Let a page pass in one piece: each time a pipe is full or empty, a process must wake."""
    assert child.stdin is not None
    assert child.stdout is not None
    os.set_blocking(child.stdin.fileno(), False)  # a child that sleeps must not stop its parent
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        for pipe in (child.stdin, child.stdout):
            with contextlib.suppress(OSError):  # the kernel's limit for one user
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _ask(child: "subprocess.Popen[bytes]", files: Sequence[bytes], deadline: float) -> bytearray:
    """The answers to some files. Raises: TimeoutError, _Gone, BrokenPipeError."""
    assert child.stdin is not None
    assert child.stdout is not None
    parts = [len(files).to_bytes(4, "big")]
    for data in files:
        parts += [len(data).to_bytes(4, "big"), data]
    rest = memoryview(b"".join(parts))
    while rest:
        try:
            rest = rest[os.write(child.stdin.fileno(), rest) :]
        except BlockingIOError:
            _wait([], [child.stdin], deadline)
    answer = bytearray()
    while len(answer) < 4 or len(answer) < 4 + int.from_bytes(answer[:4], "big"):
        _wait([child.stdout], [], deadline)
        piece = os.read(child.stdout.fileno(), _READ_BYTES)
        if not piece:
            raise _Gone
        answer += piece
    return answer[4:]


def _wait(readable: list[Any], writable: list[Any], deadline: float) -> None:
    if not any(select.select(readable, writable, [], max(0.0, deadline - time.monotonic()))):
        raise TimeoutError
