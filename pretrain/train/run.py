"""The train stage: prepare or refuse, then the loop.

A finished training whose recipe changed is set aside under `previous/`, never deleted. One that is
half done and whose recipe, data, code or libraries changed is refused, with the difference, since
going on would join two different runs; `--accept-changes` goes on and records it (changes.py),
`--restart` sets it aside and starts anew. The number of ranks and their layout are no such change.
"""

from pathlib import Path
from typing import Any

from pretrain import flow, store
from pretrain.errors import RecipeError
from pretrain.events import Log
from pretrain.flow import Stage
from pretrain.model import released
from pretrain.ranks.world import World
from pretrain.recipe import Recipe
from pretrain.train import changes, checkpoint, loop

FREE = ("layout",)  # how ranks share the work may change like their number, at any checkpoint


def inputs(recipe: Recipe) -> dict[str, Any]:
    """Hashes of the released files that training starts from."""
    return released.inputs(Path(recipe.model.start)) if recipe.model.start else {}


def prepare(stage: Stage, manifest: dict[str, Any] | None, basis: dict[str, Any]) -> None:
    """Make the folder ready for this key, or raise RecipeError with what differs."""
    started = store.read_json_or_none(stage.folder / "started.json")
    same = started is not None and started["key"] == stage.key
    if same and not stage.restart:
        return
    if started and not manifest and not stage.restart and any(_checkpoints(stage.folder)):
        if stage.accept_changes:
            return changes.accept(stage, started, basis)
        lines = "\n  ".join(flow.difference(started["basis"], basis)[:12])
        raise RecipeError(
            f"train: {stage.folder} holds a half-done training that differs:\n  {lines}\n"
            "Must be the same to go on. Undo the change, go on with it and have it recorded "
            "(--accept-changes), give the run another name (recipe key name), or start training "
            "anew with --restart (the old folder is kept in previous/)"
        )
    if started and any(_checkpoints(stage.folder)):
        aside = stage.run_folder / "previous" / f"train-{started['key'][:8]}"
        aside = store.set_aside(stage.folder, aside)
        stage.say(f"the earlier training is kept in {aside}")
    store.remove(stage.folder)
    store.write_json(stage.folder / "started.json", {"key": stage.key, "basis": basis})


def run(stage: Stage) -> dict[str, Any]:
    world = stage.world or World(0, 1)
    world.broadcast(stage.key)  # the others wait for it in `follow`
    counts = loop.train(world, stage.recipe, stage.run_folder, stage.log, stage.key)
    steps = stage.recipe.train.steps
    final = checkpoint.folder_of(stage.folder / "checkpoints", steps)
    for name in checkpoint.names(final):
        stage.output(f"checkpoints/{final.name}/{name}")
    for name in ("metrics.jsonl", "samples.jsonl"):
        stage.output(name)
    result = counts | {"checkpoint": f"checkpoints/{final.name}"}
    if found := changes.accepted(stage.folder):
        result["changes"] = found
        counts |= {"changes": len(found)}
    store.write_json(stage.output("result.json"), result)
    last = [m for m in store.read_lines(stage.folder / "metrics.jsonl") if "bits_per_byte" in m]
    if last:
        stage.say(f"held-out {last[-1]['bits_per_byte']:.4f} bits per byte (sample of held-out)")
    return counts


def follow(world: World, recipe: Recipe, run_folder: Path) -> None:
    """What ranks other than 0 do: train when told to, until told that all is done."""
    while (key := world.broadcast()) != "end":
        loop.train(world, recipe, run_folder, Log(quiet=True), key)
    world.close()


def _checkpoints(folder: Path) -> list[Path]:
    return list((folder / "checkpoints").glob("step-*"))
