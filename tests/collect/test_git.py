import shutil
import subprocess
from pathlib import Path

import pytest

from pretrain.collect import git
from pretrain.collect.streams import Unreadable

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
WHEN = {"GIT_AUTHOR_DATE": "1700000000 +0100", "GIT_COMMITTER_DATE": "1700000000 +0100"}


def run(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=n", "-c", "user.email=e@x", *arguments],
        cwd=folder,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "GIT_CONFIG_GLOBAL": "/dev/null", **WHEN},
        capture_output=True,
        check=True,
    )
    return done.stdout.decode().strip()


def repository(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    run(folder, "init", "-q")
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    run(folder, "add", "-A")
    run(folder, "commit", "-q", "-m", "all")
    return folder


FILES = {"a.py": b"x = 1\n", "d/b\nc.py": b"y\n", "d/caf\udce9.txt": b"z\0", "empty": b""}


def test_files_of_the_commit(tmp_path: Path) -> None:
    folder = repository(tmp_path / "r", FILES)
    (folder / "a.py").write_text("changed and not committed")
    run(tmp_path, "clone", "-q", "--bare", str(folder), str(tmp_path / "bare"))
    for place in (git.git_folder(str(folder)), git.git_folder(str(tmp_path / "bare"))):
        assert place is not None
        commit = git.head(place)
        assert commit == run(folder, "rev-parse", "HEAD")
        blobs = git.blobs(place, commit)
        assert {b.path: data for b, data in git.contents(place, blobs)} == FILES
        assert git.date_of(place, commit) == "2023-11-14T22:13:20Z"
    assert git.git_folder(str(tmp_path)) is None


def test_links_and_submodules_have_their_modes(tmp_path: Path) -> None:
    folder = repository(tmp_path / "r", {"a.py": b"x"})
    (folder / "link").symlink_to("/etc/passwd")
    run(folder, "add", "link")
    run(folder, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},sub")
    run(folder, "commit", "-q", "-m", "more")
    place = str(folder / ".git")
    modes = {b.path: b.mode for b in git.blobs(place, git.head(place))}
    assert modes == {"a.py": "100644", "link": "120000", "sub": "160000"}


def loose(place: str, blob: git.Blob) -> Path:
    return Path(place) / "objects" / blob.hash[:2] / blob.hash[2:]


def test_what_is_lost_or_damaged_costs_itself(tmp_path: Path) -> None:
    files = {f"{n}.txt": b"text %d\n" % n for n in range(5)}
    place = str(repository(tmp_path / "r", files) / ".git")
    blobs = git.blobs(place, git.head(place))
    loose(place, blobs[1]).unlink()
    damaged = loose(place, blobs[2])
    damaged.chmod(0o644)
    damaged.write_bytes(b"no object")
    swapped = loose(place, blobs[3])
    swapped.chmod(0o644)
    swapped.write_bytes(loose(place, blobs[4]).read_bytes())
    found = [data for _, data in git.contents(place, blobs)]
    assert found == [b"text 0\n", None, None, None, b"text 4\n"]


def test_what_cannot_be_read(tmp_path: Path) -> None:
    run(tmp_path, "init", "-q", "empty")
    with pytest.raises(Unreadable, match="no commit"):
        git.head(str(tmp_path / "empty" / ".git"))
    place = repository(tmp_path / "r", {"a": b"x"}) / ".git"
    (place / "objects" / "info").mkdir(exist_ok=True)
    (place / "objects" / "info" / "alternates").write_text("/elsewhere/objects\n")
    with pytest.raises(Unreadable, match="alternates"):
        git.head(str(place))


def test_the_repository_runs_nothing(tmp_path: Path) -> None:
    """Its configuration names programs for signatures, hooks, monitors, pagers and transports."""
    folder = repository(tmp_path / "r", {"a.py": b"x", "b.py": b"y"})
    program = tmp_path / "evil"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(0o755)
    place = folder / ".git"
    with open(place / "config", "a") as file:
        file.write(
            f"[core]\nfsmonitor={program}\nsshCommand={program}\npager={program}\n"
            f"alternateRefsCommand={program}\naskPass={program}\n[log]\nshowSignature=true\n"
            f'[gpg]\nprogram={program}\n[extensions]\npartialClone=origin\n[remote "origin"]\n'
            f"url=ssh://host/x\npromisor=true\nuploadpack={program}\n"
            "[core]\nrepositoryformatversion=1\n"
        )
    for hook in ("post-checkout", "pre-auto-gc", "reference-transaction"):
        shutil.copy(program, place / "hooks" / hook)
    blobs = git.blobs(str(place), git.head(str(place)))
    loose(str(place), blobs[0]).unlink()  # missing: a partial clone would fetch it
    found = [data for _, data in git.contents(str(place), blobs)]
    assert found == [None, b"y"]
    git.date_of(str(place), git.head(str(place)))
    assert not (tmp_path / "ran").exists()
