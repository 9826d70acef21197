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
from pretrain.errors import PretrainError, Stopped, UsageError

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
        epilog="Exit codes: 64 usage, 65 data, 73 locked, 74 disk, 75 stopped (the same command "
        "goes on), 78 recipe.",
    )
    top.add_argument("--version", action="version", version=f"pretrain {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    stages = {"run": "all stages, from raw text to model and report", **STAGES}
    for name, meaning in stages.items():
        command = commands.add_parser(name, help=meaning, description=meaning)
        command.add_argument("recipe", type=Path, metavar="RECIPE", help="a TOML file")
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
        if name == "curate":
            command.add_argument(
                "--what-if", action="append", metavar="KEY=VALUE",
                help="say what another setting of [curate] would keep, from stored columns",
            )  # fmt: skip
    status = commands.add_parser("status", help="how far a run is")
    status.add_argument("run", type=Path, metavar="RUN", help="for example runs/laptop")
    replay = commands.add_parser("replay", help="compute a training step again, bit for bit")
    replay.add_argument("run", type=Path, metavar="RUN")
    replay.add_argument("--step", type=int, required=True, metavar="N", help="counted from 1")
    generate = commands.add_parser("generate", help="text from a trained model")
    generate.add_argument("run", type=Path, metavar="RUN", help="run folder or published model")
    generate.add_argument("prompt", metavar="PROMPT")
    generate.add_argument("--tokens", type=int, default=128, help="at most so many new tokens")
    generate.add_argument("--temperature", type=float, default=0.8, help="0: the likeliest token")
    generate.add_argument("--top-k", type=int, default=50, help="0: no limit")
    generate.add_argument("--seed", type=int, default=0)
    report = commands.add_parser("report", help="write report.html of a run again")
    report.add_argument("run", type=Path, metavar="RUN")
    audit = commands.add_parser("audit", help="count again: what went in is what came out")
    audit.add_argument("run", type=Path, metavar="RUN")
    trace = commands.add_parser("trace", help="the way of a document back to its bytes")
    trace.add_argument("run", type=Path, metavar="RUN")
    trace.add_argument("id", metavar="ID", help="a document's id, or its first digits")
    commands.add_parser("schema", help="JSON schema of a recipe, for editors")
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
    known, rest = top.parse_known_args(arguments)
    strange = [word for word in rest if word.startswith("-") or not hasattr(known, "override")]
    if strange:
        top.error(f"unknown argument {strange[0]!r}")
    if rest:
        known.override += rest
    return known


def _dispatch(arguments: argparse.Namespace) -> int:
    if arguments.command == "schema":
        from pretrain import recipe

        print(json.dumps(recipe.schema(), indent=2))
        return 0
    if arguments.command in ("status", "audit"):
        return (_status if arguments.command == "status" else _audit)(arguments.run)
    if arguments.command == "trace":
        return _trace(arguments.run, arguments.id)
    if arguments.command == "replay":
        return _replay(arguments.run, arguments.step)
    if arguments.command == "generate":
        return _generate(arguments)
    if arguments.command == "report":
        from pretrain.report.page import write_report

        print(write_report(arguments.run))
        return 0
    return _run(arguments)


def _run(arguments: argparse.Namespace) -> int:
    from pretrain import flow, recipe, store
    from pretrain.events import Log

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
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from pretrain.parallel.world import from_environment

        world = from_environment()
        if world.rank > 0:
            from pretrain.train.run import follow

            follow(world, loaded, run_folder)
            return 0
    with store.locked(run_folder):
        flow.record_recipe(loaded, run_folder)
        log = Log(run_folder, arguments.quiet)
        for name in names:
            restart = arguments.restart and (arguments.command != "run" or name == "train")
            flow.run_stage(name, loaded, run_folder, arguments.workers, log, restart, world)
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
    prompt = next(iter(flow.recorded_recipe(run_folder).train.prompts), "The")
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


def _audit(run_folder: Path) -> int:
    from pretrain.errors import DataError
    from pretrain.lineage import audit

    checks = audit.audit(run_folder)
    print(audit.render(checks))
    return DataError.exit_code if any(check.faults for check in checks) else 0


def _trace(run_folder: Path, identity: str) -> int:
    from pretrain.errors import DataError
    from pretrain.lineage import trace

    faulty = False
    for step in trace.trace(run_folder, identity):
        print(trace.render(step), flush=True)
        faulty = faulty or bool(step.fault)
    return DataError.exit_code if faulty else 0


def _status(run_folder: Path) -> int:
    """How far each stage is, and one hash of all that equal runs must have equal."""
    from pretrain import flow, store
    from pretrain.train import clock

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


def _replay(run_folder: Path, step: int) -> int:
    from pretrain.errors import DataError
    from pretrain.events import Log
    from pretrain.train import replay

    rows = replay.replay(run_folder, step, Log())
    print(replay.render(rows))
    return 0 if all(a == b for _, a, b in rows) else DataError.exit_code


def _generate(arguments: argparse.Namespace) -> int:
    from pretrain.publish.generate import generate

    for piece in generate(
        arguments.run,
        arguments.prompt,
        arguments.tokens,
        arguments.temperature,
        arguments.top_k,
        arguments.seed,
    ):
        print(piece, end="", flush=True)
    print()
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
