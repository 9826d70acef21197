"""Parsing of untrusted pages, papers and books, in a process of its own.

    python -m pretrain.collect.extract PARENT_PID SECONDS MEGABYTES KIND

    request:  4 bytes number of files (big-endian); for each 4 bytes length, the file's bytes
    answers:  4 bytes length, JSON [{"text", "language", "date", "reason", "detail", …}, …]

The kernel guards each file: the CPU timer of the process is set before it and ends the process
(SIGPROF, default action: no Python runs while the parser's C code loops), and RLIMIT_AS bounds what
it may take beyond the interpreter's own memory. `guard.py` is the other end. A parser is imported
when its kind is first asked for: a restart costs 0.1 s.
"""

import functools
import importlib
import re
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import orjson

from pretrain.tasks import die_with_parent

# kind -> (function, what must be installed for it, the extra that installs it)
KINDS: dict[str, tuple[str, str, str]] = {
    "html": ("pretrain.collect.html:extract", "", ""),
    "html-strict": ("pretrain.collect.html:extract_strictly", "trafilatura", "trafilatura"),
    "wikitext": ("pretrain.collect.wikitext:extract", "mwparserfromhell", "wikipedia"),
    "latex": ("pretrain.collect.latex:extract", "", ""),
    "epub": ("pretrain.collect.epub:extract", "", ""),
    "pdf": ("pretrain.collect.pdf:extract", "pypdfium2", "pdf"),
}
_PIPE_BYTES = 1 << 20  # a page comes in one piece
_EMPTY = {"text": "", "language": None, "date": None, "reason": "", "detail": ""}


def answer_to(kind: str, data: bytes) -> dict[str, Any]:
    """What the parser of a kind makes of a file; `reason` is set where it makes nothing."""
    try:
        return {**_EMPTY, **_parser(kind)(data)}
    except MemoryError:
        return {**_EMPTY, "reason": "extract_memory", "detail": "out of memory"}
    except Exception as error:  # one page that the parser refuses is one page quarantined
        detail = f"{type(error).__name__}: {error}"[:200]
        reason = "extract_memory" if _is_crowded() else "extract_failed"
        return {**_EMPTY, "reason": reason, "detail": detail}


@functools.cache
def _parser(kind: str) -> Callable[[bytes], dict[str, Any]]:
    module, _, name = KINDS[kind][0].partition(":")
    return getattr(importlib.import_module(module), name)


def _is_crowded() -> bool:
    """Whether this process has come near its memory limit: the parser does not say why it fails.

    Buffers double as they grow, so the request that fails is up to half of the limit.
    """
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return limit != resource.RLIM_INFINITY and _address_bytes("VmPeak") > limit // 2


def _address_bytes(which: str) -> int:
    """The size of the address space ('VmSize') or the largest it was ('VmPeak'); 0 if unknown."""
    status = Path("/proc/self/status")
    found = re.search(which + r":\s*(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) << 10 if found else 0


def serve(kind: str, requests: IO[bytes], answers: IO[bytes], seconds: float) -> None:
    """Answer requests until their stream ends."""
    while len(head := requests.read(4)) == 4:
        found = []
        for data in [_file(requests) for _ in range(int.from_bytes(head, "big"))]:
            signal.setitimer(signal.ITIMER_PROF, seconds)
            found.append(orjson.dumps(answer_to(kind, data)))
            signal.setitimer(signal.ITIMER_PROF, 0)
        answer = b"[" + b",".join(found) + b"]"
        answers.write(len(answer).to_bytes(4, "big") + answer)
        answers.flush()


def _file(requests: IO[bytes]) -> bytes:
    return requests.read(int.from_bytes(requests.read(4), "big"))


def main() -> None:
    parent, seconds, megabytes = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    kind = sys.argv[4]
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says when to end
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    if kind == "html":
        answer_to(kind, b"<p>once, so that all is loaded before the limits</p>")
    else:
        _parser(kind)  # its imports take time and memory that no file should pay for
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    limit = _address_bytes("VmSize") + (megabytes << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    with open(sys.stdin.fileno(), "rb", buffering=_PIPE_BYTES) as requests:
        serve(kind, requests, sys.stdout.buffer, seconds)


if __name__ == "__main__":
    main()
