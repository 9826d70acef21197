"""A plan's files: a recipe that `pretrain run` and `launch` take as it is, and job files.

recipe.toml    the network, tokens, batch and first layout; the source of text is to be named
run.sh         torchrun's place: `pretrain launch` on each host
slurm.sh, jobset.json    launch/render.py

All is made, read back and checked before anything is written.
"""

import argparse
import math
import os
import shlex
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import tomli_w

from pretrain import recipe, store
from pretrain.errors import UsageError
from pretrain.launch import options
from pretrain.launch.render import render
from pretrain.model import count, hf
from pretrain.model.sizes import SIZES
from pretrain.plan import rates
from pretrain.plan.answer import Answer
from pretrain.plan.facts import GIB
from pretrain.recipe import Recipe

_KEYS = ("layers", "width", "heads", "kv_heads", "hidden", "tied", "rope_theta")
_BEYOND = 1.1  # slack of what a host's memory must hold


def write(found: Answer, folder: Path) -> None:
    """Into a new or old folder.

    Raises: UsageError where training has no such products, RecipeError where the network could not
    be published.
    """
    if found.question.precision == "fp4":
        raise UsageError(
            "plan: --precision fp4 with --write; must be bf16 or fp8: training has no others"
        )
    path = folder / "recipe.toml"
    text = recipe_text(found)
    loaded = recipe.of_table(tomllib.loads(text))
    hf.check(found.run.shape, bool(loaded.publish.gguf))
    ranks = ranks_of_host(found)
    hosts = found.question.count // ranks
    minutes = math.ceil(60 * found.told["time"]["billed_hours"][2])
    parser = argparse.ArgumentParser()
    options.add(parser)
    memory = parser.get_default("memory") + host_gib(found, loaded, ranks)
    files = {"recipe.toml": text}
    for kind, name in (("slurm", "slurm.sh"), ("k8s", "jobset.json")):
        given = parser.parse_args(
            ["--render", kind, "--ranks", str(ranks), "--hosts", str(hosts),
             "--minutes", str(min(minutes, 7 * 24 * 60)), "--memory", str(memory)]
        )  # fmt: skip
        given.recipe, given.override, given.runs = path, [], Path("runs")
        given.workers, given.quiet = 8, False
        files[name] = render(given, loaded)
    files["run.sh"] = _script(path, ranks, hosts, memory)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        store.write_bytes(folder / name, content.encode())


def ranks_of_host(found: Answer) -> int:
    """Boards of each host: all alike, tensor ranks together where that can be."""
    n, tensor = found.question.count, found.layouts[0].layout.tensor
    sizes = [k for k in range(1, min(found.board.per_host, n) + 1) if n % k == 0]
    return max(sizes, key=lambda k: (k % tensor == 0, k))


def host_gib(found: Answer, loaded: Recipe, ranks: int) -> int:
    """GiB of a host's memory that training takes beside its processes.

    The copy of weights and moments that a checkpoint is written from (train/saver.py), a file of
    each rank's that is under way, four times the state where replicas are kept; and at the end the
    first host holds all weights (train/load.py).
    """
    best, train = found.layouts[0], loaded.train
    n_whole = 1 + (train.average != "none")  # averaged weights lie beside the moments
    state = n_whole * best.bytes_by_part["parameters"] + best.bytes_by_part["moments"]
    writers = 1 if best.replicate == found.question.count else ranks  # of whole copies, one
    held = writers * (state + min(state, train.checkpoint_file_bytes))
    held += 4 * ranks * state if train.replica_every else 0
    return math.ceil(_BEYOND * max(held, n_whole * 4 * found.told["parameters"]) / GIB)


def _script(path: Path, ranks: int, hosts: int, memory: int) -> str:
    """run.sh: from any folder, in the one that the recipe's paths are relative to."""
    back = os.path.relpath(Path().resolve(), path.parent.resolve())
    here = Path(os.path.relpath(path.resolve(), Path().resolve()))
    words = ["pretrain", "launch", str(here), "--ranks", str(ranks), "--hosts", str(hosts)]
    line, how = shlex.join(words), "run.sh"
    if hosts > 1:
        line += ' --host "$1" --address "$2"'
        how = "On each host: run.sh NUMBER ADDRESS_OF_HOST_0"
    return f"""#!/bin/sh
# {how}, from anywhere. A host has {ranks} boards and {memory} GiB of memory.
cd -P -- "$(dirname -- "$0")" && cd -P -- {shlex.quote(back)} || exit 64
exec {line}
"""


def recipe_text(found: Answer) -> str:
    """The recipe as TOML: one that was asked about, or one that is made, with the layout."""
    asked = found.question
    best = found.layouts[0]
    if asked.recipe is None:
        table = _made(found)
        head = f"{found.told['parameters']:,} parameters on {found.run.tokens:.4g} tokens"
    else:
        table = recipe.table_of(asked.recipe, asked.override)
        head = f"{str(asked.recipe)!a} on {asked.count:,} x {found.board.name}"
        head = " with ".join([head, *map(ascii, asked.override)])
    train = table.setdefault("train", {})
    train["micro_batch_tokens"] = best.micro_rows * found.run.length
    usual = train.setdefault("precision", "auto")
    if not asked.this_machine and (usual, asked.precision) != ("auto", "bf16"):
        train["precision"] = asked.precision
    train["layout"] = {
        f.name: getattr(best.layout, f.name)
        for f in fields(best.layout)
        if f.name == "shard" or getattr(best.layout, f.name) != f.default
    }
    if asked.recipe is None:
        head += ".\n# Write where your own text is: collect.sources.text.path"
    return f"# Written by `pretrain plan`: {head}.\n{tomli_w.dumps(table)}"


def _made(found: Answer) -> dict[str, Any]:
    """A recipe of the network, tokens and batch; where text comes from is to be filled in."""
    run = found.run
    lr, _ = rates.LAWS["StepLaw"](count.n_parameters(run.shape), run.tokens)
    nearest = min(
        (name for name in ("1m", "30m", "124m", "1b", "8b", "70b", "405b")),
        key=lambda name: abs(math.log(SIZES[name].width / run.shape.width)),
    )
    return {
        "name": "planned",
        "seed": 1,
        "collect": {"sources": {"text": {"kind": "jsonl", "path": "data/text/*.jsonl.zst"}}},
        "tokenize": {"vocab_size": run.shape.vocab_size},
        "mix": {"sequence_length": run.length},
        "model": {"size": nearest, **{key: getattr(run.shape, key) for key in _KEYS}},
        "train": {
            "steps": found.told["steps"],
            "batch_tokens": run.batch_rows * run.length,
            "optimizer": "adamw",
            "lr": float(f"{lr:.3g}"),
        },
    }
