"""`pretrain plan ladder RECIPE`: the rungs through the ordinary flow, and the forecast.

    runs/NAME-ladder/rung-1 …   run folders like any other: plan, collect … mix, train, evaluate
    runs/NAME-ladder/ladder.json   rungs, their losses and seconds, the forecast of the large run,
                                   at its end and on the way; the run's report draws it

Text is collected, curated, tokenized and mixed once; the other rungs get links to the same files.
Stopped at any point, the same command goes on: finished stages are skipped, training resumes. The
machine's rates are measured before each rung and before the forecast, so an idle machine is wanted.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pretrain import flow, store
from pretrain.errors import DataError
from pretrain.events import Log, duration
from pretrain.plan import ladder, ladder_curve
from pretrain.plan import run as plan
from pretrain.plan.ladder import Rung
from pretrain.recipe import Recipe

_DATA = ("collect", "curate", "tokenize", "mix")


def run(
    recipe: Recipe,
    runs: Path,
    workers: int,
    share: float = 0.02,
    n_rungs: int = 4,
    quiet: bool = False,
    forecast: Callable[[Recipe], dict[str, Any]] = plan.forecast,
) -> dict[str, Any]:
    """Run what is missing of the ladder and write its forecast; returns the record."""
    whole = ladder.large(recipe)
    rungs = ladder.rungs(recipe, share, n_rungs)
    folder = runs / f"{recipe.name}-ladder"
    data = _data_folder(recipe, runs, folder / rungs[0].name)
    for rung in rungs:
        run_rung(rung, folder / rung.name, data, workers, quiet)
    record = summarise(rungs, whole, folder, forecast(recipe))
    store.write_json(folder / "ladder.json", record, sort=False)
    return record


def run_rung(rung: Rung, run_folder: Path, data: Path, workers: int, quiet: bool = False) -> None:
    """Plan, data stages, training and evaluation of one rung; done parts are skipped."""
    with store.locked(run_folder):
        flow.record_recipe(rung.recipe, run_folder)
        log = Log(run_folder, quiet)
        if data != run_folder:
            for name in _DATA:
                if not (run_folder / name / "manifest.json").is_file():
                    store.link_folder(data / name, run_folder / name)
        for name in ("plan", *_DATA, "train", "evaluate"):
            flow.run_stage(name, rung.recipe, run_folder, workers, log)


def summarise(
    rungs: list[Rung], whole: Rung, folder: Path, planned: dict[str, Any]
) -> dict[str, Any]:
    """The record: rungs with what they reached, and the large run's forecast.

    planned: the plan's forecast of the large run on this machine.
    """
    rows = ladder.describe(rungs, whole)
    for row, rung in zip(rows, rungs, strict=False):
        row |= measured(folder / rung.name)
    reached = rows[:-1]
    loss = ladder.forecast(
        [float(row["flops"]) for row in reached], [row["loss"] for row in reached], whole.flops
    )
    seconds = ladder.seconds(
        [row["planned_seconds"] for row in reached],
        [row["seconds"] for row in reached],
        planned["seconds"],
    )
    way = ladder_curve.curve(
        [folder / rung.name for rung in rungs], [row["steps"] for row in reached],
        [float(row["flops"]) for row in reached], whole.flops,
    )  # fmt: skip
    return {
        "recipe": whole.name,
        "counts": ladder.COUNTS,
        "unit": "nats per token of held-out documents",
        "rungs": reached,
        "large": rows[-1],
        "loss": loss,
        "curve": way,
        "seconds": seconds,
        "planned_seconds": planned["seconds"],
        "share": sum(row["flops"] for row in reached) / whole.flops,
    }


def measured(run_folder: Path) -> dict[str, Any]:
    """Held-out loss, bits per byte and seconds of training of a finished run.

    Raises: DataError where nothing is held out or training has left no times.
    """
    scores = store.read_json_or_none(run_folder / "evaluate" / "scores.json")
    overall = (scores or {}).get("held_out", {}).get("all")
    steps = store.read_lines(run_folder / "train" / "speed.jsonl")
    planned = store.read_json_or_none(run_folder / "plan" / "forecast.json")
    if not (overall and steps and planned):
        raise DataError(
            f"plan ladder: {run_folder} has no held-out loss, times or plan; give held-out text "
            "(recipe key mix.held_out) and run the command again"
        )
    parts = ("seconds", "look_seconds", "save_seconds")
    return {
        "loss": overall["loss"],
        "bits_per_byte": overall["bits_per_byte"],
        "seconds": sum(float(step.get(part) or 0) for step in steps for part in parts),
        "planned_seconds": planned["seconds"],
    }


def render(record: dict[str, Any]) -> str:
    """The ladder as a table for the terminal, at most 100 columns."""
    lines = [table([*record["rungs"], record["large"]])]
    loss, seconds = record["loss"], record["seconds"]
    lines += [
        f"the rungs take {100 * record['share']:.2g} % of the large run's compute",
        f"forecast, {loss['times_beyond']:.3g} times the largest rung's compute:",
        f"  held-out loss {loss['loss']:.4f} ({loss['low']:.4f} to {loss['high']:.4f}, 80 %), "
        f"{record['unit']}",
        f"  L(C) = {loss['floor']:.4f} + {loss['factor']:.4g} / C^{loss['exponent']:.4f}; without "
        f"a floor {loss['without_floor']:.4f}",
        f"  training {duration(seconds['seconds'])} ({duration(seconds['low'])} to "
        f"{duration(seconds['high'])}, 80 %); rungs took "
        f"{seconds['measured_over_forecast']:.3f} times what the plan said",
        *(f"  note: {warning}" for warning in loss["warnings"]),
    ]
    return "\n".join(lines)


def table(rows: list[dict[str, Any]]) -> str:
    """Rungs and the large run, with what they reached where they have run."""
    head = f"{'':>10} {'layers':>6} {'width':>6} {'parameters':>15} {'tokens':>18} {'FLOP':>9}"
    lines = [f"{head} {'loss':>8} {'time':>10}".rstrip()]
    for row in rows:
        at = f"{row['loss']:8.4f} {duration(row['seconds']):>10}" if "loss" in row else ""
        lines.append(
            f"{row['name'][:10]:>10} {row['layers']:6} {row['width']:6} {row['parameters']:15,} "
            f"{row['tokens']:18,} {row['flops']:9.3g} {at}".rstrip()
        )
    return "\n".join(lines)


def _data_folder(recipe: Recipe, runs: Path, otherwise: Path) -> Path:
    """Where the data stages are done already: the recipe's own run, or the first rung's folder."""
    own = runs / recipe.name
    done = all((own / name / "manifest.json").is_file() for name in _DATA)
    return own if done else otherwise
