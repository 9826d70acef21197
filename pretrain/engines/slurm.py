"""Engine `slurm`: an array of ranges of tasks, looked after until every receipt is there.

    .engine/N.json      the tasks, in lists of tasks_per_job      sbatch --array=0-K%max_jobs
    .engine/N.job       the number of the array, so that a driver started anew can end it
    .engine/N-I.error   what element I found wrong
    .engine/N-I.log     what it printed: kept, with all else, where a batch fails

The receipts alone say what is done: squeue is asked only for what still runs. An element that is
gone from the queue, twice in a row, with tasks undone was lost (a dead node, a requeue that never
came, its time limit) and its undone tasks are submitted again, `attempts` times. A queue that does
not answer is asked again; it is no reason to give up. The file system must be seen by all nodes.
"""

import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pretrain import errors, store
from pretrain.engines.settings import Settings
from pretrain.errors import PretrainError
from pretrain.tasks import Receipt, Task, valid_receipt

ABSENT = 2  # looks in a row at a queue without it before an element counts as lost
COMMAND_SECONDS = 120.0


class Slurm:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.jobs: dict[str, dict[int, list[Task]]] = {}  # array -> element -> undone tasks
        self.batches: dict[str, Path] = {}
        self.absent: Counter[tuple[str, int]] = Counter()
        self.starts: Counter[str] = Counter()
        self.folder, self.code = Path(), ""

    def start(self, folder: Path, tasks: Sequence[Task], code: str) -> None:
        self.folder, self.code = folder.resolve(), code
        for left in sorted((self.folder / ".engine").glob("*.job")):  # of a driver that died
            _command(["scancel", left.read_text().strip()], must=False)
        store.remove(self.folder / ".engine")
        self.jobs, self.batches = {}, {}
        self.starts.clear()
        self._submit(tasks)

    def finished(self) -> Iterator[tuple[Task, Receipt]]:
        while self.jobs:
            yield from self._done()
            self._raise_errors()
            if self.jobs:
                self._resubmit_lost()
                time.sleep(self.settings.poll_seconds)
        store.remove(self.folder / ".engine")

    def stop(self) -> None:
        """End what still runs. The logs of a batch that did not end well stay, for its reader."""
        for job in self.jobs:
            _command(["scancel", job], must=False)
            store.remove(self.batches[job].with_suffix(".job"))
        self.jobs = {}

    def _done(self) -> Iterator[tuple[Task, Receipt]]:
        """Tasks whose receipts have come."""
        for job, elements in list(self.jobs.items()):
            for element, tasks in list(elements.items()):
                for task in list(tasks):
                    receipt = valid_receipt(self.folder, task, self.code)
                    if receipt:
                        tasks.remove(task)
                        yield task, receipt
                if not tasks:
                    del elements[element]
            if not elements:
                del self.jobs[job]

    def _raise_errors(self) -> None:
        for path in sorted((self.folder / ".engine").glob("*.error")):
            told = store.read_json(path)
            kinds = {k.exit_code: k for k in vars(errors).values() if isinstance(k, type)
                     and issubclass(k, PretrainError)}  # fmt: skip
            raise kinds.get(told["exit_code"], PretrainError)(told["message"])

    def _submit(self, tasks: Sequence[Task]) -> None:
        own = self.settings
        number = len(self.batches)
        lists = [tasks[i : i + own.tasks_per_job] for i in range(0, len(tasks), own.tasks_per_job)]
        batch = self.folder / ".engine" / f"{number}.json"
        value = {
            "folder": str(self.folder),
            "code": self.code,
            "lists": [[task.to_json() for task in tasks] for tasks in lists],
        }
        store.write_json(batch, value)
        command = ["sbatch", "--parsable", f"--array=0-{len(lists) - 1}%{own.max_jobs}"]
        command += [f"--job-name=pretrain-{self.folder.name}", "--requeue"]
        command += [f"--cpus-per-task={own.cpus}", f"--mem={int(own.memory_gb * 1024)}M"]
        command += [f"--time={own.minutes}", f"--output={batch.with_suffix('')}-%a.log"]
        command += [*own.options, f"--wrap={_line(batch)}"]
        job = _command(command).strip().partition(";")[0]
        if not job.isdigit():
            raise PretrainError(
                f"{self.folder.name}: sbatch answered {job!r}; must be the number of a job "
                "(recipe table engine)"
            )
        store.write_bytes(batch.with_suffix(".job"), job.encode())
        self.batches[job] = batch
        self.jobs[job] = dict(enumerate(map(list, lists)))
        self.starts.update(task.name for task in tasks)

    def _resubmit_lost(self) -> None:
        queued = self._queued()
        if queued is None:
            return
        lost: list[Task] = []
        for job, elements in list(self.jobs.items()):
            for element in list(elements):
                if (job, element) in queued or (job, -1) in queued:
                    self.absent[job, element] = 0
                    continue
                self.absent[job, element] += 1
                if self.absent[job, element] >= ABSENT:
                    lost += elements.pop(element)
            if not elements:
                del self.jobs[job]
        if not lost:
            return
        # One whose receipt came after the look at the files is in vain: the worker passes it over.
        worn = [task.name for task in lost if self.starts[task.name] >= self.settings.attempts]
        if worn:
            raise PretrainError(
                f"{self.folder.name}: task {worn[0]} was started {self.settings.attempts} times "
                f"and its job ended without a receipt; see {self.folder}/.engine/*.log "
                "(recipe keys engine.minutes, engine.memory_gb, engine.attempts)"
            )
        self._submit(lost)

    def _queued(self) -> set[tuple[str, int]] | None:
        """(array, element) of what waits or runs, element -1 for all; None: no answer."""
        answer = _command(
            ["squeue", "--noheader", "--array", "--format=%i", "--jobs", ",".join(self.jobs)],
            must=False,
        )
        if answer is None:
            return None
        found = set()
        for line in answer.split():
            match = re.fullmatch(r"(\d+)(?:_(\d+))?.*", line)
            if match:
                found.add((match[1], int(match[2]) if match[2] else -1))
        return found


def _line(batch: Path) -> str:
    """What an element runs; the interpreter and the package are those of the driver."""
    package = Path(__file__).resolve().parents[2]
    return (
        f"PYTHONPATH='{package}' exec '{sys.executable}' -m pretrain.engines.worker "
        f"'{batch}' \"$SLURM_ARRAY_TASK_ID\""
    )


def _command(words: Sequence[str], must: bool = True) -> Any:
    """The output of a Slurm command; None where it fails and need not succeed."""
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=COMMAND_SECONDS, env=dict(os.environ)
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        if must:
            raise PretrainError(
                f"engine slurm: {words[0]} does not run ({error}); must be a machine that can "
                "submit jobs (recipe key engine.kind)"
            ) from error
        return None
    # A job that has left the queue makes squeue fail with this message: an empty answer.
    if done.returncode and "Invalid job id" in done.stderr:
        return ""
    if done.returncode:
        if must:
            raise PretrainError(
                f"engine slurm: {words[0]} failed: {done.stderr.strip()[:500]} "
                "(recipe table engine)"
            )
        return None
    return done.stdout
