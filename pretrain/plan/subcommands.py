"""`pretrain plan fit`, `ladder`, `calibrate`, `compare`: their arguments, and what they print."""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pretrain.plan import question

_LAWS = (
    "parametric", "tied", "floor", "power", "envelope", "isoflop", "interpolation", "repetition",
    "rates", "mixture", "linear-mixture",
)  # fmt: skip
NAMES = ("fit", "ladder", "verify", "calibrate", "compare")


def joined(arguments: Sequence[str]) -> list[str]:
    """The arguments with `plan fit` as one word, as argparse knows it; a recipe stays a recipe."""
    words = list(arguments)
    if words[:1] == ["plan"] and words[1:2] and words[1] in NAMES:
        return [f"plan {words[1]}", *words[2:]]
    return words


def add_to(commands: Any) -> None:
    """The commands in the command line's list."""
    meaning = "fit scaling laws to a table of finished runs"
    command = commands.add_parser("plan fit", help=meaning, description=meaning)
    command.add_argument("table", type=Path, metavar="RUNS.csv", help="size, tokens, loss a row")
    command.add_argument("--law", action="append", choices=_LAWS, help="one or several; else all")
    command.add_argument("--loss", metavar="COLUMN", help="which column is the loss")
    command.add_argument("--shares", metavar="PREFIX", help="columns of shares, for mixtures")
    command.add_argument("--bootstrap", type=int, default=200, metavar="N", help="resamples")
    command.add_argument("--json", action="store_true", help="all numbers, for programs")
    command.add_argument("--page", type=Path, metavar="FILE.html", help="write charts")
    command.add_argument("--run", type=Path, metavar="RUN", help="its forecast into a run's report")
    command.set_defaults(call=fit)
    meaning = "train small models below a recipe's and forecast its loss and time"
    command = commands.add_parser("plan ladder", help=meaning, description=meaning)
    command.add_argument("recipe", type=Path, metavar="RECIPE", help="a TOML file")
    command.add_argument(
        "override", nargs="*", metavar="stage.key=value", help="changes to the recipe"
    )
    command.add_argument("--runs", type=Path, default=Path("runs"), help="folder of runs")
    command.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="N")
    command.add_argument(
        "--share", type=float, default=0.02, metavar="S", help="of the large run's compute, at most"
    )
    command.add_argument("--rungs", type=int, default=4, metavar="N", help="small models")
    command.add_argument("--dry-run", action="store_true", help="say what would be trained")
    command.add_argument("--json", action="store_true", help="all numbers, for programs")
    command.add_argument("--quiet", action="store_true", help="errors only")
    command.set_defaults(call=ladder)
    question.add_verify(commands)
    _add_calibrate(commands)
    meaning = "two plans side by side, and which of the inputs make the difference"
    command = commands.add_parser("plan compare", help=meaning, description=meaning)
    for name in ("a", "b"):
        what = "an answer saved with --json, or a recipe"
        command.add_argument(name, type=Path, metavar=name.upper(), help=what)
    question.add_asked(command)
    command.set_defaults(call=compare)


def _add_calibrate(commands: Any) -> None:
    meaning = "measure this machine, or take measured steps, for later plans"
    command = commands.add_parser("plan calibrate", help=meaning, description=meaning)
    command.add_argument(
        "override", nargs="*", metavar="stage.key=value", help="changes to the recipe"
    )
    command.add_argument("--recipe", type=Path, metavar="RECIPE", help="whose step is taken")
    command.add_argument("--out", type=Path, metavar="FILE.toml", help="hardware file to write")
    command.add_argument(
        "--seconds", type=question.number, default=60.0, metavar="S", help="for measuring; 60"
    )
    given = command.add_argument_group("steps that were measured elsewhere, instead of here")
    given.add_argument(
        "--run", type=Path, action="append", default=[], metavar="RUN", help="a run's folder"
    )
    given.add_argument("--measured-step", type=question.number, metavar="SECONDS",
                       help="of a step of the recipe in its layout")  # fmt: skip
    given.add_argument("--hardware", metavar="NAME", help="what it ran on; else this machine")
    given.add_argument("--hardware-file", type=Path, metavar="FILE", help="TOML with your own")
    given.add_argument("--count", type=int, metavar="N", help="of boards")
    given.add_argument("--software", choices=("eager", "compiled", "megatron"))
    command.add_argument("--json", action="store_true", help="all numbers, for programs")
    command.set_defaults(call=calibrate)


def fit(arguments: argparse.Namespace) -> int:
    from pretrain import store
    from pretrain.errors import DataError, UsageError
    from pretrain.plan import fit_forecast, fit_page, fits, runs

    if arguments.bootstrap < 2:
        raise UsageError(f"--bootstrap is {arguments.bootstrap}; must be at least 2")
    table = runs.read_runs(arguments.table, arguments.loss, arguments.shares)
    wanted = arguments.law or [n for n in _LAWS if table.shares is not None or "mixture" not in n]
    found = fits.fit_all(table, wanted, arguments.bootstrap)
    if arguments.page:
        store.write_bytes(arguments.page, fit_page.page(table, found).encode())
    if arguments.run:
        fit_forecast.write(arguments.run, arguments.table, table, found)
    if arguments.json:
        told = {
            "file": str(arguments.table), "rows": len(table.loss), "columns": table.columns,
            "dropped": [{"line": line, "why": why} for line, why in table.dropped], "laws": found,
        }  # fmt: skip
        print(json.dumps(told, indent=1))
    else:
        print(fit_page.render(table, found))
    if all("refused" in record for record in found.values()):
        raise DataError(f"plan fit: {arguments.table} allows none of these laws")
    return 0


def ladder(arguments: argparse.Namespace) -> int:
    from pretrain import recipe
    from pretrain.errors import UsageError
    from pretrain.plan import ladder, ladder_run

    if not 0 < arguments.share <= 1:
        raise UsageError(f"--share is {arguments.share}; must be above 0 and at most 1")
    if arguments.rungs < 3:
        raise UsageError(f"--rungs is {arguments.rungs}; must be at least 3")
    if arguments.workers < 1:
        raise UsageError(f"--workers is {arguments.workers}; must be at least 1")
    loaded = recipe.load(arguments.recipe, arguments.override)
    if arguments.dry_run:
        whole = ladder.large(loaded)
        rows = ladder.describe(ladder.rungs(loaded, arguments.share, arguments.rungs), whole)
        print(json.dumps(rows, indent=1) if arguments.json else ladder_run.table(rows))
        return 0
    quiet = arguments.quiet or arguments.json
    record = ladder_run.run(
        loaded, arguments.runs, arguments.workers, arguments.share, arguments.rungs, quiet
    )
    print(json.dumps(record, indent=1) if arguments.json else ladder_run.render(record))
    return 0


def calibrate(arguments: argparse.Namespace) -> int:
    from pretrain import recipe
    from pretrain.plan import answer, calibration, calibration_text

    _check_calibrate(arguments)
    loaded = recipe.load(arguments.recipe, arguments.override) if arguments.recipe else None
    name, count = arguments.hardware, arguments.count
    software = arguments.software or calibration.software_of(loaded, on_gpu=name is not None)
    measured: dict[str, Any] = {}
    if arguments.run or arguments.measured_step:
        asked = question.Question(
            hardware=name, hardware_file=arguments.hardware_file, this_machine=name is None
        )
        board = answer.board_of(asked)
        steps = [calibration.step_of_run(run, board, count) for run in arguments.run]
        if loaded and arguments.measured_step:
            seconds = arguments.measured_step
            steps.append(calibration.step_of_recipe(loaded, board, count or 1, seconds))
        calibration.check(board, software, steps)
    else:
        folder = arguments.out.parent if arguments.out else Path()
        board, measured, steps = calibration.of_this_machine(loaded, arguments.seconds, folder)
    record = measured | calibration.calibrated(board, software, steps)
    page = calibration_text.render(record)
    if arguments.out:
        calibration.write(arguments.out, record, page)
    print(json.dumps(record, indent=1) if arguments.json else page)
    if arguments.out and not arguments.json:
        print(f"\nwritten; plan with it: pretrain plan --hardware {arguments.out}")
    return 0


def _check_calibrate(arguments: argparse.Namespace) -> None:
    from pretrain.errors import UsageError

    for key, least in (("seconds", 1), ("count", 1)):
        value = getattr(arguments, key)
        if value is not None and value < least:
            raise UsageError(f"--{key} is {value:g}; must be at least {least}")
    step = arguments.measured_step
    if step is not None and not (step > 0 and arguments.recipe):
        raise UsageError("--measured-step must be above 0, with the --recipe whose step it is")
    if not (step or arguments.run) and (arguments.hardware or arguments.count):
        raise UsageError(
            "--hardware and --count say where a step was measured; give it with --run RUN or "
            "--measured-step SECONDS, or leave them out to measure this machine"
        )


def compare(arguments: argparse.Namespace) -> int:
    from pretrain.plan import compare as two

    found = two.compare(*two.read([arguments.a, arguments.b], arguments))
    print(json.dumps(found, indent=1) if arguments.json else two.render(found))
    return 0
