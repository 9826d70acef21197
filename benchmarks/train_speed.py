"""Training speed and memory on a CPU, beside `transformers`, litgpt and plain PyTorch.

The same shape (6 layers, width 384, 32,768 words, 23 M parameters), the same batches of 32 x 256
tokens in one pass, AdamW, clipped gradients; every side in a process of its own, one step each in
turn, so that a busy minute falls on all. Ours is `train.loop` itself over a run folder made from
the Python installation's own sources. Each peer runs in the faster of fp32 and bf16, by trial.
Rates are judged against the faster of the fp32 and bf16 matrix products, measured between rounds.

    pip install transformers litgpt     # or litgpt in an environment of its own: --litgpt PYTHON
    python benchmarks/train_speed.py    # writes benchmarks/results/train_speed.{json,md}
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch

from pretrain import flow, recipe, store
from pretrain.events import Log
from pretrain.model import count
from pretrain.ranks.world import World
from pretrain.train import data, feed, loop, precision

HERE = Path(__file__).parent
PEERS = HERE / "train_speed_peers.py"
OURS = "pretrain"
PEER_GOALS = {"transformers": 3.0, "litgpt": 3.0, "plain": 1.3}  # tokens/s, times theirs
LENGTH, VOCABULARY, STEPS = 256, 32_768, 40
RECIPE = """
name = "speed"
seed = 1
[collect]
max_quarantined = 0.2
[collect.sources.code]
kind = "python-environment"
part = "code"
max_bytes = 12_000_000
[curate.rules.some_words]
some_words = "n_words >= 5"
[tokenize]
vocab_size = 32768
[mix]
sequence_length = 256
held_out = 0.01
[model]
size = "13m"
kv_heads = 6
tied = true
[train]
steps = 40
batch_tokens = {tokens}
optimizer = "adamw"
lr = 1e-3
warmup = 0.0
schedule = "cosine"
checkpoint_every = 40
evaluate_every = 40
sample_every = 40
"""


class Worker:
    """One side: a process that makes a step for each line it is sent."""

    def __init__(self, name: str, command: list[str], scratch: Path) -> None:
        self.name, self.steps = name, []
        self.began = time.perf_counter()
        place = scratch / f"inductor-{name}"  # empty: compiling is part of the first step
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(place)},
        )  # fmt: skip
        self.facts = self._read()
        self.step()
        self.first_seconds = time.perf_counter() - self.began - self.facts.get("trial_seconds", 0)

    def step(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("step\n")
        self.process.stdin.flush()
        self.steps.append(self._read())

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout
        for line in self.process.stdout:
            if line.startswith("@"):
                return dict(json.loads(line[1:]))
        raise SystemExit(f"{self.name} ended: {self.process.wait()}")

    def summary(self, n_tokens: int) -> dict[str, Any]:
        seconds = [s["seconds"] for s in self.steps[1:]]
        return self.facts | {
            "tokens_per_second": n_tokens / statistics.median(seconds),
            "step_seconds": seconds,
            "first_step_after_seconds": self.first_seconds,
            "peak_bytes": self.steps[-1]["peak_bytes"],
            "losses": [s["loss"] for s in self.steps],
        }


def ours(run: Path) -> None:
    """The trainer's loop, held before each step until the parent asks for it."""
    loaded = flow.recorded_recipe(run)
    real, waiting = feed.Feed.get, [0.0]
    metrics = run / "train" / "metrics.jsonl"

    def get(self: feed.Feed, step: int) -> Any:
        if step:
            loss = store.read_lines(metrics)[-1]["loss"]
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            say(loss=loss, seconds=time.perf_counter() - waiting[0], peak_bytes=peak)
        else:
            dtype = precision.product_dtype(loaded.train.precision, torch.device("cpu"))
            say(precision=str(dtype)[6:], torch=torch.__version__)
        if not sys.stdin.readline():
            raise SystemExit
        waiting[0] = time.perf_counter()
        return real(self, step)

    feed.Feed.get = get  # type: ignore[method-assign]
    loop.train(World(0, 1), loaded, run, Log(quiet=True), "benchmark")


def say(**what: Any) -> None:
    print("@" + json.dumps(what), flush=True)


def make_run(folder: Path, n_tokens: int) -> Path:
    """Token shards of 32,768 words from the sources that this Python carries."""
    (folder / "speed.toml").write_text(RECIPE.replace("{tokens}", str(n_tokens)))
    loaded, run = recipe.load(folder / "speed.toml"), folder / "run"
    flow.record_recipe(loaded, run)
    for stage in ("collect", "curate", "tokenize", "mix"):
        flow.run_stage(stage, loaded, run, os.cpu_count() or 1, Log(run, quiet=True))
    return run


def matrix_rates() -> dict[str, float]:
    """FLOP/s of a square product, the best of three, by dtype."""
    n, rates = 2048, {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = (torch.randn(n, n, dtype=dtype) for _ in range(2))
        times = []
        for _ in range(4):
            start = time.perf_counter()
            a @ b
            times.append(time.perf_counter() - start)
        rates[str(dtype)[6:]] = 2 * n**3 / min(times[1:])
    return rates


def measure(
    scratch: Path, litgpt: str, peers: list[str], n_rows: int, seconds: float
) -> dict[str, Any]:
    began = time.perf_counter()
    run = make_run(scratch, n_rows * LENGTH)
    loaded = flow.recorded_recipe(run)
    shape = loaded.model.shape(VOCABULARY)
    batches = data.open_data(run, loaded.train)
    rows = np.stack([batches.batch(step)[0] for step in range(STEPS)])
    np.save(scratch / "rows.npy", rows)
    threads = os.cpu_count() or 1
    torch.set_num_threads(threads)
    sizes = json.dumps({
        "layers": shape.layers, "width": shape.width, "heads": shape.heads,
        "hidden": shape.hidden, "vocab_size": VOCABULARY, "length": LENGTH, "threads": threads,
    })  # fmt: skip
    python = {"transformers": sys.executable, "litgpt": litgpt, "plain": sys.executable}
    commands = {OURS: [sys.executable, __file__, "--ours", str(run)]} | {
        name: [python[name], str(PEERS), sizes, name, str(scratch / "rows.npy")] for name in peers
    }
    workers, rates = [], [matrix_rates()]
    for name, command in commands.items():
        workers.append(Worker(name, command, scratch))
        print(f"{name}: first step after {workers[-1].first_seconds:.1f} s", flush=True)
    while len(workers[0].steps) < STEPS - 1:
        start = time.perf_counter()
        turn = len(rates) % len(workers)
        for worker in workers[turn:] + workers[:turn]:
            worker.step()
        rates.append(matrix_rates())
        print({w.name: round(w.steps[-1]["seconds"], 2) for w in workers}, flush=True)
        round_seconds = time.perf_counter() - start
        if len(rates) > 2 and time.perf_counter() - began + round_seconds > seconds:
            break
    for worker in workers:
        worker.process.kill()
        worker.process.wait()
    sides = {w.name: w.summary(n_rows * LENGTH) for w in workers}
    flops = n_rows * LENGTH * count.flops_per_token(shape, LENGTH)
    for side in sides.values():
        # Each step against the mean of the rates measured before and after its round.
        side["matrix_share"] = statistics.median(
            flops / s / statistics.mean(max(r.values()) for r in rates[i : i + 2])
            for i, s in enumerate(side["step_seconds"])
        )
        side["times_ours"] = statistics.median(
            theirs / own
            for theirs, own in zip(side["step_seconds"], sides[OURS]["step_seconds"], strict=True)
        )
    cpu = [x for x in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in x]
    return {
        "what": (__doc__ or "").splitlines()[0],
        "machine": f"{cpu[0].split(':')[1].strip()}, {threads} cores, {platform.machine()}",
        "load_average": os.getloadavg(),
        "parameters": count.n_parameters(shape),
        "batch": [n_rows, LENGTH],
        "step_flops": flops,
        "flops_convention": count.CONVENTION,
        "matrix_rates": {
            d: statistics.median(r[d] for r in rates) for d in ("float32", "bfloat16")
        },
        "matrix_rates_by_round": rates,
        "sides": sides,
    }


def table(result: dict[str, Any]) -> str:
    rates = {d: r / 1e9 for d, r in result["matrix_rates"].items()}
    own = result["sides"][OURS]
    n_rounds = len(own["step_seconds"])
    lines = [
        "# Training on a CPU",
        "",
        f"Written by `benchmarks/train_speed.py`. {result['machine']}; load "
        f"{result['load_average'][0]:.1f}. {result['parameters']:,} parameters, batch "
        f"{result['batch'][0]} x {LENGTH} in one pass, {n_rounds} rounds of one step each, "
        f"medians. Matrix product: {rates['float32']:.0f} GFLOP/s fp32, {rates['bfloat16']:.0f} "
        "bf16; its share is of the faster. Each peer in its faster precision.",
        "",
        "| | precision | tokens/s | ours is | matrix rate | peak memory | first step | loss |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, s in result["sides"].items():
        cells = [
            name,
            s["precision"],
            f"{s['tokens_per_second']:,.0f}",
            f"{s['times_ours']:.2f} x",
            f"{s['matrix_share']:.0%}",
            f"{s['peak_bytes'] / 1e6:,.0f} MB",
            f"{s['first_step_after_seconds']:.1f} s",
            f"{s['losses'][0]:.2f} → {s['losses'][-1]:.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    goals = [
        (f"{wanted:g} times {name}", result["sides"][name]["times_ours"], wanted)
        for name, wanted in PEER_GOALS.items()
        if name in result["sides"]
    ]
    least = min(s["peak_bytes"] for name, s in result["sides"].items() if name != OURS)
    goals += [
        ("0.6 of the matrix rate", own["matrix_share"], 0.6),
        ("memory of the leanest peer, 2 times ours", least / own["peak_bytes"], 2.0),
    ]
    lines += ["", "| goal | measured | |", "|---|---|---|"]
    lines += [f"| {g} | {v:.2f} | {'met' if v >= w else 'missed'} |" for g, v, w in goals]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--ours", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--litgpt", default=sys.executable, help="a Python that has litgpt")
    parser.add_argument("--peers", nargs="+", default=list(PEER_GOALS), choices=PEER_GOALS)
    parser.add_argument("--rows", type=int, default=32, help="of a batch; fewer to try it out")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--seconds", type=float, default=540, help="stop after")
    chosen = parser.parse_args()
    if chosen.ours:
        ours(chosen.ours)
        return
    with tempfile.TemporaryDirectory() as scratch:
        result = measure(Path(scratch), chosen.litgpt, chosen.peers, chosen.rows, chosen.seconds)
    text = json.dumps(result, indent=1).encode() + b"\n"
    store.write_bytes(chosen.results / "train_speed.json", text)
    store.write_bytes(chosen.results / "train_speed.md", table(result).encode())
    print(table(result))


if __name__ == "__main__":
    main()
