"""What pre-training is worth in labels: fine-tuned from it, and from the same shape untrained.

    for each seed, number of labels and task: draw labels by the seed; fine-tune both starts on them
    by the same recipe (finetune.py), each at the rate that suits it; score both on the same test

Fewer labels are a part of more. The untrained start has the initial weights that training from raw
text would have with this seed. Each result is stored as it ends, by a hash of everything it depends
on; a second call computes only what is missing.

Errors are standard errors over seeds, s / sqrt(n): they tell of draws of labels and of fine-tuning,
not of another pre-training nor of other test texts. The difference of the starts is taken seed by
seed.
"""

import itertools
import json
import math
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from pretrain import store
from pretrain.evaluate.classification import inputs, majority, measured, predict
from pretrain.evaluate.finetune import Tuning, choose_rate, finetune
from pretrain.evaluate.glue import Example, Task, read_examples
from pretrain.model.init import build
from pretrain.model.transformer import Transformer
from pretrain.tokenize.encode import Encoder

STARTS = ("pretrained", "nothing")
VERSION = 1  # of the recipe in code; a change makes stored results others
Row = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What to measure; labels of 0: all there are."""

    tasks: tuple[Task, ...]
    data: Path
    labels: tuple[int, ...] = (32, 128, 512, 0)
    n_seeds: int = 3
    tuning: Tuning = Tuning()


def measure(
    model: Transformer, encoder: Encoder, plan: Plan, length: int, stored: Path,
    say: Callable[[Row, int, int], object] | None = None,
) -> list[Row]:  # fmt: skip
    """A row for each (task, labels, seed, start), those in the file `stored` taken from there.

    length: tokens that the model was trained to read at once; say(row, done, total) hears of each.
    """
    rows: list[Row] = []
    found = {row["key"]: row for row in store.read_lines(stored)}
    examples = _examples(plan)
    asked = _keyed(model, encoder, plan, length, examples)
    for key, (seed, n_labels, task, start) in asked.items():
        if key not in found:
            train, test = examples[task.name]
            row = _result(model, encoder, task, train, test, n_labels, seed, start, plan, length)
            found[key] = row | {"key": key}
            store.append_line(stored, json.dumps(found[key], allow_nan=False))
        rows.append(found[key])
        if say:
            say(found[key], len(rows), len(asked))
    return rows


def known(model: Transformer, encoder: Encoder, plan: Plan, length: int, stored: Path) -> list[Row]:
    """Those rows of `measure` that are in the file `stored`; nothing is computed."""
    found = {row["key"]: row for row in store.read_lines(stored)}
    keys = _keyed(model, encoder, plan, length, _examples(plan))
    return [found[key] for key in keys if key in found]


def _examples(plan: Plan) -> dict[str, tuple[list[Example], list[Example]]]:
    return {task.name: read_examples(task, plan.data) for task in plan.tasks}


def _keyed(
    model: Transformer, encoder: Encoder, plan: Plan, length: int,
    examples: dict[str, tuple[list[Example], list[Example]]],
) -> dict[str, tuple[int, int, Task, str]]:  # fmt: skip
    """What is asked for, by a hash of all that its result depends on."""
    hashes = {
        task.name: store.hash_json(
            [asdict(task), [[asdict(e) for e in part] for part in examples[task.name]]]
        )
        for task in plan.tasks
    }
    origin = {"pretrained": model_hash(model), "nothing": store.hash_json(asdict(model.shape))}
    basis = [VERSION, store.hash_file(encoder.path), length, asdict(plan.tuning)]
    n_train = {name: len(train) for name, (train, _) in examples.items()}
    return {
        store.hash_json([basis, origin[start], hashes[task.name], n_labels, seed]): asked
        for asked in _asked(plan, n_train)
        for seed, n_labels, task, start in [asked]
    }


def _asked(plan: Plan, n_train: dict[str, int]) -> Iterable[tuple[int, int, Task, str]]:
    """Seed by seed, few labels first: what is there of a call cut short is worth most."""
    for seed, asked, task in itertools.product(range(plan.n_seeds), plan.labels, plan.tasks):
        n = n_train[task.name]
        if asked < n:  # as many labels as there are is what 0 asks for
            for start in STARTS:
                yield seed, asked or n, task, start


def _result(
    model: Transformer, encoder: Encoder, task: Task, train: Sequence[Example],
    test: Sequence[Example], n_labels: int, seed: int, start: str, plan: Plan, length: int,
) -> Row:  # fmt: skip
    began = time.perf_counter()
    device = model.embed.weight.device
    origin = model if start == "pretrained" else build(model.shape, seed, device)
    order = np.random.Generator(np.random.Philox(key=[seed, 0])).permutation(len(train))
    drawn = [train[int(i)] for i in order[:n_labels]]
    ways = task.kind == "words", model.shape.is_decoder, length
    chosen, asked = (inputs(encoder, some, *ways) for some in (drawn, test))
    n_classes = len(task.classes)
    rate = choose_rate(origin, chosen, n_classes, plan.tuning, seed)
    classifier = finetune(origin, chosen, n_classes, plan.tuning, rate, seed)
    found_N, true_N, loss = predict(classifier, asked)
    return {
        "task": task.name,
        "labels": n_labels,
        "seed": seed,
        "start": start,
        "rate": rate,
        "steps": plan.tuning.steps(n_labels),
        "loss": loss,
        **measured(task.metrics, found_N, true_N),
        "majority": majority(task.metrics, drawn, test),
        "n_train": len(train),
        "n_test": len(test),
        "n_cut": sum(x.cut for x in asked),
        "seconds": round(time.perf_counter() - began, 1),
    }


def summary(rows: Sequence[Row], plan: Plan, model: Transformer) -> dict[str, Any]:
    """Means over seeds with their errors, by task and number of labels."""
    tasks: dict[str, Any] = {}
    for task in plan.tasks:
        own = [row for row in rows if row["task"] == task.name]
        if not own:
            continue
        metric = task.metrics[0]
        points = [
            point
            for n in sorted({row["labels"] for row in own})
            if (point := _point(metric, [row for row in own if row["labels"] == n]))
        ]
        keys = ("n_train", "n_test", "n_cut")
        tasks[task.name] = {"metric": metric, "points": points} | {k: own[0][k] for k in keys}
    return {
        "model": model_hash(model),
        "tuning": asdict(plan.tuning),
        "pool": plan.tuning.pool_of(model),
        "seeds": plan.n_seeds,
        "tasks": tasks,
    }


def _point(metric: str, rows: Sequence[Row]) -> dict[str, Any]:
    """What the seeds that both starts have come to; nothing where there is none."""
    by_seed = {(row["start"], row["seed"]): row[metric] for row in rows}
    seeds = sorted({s for _, s in by_seed if all((start, s) in by_seed for start in STARTS)})
    if not seeds:
        return {}
    scores = {start: [by_seed[start, seed] for seed in seeds] for start in STARTS}
    gains = [a - b for a, b in zip(scores["pretrained"], scores["nothing"], strict=True)]
    return {
        "labels": rows[0]["labels"],
        "majority": statistics.fmean(row["majority"][metric] for row in rows),
        **{start: _mean(scores[start]) | {"scores": scores[start]} for start in STARTS},
        "difference": _mean(gains),
    }


def _mean(values: Sequence[float]) -> dict[str, float | None]:
    """The mean and its standard error; None of a single value."""
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "error": error}


def table(found: dict[str, Any]) -> str:
    """A page for the terminal."""
    lines = [
        f"{'task':<8}{'metric':<10}{'labels':>7}{'majority':>10}{'from nothing':>18}"
        f"{'pre-trained':>18}{'difference':>18}"
    ]
    for name, task in found["tasks"].items():
        for point in task["points"]:
            cells = [point["nothing"], point["pretrained"], point["difference"]]
            lines.append(
                f"{name:<8}{task['metric']:<10}{point['labels']:>7,}{point['majority']:>10.3f}"
                + "".join(f"{_cell(cell):>18}" for cell in cells)
            )
    cuts = [
        f"{n}: {t['n_cut']} of {t['n_test']:,}" for n, t in found["tasks"].items() if t["n_cut"]
    ]
    lines.append(f"means over {found['seeds']} seeds ± standard error; pool: {found['pool']}")
    return "\n".join(
        [*lines, *([f"test texts cut to the window: {', '.join(cuts)}"] if cuts else [])]
    )


def _cell(value: dict[str, float | None]) -> str:
    error = "" if value["error"] is None else f" ± {value['error']:.3f}"
    return f"{value['mean']:.3f}{error}"


def model_hash(model: Transformer) -> str:
    """A hash of the shape and of every weight."""
    digest = xxhash.xxh3_128(repr(model.shape).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
