"""One thread that continues all texts together; texts join and leave between tokens.

    submit ─▶ waiting, at most `n_waiting` ─▶ one of `n_rows` rows ─▶ tell(text, finish) per token
    cancel ─▶ out of either, before the next token

First come, first served. If a step fails, every text in a row is told so, and the next ones begin
with a new batch.
"""

import threading
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass

from pretrain.errors import PretrainError
from pretrain.model.batch import Batch, Row
from pretrain.publish.generate import Writer
from pretrain.publish.pieces import Pieces

STOP, LENGTH, ERROR = "stop", "length", "error"


class Full(PretrainError):
    """No room for more texts now."""


@dataclass(eq=False)
class Job:
    """A text to be. `tell` is called in the thread, per token: new text, and at the end why."""

    row: Row
    limit: int  # new tokens, at least 1
    pieces: Pieces
    tell: Callable[[str, str | None], None]


class Batching:
    def __init__(self, writer: Writer, n_rows: int, n_waiting: int) -> None:
        self.writer = writer
        self.n_rows, self.n_waiting = n_rows, n_waiting
        self._waiting: deque[Job] = deque()
        self._running: dict[Row, Job] = {}
        self._cancelled: set[Row] = set()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="batching", daemon=True)
        self._thread.start()

    @property
    def n_jobs(self) -> int:
        """Texts that wait or run."""
        with self._changed:
            return len(self._waiting) + len(self._running)

    @property
    def capacity(self) -> int:
        return self.n_rows + self.n_waiting

    def submit(self, jobs: Collection[Job]) -> None:
        """All of them or none. Raises: Full."""
        with self._changed:
            if len(self._waiting) + len(self._running) + len(jobs) > self.capacity:
                raise Full(f"serve: {self.capacity} texts wait or run already")
            self._waiting.extend(jobs)
            self._changed.notify()

    def cancel(self, jobs: Collection[Job]) -> None:
        """Nothing more is told of them, but for a token that is under way."""
        with self._changed:
            rows = {job.row for job in jobs}
            self._waiting = deque(job for job in self._waiting if job.row not in rows)
            self._cancelled |= rows & self._running.keys()

    def close(self) -> None:
        """End the thread when all texts are done."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        batch = Batch(self.writer.model)
        while self._admit(batch):
            try:
                for row in batch.step():
                    job = self._running[row]
                    text, finish = self._heard(job)
                    if finish:
                        batch.leave(row)
                        self._forget(row)
                    if text or finish:
                        job.tell(text, finish)
            except Exception as error:  # the server stays, whatever a text has met
                print(f"serve: a step failed, its texts end: {error!r}", flush=True)
                batch = Batch(self.writer.model)
                for row, job in list(self._running.items()):
                    self._forget(row)
                    job.tell("", ERROR)

    def _admit(self, batch: Batch) -> bool:
        """Wait until there is work, and give it rows; False when closed and without any."""
        with self._changed:
            while True:
                for row in self._cancelled:
                    batch.leave(row)
                    del self._running[row]
                self._cancelled.clear()
                while self._waiting and len(self._running) < self.n_rows:
                    job = self._waiting.popleft()
                    self._running[job.row] = job
                    batch.join(job.row)
                if self._running or self._closed:
                    return bool(self._running)
                self._changed.wait()

    def _heard(self, job: Job) -> tuple[str, str | None]:
        """What the newest token adds, and why the text ends, if it does."""
        new = job.row.new
        if new[-1] in self.writer.ends:
            new.pop()
            return job.pieces.end(), STOP
        text = job.pieces.add(new[-1])
        if job.pieces.ended:
            return text, STOP
        if len(new) == job.limit:
            return text + job.pieces.end(), STOP if job.pieces.ended else LENGTH
        return text, None

    def _forget(self, row: Row) -> None:
        with self._changed:
            del self._running[row]
            self._cancelled.discard(row)
