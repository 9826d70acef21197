"""A plan's files: a recipe that `pretrain run` and `launch` take as it is, and job files.

recipe.toml    the network, tokens, batch and first layout; the source of text is to be named
run.sh         torchrun's place: `pretrain launch` on each host
slurm.sh, jobset.json    launch/render.py
"""

import argparse
import math
from dataclasses import fields
from pathlib import Path

from pretrain import recipe, store
from pretrain.launch import options
from pretrain.launch.render import render
from pretrain.model import count
from pretrain.model.sizes import SIZES
from pretrain.plan import rates
from pretrain.plan.answer import Answer

_KEYS = ("layers", "width", "heads", "kv_heads", "hidden", "tied")


def write(found: Answer, folder: Path) -> None:
    """Into a new or old folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "recipe.toml"
    store.write_bytes(path, recipe_text(found).encode())
    loaded = recipe.load(path)
    boards = min(found.board.boards, found.question.count)
    hosts = max(1, found.question.count // boards)
    minutes = math.ceil(60 * found.told["time"]["billed_hours"][2])
    parser = argparse.ArgumentParser()
    options.add(parser)
    for kind, name in (("slurm", "slurm.sh"), ("k8s", "jobset.json")):
        given = parser.parse_args(
            ["--render", kind, "--ranks", str(boards), "--hosts", str(hosts),
             "--minutes", str(min(minutes, 7 * 24 * 60))]
        )  # fmt: skip
        given.recipe, given.override, given.runs = path, [], Path("runs")
        given.workers, given.quiet = 8, False
        store.write_bytes(folder / name, render(given, loaded).encode())
    line = (
        f'pretrain launch {path.name} --ranks {boards} --hosts {hosts} --host "$1" --address "$2"'
    )
    text = f"#!/bin/sh\n# On each host: run.sh NUMBER ADDRESS_OF_HOST_0\nexec {line}\n"
    store.write_bytes(folder / "run.sh", text.encode())


def recipe_text(found: Answer) -> str:
    """The recipe as TOML. A recipe that was asked about keeps its own but for the layout."""
    run, best = found.run, found.layouts[0]
    one = best.layout
    layout = "\n".join(
        f"{f.name} = {_value(getattr(one, f.name))}"
        for f in fields(one) if f.name == "shard" or getattr(one, f.name) != f.default
    )  # fmt: skip
    if found.question.recipe is not None:
        kept = found.question.recipe.read_text(encoding="utf-8")
        if found.question.override or "[train.layout]" in kept:
            kept = _without_layout(kept)
        return f"{kept.rstrip()}\n\n[train.layout]\n{layout}\n"
    n, tokens = count.n_parameters(run.shape), run.tokens
    lr, _ = rates.LAWS["StepLaw"](n, tokens)
    nearest = min(
        (name for name in ("1m", "30m", "124m", "1b", "8b", "70b", "405b")),
        key=lambda name: abs(math.log(SIZES[name].width / run.shape.width)),
    )
    network = "\n".join(f"{k} = {_value(getattr(run.shape, k))}" for k in _KEYS)
    batch = run.batch_rows * run.length
    precision = "auto" if found.question.this_machine else found.question.precision
    return f"""# Written by `pretrain plan`: {n:,} parameters on {tokens:.4g} tokens.
name = "planned"
seed = 1

[collect.sources.text]
kind = "jsonl"
path = "data/text/*.jsonl.zst"  # your own

[tokenize]
vocab_size = {run.shape.vocab_size}

[mix]
sequence_length = {run.length}

[model]
size = "{nearest}"
{network}
rope_theta = {run.shape.rope_theta}

[train]
steps = {found.told["steps"]}
batch_tokens = {batch}
micro_batch_tokens = {best.micro_rows * run.length}
optimizer = "adamw"
lr = {lr:.3g}
precision = "{precision}"

[train.layout]
{layout}
"""


def _without_layout(text: str) -> str:
    """A recipe without its table [train.layout]."""
    lines, inside = [], False
    for line in text.splitlines():
        if line.strip().startswith("["):
            inside = line.strip().startswith("[train.layout]")
        if not inside:
            lines.append(line)
    return "\n".join(lines)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
