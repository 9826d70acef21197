"""The files of a git repository at one commit, read through git without obeying the repository.

    HEAD ─▶ commit ─▶ ls-tree: names, sizes, hashes ─▶ cat-file --batch: contents, each hash checked

A repository comes from somewhere else, and git would run what its configuration says: programs that
show signatures, hooks, transports for objects that are missing. So only commands are used that run
none of these, with every protocol forbidden and the configuration of user and machine left out. A
repository that borrows objects from another folder (alternates) is refused. Nothing is checked out.
"""

import contextlib
import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pretrain.collect.streams import Unreadable, describe
from pretrain.errors import PretrainError

_OPTIONS = (
    *("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "protocol.allow=never"),
    *("-c", "core.pager=cat", "-c", "safe.directory=*", "-c", "core.askPass=false"),
)
_ENVIRONMENT = {
    **{"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "HOME": "/nonexistent"},
    **{"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_TERMINAL_PROMPT": "0"},
    **{"GIT_NO_REPLACE_OBJECTS": "1", "GIT_NO_LAZY_FETCH": "1", "GIT_OPTIONAL_LOCKS": "0"},
    **{"GIT_ALLOW_PROTOCOL": "none", "GIT_SSH_COMMAND": "false", "GIT_ATTR_NOSYSTEM": "1"},
}


class Blob(NamedTuple):
    path: str  # bytes of a name that are no UTF-8 as surrogate escapes
    mode: str
    hash: str
    n_bytes: int


def git_folder(folder: str) -> str | None:
    """The folder that holds a repository's objects: FOLDER/.git, or a bare FOLDER; else None."""
    for place in (Path(folder) / ".git", Path(folder)):
        if (
            (place / "HEAD").is_file()
            and (place / "objects").is_dir()
            and (place / "refs").is_dir()
        ):
            return str(place)
    return None


def head(place: str) -> str:
    """The commit that HEAD names. Raises: Unreadable."""
    alternates = Path(place) / "objects" / "info" / "alternates"
    if alternates.exists() or (Path(place) / "objects").is_symlink():
        raise Unreadable("objects/info/alternates leads outside of the repository")
    if (Path(place) / "commondir").exists():
        raise Unreadable("commondir leads outside of the repository")
    return _run(place, "rev-parse", "--verify", "--quiet", "HEAD^{commit}").decode().strip()


def date_of(place: str, commit: str) -> str | None:
    """When a commit was made: seconds since 1970 as the commit says, as an ISO date."""
    for line in _run(place, "cat-file", "commit", commit).split(b"\n"):
        if line.startswith(b"committer "):
            seconds = line.rsplit(b" ", 2)[1]
            return _iso(int(seconds)) if seconds.isdigit() and len(seconds) < 12 else None
        if not line:
            break
    return None


def _iso(seconds: int) -> str | None:
    import datetime

    try:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return None


def blobs(place: str, commit: str) -> list[Blob]:
    """Every entry of the commit's tree in git's order; links and submodules have their modes."""
    found = []
    for record in _run(place, "ls-tree", "-r", "-z", "-l", "--full-tree", commit).split(b"\0"):
        if record:
            facts, _, name = record.partition(b"\t")
            mode, _, digest, size = facts.decode().split()
            n_bytes = int(size) if size.isdigit() else 0
            found.append(Blob(name.decode("utf-8", "surrogateescape"), mode, digest, n_bytes))
    return found


def contents(place: str, wanted: list[Blob]) -> Iterator[tuple[Blob, bytes | None]]:
    """(blob, its bytes) in order; None where the repository has not the bytes of that hash.

    A damaged object may end git: it is then started anew behind it.
    """
    position = 0
    while position < len(wanted):
        with _cat_file(place) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                while position < len(wanted):
                    blob = wanted[position]
                    data = _ask(process.stdin, process.stdout, blob)
                    position += 1
                    yield blob, data
            except (BrokenPipeError, EOFError):
                position += 1
                yield blob, None
            finally:
                process.kill()
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()


def _ask(requests: object, answers: object, blob: Blob) -> bytes | None:
    requests.write(blob.hash.encode() + b"\n")  # type: ignore[attr-defined]
    requests.flush()  # type: ignore[attr-defined]
    facts = answers.readline().split()  # type: ignore[attr-defined]
    if not facts:
        raise EOFError
    if len(facts) != 3 or facts[1] != b"blob":
        return None  # "HASH missing"
    n_bytes = int(facts[2])
    data: bytes = answers.read(n_bytes + 1)  # type: ignore[attr-defined]
    if len(data) != n_bytes + 1:
        raise EOFError
    data = data[:-1]
    engine = hashlib.sha1 if len(blob.hash) == 40 else hashlib.sha256
    right = engine(b"blob %d\0" % n_bytes + data).hexdigest() == blob.hash
    return data if right else None


def _command(place: str, *arguments: str) -> list[str]:
    program = shutil.which("git")
    if program is None:
        raise PretrainError(
            "collect: reading a git repository needs the program git, which is not on the PATH; "
            "must be there: install the package git"
        )
    return [program, *_OPTIONS, f"--git-dir={place}", *arguments]


def _cat_file(place: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        _command(place, "cat-file", "--batch"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_ENVIRONMENT,
        cwd="/",
    )


def _run(place: str, *arguments: str) -> bytes:
    try:
        done = subprocess.run(
            _command(place, *arguments), capture_output=True, env=_ENVIRONMENT, cwd="/", check=True
        )
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode("utf-8", "replace").strip().splitlines() or ["no commit"]
        raise Unreadable(f"git: {said[0][:200]}") from error
    except OSError as error:
        raise Unreadable(describe(error)) from error
    return done.stdout
