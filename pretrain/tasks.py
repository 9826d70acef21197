"""A stage as a list of pure tasks over shards, each with a receipt.

A task is a module-level function `function(folder, arguments) -> counts` that writes files through
`store` and `shards` and depends on nothing but its arguments, the files it names and the code. Its
receipt `receipts/NAME.json` is written last: key (function, arguments, input hashes, code version),
outputs with hashes, counts. A task whose receipt carries the same key is never run again; a task
without one leaves only files that the next attempt overwrites with the same bytes.

The engine moves no data: workers read and write files and return receipts. `local` processes here;
anything that can run a function of JSON arguments can stand in for it.
"""

import concurrent.futures
import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True)
class Receipt:
    name: str
    key: str
    outputs: dict[str, str]  # relative path -> hash
    counts: dict[str, Any]


def run_tasks(
    folder: Path, tasks: Sequence[Task], code: str, workers: int, log: Log, what: str
) -> list[Receipt]:
    """The receipts of all tasks, in the order of the tasks; only those without one are run."""
    receipts: dict[str, Receipt] = {}
    waiting = []
    for task in tasks:
        receipt = _valid_receipt(folder, task, code)
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
        for task, receipt in _run(folder, waiting, code, min(workers, len(waiting))):
            receipts[task.name] = receipt
            done += task.weight
            advance(done, "")
    return [receipts[t.name] for t in tasks]


def _run(folder: Path, tasks: Sequence[Task], code: str, workers: int) -> Any:
    if workers <= 1:
        for task in tasks:
            yield task, _perform(folder, task, code)
        return
    pool = concurrent.futures.ProcessPoolExecutor(
        workers,
        multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(os.getpid(),),
    )
    try:
        futures = {pool.submit(_perform, folder, task, code): task for task in tasks}
        for future in concurrent.futures.as_completed(futures):
            yield futures[future], future.result()
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.kill()
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _perform(folder: Path, task: Task, code: str) -> Receipt:
    counts = task.function(folder, task.arguments)
    receipt = Receipt(
        name=task.name,
        key=_key(task, code),
        outputs={name: store.hash_file(folder / name) for name in task.outputs},
        counts=counts,
    )
    store.write_json(folder / "receipts" / f"{task.name}.json", vars(receipt))
    return receipt


def _key(task: Task, code: str) -> str:
    function = f"{task.function.__module__}.{task.function.__qualname__}"
    return store.hash_json([function, task.arguments, task.inputs, list(task.outputs), code])


def _valid_receipt(folder: Path, task: Task, code: str) -> Receipt | None:
    value = store.read_json_or_none(folder / "receipts" / f"{task.name}.json")
    if not value or value.get("key") != _key(task, code):
        return None
    if not all((folder / name).is_file() for name in task.outputs):
        return None
    return Receipt(**value)


def die_with_parent(parent: int) -> None:
    """Ask the kernel to end this process when its parent dies, even by SIGKILL (Linux)."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)


def _start_worker(parent: int) -> None:
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops the pool
