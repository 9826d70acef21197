"""Arguments of `pretrain score MODEL` and `pretrain compare RUN_A RUN_B`."""

import argparse
import contextlib
import os
from pathlib import Path
from typing import Any


def add_to(commands: Any) -> None:
    """Both commands in the command line's list."""
    meaning = "score a model on suites, tasks and texts"
    score = commands.add_parser("score", help=meaning, description=meaning)
    score.add_argument(
        "model", type=Path, metavar="MODEL", help="a run, a checkpoint in it, or a published folder"
    )
    score.add_argument("--suite", action="append", default=[], metavar="NAME", help="core, blimp …")
    score.add_argument("--data", type=Path, metavar="DIR", help="folder of the suites' data")
    score.add_argument("--task", action="append", default=[], metavar="FILE", help="a task's TOML")
    score.add_argument(
        "--text", action="append", type=Path, default=[], metavar="FILE", help="for bits per byte"
    )
    score.add_argument(
        "--harness", action="append", default=[], metavar="TASK", help="an lm-eval task, by name"
    )
    score.add_argument(
        "--harness-path",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="folder of lm-eval YAML tasks",
    )
    score.add_argument(
        "--harness-bare", action="store_true", help="no separator before lm-eval's contexts"
    )  # fmt: skip
    score.add_argument("--limit", type=int, metavar="N", help="at most N items per file")
    score.add_argument("--window", type=int, metavar="N", help="tokens the model reads at most")
    score.add_argument("--batch-tokens", type=int, default=8192, metavar="N")
    score.add_argument(
        "--allow-code", action="store_true", help="run what the model writes, locked in"
    )
    score.add_argument("--out", type=Path, metavar="DIR", help="where scores and answers are kept")
    score.add_argument("--json", action="store_true", help="scores.json on the terminal")
    score.add_argument(
        "--follow", action="store_true", help="each checkpoint of a run, while it trains"
    )
    score.add_argument("--until-input-ends", action="store_true", help=argparse.SUPPRESS)
    score.set_defaults(call=run_score)
    meaning = "two runs task by task on the same items, and what differs in their recipes"
    compare = commands.add_parser("compare", help=meaning, description=meaning)
    compare.add_argument("a", type=Path, metavar="RUN_A", help="evaluated run, or --out of score")
    compare.add_argument("b", type=Path, metavar="RUN_B")
    compare.add_argument("--json", action="store_true", help="all numbers, for programs")
    compare.set_defaults(call=run_compare)


def run_score(arguments: argparse.Namespace) -> int:
    if arguments.follow:
        _take_only_what_is_left()  # from the imports on
    from pretrain.evaluate import command

    return command.score(arguments)


def run_compare(arguments: argparse.Namespace) -> int:
    import json

    from pretrain.evaluate import compare

    found = compare.compare(arguments.a, arguments.b)
    print(json.dumps(found, indent=1) if arguments.json else compare.render(found))
    return 0


def _take_only_what_is_left() -> None:
    """Give this process the lowest priority: it runs where a training leaves a core idle."""
    os.nice(19)
    if hasattr(os, "SCHED_IDLE"):  # Linux: yields at once, where nice alone still takes a share
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
