"""What replicas in the hosts' memory cost a step, and what they save when a rank is killed.

cost        a state of so many bytes, of one rank on one host: seconds a step waits, by size,
            written in two places with its checksum; beside it one copy of the same bytes
recovery    the same seeded kills with train.replica_every = 1 and without: steps computed in
            vain, seconds until the ranks train again, what a step waits, bits at the end

python benchmarks/parallel_replicas.py       # writes benchmarks/results/parallel_replicas.json
"""

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from benchmarks import parallel_recovery  # noqa: E402
from benchmarks.parallel_recovery import compared, events, make_run, rank, struck  # noqa: E402
from pretrain import store  # noqa: E402
from pretrain.events import Log  # noqa: E402
from pretrain.launch import session  # noqa: E402
from pretrain.launch.memory import MEMORY  # noqa: E402
from pretrain.launch.session import Fleet  # noqa: E402
from pretrain.launch.supervise import Supervisor  # noqa: E402
from pretrain.ranks.replica import Replicas  # noqa: E402
from pretrain.ranks.world import World  # noqa: E402
from pretrain.train import clock  # noqa: E402

RANKS, BLOWS, STEPS = 4, 6, 60
LAYOUTS = {
    "copies 4": ("train.sums=exact", "train.dropout=0.1"),
    "shard 2 x tensor 2": ("train.layout.shard=2", "train.layout.tensor=2", "train.dropout=0.1"),
}


def cost(n_megabytes: int, n_rounds: int) -> dict[str, Any]:
    """Medians over rounds; a round is one replica and one plain copy."""
    state = {f"t{i}": torch.randn(1 << 18) for i in range(n_megabytes)}
    other = {name: torch.empty_like(tensor) for name, tensor in state.items()}
    seconds: dict[str, list[float]] = {"replica": [], "copy": []}
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        replicas = Replicas(World(0, 1), [0], "cost", Path(folder), 1)
        for step in range(n_rounds + 2):  # two fill the slots
            start = time.perf_counter()
            replicas.write((0, step), state, {})
            written = time.perf_counter()
            for name, tensor in state.items():
                other[name].copy_(tensor)
            if step >= 2:
                seconds["replica"].append(written - start)
                seconds["copy"].append(time.perf_counter() - written)
        in_memory = sum(path.stat().st_size for path in Path(folder).iterdir())
    return {
        "state_bytes": sum(t.nbytes for t in state.values()),
        "bytes_in_memory": in_memory,
        "rounds": n_rounds,
        **{f"{name}_seconds": statistics.median(found) for name, found in seconds.items()},
    }


def recovery(made: Path, scratch: Path, name: str, n_blows: int) -> dict[str, Any]:
    """One layout, straight, and under the same kills with replicas and without."""
    rng = random.Random(20)
    every = STEPS // BLOWS
    moments = [every * i + rng.randrange(2, every) for i in range(n_blows)]
    blows = [(rng.randrange(RANKS), signal.SIGKILL, after) for after in moments]
    n_steps = every * (n_blows + 1)
    words = [*LAYOUTS[name], f"train.steps={n_steps}", f"train.checkpoint_every={every}"]
    ways: dict[str, tuple[list[str], list[Any]]] = {
        "straight": ([], []),
        "disk": ([], blows),
        "memory": (["train.replica_every=1"], blows),
    }
    found: dict[str, Any] = {"settings": words, "steps": n_steps, "moments": moments}
    for way, (more, strikes) in ways.items():
        run = scratch / f"{name}, {way}"
        shutil.copytree(made, run)
        watched = Supervisor(rank, Fleet(RANKS), run, Log(run, quiet=True))
        own = [str(run), *words, *more]
        if not strikes:
            code = watched.run(own, own)
            assert code == 0, f"{run.name} ended with code {code}"
            continue
        with struck(watched, run, strikes) as told:
            code = watched.run(own, own)
        assert code == 0, f"{run.name} ended with code {code}"
        firsts = [line["first"] for line in clock.attempts(run / "train" / "clock.jsonl")]
        faults = [e["step"] - 1 for e in events(run, "attempt_end") if "step" in e]
        speed = store.read_lines(run / "train" / "speed.jsonl")
        found[way] = {
            "steps_lost": [a - b for a, b in zip(faults, firsts[1:], strict=True)],
            "seconds_until_it_trains": [t["seconds"] for t in told],
            "median_save_seconds": statistics.median(row["save_seconds"] for row in speed),
            "median_step_seconds": statistics.median(row["seconds"] for row in speed),
            "ledger": clock.ledger(run / "train" / "clock.jsonl"),
            **compared(run, scratch / f"{name}, straight", n_steps),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small states, two kills")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    given = parser.parse_args()
    torch.set_num_threads(1)
    session._PRELOAD.append(parallel_recovery.__name__)
    sizes = (4, 16) if given.quick else (64, 256, 1024)
    result: dict[str, Any] = {"what": (__doc__ or "").splitlines()[0], "cores": os.cpu_count()}
    result["load_average"] = [os.getloadavg()]
    result["cost"] = [cost(n, 3 if given.quick else 7) for n in sizes]
    with tempfile.TemporaryDirectory() as folder:
        made = make_run(Path(folder))
        result["recovery"] = {
            name: recovery(made, Path(folder), name, 2 if given.quick else BLOWS)
            for name in LAYOUTS
        }
    result["load_average"].append(os.getloadavg())
    text = json.dumps(result, indent=1)
    store.write_bytes(given.results / "parallel_replicas.json", text.encode() + b"\n")
    print(text)


if __name__ == "__main__":
    main()
