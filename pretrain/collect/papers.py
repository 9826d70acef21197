r"""The .tex files of one archive put together as their author's `\input` does.

    paper.tar!main.tex ── \input{intro} ──▶ the bytes of intro.tex in its place
                       └─ \include{model/loss}

A file with \documentclass is a paper; what it includes is dropped as `included`, with the paper's
name, because it is read there. A file that nobody includes is a document of its own. Files are
held until the archive ends, at most `max_record_bytes` of them; an archive with more is a
collection of files, not a paper, and each is read alone. A file that includes itself, and files
that double each other a hundred times, end at the depth and at the same limit.
"""

import posixpath
import re
from collections.abc import Iterator

DEPTH = 16
MOST_INPUTS = 10_000  # files that include each other twice would be read 2^16 times
LINE_BYTES = 2000  # so far back a '%' makes a command a comment
_ROOT = re.compile(rb"^[^%\n]*\\document(?:class|style)\b", re.M)
_INPUT = re.compile(
    rb"\\(?:input|include|subfile)(?: ?\{([^{}\n]{1,200})\}| {1,9}([^\s{}\\%]{1,200}))"
)
_COMMENT = re.compile(rb"(?<!\\)%")


def is_root(data: bytes) -> bool:
    return bool(_ROOT.search(data))


def assemble(files: dict[str, bytes], most: int) -> Iterator[tuple[str, bytes | None, str]]:
    """(name, joined bytes, "") of each paper, (name, None, its paper) of each included file.

    In the order of the archive.
    """
    roots = [name for name, data in files.items() if is_root(data)]
    owner: dict[str, str] = {}
    joined: dict[str, bytes] = {}
    for root in roots:
        used: set[str] = set()
        joined[root] = _join(root, files, most, used)
        for name in used - {root}:
            owner.setdefault(name, root)
    for name, data in files.items():
        if name in owner and name not in joined:
            yield name, None, owner[name]
        else:
            yield name, joined.get(name, data), ""


def _join(root: str, files: dict[str, bytes], most: int, used: set[str]) -> bytes:
    folder = posixpath.dirname(root)
    pieces: list[bytes] = []
    n_bytes = n_inputs = 0
    # A stack of (name, position): recursion would end at Python's limit, not at ours.
    stack = [(root, 0)]
    used.add(root)
    while stack:
        name, position = stack.pop()
        data = files[name]
        found = _next_input(data, position)
        while found and (target := _resolve(found, folder, files)) is None:
            found = _next_input(data, found.end())
        end = found.start() if found else len(data)
        pieces.append(data[position : min(end, position + most - n_bytes)])
        n_bytes += len(pieces[-1])
        if n_bytes >= most:
            break
        if found:
            assert target is not None
            stack.append((name, found.end()))
            open_names = [n for n, _ in stack]
            n_inputs += 1
            if target not in open_names and len(stack) < DEPTH and n_inputs < MOST_INPUTS:
                used.add(target)
                stack.append((target, 0))
    return b"".join(pieces)


def _next_input(data: bytes, position: int) -> re.Match[bytes] | None:
    while found := _INPUT.search(data, position):
        before = data[max(0, found.start() - LINE_BYTES) : found.start()]
        if not _COMMENT.search(before.rpartition(b"\n")[2]):
            return found
        position = found.end()
    return None


def _resolve(found: re.Match[bytes], folder: str, files: dict[str, bytes]) -> str | None:
    name = (found[1] or found[2]).decode("utf-8", "surrogateescape").strip(' "')
    path = posixpath.normpath(posixpath.join(folder, name))
    return next((p for p in (path, f"{path}.tex") if p in files), None)
