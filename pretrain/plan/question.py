"""`pretrain plan` with hardware: what is wanted, and the command's options.

    pretrain plan --hardware "H100 SXM" --count 1024 --budget-usd 2e6
    pretrain plan recipes/llama-8b.toml --hardware H100 --count 256 --write plans/8b
    pretrain plan verify --tables FOLDER

A recipe alone is the plan stage of a run, as ever. Nothing here imports torch or numpy.
"""

import argparse
import math
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pretrain.errors import UsageError

_UNITS = {"": 1, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}


@dataclass(frozen=True)
class Question:
    """What is asked. None: not told."""

    recipe: Path | None = None
    override: tuple[str, ...] = ()
    hardware: str | None = None
    hardware_file: Path | None = None
    count: int = 1
    this_machine: bool = False
    budget_usd: float | None = None
    gpu_hours: float | None = None
    days: float | None = None
    target_loss: float | None = None
    parameters: float | None = None
    tokens: float | None = None
    unique_tokens: float | None = None
    epochs: float = 4.0  # most passes over unique tokens; Muennighoff et al. 2023: worth new ones
    price: float | None = None
    served_tokens: float = 0.0
    length: int = 4096
    precision: str = "bf16"
    software: str = "compiled"
    research: str = "middle"
    grid: str = "world"
    pue: float | None = None
    measured_step: float | None = None

    def plain(self) -> dict[str, Any]:
        """As JSON holds it; `from_plain` reads it."""
        told = asdict(self) | {"override": list(self.override)}
        return {name: str(x) if isinstance(x, Path) else x for name, x in told.items()}

    def check(self) -> None:
        """UsageError where the question is impossible or contradicts itself."""
        for name in ("budget_usd", "gpu_hours", "days", "target_loss", "parameters", "tokens",
                     "unique_tokens", "epochs", "price", "length", "count",
                     "measured_step"):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise UsageError(f"--{name.replace('_', '-')} is {value}; must be above 0")
        if not self.this_machine and self.hardware is None:
            raise UsageError("--hardware NAME or --this-machine must be given")
        if self.this_machine and self.hardware is not None:
            raise UsageError("--hardware and --this-machine contradict each other; give one")
        limits = [n for n in ("budget_usd", "gpu_hours", "days") if getattr(self, n) is not None]
        goals = [n for n in ("target_loss",) if getattr(self, n) is not None]
        fixed = self.recipe is not None or (self.parameters is not None and self.tokens is not None)
        if len(limits) + len(goals) > 1:
            told = " and ".join(f"--{n.replace('_', '-')}" for n in limits + goals)
            raise UsageError(f"{told} each decide the size of the run; give one of them")
        if fixed and limits + goals:
            told = (limits + goals)[0].replace("_", "-")
            raise UsageError(f"--{told} and a model with its tokens contradict; give one of them")
        if not (limits or goals or fixed):
            raise UsageError(
                "what is wanted? give --budget-usd, --gpu-hours, --days, --target-loss, "
                "--parameters with --tokens, or a recipe"
            )


def number(text: str) -> float:
    """`7b`, `1.5e9`, `2_000_000`."""
    found = re.fullmatch(r"([0-9_.]+(?:e[+-]?\d+)?)([kmbgt]?)", text.strip().lower())
    try:
        assert found is not None
        return float(found[1].replace("_", "")) * _UNITS[found[2]]
    except (AssertionError, ValueError):
        raise argparse.ArgumentTypeError(f"{text!r} is no number (7b, 1.5e9)") from None


def add_to(command: Any) -> None:
    """The options of a question, beside those of a stage."""
    ask = add_asked(command)
    ask.add_argument("--write", type=Path, metavar="FOLDER", help="recipe and job files into it")
    ask.add_argument("--page", type=Path, metavar="FILE.html", help="write charts and tables")


def add_asked(command: Any) -> Any:
    """What can be asked."""
    ask = command.add_argument_group("a run on other hardware: asked, nothing is started")
    ask.add_argument("--hardware", metavar="NAME", help='"H100 SXM", "this machine" or FILE.toml')
    ask.add_argument("--hardware-file", type=Path, metavar="FILE", help="TOML with your own")
    ask.add_argument("--count", type=int, default=1, metavar="N", help="of boards")
    ask.add_argument("--this-machine", action="store_true", help="measure and use this one")
    for name, what in (
        ("budget-usd", "all that may be spent, research included"),
        ("gpu-hours", "of the final run"), ("days", "of the final run"),
        ("target-loss", "nats a token"), ("parameters", "of the network: 7b"),
        ("tokens", "to train on: 2t"), ("unique-tokens", "at hand"),
        ("epochs", "most passes over them; default 4"), ("price", "dollars an hour of a board"),
        ("served-tokens", "to be read and written by the model later"),
        ("pue", "power usage effectiveness of the hall"),
        ("measured-step", "seconds of a step of the first layout: calibrates"),
    ):  # fmt: skip
        ask.add_argument(f"--{name}", type=number, metavar="X", help=what)
    ask.add_argument("--length", type=int, metavar="N", help="tokens of a row; default 4096")
    ask.add_argument("--precision", choices=("bf16", "fp8", "fp4"), help="default: the recipe's")
    ask.add_argument("--software", choices=("eager", "compiled", "megatron"))
    ask.add_argument("--research", choices=("low", "middle", "high"), help="1.5, 2, 5.6 x the run")
    ask.add_argument("--grid", metavar="NAME", help="carbon intensity: world, us, eu, france")
    ask.add_argument("--json", action="store_true", help="all numbers, for programs")
    return ask


def is_asked(given: argparse.Namespace) -> bool:
    """Whether a command line of `plan` asks about hardware, or is the stage of a run."""
    return bool(given.hardware or given.this_machine or given.page or given.recipe is None)


def question_of(given: argparse.Namespace) -> Question:
    names = [name for name in Question.__dataclass_fields__ if hasattr(given, name)]
    told = {name: getattr(given, name) for name in names if getattr(given, name) is not None}
    found = Question(**{**told, "override": tuple(given.override)})
    if found.hardware and found.hardware.lower() == "this machine":
        found = replace(found, hardware=None, this_machine=True)
    if found.recipe is not None and "precision" not in told:
        from pretrain import recipe

        if recipe.load(found.recipe, found.override).train.precision == "fp8":
            found = replace(found, precision="fp8")
    found.check()
    return found


def from_plain(told: dict[str, Any]) -> Question:
    """A question that was kept as JSON. UsageError where it is none."""
    try:
        paths = {k: Path(told[k]) for k in ("recipe", "hardware_file") if told[k] is not None}
        found = Question(**{**told, **paths, "override": tuple(told["override"])})
        found.check()
    except (KeyError, TypeError) as error:
        raise UsageError(f"plan: no question of `pretrain plan --json`: {error}") from None
    return found


def command(given: argparse.Namespace) -> int:
    """Answer a question: printed, and written where asked."""
    import json

    from pretrain import store
    from pretrain.plan import answer, answer_text, bundle, plan_page

    found = answer.answer(question_of(given))
    if given.write:
        bundle.write(found, given.write)
    if given.page:
        store.write_bytes(given.page, plan_page.page(found).encode())
    print(json.dumps(found.told, indent=1) if given.json else answer_text.render(found))
    return 0


def add_verify(commands: Any) -> None:
    """`pretrain plan verify`, told apart from a recipe by cli.py."""
    meaning = "published cases told again, and how far the plan is from them"
    verify = commands.add_parser("plan verify", help=meaning, description=meaning)
    verify.add_argument("--tables", type=Path, metavar="FOLDER", help="published runs")
    verify.add_argument("--json", action="store_true", help="all numbers, for programs")
    verify.set_defaults(call=verify_command)


def verify_command(given: argparse.Namespace) -> int:
    """0 where all cases hold, else 1."""
    import json

    from pretrain.plan import accuracy, verify

    folder = given.tables or verify.TABLES
    rows, errors = verify.verify(folder), accuracy.table(folder)
    if given.json:
        told = {"cases": [row._asdict() for row in rows], "step_time": errors}
        print(json.dumps(told, indent=1))
    else:
        print(verify.render(rows), verify.render_accuracy(errors), sep="\n\n")
    return 0 if all(row.holds for row in rows) else 1
