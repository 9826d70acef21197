"""A stage as a list of pure tasks over shards, each with a receipt.

A task is a module-level function `function(folder, arguments) -> counts` that writes files through
`store` and `shards` and depends on nothing but its arguments, the files it names and the code. Its
receipt `receipts/NAME.json` is written last: key (function, arguments, input hashes, code version),
outputs with hashes, counts. A task whose receipt carries the same key is never run again; a task
without one leaves only files that the next attempt overwrites with the same bytes.

Nothing moves but names: workers read and write files and return receipts. Who the workers are is
the engine's affair (`engines/`): processes here, a Ray cluster, a Slurm array. An engine is three
functions, and may lose, repeat or reorder tasks as it must: the receipts decide.
"""

import contextlib
import ctypes
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from signal import SIGKILL
from typing import Any, Protocol

from pretrain import store
from pretrain.events import Log

Function = Callable[[Path, dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Task:
    """`arguments` are JSON values; `inputs` are hashes of what is read; `outputs` are relative."""

    name: str
    function: Function
    arguments: dict[str, Any]
    outputs: tuple[str, ...]
    inputs: dict[str, str] = field(default_factory=dict)
    weight: float = 1.0  # for the progress bar, for example bytes to read

    def to_json(self) -> dict[str, Any]:
        function = f"{self.function.__module__}:{self.function.__qualname__}"
        return {**vars(self), "function": function, "outputs": list(self.outputs)}

    @staticmethod
    def from_json(value: dict[str, Any]) -> "Task":
        module, _, name = value["function"].partition(":")
        function = getattr(importlib.import_module(module), name)
        return Task(**{**value, "function": function, "outputs": tuple(value["outputs"])})


@dataclass(frozen=True)
class Receipt:
    name: str
    key: str
    outputs: dict[str, str]  # relative path -> hash
    counts: dict[str, Any]


class Engine(Protocol):
    """Runs tasks somewhere; `stop` may come at any time and leaves nothing running."""

    def start(self, folder: Path, tasks: Sequence[Task], code: str) -> None: ...

    def finished(self) -> Iterator[tuple[Task, Receipt]]: ...

    def stop(self) -> None: ...


def run_tasks(
    folder: Path, tasks: Sequence[Task], code: str, engine: Engine, log: Log, what: str
) -> list[Receipt]:
    """The receipts of all tasks, in the order of the tasks; only those without one are run."""
    receipts: dict[str, Receipt] = {}
    waiting = []
    for task in tasks:
        receipt = valid_receipt(folder, task, code)
        if receipt:
            receipts[task.name] = receipt
        else:
            waiting.append(task)
    stage = folder.name
    if receipts and waiting:
        log.say(stage, f"{what}: {len(receipts)} of {len(tasks)} tasks were already done")
    total = sum(t.weight for t in tasks)
    done = total - sum(t.weight for t in waiting)
    with log.progress(stage, what, total) as advance:
        if waiting:
            engine.start(folder, waiting, code)
            for task, receipt in engine.finished():
                receipts[task.name] = receipt
                done += task.weight
                advance(done, "")
    return [receipts[t.name] for t in tasks]


def perform(folder: Path, task: Task, code: str) -> Receipt:
    """Run one task here and write its receipt."""
    counts = task.function(folder, task.arguments)
    receipt = Receipt(
        name=task.name,
        key=_key(task, code),
        outputs={name: store.hash_file(folder / name) for name in task.outputs},
        counts=counts,
    )
    store.write_json(folder / "receipts" / f"{task.name}.json", asdict(receipt))
    return receipt


def valid_receipt(folder: Path, task: Task, code: str) -> Receipt | None:
    """The receipt of a task that need not run again."""
    value = store.read_json_or_none(folder / "receipts" / f"{task.name}.json")
    if not value or value.get("key") != _key(task, code):
        return None
    if not all((folder / name).is_file() for name in task.outputs):
        return None
    return Receipt(**value)


def _key(task: Task, code: str) -> str:
    function = f"{task.function.__module__}.{task.function.__qualname__}"
    return store.hash_json([function, task.arguments, task.inputs, list(task.outputs), code])


def die_with_parent(parent: int) -> None:
    """Ask the kernel to end this process when its parent dies, even by SIGKILL (Linux)."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)
