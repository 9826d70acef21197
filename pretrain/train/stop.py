"""A request to stop that is honoured at the end of a step: SIGINT, SIGTERM or SIGUSR1.

The first signal is remembered; the loop saves and leaves with exit code 75. A second Ctrl-C ends as
soon as a checkpoint that is being written is complete; the next run goes on from the last one.
"""

import contextlib
import signal
import threading
import types
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class StopRequest(contextlib.AbstractContextManager["StopRequest"]):
    """`requested` turns True when a signal arrives while the context is open."""

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            self._previous = {s: signal.signal(s, self._remember) for s in _SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: types.FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True
