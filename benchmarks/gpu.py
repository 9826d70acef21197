"""One script that checks and times everything on one GPU in under 8 minutes.

    python benchmarks/gpu.py                    # all parts; writes benchmarks/results/gpu.json
    python benchmarks/gpu.py --parts 1b tests   # these alone; the file's other parts stay
    python benchmarks/gpu.py --smoke            # every part, tiny, on a processor: does it run?

Each part is a process of its own with a time limit, and the file is written after each: a part that
fails, hangs or leaves the device unusable costs nothing but itself. Parts stand in the order of
their weight; one that no time is left for is recorded as such. Without a GPU nothing is measured,
and the file says so.

MFU is FLOPs of the convention below over time over the dense bf16 peak of the datasheet. What the
device reaches in a plain matrix product of random numbers is measured beside it.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import gpu_parts
import torch

from pretrain import store
from pretrain.model import count

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "gpu.json"
BUDGET_SECONDS = 470.0
LEAST_SECONDS = 20.0  # a part is not begun with less


def in_process(name: str, smoke: bool) -> dict[str, Any]:
    """What a part measured, or how it failed."""
    began = time.perf_counter()
    try:
        found = gpu_parts.PARTS[name].work(smoke)
    except Exception as error:
        last = traceback.format_exc().splitlines()[-12:]
        found = {"failed": f"{type(error).__name__}: {error}"[:600], "where": last}
    return found | {"part_seconds": round(time.perf_counter() - began, 1)}


def isolated(name: str, smoke: bool, limit: float) -> dict[str, Any]:
    """The same in a process of its own, which ends when the limit is reached."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        to, said = Path(folder) / "part.json", Path(folder) / "said"
        command = [sys.executable, str(Path(__file__).resolve()), "--part", name, "--to", str(to)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        with said.open("wb") as out:
            child = subprocess.Popen(
                command + ["--smoke"] * smoke, cwd=ROOT, env=environment, stdout=out, stderr=out,
                start_new_session=True,
            )  # fmt: skip
            try:
                child.wait(limit)
                failed = f"exit status {child.returncode}"
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
                failed = f"stopped after its limit of {limit:.0f} s"
        if to.exists():
            found: dict[str, Any] = json.loads(to.read_bytes())
            return found
        where = said.read_text(errors="replace").splitlines()[-12:]
    seconds = round(time.perf_counter() - began, 1)
    return {"failed": failed, "where": where, "part_seconds": seconds}


def measure(names: list[str], smoke: bool, path: Path) -> dict[str, Any]:
    """Run parts one after another; `path` is written after each."""
    old = store.read_json_or_none(path) or {}
    result = head() | {"measured": not smoke}
    result["parts"] = parts = dict(old.get("parts", {})) if old.get("measured") else {}
    until = time.monotonic() + BUDGET_SECONDS
    for name in names:
        limit = min(gpu_parts.PARTS[name].seconds, until - time.monotonic())
        if limit < LEAST_SECONDS:
            parts[name] = {"not_measured": "no time was left for it"}
        else:
            parts[name] = in_process(name, smoke) if smoke else isolated(name, smoke, limit)
        write(path, result)
        print(name, json.dumps(parts[name])[:400], flush=True)
    return result


def head() -> dict[str, Any]:
    return {
        "what": __doc__.splitlines()[0],
        "mfu": f"{count.CONVENTION}; over {gpu_parts.PEAK_SOURCE}",
        "targets": {"1b at 4,096, bf16": 0.60, "124m at 1,024, bf16": 0.55},
    }


def write(path: Path, result: dict[str, Any]) -> None:
    store.write_bytes(path, json.dumps(result, indent=1).encode() + b"\n")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=gpu_parts.PARTS, default=None)
    parser.add_argument("--smoke", action="store_true", help="tiny, on a processor")
    parser.add_argument("--out", type=Path, help="where the result goes")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--to", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.part:
        write(chosen.to, in_process(chosen.part, chosen.smoke))
        return
    if not chosen.smoke and not torch.cuda.is_available():
        result = head() | {"measured": False, "reason": "no CUDA device", "parts": {}}
        write(chosen.out or RESULTS, result)
        print("not measured: no CUDA device")
        return
    with tempfile.TemporaryDirectory() as folder:
        # What a smoke run finds is no result.
        path = chosen.out or (Path(folder) / "gpu.json" if chosen.smoke else RESULTS)
        measure(chosen.parts or list(gpu_parts.PARTS), chosen.smoke, path)


if __name__ == "__main__":
    main()
