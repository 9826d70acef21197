"""Ranks of a training as forked processes: torch is imported once, no data stage runs again.

A driver forks before it computes anything, as torchrun would start ranks afresh.
"""

import os
import shutil
import socket
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path

from pretrain.errors import PretrainError
from pretrain.events import Log
from pretrain.model.sizes import SIZES
from pretrain.ranks import place
from pretrain.ranks.world import from_environment
from pretrain.train import loop
from tests.conftest import tiny_recipe

# A small row with experts; recipes can only name rows of the table.
EXPERTS = replace(SIZES["1m"], experts=4, expert_hidden=32, experts_per_token=2, shared_hidden=32)


class Fleet:
    """`n` ranks that train in `folder`; what they print lies beside it in rank-N.err."""

    def __init__(self, n: int, folder: Path, *overrides: str) -> None:
        self.folder = folder
        SIZES["tiny-experts"] = EXPERTS
        recipe = tiny_recipe(folder.parent / "corpus", *overrides)
        with socket.socket() as listener:  # rank 0 serves the store on it: no other takes its port
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            self.pids = [self._fork(rank, n, listener, recipe) for rank in range(n)]

    def _fork(self, rank, n, listener, recipe):
        child = os.fork()
        if child:
            return child
        code = 1
        os.environ |= {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1",
            "WORLD_SIZE": str(n), "LOCAL_WORLD_SIZE": str(n),
            "MASTER_PORT": str(listener.getsockname()[1]),
            place.LISTENS: str(listener.detach() if rank == 0 else -1),
        }  # fmt: skip
        listener.close()
        sys.stderr = open(self.errors(rank), "w")  # noqa: SIM115
        try:
            loop.train(from_environment(), recipe, self.folder, Log(quiet=True), "k")
            code = 0
        except PretrainError as error:
            print(f"error: {error}", file=sys.stderr)
            code = error.exit_code
        except BaseException:
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(code)

    def errors(self, rank: int) -> Path:
        return self.folder.parent / f"{self.folder.name}-rank-{rank}.err"

    def said(self) -> str:
        return "".join(self.errors(rank).read_text() for rank in range(len(self.pids)))

    def lines(self) -> int:
        """Lines of metrics so far."""
        path = self.folder / "train" / "metrics.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def send(self, rank: int, number: int, after_lines: int, seconds: float = 0.0) -> bool:
        """Send a signal to a rank once there are more lines of metrics and so many seconds passed.

        Returns whether it was still there.
        """
        while self.lines() <= after_lines:
            if os.waitid(os.P_PID, self.pids[rank], os.WEXITED | os.WNOHANG | os.WNOWAIT):
                return False
            time.sleep(0.002)
        time.sleep(seconds)
        over = os.waitid(os.P_PID, self.pids[rank], os.WEXITED | os.WNOHANG | os.WNOWAIT)
        os.kill(self.pids[rank], number)
        return not over

    def wait(self) -> list[int]:
        """Exit codes of all ranks; minus the signal's number where one ended it."""
        return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in self.pids]


def fresh(source: Path, target: Path) -> Path:
    """A copy of a run without its training."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("train", "evaluate", "publish"))
    return target


def result(folder: Path, step: int = 12) -> dict[str, bytes]:
    """Every byte of the last checkpoint and of what training recorded of the data."""
    final = folder / "train" / "checkpoints" / f"step-{step:08d}"
    return {p.name: p.read_bytes() for p in sorted(final.iterdir())} | {
        n: (folder / "train" / n).read_bytes() for n in ("metrics.jsonl", "samples.jsonl")
    }
