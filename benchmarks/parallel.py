"""What it costs to share a training among ranks: time, bytes, checkpoints, and ranks that die.

    steps         each layout's step against one process's, at equal work
    bytes         what ranks send in a step, counted, beside the closed form of plan/traffic.py
    checkpoints   what a step waits for, MB/s to the disk and back, whole and in pieces
    recovery      20 seeded kills under the supervisor: seconds, and bits afterwards

Ranks are processes with one thread, on gloo. Processor time is what is held against one process:
ranks that wait take none, and jobs beside this one do not add to it. Wall time is told too, times
the cores that the ranks can use (all ranks, at most the machine's cores); a round is one run of
every case in turn, so that a busy minute falls on all.

    python benchmarks/parallel.py            # writes benchmarks/results/parallel.{json,md}
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from pretrain import store
from pretrain.model import count

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from benchmarks import parallel_checkpoints, parallel_recovery, parallel_steps  # noqa: E402
from benchmarks.parallel_steps import CASES, base_of  # noqa: E402

PARTS = ("steps", "checkpoints", "recovery")
median = statistics.median


def measure(scratch: Path, quick: bool, parts: list[str], seconds: float, results: Path) -> None:
    """Each part in turn, all that is known written after each."""
    works = parallel_steps.works(quick)
    result: dict[str, Any] = {
        "what": (__doc__ or "").splitlines()[0],
        "machine": machine(),
        "quick": quick,
        "work": {
            name: {"parameters": count.n_parameters(work.shape), "rows": work.rows,
                   "length": work.length, "micro_rows": work.micro_rows}
            for name, work in works.items()
        },
        "load_average": {"begin": os.getloadavg()},
    }  # fmt: skip
    measured = {
        "steps": lambda: steps(scratch, quick, seconds),
        "checkpoints": lambda: parallel_checkpoints.measure(scratch / "checkpoints", quick),
        "recovery": lambda: parallel_recovery.measure(scratch / "recovery", quick),
    }
    for part in parts:
        result[part] = measured[part]()
        result["load_average"][part] = os.getloadavg()
        store.write_bytes(results / "parallel.json", json.dumps(result, indent=1).encode() + b"\n")
        store.write_bytes(results / "parallel.md", table(result).encode())
        print(f"{part}: done, load {os.getloadavg()[0]:.1f}", flush=True)
    print(table(result))


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    processor = names[0] if names else platform.processor()
    return f"{processor}, {os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}"


def steps(scratch: Path, quick: bool, seconds: float) -> dict[str, Any]:
    """By case: seconds of each step, wall and processor, losses, bytes; rounds until time is up."""
    began, found = time.perf_counter(), {name: [] for name in CASES}
    n_rounds, last = 0, 0.0
    while n_rounds < 1 or (not quick and time.perf_counter() - began + last < seconds):
        start = time.perf_counter()
        for name, (work, n, layout) in CASES.items():
            job = {"quick": quick, "work": work, "layout": layout, "steps": 1 if quick else 2}
            place = scratch / "steps" / f"{name} {n_rounds}"
            found[name].append(parallel_steps.on_ranks(n, parallel_steps.measure, place, job))
        n_rounds, last = n_rounds + 1, time.perf_counter() - start
    return {"rounds": n_rounds, "cases": {name: case(name, told) for name, told in found.items()}}


def case(name: str, rounds: list[list[Any]]) -> dict[str, Any]:
    """One layout's steps in all rounds, over all of its ranks."""
    by_step = [
        [rank["steps"][i] for rank in ranks]
        for ranks in rounds
        for i in range(len(ranks[0]["steps"]))
    ]
    cpu = [
        {part: sum(rank["cpu"][part] for rank in ranks) for part in ranks[0]["cpu"]}
        for ranks in by_step
    ]
    return {
        "ranks": len(rounds[0]),
        "layout": CASES[name][2],
        "wall_seconds": [max(rank["seconds"] for rank in ranks) for ranks in by_step],
        "cpu_seconds": [sum(parts.values()) for parts in cpu],
        "cpu_seconds_by_part": {p: median(parts[p] for parts in cpu) for p in cpu[0]},
        "losses": [ranks[0]["loss"] for ranks in by_step],
        "sent": sent(rounds[0]),
    }


def sent(ranks: list[Any]) -> list[dict[str, Any]]:
    """Bytes that all ranks together send in a step, by what for and kind: counted, closed form."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for which in ("counted", "closed"):
        for rank in ranks:
            for axis, kind, n_calls, n_bytes in rank[which]:
                if kind != "receive":
                    empty = {"counted": [0, 0.0], "closed": [0, 0.0]}
                    entry = rows.setdefault((axis, kind), {"for": axis, "kind": kind, **empty})
                    entry[which][0] += n_calls
                    entry[which][1] += n_bytes
    return list(rows.values())


def table(result: dict[str, Any]) -> str:
    loads = {part: load[0] for part, load in result["load_average"].items()}
    told = ", ".join(f"{load:.1f} ({part})" for part, load in loads.items())
    lines = [
        "# Sharing a training among ranks",
        "",
        f"Written by `benchmarks/parallel.py`{' --quick' if result['quick'] else ''}. "
        f"{result['machine']}; load average of the minute before the begin and the end of each "
        f"part: {told}. Ranks are processes with one thread on gloo; medians.",
    ]
    sections = {"steps": _steps, "checkpoints": _checkpoints, "recovery": _recovery}
    for part in PARTS:
        if part in result:
            lines += ["", *sections[part](result)]
    return "\n".join(lines) + "\n"


def _steps(result: dict[str, Any]) -> list[str]:
    cases, works = result["steps"]["cases"], result["work"]
    n_steps = len(next(iter(cases.values()))["cpu_seconds"])
    cores = os.cpu_count() or 1
    shapes = "; ".join(
        f"{name} {w['parameters']:,} parameters, {w['rows']} rows of {w['length']} in "
        f"micro-batches of {w['micro_rows']}" for name, w in works.items()
    )  # fmt: skip
    lines = [
        "## A step, against one process",
        "",
        f"The same global batch and micro-batches ({shapes}), Muon and AdamW; "
        f"rounds: {result['steps']['rounds']}, steps of each: {n_steps}. Processor time: of all "
        f"ranks together, over one process's. Wall: the step's seconds times min(ranks, {cores}) "
        "cores, over one process's: with the waiting, and with what else ran on the machine.",
        "",
        "| | ranks | processor s | times one | passes | sums | update | wall | loss off |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, one in cases.items():
        base, parts = cases[base_of(name)], one["cpu_seconds_by_part"]
        cpu = median(one["cpu_seconds"])
        used = min(one["ranks"], cores)
        walls = median(one["wall_seconds"]) * used / median(base["wall_seconds"])
        off = max(abs(a / b - 1) for a, b in zip(one["losses"], base["losses"], strict=True))
        cells = [
            name, str(one["ranks"]), f"{cpu:.2f}", f"{cpu / median(base['cpu_seconds']):.2f}",
            f"{parts['passes']:.2f}", f"{parts['sums'] + parts['scalars']:.2f}",
            f"{parts['update']:.2f}", f"{walls:.2f}", f"{off:.0e}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, "", *_bytes(cases)]


def _bytes(cases: dict[str, Any]) -> list[str]:
    lines = [
        "## Bytes of a step",
        "",
        "Sent by all ranks together, as in a ring. Counted: every collective that PyTorch "
        "dispatches. Closed form: `plan/flows.py`; `update` (Muon's matrices to their owners) "
        "and `scalars` (counts, losses, norms) are not in it.",
        "",
        "| | for | kind | calls | counted KB | closed form KB | difference |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, one in cases.items():
        for row in one["sent"]:
            n_calls, counted = row["counted"]
            closed = row["closed"][1]
            told = f"{counted / closed - 1:+.1%}" if closed else "not in it"
            cells = [name, row["for"], row["kind"], str(n_calls), f"{counted / 1e3:,.1f}",
                     f"{closed / 1e3:,.1f}" if closed else "", told]  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def _checkpoints(result: dict[str, Any]) -> list[str]:
    found = result["checkpoints"]
    lines = [
        "## Checkpoints",
        "",
        "Weights and AdamW's moments. Blocked: what a step waits while a save copies, the one "
        "before it being done. MB/s: from the call until it is hashed, synced and read back, with "
        "nothing beside. Beside: a step during the writing, over one without.",
        "",
        "| saved as | ranks | MB | step s | blocked s | of a step | first save | MB/s | beside |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, one in found["saves"].items():
        step, blocked = median(one["step_seconds"]), median(one["blocked_seconds"])
        cells = [
            name, str(one["ranks"]), f"{one['n_bytes'] / 1e6:,.1f}", f"{step:.2f}",
            f"{blocked:.3f}", f"{blocked / step:.1%}", f"{one['first_blocked_seconds']:.3f} s",
            f"{one['n_bytes'] / 1e6 / median(one['written_seconds']):,.0f}",
            f"{median(one['step_beside_seconds']) / step:.2f} x",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    shares = [max(one["blocked_seconds"]) / median(one["step_seconds"])
              for one in found["saves"].values()]  # fmt: skip
    verdict = "met" if max(shares) <= 1 else "missed"
    lines += [
        "",
        f"A save blocks at most one step: {verdict}; the longest blocked {max(shares):.1%} of one.",
        "",
        "Loaded: every hash verified, from the disk, into the layout named last; all values equal.",
        "",
        "| loaded | ranks | s | MB/s |",
        "|---|---|---|---|",
    ]
    for name, one in found["loads"].items():
        seconds = median(one["seconds"])
        rate = one["n_bytes"] / 1e6 / seconds
        lines.append(f"| {name} | {one['ranks']} | {seconds:.2f} | {rate:,.0f} |")
    return lines


def _recovery(result: dict[str, Any]) -> list[str]:
    lines = [
        "## Ranks that are killed",
        "",
        "SIGKILL to a random rank at a random step, under the supervisor. Noticed: until all ranks "
        "of the attempt are gone. Trains again: until the killed rank's successor begins a step.",
        "",
        "| | ranks | kills | noticed s: least, median, most | trains again s: least, median, most "
        "| bits equal | same samples | losses off |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, one in result["recovery"].items():
        ended, again = ([blow[key] for blow in one["blows"]] for key in ("ended", "seconds"))
        cells = [
            name, str(one["ranks"]), str(len(again)), _spread(ended), _spread(again),
            "yes" if one["bits_equal"] else "no", "yes" if one["same_samples"] else "no",
            f"{one['largest_loss_difference']:.0e}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "Seconds until it trains again, in order:", ""]
    for name, one in result["recovery"].items():
        seconds = sorted(blow["seconds"] for blow in one["blows"])
        lines.append(f"- {name}: {', '.join(f'{s:.1f}' for s in seconds)}")
    return lines


def _spread(values: list[float]) -> str:
    return f"{min(values):.2f}, {median(values):.2f}, {max(values):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="everything tiny, to try it out")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--seconds", type=float, default=240, help="begin no round of steps after")
    chosen = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}  # ranks inherit it
    with tempfile.TemporaryDirectory() as scratch:
        measure(Path(scratch), chosen.quick, chosen.parts, chosen.seconds, chosen.results)


if __name__ == "__main__":
    main()
