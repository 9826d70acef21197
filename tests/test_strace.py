"""SIGKILL at every file-system call of collect and curate: a rerun makes the same bytes.

strace injects the signal at the N-th call of a kind (a rename, an fsync, …); the stage is started
again without it and every file is compared with an undisturbed run. `make test-slow` takes a moment
of each kind, `make test` one of some of collect; `make test-sweep` takes every one.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import ROOT

# What changes the file system. openat is left out of the sweep of writes: most opens read.
CALLS = ("rename", "fsync", "mkdir", "unlink", "openat")
FEW = 1  # moments of each kind, but in `make test-sweep`

RUN = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests import test_strace
test_strace.stages(Path(sys.argv[1]), sys.argv[2])
"""

pytestmark = [
    pytest.mark.multi,
    pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace"),
]


def stages(folder: Path, stage: str) -> None:
    """Run one stage over a tiny corpus, as the command does."""
    from pretrain import store
    from tests.conftest import run_stages, tiny_recipe

    corpus = folder.parent / "corpus"
    loaded = tiny_recipe(corpus, "collect.shard_bytes=16384", "curate.duplicates.paragraphs=true")
    with store.locked(folder):
        run_stages(loaded, folder, stage)


def command(folder: Path, stage: str) -> list[str]:
    return [sys.executable, "-c", RUN.format(root=str(ROOT)), str(folder), stage]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def traced(folder: Path, stage: str, options: list[str]) -> int:
    done = subprocess.run(
        ["strace", "-f", "-qq", "-o", str(folder.parent / "calls.txt"), *options,
         *command(folder, stage)],
        env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode


def moments(folder: Path, stage: str) -> dict[str, list[int]]:
    """Of an undisturbed run: call -> which of its numbers touch the folder of the run."""
    trace = ",".join(CALLS)
    assert traced(folder, stage, ["-y", "-e", f"trace={trace}"]) == 0
    numbers: Counter[str] = Counter()
    found: dict[str, list[int]] = {call: [] for call in CALLS}
    for line in (folder.parent / "calls.txt").read_text(errors="replace").splitlines():
        match = re.match(r"\d+\s+(\w+)\((.*)", line)
        if not match or match[1] not in found:
            continue
        call, rest = match.groups()
        numbers[call] += 1
        writes = call != "openat" or "O_CREAT" in rest
        if writes and str(folder) in rest:
            found[call].append(numbers[call])
    return found


def tree(folder: Path) -> dict[str, bytes]:
    from pretrain import flow

    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (*flow.CLOCK, "events.jsonl", "lock")
    }


def spread(numbers: list[int], few: int) -> list[int]:
    """A few of them, evenly."""
    if len(numbers) <= few:
        return numbers
    return [numbers[(2 * i + 1) * len(numbers) // (2 * few)] for i in range(few)]


def sweep(tmp_path: Path, stage: str, few: int | None, calls: Sequence[str] = CALLS) -> None:
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    for folder in (straight, killed):  # collect's folder must be there before curate is looked at
        folder.mkdir()
        if stage == "curate":
            subprocess.run(command(folder, "collect"), env=environment(), check=True)
    before, warm = tmp_path / "before", tmp_path / "warm"
    for folder in (before, warm):
        shutil.copytree(killed, folder)
    # Once without looking: what is compiled and cached then makes calls that no later run makes.
    subprocess.run(command(warm, stage), env=environment(), check=True)
    found = moments(straight, stage)
    expected = tree(straight)
    assert len(expected) > 5
    n_kills = 0
    for call in calls:
        numbers = found[call]
        for number in numbers if few is None else spread(numbers, few):
            shutil.rmtree(killed)
            shutil.copytree(before, killed)
            inject = f"inject={call}:signal=SIGKILL:when={number}"
            code = traced(killed, stage, ["-e", f"trace={call}", "-e", inject])
            assert code in (-signal.SIGKILL, 128 + signal.SIGKILL), (call, number, code)
            n_kills += 1
            done = subprocess.run(
                command(killed, stage), env=environment(), capture_output=True, text=True,
                check=False,
            )  # fmt: skip
            assert done.returncode == 0, (call, number, done.stderr[-2000:])
            after = tree(killed)
            differ = sorted(n for n in {*expected, *after} if expected.get(n) != after.get(n))
            assert not differ, (call, number, differ)
    assert n_kills >= (len(numbers) if few is None else min(3, len(calls)))


@pytest.mark.parametrize(
    ("stage", "calls"),
    [
        ("collect", ("rename", "fsync", "openat")),
        pytest.param("curate", ("rename", "openat"), marks=pytest.mark.slow),
        pytest.param("collect", CALLS, marks=pytest.mark.slow),
        pytest.param("curate", CALLS, marks=pytest.mark.slow),
    ],
)
def test_killed_at_some_calls_the_bytes_are_the_same(
    tmp_path: Path, stage: str, calls: Sequence[str]
) -> None:
    sweep(tmp_path, stage, FEW, calls)


@pytest.mark.sweep
@pytest.mark.parametrize("stage", ["collect", "curate"])
def test_killed_at_every_call_the_bytes_are_the_same(tmp_path: Path, stage: str) -> None:
    sweep(tmp_path, stage, None)
