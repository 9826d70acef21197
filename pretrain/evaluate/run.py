"""The evaluate stage: held-out bits per byte, tasks, a passage token by token.

    final checkpoint, held-out documents, task files → scores.json, items.parquet, passage.json

scores.json has the means, items.parquet every item's scores, for comparisons item by item. What the
model answered is kept in RUN/answers, from which a second call and a killed one go on.

A task that fails (a bad file, say) takes no other task's scores with it: all that could be scored
is written before the stage ends with the error.
"""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from pretrain import settings, shards, store
from pretrain.errors import DataError, recipe_error
from pretrain.evaluate import contamination, held_out, items, subject, suites, table
from pretrain.flow import Stage
from pretrain.model.transformer import Transformer
from pretrain.ranks.world import device_of
from pretrain.recipe import Recipe
from pretrain.tokenize.encode import Encoder
from pretrain.train.load import load_run

FREE = ("during", "during_limit", "published")  # of other scores, and of the report


def inputs(recipe: Recipe) -> dict[str, Any]:
    """Every task as it is asked, with name, size and time of its files."""
    tasks, _ = suites.chosen(recipe.evaluate)
    found = {}
    for name, task in tasks.items():
        paths = [path for path in items.files(task) if not path.startswith("hf://")]
        stats = [Path(path).stat() for path in paths]
        seen = [[p, s.st_size, s.st_mtime_ns] for p, s in zip(paths, stats, strict=True)]
        found[name] = [settings.resolved(task), seen]
    return found


def run(stage: Stage) -> dict[str, Any]:
    torch.set_num_threads(stage.recipe.train.threads or os.cpu_count() or 1)
    model, encoder = load_run(stage.run_folder, device_of())
    mixture = store.read_json(stage.parent("mix") / "mixture.json")
    length = mixture["sequence_length"]
    documents = {s: held_out.documents_of(stage, s) for s in mixture["sources"]}
    documents = {s: table for s, table in documents.items() if table.num_rows}
    _check_data(stage)
    if model.shape.is_decoder:
        losses, parts = held_out.bits_per_byte(stage, model, encoder, documents, length)
        passages = held_out.passages(model, encoder, documents, length)
    else:
        losses = held_out.hidden_tokens(stage, model, encoder, documents)
        passages, parts = [], {}
    found = _tasks(stage, model, encoder, length)
    if stage.settings.looks_for_items():
        _contamination(stage, found, mixture["sources"])
    store.write_json(stage.output("passage.json"), passages)
    held = {"held_out": losses, "held_out_by": parts}
    store.write_json(stage.output("scores.json"), held | found.summary())
    shards.write_table(stage.output("items.parquet"), found.items())
    _say(stage, losses.get("all"))
    if found.failed:
        raise DataError(
            f"evaluate: {len(found.failed)} of {len(found.failed) + len(found.rows)} tasks failed, "
            f"the others' scores are in {stage.folder / 'scores.json'}: "
            + "; ".join(f"{name}: {error}" for name, error in found.failed.items())
        )
    overall = losses.get("all")
    return {
        "bits_per_byte": round(overall["bits_per_byte"], 6) if overall else None,
        "held_out_bytes": overall["n_bytes"] if overall else 0,
        "tasks": len(found.rows),
        "skipped_tasks": len(found.skipped),
    }


def _check_data(stage: Stage) -> None:
    """RecipeError for a task that must be there and has no data, before any is scored."""
    tasks, chosen = suites.chosen(stage.settings)
    of_suites = {name for suite in chosen for name in suite.tasks}
    for name, task in tasks.items():
        if name not in of_suites and task.required and not items.find(task):
            key = f"evaluate.tasks.{name}.path"
            raise recipe_error(key, f"no file matches '{task.path}'", "a file or glob")
    for suite in chosen:
        if stage.settings.required and not any(map(items.find, suite.tasks.values())):
            what = f"there is no data of suite '{suite.name}' in '{stage.settings.data}'"
            raise recipe_error("evaluate.data", what, "a folder with it, or required = false")


def _tasks(stage: Stage, model: Transformer, encoder: Encoder, length: int) -> table.Scored:
    tasks, chosen = suites.chosen(stage.settings)
    asked = subject.subject_of(model, encoder, length, stage.settings.batch_tokens)
    kept = stage.run_folder / "answers"
    with stage.log.progress("evaluate", "tasks", max(1, len(tasks))) as advance:
        return table.score_all(
            asked, tasks, chosen, kept, stage.settings.allow_code, stage.say, advance
        )


def _contamination(stage: Stage, found: table.Scored, sources: Collection[str]) -> None:
    """Beside each task's score: how many of its items are in the training documents."""
    if not found.parts:
        return
    tasks, _ = suites.chosen(stage.settings)
    documents = contamination.training_texts(stage, sources)
    for name, row in contamination.contaminated(tasks, found.parts, documents).items():
        found.rows[name]["contaminated"] = row
        stage.say(contamination.line(name, row, found.rows[name]["items"]))


def _say(stage: Stage, overall: dict[str, Any] | None) -> None:
    if not overall:
        stage.say("nothing is held out: no bits per byte (see mix)")
    elif "hidden" in overall:
        stage.say(
            f"held-out {overall['bits_per_byte']:.4f} bits per byte of hidden text, "
            f"{100 * overall['accuracy']:.1f} % of {overall['n_tokens']:,} hidden tokens right"
        )
    else:
        beside = f"xz -9e {overall['xz']:.3f}"
        if overall["zstd"]:
            beside += f", zstd with dictionary {overall['zstd']:.3f}"
        stage.say(f"held-out {overall['bits_per_byte']:.4f} bits per byte ({beside})")
