"""What people see while a stage works, and the record of it.

On a terminal: one progress bar. Elsewhere: a plain line every few seconds. Every message is also a
line of `events.jsonl` with its time: the clock's story of the run, which nothing is computed from.
"""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pretrain import store

PLAIN_SECONDS = 10.0


class Log:
    """Messages and progress of a run: to the console, and with times to `events.jsonl`."""

    def __init__(self, folder: Path | None = None, quiet: bool = False) -> None:
        self.path = folder / "events.jsonl" if folder else None
        self.quiet = quiet
        self.terminal = sys.stderr.isatty() and not quiet

    def event(self, kind: str, **fields: Any) -> None:
        """Record something with its time, without showing it."""
        if self.path:
            line = {"time": round(time.time(), 3), "event": kind, **fields}
            store.append_line(self.path, json.dumps(line, ensure_ascii=False))

    def say(self, stage: str, message: str) -> None:
        """Show one line and record it."""
        self.event("message", stage=stage, message=message)
        if not self.quiet:
            print(f"{stage:>9}  {message}", file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def progress(
        self, stage: str, what: str, total: float
    ) -> Iterator[Callable[[float, str], None]]:
        """A function `advance(to, note)` that moves the bar to an absolute position of `total`."""
        if self.terminal:
            with self._bar(stage, what, total) as advance:
                yield advance
        else:
            yield self._plain(stage, what, total)

    def _plain(self, stage: str, what: str, total: float) -> Callable[[float, str], None]:
        last = time.monotonic()

        def advance(to: float, note: str = "") -> None:
            nonlocal last
            if not self.quiet and time.monotonic() - last > PLAIN_SECONDS:
                last = time.monotonic()
                share = 100 * to / total if total else 100
                line = f"{stage:>9}  {what} {to:,.0f}/{total:,.0f} ({share:.0f} %) {note}"
                print(line.rstrip(), file=sys.stderr, flush=True)

        return advance

    @contextlib.contextmanager
    def _bar(self, stage: str, what: str, total: float) -> Iterator[Callable[[float, str], None]]:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.fields[stage]:>9}  {task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(what, total=max(total, 1e-9), stage=stage, note="")

            def advance(to: float, note: str = "") -> None:
                bar.update(task, completed=to, note=note)

            yield advance
