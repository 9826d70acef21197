"""`pretrain plan calibrate`: a hardware file whose multipliers rest on measured steps.

    this machine     products by shape and precision, memory, links between local ranks, disk, and
                     real training steps (trial.py)
    elsewhere        finished runs (their speed.jsonl), or a step told in seconds with its recipe;
                     the layout is the recipe's

Each step's costs on the board and its seconds move the multipliers (calibrate.py). The file is a
board as facts.py reads it with what is believed after; the page that was printed stands on top.
"""

import math
import os
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import tomli_w
import torch

from pretrain import store
from pretrain.errors import DataError, RankError, UsageError
from pretrain.model import count
from pretrain.plan import calibrate, here, links, machine, network, search, steptime, trial
from pretrain.plan.calibrate import Belief
from pretrain.plan.facts import Board
from pretrain.plan.settings import Settings as Plan
from pretrain.plan.steptime import Costs, Multipliers
from pretrain.ranks.world import device_of
from pretrain.recipe import Recipe
from pretrain.train.load import trained_recipe
from pretrain.train.precision import product_dtype

HEAD = "# Written by `pretrain plan calibrate`"
_SHARE_OF_TRIALS = 0.6  # of the seconds
_FEWEST = 3  # measured steps of a run
_FAR = 10  # times off what is told: no software does that


@dataclass(frozen=True)
class Step:
    """A measured step: what it was, its costs on the board, its seconds."""

    said: str
    costs: Costs
    seconds: float


def of_this_machine(
    recipe: Recipe | None, seconds: float, folder: Path, with_links: bool = True
) -> tuple[Board, dict[str, Any], list[Step]]:
    """(board, what was measured, the trials' steps); folder: on the disk to measure.

    Takes about so many seconds, on a processor some 20 more to start ranks.
    """
    device, load = device_of(), os.getloadavg()[0] / (os.cpu_count() or 1)
    if device.type == "cpu":
        torch.set_num_threads((recipe.train.threads if recipe else 0) or os.cpu_count() or 1)
    dtype = product_dtype(recipe.train.precision if recipe else "auto", device)
    products = [
        {"precision": str(kind).removeprefix("torch."), "inner": n, "columns": n,
         "flops_per_second": here.product_rate(n, n, kind, device)}
        for kind in here.dtypes(device) for n in here.SQUARES[device.type]
    ]  # fmt: skip
    of = {kind: _most(products, kind) for kind in ("float32", "bfloat16", "float8_e4m3fn")}
    watts = recipe.plan.watts_per_core if recipe else Plan().watts_per_core
    board = here.board(watts, dtype, of[str(dtype).removeprefix("torch.")])
    if fp8 := of["float8_e4m3fn"]:
        board = replace(board, fp8=max(board.fp8, fp8 / 1e12), reached_fp8=fp8 / 1e12)
    found: dict[str, Any] = {"products": products, "links": [], "load": load}
    if with_links:
        board, found["links"] = _linked(board)
    found["disk"] = dict(zip(("written", "read"), machine.disk_rates(folder), strict=True))
    sheet = here.sheet(device)
    found["assumed"] = asdict(sheet) if sheet else None
    by = calibrate.believed(software_of(recipe, on_gpu=False)).multipliers
    each = seconds * _SHARE_OF_TRIALS / trial.MOST
    steps = [
        Step(one.said, one.costs(board), statistics.median(trial.run(one, device, each)))
        for one in trial.choose(board, by, recipe, each)
    ]
    return board, found, steps


def software_of(recipe: Recipe | None, on_gpu: bool) -> str:
    """What stands for our own blocks before a step is measured: compiled ones on a GPU alone."""
    choice = recipe.train.compile if recipe else "auto"
    on_gpu = on_gpu or device_of().type == "cuda"
    return "compiled" if choice == "on" or (choice == "auto" and on_gpu) else "eager"


def _most(products: Sequence[dict[str, Any]], precision: str) -> float:
    rates = [row["flops_per_second"] for row in products if row["precision"] == precision]
    return max(rates, default=0.0)


def _linked(board: Board) -> tuple[Board, Any]:
    """The board with the links that were measured, and those; a text where they were not."""
    n_ranks = links.n_local_ranks()
    if n_ranks < 2:
        return board, "one GPU: nothing to send to"
    try:
        rows = links.measure(n_ranks)
    except RankError as error:
        return board, f"not measured: {error}"
    best = max(row.bytes_per_second for row in rows)
    told = [asdict(row) | {"bytes_per_second": row.bytes_per_second} for row in rows]
    # A plan takes large messages at a share of the link's rate: this is the link of that share.
    return replace(board, inside_gb=best / steptime.LINK_SHARE / 1e9), told


def step_of_recipe(recipe: Recipe, board: Board, n_boards: int, seconds: float) -> Step:
    """A step of the recipe's layout on so many boards, which took so long."""
    train = recipe.train
    stretch = train.stretches(recipe.mix.sequence_length)[-1]
    sizes = train.layout.sizes(n_boards)
    data = sizes["replicate"] * sizes["shard"]
    rows = stretch.windows * recipe.mix.sequence_length // stretch.length / data
    micro = max(1, min(train.micro_batch_tokens // stretch.length, math.floor(rows)))
    layout = replace(train.layout, shard=sizes["shard"])
    at = search.layouts_of(layout, data, micro, rows / micro)
    shape = recipe.model.shape(recipe.tokenize.vocab_size)
    precision = "fp8" if train.precision == "fp8" else "bf16"
    said = (
        f"{recipe.name}: {count.n_parameters(shape):,} parameters on {n_boards:,} x {board.name}, "
        f"{train.batch_tokens:,} tokens"
    )
    costs = steptime.costs(network.of(shape), board, stretch.length, at, precision)
    return Step(said, costs, seconds)


def step_of_run(run_folder: Path, board: Board, n_boards: int | None) -> Step:
    """A finished or stopped run's median step.

    n_boards: told, or as many as the run's own record says. DataError without steps.
    """
    recipe = trained_recipe(run_folder)
    last = recipe.train.stretches(recipe.mix.sequence_length)[-1]
    lines = store.read_lines(run_folder / "train" / "speed.jsonl")
    # The first steps compile and allocate.
    begin = max(last.first, min(10, recipe.train.steps // 4))
    times = [float(line["seconds"]) for line in lines if line["step"] > begin]
    if len(times) < _FEWEST:
        raise DataError(
            f"plan calibrate: {run_folder} has {len(times)} steps after step {begin} in "
            f"train/speed.jsonl; must be {_FEWEST} or more: train on, then calibrate"
        )
    machines = [e for e in store.read_lines(run_folder / "events.jsonl") if e["event"] == "machine"]
    ranks = machines[-1]["n_ranks"] if machines else 1
    return step_of_recipe(recipe, board, n_boards or ranks, statistics.median(times))


def calibrated(board: Board, software: str, steps: Sequence[Step]) -> dict[str, Any]:
    """What the steps say: multipliers and intervals before and after, each step told by both."""
    before = calibrate.believed(software, board)
    costs, measured = [step.costs for step in steps], [step.seconds for step in steps]
    after = calibrate.shrink(before, calibrate.together(costs), measured)
    after = replace(after, left=max(before.left, calibrate.left_out(before, costs, measured)))
    return {
        "board": asdict(replace(board, multipliers=row_of(after, steps))),
        "software": software,
        "left": after.left,
        "multipliers": {
            name: {"before": _range(before, i), "after": _range(after, i)}
            for i, name in enumerate(Multipliers._fields)
        },
        "steps": [
            {"said": step.said, "seconds": step.seconds, "before": _told(step, before),
             "after": _told(step, after)}
            for step in steps
        ],
    }  # fmt: skip


def check(board: Board, software: str, steps: Sequence[Step]) -> None:
    """UsageError where a step that was measured elsewhere cannot be one of this board."""
    before = calibrate.believed(software, board)
    for step in steps:
        told = _told(step, before)["seconds"]
        if not 1 / _FAR < step.seconds / told < _FAR:
            raise UsageError(
                f"plan calibrate: {step.said} took {step.seconds:.4g} s and is told as "
                f"{told:.4g} s; must be within {_FAR} times: is it this hardware (--hardware), as "
                "many boards (--count), this recipe and layout?"
            )


def row_of(belief: Belief, steps: Sequence[Step]) -> dict[str, Any]:
    """A belief as a hardware file keeps it."""
    named = zip(Multipliers._fields, belief.multipliers, strict=True)
    return {
        **{name: float(f"{value:.6g}") for name, value in named},
        "n_steps": belief.n_steps,
        "left": float(f"{belief.left:.4g}"),
        "covariance": [[float(f"{x:.9g}") for x in row] for row in belief.covariance],
        "source": "; ".join(f"{step.said}: {step.seconds:.4g} s a step" for step in steps),
    }


def _range(belief: Belief, i: int) -> list[float]:
    """P10, P50 and P90 of a multiplier."""
    half = calibrate.Z * belief.spread[i]
    return [math.exp(belief.mean[i] + by) for by in (-half, 0.0, half)]


def _told(step: Step, belief: Belief) -> dict[str, Any]:
    seconds = float(steptime.seconds(step.costs, belief.multipliers))
    low, high = calibrate.interval(belief, step.costs)
    return {"seconds": seconds, "low": seconds * low, "high": seconds * high}


def write(path: Path, record: dict[str, Any], page: str) -> None:
    """The hardware file. UsageError where another file is in its place."""
    if path.exists() and not path.read_text(errors="replace").startswith(HEAD):
        raise UsageError(
            f"plan calibrate: {path} is there and was not written by this command; must be a new "
            "file or one of its own (--out)"
        )
    board = Board(**{**record["board"], "names": tuple(record["board"]["names"])})
    day = time.strftime("%Y-%m-%d")
    lines = [
        f"{HEAD} on {day}, {platform.machine()}.",
        *(f"#   {x}".rstrip() for x in page.split("\n")),
    ]
    store.write_bytes(path, ("\n".join([*lines, "", toml_of(board)])).encode())


def toml_of(board: Board) -> str:
    """A board as facts.py reads it."""
    told = asdict(board)
    given = [f.name for f in fields(Board) if f.default is MISSING or told[f.name] != f.default]
    return tomli_w.dumps({board.name: {key: told[key] for key in given if key != "name"}})
