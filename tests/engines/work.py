"""Tasks for engines to run."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from pretrain import store, tasks
from pretrain.errors import DataError
from pretrain.events import Log


def square(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """Write the square of a number and a trace of each start; who waits does so to be killed."""
    n = arguments["n"]
    store.append_line(folder / "started.log", f"{n} {os.getpid()}")
    first = starts(folder).count(n) == 1
    time.sleep(600 if first and arguments.get("waits") else arguments["seconds"])
    store.write_bytes(folder / f"squares/{n}.txt", str(n * n).encode())
    return {"square": n * n}


def refuse(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    raise DataError(f"work: number {arguments['n']} is unlucky; must be another (recipe key n)")


def squares(count: int, seconds: float = 0.0) -> list[tasks.Task]:
    return [
        tasks.Task(f"t{n:02d}", square, {"n": n, "seconds": seconds}, (f"squares/{n}.txt",))
        for n in range(count)
    ]


def refusal(n: int | str) -> tasks.Task:
    return tasks.Task("bad", refuse, {"n": n}, ("squares/bad.txt",))


def die(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """End as a process does that the kernel kills for its memory."""
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def death() -> tasks.Task:
    return tasks.Task("death", die, {}, ("squares/none.txt",))


def named(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """Write an empty file of a name."""
    store.write_bytes(folder / arguments["name"], b"")
    return {}


def touch(name: str) -> tasks.Task:
    return tasks.Task("touch", named, {"name": name}, (name,))


def run(folder: Path, todo: list[tasks.Task], engine: tasks.Engine) -> list[tasks.Receipt]:
    return tasks.run_tasks(folder, todo, "code", engine, Log(quiet=True), "work")


def tree(folder: Path) -> dict[str, str]:
    """Hashes of all that an engine may not change: outputs and receipts."""
    files = [p for kind in ("squares", "receipts") for p in sorted((folder / kind).glob("*"))]
    return {p.relative_to(folder).as_posix(): store.hash_file(p) for p in files}


def _lines(folder: Path) -> list[list[str]]:
    path = folder / "started.log"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def starts(folder: Path) -> list[int]:
    """The number of every task that was started, as often as it was."""
    return sorted(int(number) for number, _ in _lines(folder))


def processes(folder: Path) -> set[str]:
    """The processes that started one."""
    return {pid for _, pid in _lines(folder)}
