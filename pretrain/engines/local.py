"""Engine `local`: processes of this machine, started once for all batches of a stage.

A process costs a second to start (it loads numba's kernels), a stage has a dozen batches of tasks:
so the pool lives as long as the engine. With one worker, or one task, nothing is started. A worker
dies with its parent, even by SIGKILL.
"""

import concurrent.futures
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

from pretrain.errors import PretrainError
from pretrain.tasks import Receipt, Task, die_with_parent, perform


class Local:
    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.pool: concurrent.futures.ProcessPoolExecutor | None = None
        self.batch: tuple[Path, Sequence[Task], str] | None = None

    def start(self, folder: Path, tasks: Sequence[Task], code: str) -> None:
        self.batch = folder, tasks, code

    def finished(self) -> Iterator[tuple[Task, Receipt]]:
        assert self.batch is not None
        folder, tasks, code = self.batch
        if min(self.workers, len(tasks)) <= 1:
            for task in tasks:
                yield task, perform(folder, task, code)
            return
        if self.pool is None:
            self.pool = concurrent.futures.ProcessPoolExecutor(
                self.workers,
                multiprocessing.get_context("spawn"),
                initializer=_start_worker,
                initargs=(os.getpid(),),
            )
        futures: dict[concurrent.futures.Future[Receipt], Task] = {}
        try:
            for task in tasks:
                futures[self.pool.submit(perform, folder, task, code)] = task
            for future in concurrent.futures.as_completed(futures):
                yield futures[future], future.result()
        except concurrent.futures.BrokenExecutor as error:
            undone = [t.name for f, t in futures.items() if not f.done() or f.exception()]
            self.stop(kill=True)
            raise PretrainError(_died(folder.name, undone[: self.workers])) from error
        except BaseException:
            self.stop(kill=True)
            raise

    def stop(self, kill: bool = False) -> None:
        pool, self.pool = self.pool, None
        if pool is None:
            return
        if kill:
            for process in list((pool._processes or {}).values()):
                process.kill()
        pool.shutdown(wait=not kill, cancel_futures=True)


def _died(stage: str, running: Sequence[str]) -> str:
    """Tasks are begun in their order, so the first without a result are those that ran."""
    return (
        f"{stage}: a worker process died while {', '.join(running) or 'no task'} ran; most often "
        "the system ended it for want of memory (its log, such as dmesg, says so); must be fewer "
        "processes or smaller tasks (--workers, recipe key collect.shard_bytes); the same command "
        "goes on from the tasks that are done"
    )


def _start_worker(parent: int) -> None:
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops the pool
