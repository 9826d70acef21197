"""A training under the supervisor, without data stages, and faults that strike it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from benchmarks import parallel_recovery
from pretrain.events import Log
from pretrain.launch import session
from pretrain.launch.session import Fleet
from pretrain.launch.supervise import Supervisor
from tests.conftest import tiny_recipe

# What benchmarks/parallel.py strikes with too.
rank, struck = parallel_recovery.rank, parallel_recovery.struck
lines, events = parallel_recovery.lines, parallel_recovery.events

session._PRELOAD.append(__name__)  # so that a rank need not import the tests

EXACT = ("train.sums=exact", "train.dropout=0.1", "train.micro_batch_tokens=64",
         "train.sample_every=100", "train.evaluate_every=100")  # fmt: skip


def bad_device(words):
    """As `rank`; whoever has device 2 is killed in its fifth step."""
    from pretrain.train import average

    devices = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
    mine, done = devices[int(os.environ["LOCAL_RANK"])], []
    real = average.update

    def fail(*arguments):
        done.append(1)
        if mine == "2" and len(done) == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments)

    average.update = fail
    return rank(words)


def bad_memory(words):
    """As `rank`; in the first attempt a bit of rank 1's weights flips in step 6."""
    from pretrain.train import average

    real, done = average.update, []

    def flip(state, parameters, *more):
        done.append(1)
        if os.environ["RANK"] == "1" and len(done) == 6 and words[-1] == "first":
            next(iter(parameters.values())).detach().view(torch.uint8)[0, 0] ^= 1
        return real(state, parameters, *more)

    average.update = flip
    return rank([word for word in words if word != "first"])


def die_at_once(words):
    """Rank 1 dies of what the words say; the others wait for it."""
    if os.environ["RANK"] != "1":
        time.sleep(60)
    if words[0] == "raise":
        raise ZeroDivisionError("a fault of rank 1")
    if words[0].startswith("code"):
        return int(words[0][4:])
    os.kill(os.getpid(), int(words[0]))
    return 0


def leave_a_child(words):
    """In the first attempt each rank starts a process; that of rank 0 dies, rank 1 hangs."""
    if "first" not in words:
        return 0
    name = os.environ["RANK"]
    child = subprocess.Popen(["sleep", "600"])
    (Path(words[0]) / f"child-{name}").write_text(str(child.pid))
    if name == "0":
        while not (Path(words[0]) / "child-1").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(600)
    return 0


def sleep(words):
    (Path(words[0]) / f"pid-{os.environ['RANK']}").write_text(str(os.getpid()))
    time.sleep(600)
    return 0


def kill_the_server(words):
    """In the first attempt rank 0 kills the process that ranks are forked from."""
    if "first" not in words:
        return 0
    folder = Path(words[0])
    (folder / f"pid-{os.environ['RANK']}").write_text(str(os.getpid()))
    while len(list(folder.glob("pid-*"))) < 2:
        time.sleep(0.01)
    if os.environ["RANK"] == "0":
        os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(600)
    return 0


def supervisor(folder, ranks, main=rank, **more):
    tiny_recipe(folder.parent / "corpus")  # its files are written before several ranks read them
    fleet = Fleet(ranks, **more)
    return Supervisor(main, fleet, folder, Log(folder, quiet=True))


if __name__ == "__main__":
    from tests.launch import drill  # by the name that ranks find it under

    folder = Path(sys.argv[1])
    Supervisor(drill.sleep, Fleet(2), folder, Log(folder, quiet=True)).run([str(folder)], [])
