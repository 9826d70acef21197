"""`pretrain launch`: `pretrain run`, or `train`, on ranks that are watched and started again.

What follows from the command line and the recipe; the work is done by supervise.py.
"""

import argparse
import os
import re
from functools import partial
from pathlib import Path

from pretrain import recipe
from pretrain.errors import RecipeError, UsageError
from pretrain.events import Log
from pretrain.launch import suspect
from pretrain.launch.session import Fleet, Main
from pretrain.launch.supervise import Supervisor
from pretrain.recipe import Recipe


def launch(given: argparse.Namespace, main: Main) -> int:
    """The exit code of a run; main: what runs a command line on a rank."""
    loaded = recipe.load(given.recipe, given.override)
    if given.dry_run:
        return main([given.stage, str(given.recipe), *given.override, "--dry-run"])
    if given.render:
        from pretrain.launch.render import render

        print(render(given, loaded), end="")
        return 0
    fleet = fleet_of(given, loaded)
    run_folder = given.runs / loaded.name
    log = Log(run_folder, given.quiet)
    what = partial(suspect.write, loaded, run_folder)
    words = words_of(given)
    return Supervisor(main, fleet, run_folder, log, what).run([*words, *once(given)], words)


def fleet_of(given: argparse.Namespace, loaded: Recipe) -> Fleet:
    """The ranks that the options ask for; UsageError or RecipeError where they cannot be."""
    found = devices()
    ranks = given.ranks if given.ranks is not None else len(found) or 1
    for name, value, low, high in (
        ("ranks", ranks, 1, None),
        ("elastic", given.elastic, 0, ranks),
        ("hosts", given.hosts, 1, None),
        ("host", given.host, 0, given.hosts - 1),
        ("port", given.port, 1, 65535),
        ("workers", given.workers, 1, None),
    ):
        if value < low or (high is not None and value > high):
            must = f"at least {low}" if high is None else f"from {low} to {high}"
            raise UsageError(f"--{name} is {value}; must be {must}")
    loaded.train.layout.sizes(ranks * given.hosts)  # RecipeError before anything is started
    return Fleet(
        ranks,
        given.elastic,
        given.hosts,
        given.host,
        given.address if given.hosts > 1 else "127.0.0.1",
        given.port,
        found[:ranks] if len(found) >= ranks else (),
        partial(fits, loaded),
    )


def fits(loaded: Recipe, ranks: int) -> bool:
    """Whether so many ranks can go on with a run: with its layout, and as exactly."""
    if loaded.train.sums == "exact" and ranks & (ranks - 1):
        return False
    try:
        loaded.train.layout.sizes(ranks)
    except RecipeError:
        return False
    return loaded.train.batch_tokens // loaded.mix.sequence_length >= ranks


def devices() -> tuple[str, ...]:
    """GPUs of this host that may be used, without asking its driver."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return tuple(word.strip() for word in named.split(",") if word.strip())
    numbers = [re.fullmatch(r"nvidia(\d+)", path.name) for path in Path("/dev").glob("nvidia*")]
    return tuple(map(str, sorted(int(n[1]) for n in numbers if n)))


def words_of(given: argparse.Namespace) -> list[str]:
    """The command line of a rank, in every attempt."""
    words = [given.stage, str(given.recipe), *given.override, "--runs", str(given.runs)]
    words += ["--workers", str(given.workers)]
    return words + (["--quiet"] if given.quiet else [])


def once(given: argparse.Namespace) -> list[str]:
    """What only the first attempt is told: a second one must not start anew again."""
    named = {"--restart": given.restart, "--accept-changes": given.accept_changes}
    return [word for word, wanted in named.items() if wanted]
