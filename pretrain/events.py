"""What people see while a stage works, and the record of it.

On a terminal: one live line, cut to its width. Elsewhere: the same line every few seconds.
Every message is also a line of `events.jsonl` with its time: the clock's story of the run, which
nothing is computed from.
"""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

from pretrain import store

PLAIN_SECONDS = 10.0
_BAR_WIDTH, _BAR_FROM_WIDTH = 24, 110


Line = Callable[[int | None], str]  # for a width
Show = Callable[[float, Line], None]  # a share done, and the line


class Advance(Protocol):
    """Notes stand in the order of what matters. share: of the work, where it is not to / total."""

    def __call__(self, to: float, *notes: str, share: float | None = None) -> None: ...


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
    def progress(self, stage: str, what: str, total: float) -> Iterator[Advance]:
        """A function that moves the line to an absolute position of `total`."""
        pace = Pace()

        def line(to: float, notes: tuple[str, ...], share: float | None, width: int | None) -> str:
            done = share if share is not None else to / total if total else 1.0
            percent = 100 * to / total if total else 100
            head = f"{stage:>9}  {what} {to:,.0f}/{total:,.0f} ({percent:.0f} %)"
            left = pace.left(done)
            times = (f"{duration(left)} left", f"ends {_clock(left)}") if left is not None else ()
            # In the order of what a narrow terminal keeps.
            return fitted(head, (*notes[:1], *times[:1], *notes[1:], *times[1:]), width)

        with self._shown() as show:

            def advance(to: float, *notes: str, share: float | None = None) -> None:
                show(to / total if total else 1.0, lambda width: line(to, notes, share, width))

            yield advance

    @contextlib.contextmanager
    def _shown(self) -> Iterator[Show]:
        """A function that shows a line: with a bar, or now and then."""
        if self.terminal:
            with _bar() as show:
                yield show
            return
        last = time.monotonic()

        def print_line(share: float, line: Line) -> None:
            nonlocal last
            text = line(None)  # the pace is told of every position
            if not self.quiet and time.monotonic() - last > PLAIN_SECONDS:
                last = time.monotonic()
                print(text, file=sys.stderr, flush=True)

        yield print_line


@contextlib.contextmanager
def _bar() -> Iterator[Show]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True)
    text = TextColumn("{task.description}", markup=False)
    room = 2 + _BAR_WIDTH if console.width >= _BAR_FROM_WIDTH else 1
    columns = (text, BarColumn(bar_width=_BAR_WIDTH)) if room > 1 else (text,)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=1.0)

        def show(share: float, line: Line) -> None:
            bar.update(task, completed=share, description=line(console.width - room))

        yield show


class Pace:
    """How long the rest takes at the mean speed so far; told of the share of the work done."""

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None

    def left(self, share: float) -> float | None:
        """Seconds, or None where nothing is known: at the first share, which another run did."""
        now = time.monotonic()
        if self._first is None:
            self._first = now, share
        began, first = self._first
        return (now - began) * (1 - share) / (share - first) if share > first else None


def fitted(head: str, parts: Iterable[str], width: int | None) -> str:
    """The head and as many of the parts as there is room for, the first ones first."""
    line = head
    for i, part in enumerate(p for p in parts if p):
        longer = f"{line}{', ' if i else ' '}{part}"
        if width is not None and len(longer) > width:
            break
        line = longer
    return line if width is None else line[:width]


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 129_600 else f"{seconds / 86_400:.1f} days"


def _clock(seconds: float) -> str:
    """The local time so many seconds from now."""
    at = time.localtime(time.time() + seconds)
    day = "" if seconds < 72_000 else "%a " if seconds < 500_000 else "%d %b "
    return time.strftime(f"{day}%H:%M", at)
