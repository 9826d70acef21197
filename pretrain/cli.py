"""The command line. It imports a stage only when it is asked for."""

import argparse
import contextlib
import json
import os
import signal
import sys
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pretrain import __version__
from pretrain import commands as about
from pretrain.errors import PretrainError, Stopped, UsageError
from pretrain.evaluate import options as evaluate_options
from pretrain.evaluate import probe
from pretrain.plan import question, simulation, subcommands
from pretrain.publish import generation
from pretrain.serve import run as serve

if TYPE_CHECKING:
    from pretrain.recipe import Recipe

STAGES = {
    "plan": "say what a run will take, before it starts",
    "collect": "read raw sources into documents",
    "curate": "measure, judge and de-duplicate documents",
    "tokenize": "learn a tokenizer, write token shards",
    "mix": "hold text out, fix the order of training",
    "train": "train the model, resuming where it stopped",
    "evaluate": "measure held-out loss and tasks",
    "publish": "write a folder that other tools load",
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}\n{self.format_usage().rstrip()}")


def parser() -> argparse.ArgumentParser:
    top = _Parser(
        prog="pretrain",
        description="One recipe in, one base model out, every token accounted for.",
        epilog="Exit codes: 64 usage, 65 data, 69 a rank died or hangs, 73 locked, 74 disk, 75 "
        "stopped (the same command goes on), 78 recipe.",
    )
    top.add_argument("--version", action="version", version=f"pretrain {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    stages = {
        "run": "all stages, from raw text to model and report",
        "launch": "run on several ranks, watched over and started again; or write a job file",
        **STAGES,
    }
    for name, meaning in stages.items():
        command = commands.add_parser(name, help=meaning, description=meaning)
        asks = name == "plan"  # a question about hardware needs no recipe
        command.add_argument(
            "recipe", type=Path, metavar="RECIPE", help="a TOML file", nargs="?" if asks else None
        )
        command.add_argument(
            "override", nargs="*", metavar="stage.key=value", help="changes to the recipe"
        )
        command.add_argument("--runs", type=Path, default=Path("runs"), help="folder of runs")
        command.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="N")
        command.add_argument(
            "--dry-run",
            action="store_true",
            help="check the recipe, print it whole and what it takes",
        )
        command.add_argument(
            "--restart", action="store_true", help="start the stage (or training) anew"
        )
        command.add_argument("--quiet", action="store_true", help="errors only")
        if name == "launch":
            from pretrain.launch.options import add

            add(command)
        if name in ("run", "launch", "train"):
            command.add_argument(
                "--accept-changes", action="store_true",
                help="go on with a half-done training although something changed; it is recorded",
            )  # fmt: skip
        if name == "plan":
            question.add_to(command)
        if name == "curate":
            command.add_argument(
                "--what-if", action="append", metavar="KEY=VALUE",
                help="say what another setting of [curate] would keep, from stored columns",
            )  # fmt: skip
    about.add_to(commands)
    probe.add_to(commands)
    simulation.add_to(commands)
    generation.add_to(commands)
    serve.add_to(commands)
    evaluate_options.add_to(commands)
    subcommands.add_to(commands)
    return top


def command(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code and prints errors in one line."""
    try:
        with _signals():
            return _dispatch(_parse(arguments))
    except PretrainError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return Stopped.exit_code
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  the reader of our output has gone
        return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The arguments; overrides may stand before and after options, which argparse alone refuses."""
    top = parser()
    known, rest = top.parse_known_args(subcommands.joined(arguments))
    strange = [word for word in rest if word.startswith("-") or not hasattr(known, "override")]
    if strange:
        top.error(f"unknown argument {strange[0]!r}")
    if rest:
        known.override += rest
    return known


def _dispatch(arguments: argparse.Namespace) -> int:
    if hasattr(arguments, "call"):
        return int(arguments.call(arguments))
    if arguments.command == "launch":
        from pretrain.launch.run import launch

        return launch(arguments, command)
    if arguments.command == "plan" and question.is_asked(arguments):
        return question.command(arguments)
    return _run(arguments)


def _run(arguments: argparse.Namespace) -> int:
    from pretrain import flow, recipe, store
    from pretrain.evaluate.beside import Beside
    from pretrain.events import Log
    from pretrain.ranks.place import place

    if arguments.workers < 1:
        raise UsageError(f"--workers is {arguments.workers}; must be at least 1")
    if getattr(arguments, "what_if", None):
        return _what_if(arguments)
    loaded = recipe.load(arguments.recipe, arguments.override)
    if arguments.dry_run:
        return _dry_run(loaded)
    run_folder = arguments.runs / loaded.name
    names = list(STAGES) if arguments.command == "run" else [arguments.command]
    world = None
    if place(os.environ).size > 1:
        from pretrain.ranks.world import from_environment

        world = from_environment()
        if world.rank > 0:
            from pretrain.train.run import follow

            follow(world, loaded, run_folder)
            return 0
    with store.locked(run_folder):
        flow.record_recipe(loaded, run_folder)
        log = Log(run_folder, arguments.quiet)
        with Beside(loaded.evaluate if "train" in names else None, run_folder, log) as beside:
            for name in names:
                trains = name == "train"
                restart = arguments.restart and (arguments.command != "run" or trains)
                accept = trains and arguments.accept_changes
                flow.run_stage(name, loaded, run_folder, arguments.workers, log, restart, world,
                               accept, beside.start if trains else None)  # fmt: skip
                if trains:
                    beside.no_more()
        if world:
            world.broadcast("end")
            world.close()
        if arguments.command == "plan":
            from pretrain.plan.run import table

            print(table(run_folder / "plan"))
        if arguments.command == "run":
            _finish(run_folder)
    return 0


def _finish(run_folder: Path) -> None:
    from pretrain import flow
    from pretrain.report.page import summary, write_report

    page = write_report(run_folder)
    print(summary(run_folder))
    print(f"\nmodel   {run_folder / 'publish' / 'model'}")
    print(f"report  {page}")
    recipe = flow.recorded_recipe(run_folder)
    if not recipe.model.shape(0).is_decoder:
        return
    prompt = next(iter(recipe.train.prompts), "The")
    print(f"try     {_own_name()} generate {run_folder} {json.dumps(prompt, ensure_ascii=False)}")


def _own_name() -> str:
    """How this command was called, so that a printed line can be pasted."""
    called = Path(sys.argv[0])
    return str(called) if called.name == "pretrain" and len(called.parts) > 1 else "pretrain"


def _dry_run(loaded: "Recipe") -> int:
    from pretrain import settings
    from pretrain.plan.run import forecast, render

    print(json.dumps(settings.resolved(loaded), indent=1, ensure_ascii=False))
    print(render(forecast(loaded)))
    return 0


def _what_if(arguments: argparse.Namespace) -> int:
    """What the curated run would keep with other settings; nothing is written."""
    from pretrain import flow, recipe
    from pretrain.curate import what_if
    from pretrain.curate.judge import choice

    asked = [key if key.startswith("curate.") else f"curate.{key}" for key in arguments.what_if]
    loaded = recipe.load(arguments.recipe, [*arguments.override, *asked])
    run_folder = arguments.runs / loaded.name
    ran = flow.recorded_recipe(run_folder)
    answer = what_if.what_if(run_folder, ran.curate, loaded.curate, choice)
    print(what_if.render(answer, what_if.tokens_per_byte(run_folder)))
    return 0


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """SIGTERM and SIGUSR1 stop as Ctrl-C does: what is complete stays, exit code 75."""

    def stop(number: int, frame: types.FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
