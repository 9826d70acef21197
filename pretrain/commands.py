"""Commands about a run that is there: they read its files and change nothing that counts.

Each returns the exit code. What a command needs is imported when it is called.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pretrain.errors import DataError


def add_to(commands: Any) -> None:
    """The commands in the command line's list."""

    def one(name: str, meaning: str, call: Callable[[argparse.Namespace], int]) -> Any:
        command = commands.add_parser(name, help=meaning, description=meaning)
        command.set_defaults(call=call)
        return command

    def of_run(name: str, meaning: str, call: Callable[[argparse.Namespace], int]) -> Any:
        command = one(name, meaning, call)
        command.add_argument("run", type=Path, metavar="RUN", help="for example runs/laptop")
        return command

    def of_folder(name: str, meaning: str, call: Callable[[argparse.Namespace], int]) -> Any:
        command = one(name, meaning, call)
        command.add_argument("folder", type=Path, metavar="FOLDER", help="a released model")
        return command

    of_run("status", "how far a run is", status)
    command = of_run("replay", "compute a training step again, bit for bit", replay)
    command.add_argument("--step", type=int, required=True, metavar="N", help="counted from 1")
    of_run("report", "write report.html of a run again", report)
    of_run("audit", "count again: what went in is what came out", audit)
    command = of_run("trace", "the way of a document back to its bytes", trace)
    command.add_argument("id", metavar="ID", help="a document's id, or its first digits")
    one("schema", "JSON schema of a recipe, for editors", schema)
    of_folder("verify", "check a released folder: sums, logits, layout", verify)
    command = of_folder("import", "check and copy a released folder, to train on from", bring)
    command.add_argument("name", metavar="NAME", help="it becomes models/NAME")
    command.add_argument("--models", type=Path, default=Path("models"), help="folder of models")
    command = of_folder("gguf", "write a released folder as a GGUF file", gguf)
    command.add_argument("--type", choices=("f16", "q8_0"), default="q8_0")
    command.add_argument("--out", type=Path, metavar="FILE", help="default: FOLDER/model-TYPE.gguf")
    command = one("fill", "the likeliest tokens for each <|mask|> of a text", fill)
    command.add_argument("model", type=Path, metavar="MODEL", help="run folder or released model")
    command.add_argument("text", metavar="TEXT", help="with one <|mask|> or more")
    command.add_argument("--top-k", type=int, default=5, metavar="N")


def schema(arguments: argparse.Namespace) -> int:
    from pretrain import recipe

    print(json.dumps(recipe.schema(), indent=2))
    return 0


def audit(arguments: argparse.Namespace) -> int:
    from pretrain.lineage import audit

    checks = audit.audit(arguments.run)
    print(audit.render(checks))
    return DataError.exit_code if any(check.faults for check in checks) else 0


def trace(arguments: argparse.Namespace) -> int:
    from pretrain.lineage import trace

    faulty = False
    for step in trace.trace(arguments.run, arguments.id):
        print(trace.render(step), flush=True)
        faulty = faulty or bool(step.fault)
    return DataError.exit_code if faulty else 0


def status(arguments: argparse.Namespace) -> int:
    """How far each stage is, and one hash of all that equal runs must have equal."""
    from pretrain import flow, store
    from pretrain.train import clock

    run_folder = arguments.run
    for name, state, counts in flow.status(flow.recorded_recipe(run_folder), run_folder):
        numbers = ", ".join(
            f"{key} {value:,}" if isinstance(value, int) else f"{key} {value:,.4g}"
            for key, value in counts.items()
            if isinstance(value, int | float)
        )
        print(f"{name:>9}  {state:<12} {numbers}".rstrip())
    print(clock.render(run_folder / "train" / "clock.jsonl"), end="")
    print(f"{'tree':>9}  {store.hash_json(flow.tree_hash(run_folder))}")
    return 0


def replay(arguments: argparse.Namespace) -> int:
    from pretrain.events import Log
    from pretrain.train import replay

    rows = replay.replay(arguments.run, arguments.step, Log())
    print(replay.render(rows))
    return 0 if all(a == b for _, a, b in rows) else DataError.exit_code


def verify(arguments: argparse.Namespace) -> int:
    """Check a released folder; a fault is an error that names it."""
    from pretrain.publish import verify

    for check in verify.checks(arguments.folder):
        print(f"{check.state:<6} {check.name:<13} {check.detail}", flush=True)
    return 0


def bring(arguments: argparse.Namespace) -> int:
    from pretrain.publish import bring

    target = arguments.models / arguments.name
    print(bring.render(bring.bring(arguments.folder, target), target))
    return 0


def gguf(arguments: argparse.Namespace) -> int:
    """Write a GGUF file of a released folder, read it back and compare logits."""
    from pretrain.model import released
    from pretrain.publish import gguf
    from pretrain.train.load import load_published

    folder, kind = arguments.folder, arguments.type
    model, encoder = load_published(folder)
    target = arguments.out or folder / f"model-{kind}.gguf"
    length = released.read(folder).sequence_length
    gguf.write(model, encoder, length, folder.resolve().name, kind, target)
    print(f"{target}: read back, logits differ by at most {gguf.compare(model, target):.1e}")
    return 0


def fill(arguments: argparse.Namespace) -> int:
    """Print, for each mask, a block of likely tokens with their probabilities."""
    from pretrain.evaluate.pseudo_likelihood import fill
    from pretrain.train.load import load

    model, encoder = load(arguments.model)
    blocks = fill(model, encoder, arguments.text, arguments.top_k)
    print(
        "\n\n".join(
            "\n".join(f"{p:8.4f}  {json.dumps(token, ensure_ascii=False)}" for token, p in block)
            for block in blocks
        )
    )
    return 0


def report(arguments: argparse.Namespace) -> int:
    from pretrain.report.page import write_report

    print(write_report(arguments.run))
    return 0
