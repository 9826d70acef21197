"""`pretrain plan fit`, `plan ladder`, `plan verify`: their arguments, and what they print."""

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
NAMES = ("fit", "ladder", "verify")


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
