"""How much slower a training step is while checkpoints are scored beside it, on the same cores.

One training and the scorer that `evaluate.during` starts. From the moment the scorer asks its first
items it is stopped (SIGSTOP) for every other block of steps, so that a busy minute falls on both
sides; the first step of a block is left out. It always has work: whole BLIMP for one checkpoint.
What it got of a core while it ran stands beside the ratio: a scorer that got nothing costs nothing.

    python benchmarks/score_during.py --data ../shared/data/bench [--steps 200] [--threads 2]

writes benchmarks/results/score_during.json. Run it on a quiet machine.
"""

import argparse
import json
import os
import platform
import signal
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch

from pretrain import flow, recipe, store
from pretrain.evaluate.beside import Beside
from pretrain.events import Log
from pretrain.ranks.world import World
from pretrain.train import feed, loop

RESULTS = Path(__file__).parent / "results" / "score_during.json"
FIRST = 4  # steps before the checkpoint
GOAL = 1.02
RECIPE = """
name = "beside"
seed = 1
[collect.sources.code]
kind = "python-environment"
part = "code"
max_bytes = 4_000_000
[curate.rules.some_words]
some_words = "n_words >= 5"
[tokenize]
vocab_size = 8192
[mix]
sequence_length = 256
held_out = 0.01
[model]
size = "13m"
[train]
steps = {steps}
batch_tokens = {tokens}
threads = {threads}
checkpoint_every = {first}
evaluate_every = {steps}
sample_every = {steps}
[evaluate]
during = ["blimp"]
data = "{data}"
"""


class Switch:
    """Stops the scorer for every other block of steps, and notes what it got of a core."""

    def __init__(self, beside: Beside, run: Path, block: int) -> None:
        self.beside, self.run, self.block = beside, run, block
        self.beside_steps: dict[int, bool] = {}
        self.seconds = self.core_seconds = 0.0
        self._since: tuple[float, float] | None = None

    def at(self, step: int) -> None:
        """Called before the step, counted from 0."""
        if step < FIRST:
            return
        if step == FIRST:
            self._await_first_items()
        n = step - FIRST
        if n % self.block == 0:
            self._turn(n // self.block % 2 == 1)
        elif self._since or n // self.block % 2 == 0:
            self.beside_steps[step + 1] = self._since is not None

    def _turn(self, on: bool) -> None:
        process = self.beside.process
        assert process
        if process.poll() is not None:
            raise SystemExit(f"the scorer ended, see {self.beside.told}; fewer --steps")
        if self._since:
            self.seconds += time.perf_counter() - self._since[0]
            self.core_seconds += core_seconds(process.pid) - self._since[1]
        self._since = (time.perf_counter(), core_seconds(process.pid)) if on else None
        process.send_signal(signal.SIGCONT if on else signal.SIGSTOP)

    def _await_first_items(self) -> None:
        held = self.run / "score" / "during"
        until = time.monotonic() + 300
        while not list(held.glob("step-*/answers/*")):
            if time.monotonic() > until:
                raise SystemExit(f"the scorer does not begin, see {self.beside.told}")
            time.sleep(0.1)


def core_seconds(pid: int) -> float:
    """Processor time of a process and its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    page = folder / "beside.toml"
    page.write_text(
        RECIPE.format(
            steps=given.steps + FIRST,
            tokens=given.rows * 256,
            threads=given.threads,
            first=FIRST,
            data=given.data.resolve(),
        )
    )
    loaded, run = recipe.load(page), folder / "run"
    log = Log(run, quiet=True)
    flow.record_recipe(loaded, run)
    for stage in ("collect", "curate", "tokenize", "mix"):
        flow.run_stage(stage, loaded, run, os.cpu_count() or 1, log)
    beside = Beside(loaded.evaluate, run, log)
    switch = Switch(beside, run, given.block)
    real = feed.Feed.get

    def get(self: feed.Feed, step: int) -> Any:
        switch.at(step)
        return real(self, step)

    feed.Feed.get = get  # type: ignore[method-assign]
    # It never ends on its own in time: left on an error's way, which ends it.
    beside.start()
    try:
        loop.train(World(0, 1), loaded, run, log, "benchmark")
    finally:
        if beside.process:
            beside.process.send_signal(signal.SIGCONT)
        beside.__exit__(KeyboardInterrupt)
        feed.Feed.get = real  # type: ignore[method-assign]
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for line in store.read_lines(run / "train" / "speed.jsonl"):
        if line["step"] in switch.beside_steps:
            seconds[switch.beside_steps[line["step"]]].append(line["seconds"])
    with_, without = (statistics.median(seconds[side]) for side in (True, False))
    return {
        "step_seconds_with": with_,
        "step_seconds_without": without,
        "ratio": with_ / without,
        "goal": GOAL,
        "steps": {"with": len(seconds[True]), "without": len(seconds[False])},
        "scorer_share_of_a_core": switch.core_seconds / switch.seconds if switch.seconds else None,
        "threads": given.threads,
        "cores": os.cpu_count(),
        "cpu": platform.processor() or platform.machine(),
        "torch": torch.__version__,
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path, required=True, help="folder that blimp/ is in")
    arguments.add_argument("--steps", type=int, default=200)
    arguments.add_argument("--block", type=int, default=5, help="steps with, then as many without")
    arguments.add_argument("--rows", type=int, default=8, help="of 256 tokens in a batch")
    arguments.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    arguments.add_argument("--out", type=Path, default=RESULTS)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        found = measure(Path(scratch), given)
    store.write_json(given.out, found)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
