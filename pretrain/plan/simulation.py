"""`pretrain simulate RECIPE --world N`: its arguments, and what it prints.

Forecasts stand beside published rows. What they rest on is printed with them: nothing is fitted.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

GIB = 2**30


def add_to(commands: Any) -> None:
    """The command in the command line's list."""
    meaning = "what one of many ranks holds, computes and sends in a step; nothing is started"
    command = commands.add_parser("simulate", help=meaning, description=meaning)
    command.add_argument("recipe", type=Path, metavar="RECIPE", help="a TOML file")
    command.add_argument(
        "override", nargs="*", metavar="stage.key=value", help="changes to the recipe"
    )
    command.add_argument("--world", type=int, required=True, metavar="N", help="ranks")
    command.add_argument("--json", action="store_true", help="all numbers, for programs")
    command.set_defaults(call=run_command)


def run_command(arguments: argparse.Namespace) -> int:
    from pretrain import recipe
    from pretrain.errors import UsageError
    from pretrain.plan import forecast, simulate

    if arguments.world < 2:
        raise UsageError(f"--world is {arguments.world}; must be at least 2")
    loaded = recipe.load(arguments.recipe, arguments.override)
    found = simulate.simulate(loaded, arguments.world)
    times = forecast.step_seconds(found)
    if arguments.json:
        places = [asdict(place) | {"n_bytes": place.n_bytes} for place in found.pop("places")]
        print(json.dumps(found | {"places": places, "forecast": times}, indent=1))
    else:
        print(render(found, times))
    return 0


def render(found: dict[str, Any], times: dict[str, Any]) -> str:
    """A page for the terminal."""
    axes = " x ".join(f"{name} {n}" for name, n in found["sizes"].items() if n > 1)
    lines = [
        f"{found['parameters']:,} parameters on {found['world']:,} ranks: {axes}",
        f"{found['tokens_per_step']:,} tokens a step in {found['n_micro']} micro-batches",
        f"{found['flops_per_step']:.4g} FLOP a step ({found['convention']})",
    ]
    if found["schedule"]:
        lines.append(f"{found['schedule']}: ranks wait {100 * found['bubble']:.1f} % of a step")
    for place in found["places"]:
        ranks = _few(place.ranks)
        lines += [
            "",
            f"pipeline rank {ranks}: {place.blocks} blocks, {place.flops:.4g} FLOP a step",
            f"  memory   {place.n_bytes / GIB:8.2f} GiB",
            *(f"    {n / GIB:12.2f} {part}" for part, n in place.bytes_by_part.items() if n),
            "  traffic   calls a step    GiB sent",
            *(
                f"    {flow.axis:<10} {flow.kind:<15} {flow.n_calls:7,} "
                f"{flow.sent_bytes / GIB:10.2f} over {flow.n_ranks} ranks"
                for flow in place.flows
                if flow.kind != "receive"
            ),
        ]
    return "\n".join([*lines, "", *times["lines"]])


def _few(ranks: tuple[int, ...]) -> str:
    return f"{ranks[0]} … {ranks[-1]} ({len(ranks)} alike)" if len(ranks) > 1 else str(ranks[0])
