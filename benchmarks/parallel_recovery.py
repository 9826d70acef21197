"""Ranks of a training are killed under the supervisor, and it goes on: how soon, with which bits.

    strike   a rank that trains gets a signal once metrics.jsonl has so many lines
    ended    the supervisor has seen it and every rank of the attempt is gone     attempt_end
    trains   the struck rank's successor has begun a step                         ranks/rank-N.json

The recipe lies beside the run, as corpus/tiny.toml. Steps take 50 ms at least, so that blows fall
between steps that differ. tests/launch/drill.py strikes with the same hand.
"""

import os
import random
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pretrain import flow, recipe, store
from pretrain.errors import PretrainError
from pretrain.events import Log
from pretrain.launch.session import Fleet
from pretrain.launch.supervise import Supervisor
from pretrain.ranks.world import from_environment

RECIPE = """
name = "tiny"
seed = 5
[collect]
max_quarantined = 0.2
[collect.sources.code]
kind = "python-environment"
part = "code"
max_bytes = 1_000_000
[curate.rules.some_words]
some_words = "n_words >= 5"
[tokenize]
vocab_size = 512
[mix]
sequence_length = 32
held_out = 0.05
[model]
size = "1m"
layers = 2
width = 64
heads = 4
kv_heads = 2
hidden = 128
[train]
batch_tokens = 256
micro_batch_tokens = 64
precision = "fp32"
threads = 1
checkpoint_every = 4
evaluate_every = 1000
evaluate_tokens = 256
sample_every = 1000
"""
# What is killed, and whether its bits must be those of a run that nobody disturbed.
LAYOUTS = {
    "copies 4": ("train.sums=exact", "train.dropout=0.1"),
    "shard 2 x replicate 2": ("train.layout.shard=2", "train.dropout=0.1"),
}
RANKS, BLOWS, STEPS_A_BLOW = 4, 20, 5


def rank(words: Sequence[str]) -> int:
    """What a rank runs: `pretrain train`, each step 50 ms at least."""
    from pretrain.train import gradients, loop

    real = gradients.Gradients.of

    def slow(self: gradients.Gradients, *arguments: Any) -> Any:
        time.sleep(0.05)
        return real(self, *arguments)

    gradients.Gradients.of = slow  # type: ignore[method-assign]
    folder, *overrides = words
    try:
        world = from_environment()
        loaded = recipe.load(Path(folder).parent / "corpus" / "tiny.toml", overrides)
        loop.train(world, loaded, Path(folder), Log(quiet=True), "k")
        world.close()
    except PretrainError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def lines(folder: Path) -> int:
    path = folder / "train" / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [e for e in store.read_lines(folder / "events.jsonl") if e["event"] == kind]


def training(
    watched: Supervisor, folder: Path, number: int, over: threading.Event, not_in: Any = None
) -> tuple[Any, int] | None:
    """(attempt, pid) of a rank once it trains, in another attempt than one; None if it is over."""
    while not over.is_set():
        session = watched._session
        process = session._running.get(number) if session and session is not not_in else None
        found = store.read_json_or_none(folder / "train" / "ranks" / f"rank-{number}.json")
        if process and process.pid and found and found["pid"] == process.pid and found["step"]:
            return session, process.pid
        time.sleep(0.005)
    return None


@contextmanager
def struck(
    watched: Supervisor, folder: Path, blows: Sequence[tuple[int, signal.Signals, int]]
) -> Iterator[list[dict[str, Any]]]:
    """While the context is open: each blow (rank, signal, lines of metrics) in its turn.

    Yields a list that grows: rank, signal, lines then, seconds until that rank trained again.
    """
    over, told = threading.Event(), list[dict[str, Any]]()

    def strike() -> None:
        found = training(watched, folder, blows[0][0], over)
        for number, sign, after in blows:
            while not over.is_set() and lines(folder) < after:
                time.sleep(0.002)
            found = found and training(watched, folder, number, over)
            if over.is_set() or not found:
                return
            at = lines(folder)
            os.kill(found[1], sign)
            struck_at = time.time()
            found = training(watched, folder, number, over, found[0])
            moments = {
                "ended": events(folder, "attempt_end")[-1]["time"],
                "started": events(folder, "attempt_start")[-1]["time"],
                "seconds": time.time(),
            }
            seconds = {name: round(moment - struck_at, 2) for name, moment in moments.items()}
            told.append({"rank": number, "signal": sign.name, "lines": at} | seconds)

    thread = threading.Thread(target=strike, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        over.set()
        thread.join()


def make_run(scratch: Path) -> Path:
    """A run up to its training, over sources that this Python carries."""
    (scratch / "corpus").mkdir(parents=True)
    (scratch / "corpus" / "tiny.toml").write_text(RECIPE)
    loaded, run = recipe.load(scratch / "corpus" / "tiny.toml"), scratch / "made"
    flow.record_recipe(loaded, run)
    for stage in ("collect", "curate", "tokenize", "mix"):
        flow.run_stage(stage, loaded, run, 1, Log(run, quiet=True))
    return run


def measure(scratch: Path, quick: bool) -> dict[str, Any]:
    """Each layout trained twice, once under blows."""
    n_blows = 2 if quick else BLOWS
    made = make_run(scratch)
    return {
        name: survive(made, scratch, name, n_blows, overrides)
        for name, overrides in LAYOUTS.items()
    }


def survive(
    made: Path, scratch: Path, name: str, n_blows: int, overrides: Sequence[str]
) -> dict[str, Any]:
    """What blows at random ranks and moments cost, and whether any is seen in what comes out."""
    rng = random.Random(20)
    # Never three at one step: that would be a crash loop, and the end.
    moments = [STEPS_A_BLOW * i + rng.randrange(2, 2 + STEPS_A_BLOW) for i in range(n_blows)]
    blows = [(rng.randrange(RANKS), signal.SIGKILL, after) for after in moments]
    n_steps = STEPS_A_BLOW * (n_blows + 1)
    runs = [scratch / f"{name}, {how}" for how in ("killed", "straight")]
    words = [*overrides, f"train.steps={n_steps}", "train.hang_seconds=60"]
    seconds = []
    for run, strikes in zip(runs, (blows, []), strict=True):
        shutil.copytree(made, run)
        watched = Supervisor(rank, Fleet(RANKS), run, Log(run, quiet=True))
        start = time.perf_counter()
        if strikes:
            with struck(watched, run, strikes) as told:
                code = watched.run([str(run), *words], [str(run), *words])
        else:
            code = watched.run([str(run), *words], [str(run), *words])
        seconds.append(time.perf_counter() - start)
        assert code == 0, f"{run.name} ended with code {code}"
    assert len(told) == n_blows, f"{len(told)} of {n_blows} blows fell"
    return {
        "ranks": RANKS,
        "settings": words,
        "steps": n_steps,
        "blows": told,
        "seconds": dict(zip(("killed", "straight"), seconds, strict=True)),
        **compared(*runs, n_steps),
    }


def compared(run: Path, straight: Path, n_steps: int) -> dict[str, Any]:
    """How a run's last checkpoint, losses and samples differ from those of another one."""
    files = [
        {
            path.name: path.read_bytes()
            for path in (one / "train" / "checkpoints" / f"step-{n_steps:08d}").iterdir()
        }
        | {"metrics.jsonl": (one / "train" / "metrics.jsonl").read_bytes()}
        for one in (run, straight)
    ]
    told = [
        [line for line in store.read_lines(one / "train" / "metrics.jsonl") if "loss" in line]
        for one in (run, straight)
    ]
    pairs = list(zip(*told, strict=True))
    keys = ("step", "samples", "first_sample", "last_sample")
    return {
        "bits_equal": files[0] == files[1],
        "files_compared": len(files[0]),
        "same_samples": all([a.get(k) for k in keys] == [b.get(k) for k in keys] for a, b in pairs),
        "largest_loss_difference": max(abs(a["loss"] / b["loss"] - 1) for a, b in pairs),
    }
