"""The ranks of one attempt on this host: started, watched, ended as a whole.

Ranks are forked from a server (multiprocessing's) that has imported torch and never computed, so a
start costs no import; each is in a session of its own. They meet at a socket that was bound before
them, another one each time and open to this host alone: no port is guessed, none is taken twice.
"""

import contextlib
import faulthandler
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import connection, forkserver, get_context, parent_process
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from pretrain.errors import Stopped
from pretrain.launch import outcome
from pretrain.ranks.place import LISTENS, Place

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)  # that ask to stop
GRACE = 6.0  # seconds after a fault: longer than a heartbeat needs to see that a rank is silent
_SAVE_GRACE = 600.0  # a rank may still write a checkpoint when another one has left
_TERM_SECONDS = 1.0
# What a rank imports before its first step; the last three are imported late by torch and pyarrow
# and take longest. A missing one is passed over.
_PRELOAD = ["pretrain.cli", "pretrain.train.loop", "torch.distributed.fsdp",
            "torch.distributed.tensor", "torch._dynamo", "pandas"]  # fmt: skip

Main = Callable[[Sequence[str]], int]


@dataclass(frozen=True)
class Fleet:
    """How many ranks, where."""

    ranks: int  # of this host
    fewest: int = 0  # that may go on without one that keeps dying; 0: never without one
    hosts: int = 1
    host: int = 0  # of these
    address: str = "127.0.0.1"  # of host 0
    port: int = 0
    devices: tuple[str, ...] = ()  # one for each rank, where they are known
    fits: Callable[[int], bool] = lambda ranks: True  # whether so many can share the work


class Session:
    """Ranks that run `main(words)`; `slots` are the places of the host that take part.

    variables: that each rank is told besides its place.
    """

    def __init__(
        self, fleet: Fleet, slots: Sequence[int], run_folder: Path,
        variables: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.fleet, self.slots, self.run_folder = fleet, slots, run_folder
        self.variables = dict(variables or {})
        self._running: dict[int, ForkServerProcess] = {}
        self._codes: dict[int, int] = {}

    def start(self, main: Main, words: Sequence[str]) -> None:
        context = get_context("forkserver")
        context.set_forkserver_preload(_PRELOAD)
        # A scheduler may signal every process it sees; the server must outlive that to tell how
        # ranks ended. It begins with these blocked, and so does each rank, which lets them in.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        fleet, size = self.fleet, len(self.slots)
        alone = fleet.hosts == 1
        (self.run_folder / "launch").mkdir(parents=True, exist_ok=True)
        with socket.socket() as listener:
            if alone:
                listener.bind(("127.0.0.1", 0))
                listener.listen(socket.SOMAXCONN)
            port = listener.getsockname()[1] if alone else fleet.port
            for local in range(size):
                rank = fleet.host * size + local
                listens = (0 if rank == 0 else -1) if alone else None  # 0: its number comes with it
                place = Place(rank, fleet.hosts * size, local, size, fleet.address, port, listens)
                said = self.variables | place.environment()
                if fleet.devices:
                    said["CUDA_VISIBLE_DEVICES"] = ",".join(fleet.devices[s] for s in self.slots)
                given = listener if listens == 0 else None
                errors = str(outcome.errors_of(self.run_folder, rank))
                words_of_rank = (main, tuple(words), said, given, errors)
                self._running[rank] = context.Process(target=_rank, args=words_of_rank)
                self._running[rank].start()

    def signal(self, number: int) -> None:
        """Pass a signal on to each rank; from a handler, so no process is asked how it is."""
        for rank, process in list(self._running.items()):
            if process.pid and rank not in self._codes:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, number)

    def watch(self) -> dict[int, int]:
        """Exit codes by rank, in the order in which ranks ended; waits for all of them."""
        codes = self._codes
        limit = float("inf")
        while len(codes) < len(self._running):
            left = {p.sentinel: rank for rank, p in self._running.items() if rank not in codes}
            for sentinel in connection.wait(list(left), min(0.5, max(0.0, limit - _now()))):
                rank = left[int(sentinel)]  # type: ignore[arg-type]
                codes[rank] = self._code(rank)
                well = codes[rank] in (0, Stopped.exit_code)
                limit = min(limit, _now() + (_SAVE_GRACE if well else GRACE))
            if _now() >= limit:
                self.end()
                codes |= {rank: self._code(rank) for rank in self._running.keys() - codes.keys()}
        return codes

    def end(self) -> None:
        """End every rank and whatever it started: SIGTERM, and soon SIGKILL."""
        alive = [process for process in self._running.values() if process.is_alive()]
        if alive:
            self._signal_sessions(signal.SIGTERM)
            until = _now() + _TERM_SECONDS
            for process in alive:
                process.join(max(0.0, until - _now()))
        self._signal_sessions(signal.SIGKILL)
        for process in alive:
            process.join()

    def _code(self, rank: int) -> int:
        self._running[rank].join()
        code = self._running[rank].exitcode
        assert code is not None
        return code

    def _signal_sessions(self, number: int) -> None:
        for process in self._running.values():
            assert process.pid
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:  # all is over, or its session has not begun
                if process.is_alive():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process.pid, number)


def _rank(
    main: Main, words: Sequence[str], said: dict[str, str], listener: socket.socket | None,
    errors: str,
) -> None:  # fmt: skip
    """What a rank's process does."""
    os.setsid()
    threading.Thread(target=_end_with_supervisor, name="supervisor", daemon=True).start()
    if listener is not None:
        said[LISTENS] = str(listener.detach())
    os.environ |= said
    own = open(errors, "a", buffering=1)  # noqa: SIM115  as long as the process
    own.write(time.strftime(f"%Y-%m-%d %H:%M:%S rank {said['RANK']} of {said['WORLD_SIZE']}\n"))
    faulthandler.enable(own)
    if said["RANK"] != "0":
        os.dup2(own.fileno(), sys.stderr.fileno())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    try:
        code = main(words)
    except BaseException:
        traceback.print_exc(file=own)
        raise
    sys.exit(code)


def _end_with_supervisor() -> None:
    """Ranks without anyone to look after them would hold the run: they end too."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os.killpg(0, signal.SIGKILL)


def _now() -> float:
    return time.monotonic()
