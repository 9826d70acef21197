"""Two runs task by task on the same items, and in what their recipes differ.

An item counts where both runs were asked the same of the same data (equal hashes). Its difference
is B - A, so a positive one is an accuracy that B wins; of bits per byte a negative one is.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pretrain import flow, shards, store
from pretrain.errors import DataError
from pretrain.evaluate import statistics
from pretrain.evaluate.table import aligned

_DATA = ("collect", "curate", "tokenize", "mix", "seed")
_REST = ("model", "train")
_KEY = ("task", "file", "hash", "item")


def compare(a: Path, b: Path) -> dict[str, Any]:
    """Differences of b from a by task, of held-out text by source, and of the two recipes.

    Raises: DataError where a folder holds no scores.
    """
    (scores_a, items_a), (scores_b, items_b) = _open(a), _open(b)
    tasks: dict[str, Any] = {}
    alone = {}
    for name in dict.fromkeys([*scores_a["tasks"], *scores_b["tasks"]]):
        rows = [s["tasks"].get(name) for s in (scores_a, scores_b)]
        if None in rows:
            alone[name] = f"scored in {a if rows[0] else b} only"
            continue
        score = rows[0]["metric"]
        found = _paired(items_a, items_b, name, score)
        if found is None:
            alone[name] = "the two were asked different items, or in another way"
            continue
        gold = (
            None if score == "bits_per_byte" else _paired(items_a, items_b, name, "bits_per_byte")
        )
        tasks[name] = found | {"score": score, "gold": gold}
    for p_adjusted, name in zip(holm([t["p"] for t in tasks.values()]), tasks, strict=True):
        tasks[name]["p_holm"] = p_adjusted
    together = [(t["difference"], t["error"]) for t in tasks.values()]
    return {
        "a": str(a),
        "b": str(b),
        "tasks": tasks,
        "mean": list(statistics.mean_of(together)) if together else None,
        "not_compared": alone,
        "held_out": _held_out(scores_a, scores_b),
        "data": _recipes(a, b, _DATA),
        "rest": _recipes(a, b, _REST),
    }


def holm(p: list[float]) -> list[float]:
    """p adjusted for their number (Holm 1979): one below 0.05 is a finding among all of them."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    adjusted, worst = [0.0] * len(p), 0.0
    for rank, i in enumerate(order):
        worst = max(worst, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = worst
    return adjusted


def render(found: dict[str, Any]) -> str:
    """A page for the terminal."""
    lines = [f"A  {found['a']}", f"B  {found['b']}", ""]
    if found["tasks"]:
        rows: list[tuple[str, ...]] = [
            ("task", "score", "A", "B", "B - A", "95 %", "p", "p, Holm", "seen from", "items")
        ]
        for name, t in found["tasks"].items():
            low, high = t["low"], t["high"]
            cells = [f"{t[k]:.4f}" for k in ("a", "b")] + [f"{t['difference']:+.4f}"]
            cells += [f"{low:+.4f} {high:+.4f}", f"{t['p']:.3g}", f"{t['p_holm']:.3g}"]
            rows.append((name, t["score"], *cells, f"{t['detectable']:.4f}", f"{t['items']:,}"))
            if gold := t["gold"]:
                cells = [f"{gold[k]:.4f}" for k in ("a", "b")] + [f"{gold['difference']:+.4f}"]
                cells += [f"{gold['low']:+.4f} {gold['high']:+.4f}", f"{gold['p']:.3g}", ""]
                rows.append(("", "bits/byte", *cells, f"{gold['detectable']:.4f}", ""))
        value, error = found["mean"]
        lines += [*aligned(rows), "", f"mean over tasks {value:+.4f} ± {error:.4f}"]
        lines += ["seen from: the least difference that so many items show in 4 of 5 cases", ""]
    for name, why in found["not_compared"].items():
        lines.append(f"{name}: not compared: {why}")
    for source, (bits_a, bits_b) in found["held_out"].items():
        lines.append(f"held out, {source}: {bits_a:.4f} and {bits_b:.4f} bits per byte")
    for kind, what in (("data", "the data differ in"), ("rest", "model and training differ in")):
        lines += ["", f"{what}:", *(f"  {line}" for line in found[kind] or ["nothing"])]
    return "\n".join(lines)


def _open(folder: Path) -> tuple[dict[str, Any], pa.Table]:
    for place in (folder / "evaluate", folder):
        scores = store.read_json_or_none(place / "scores.json")
        if scores is not None and (place / "items.parquet").is_file():
            return scores, shards.read(place / "items.parquet")
    raise DataError(
        f"compare: {folder} has no scores.json with items.parquet; must be an evaluated run, or a "
        "folder of `pretrain score`"
    )


def _paired(a: pa.Table, b: pa.Table, task: str, score: str) -> dict[str, Any] | None:
    values = [_values(table, task, score) for table in (a, b)]
    shared = [key for key in values[0] if key in values[1]]
    if not shared:
        return None
    one, two = ([v[key] for key in shared] for v in values)
    means = {"a": float(np.mean(one)), "b": float(np.mean(two))}
    return means | statistics.paired(one, two)


def _values(table: pa.Table, task: str, score: str) -> dict[tuple[Any, ...], float]:
    """An item's score by (file, hash, item)."""
    names = ("gold_bits", "gold_bytes") if score == "bits_per_byte" else (score,)
    columns = {name: table[name].to_pylist() for name in (*_KEY, "score", "value")}
    found: dict[str, dict[tuple[Any, ...], float]] = {name: {} for name in names}
    for row in zip(*columns.values(), strict=True):
        if row[0] == task and row[4] in found:
            found[row[4]][row[1:4]] = row[5]
    if len(names) == 1:
        return found[score]
    bits, sizes = found.values()
    return {key: value / max(1.0, sizes[key]) for key, value in bits.items()}


def _held_out(a: dict[str, Any], b: dict[str, Any]) -> dict[str, list[float]]:
    rows_a, rows_b = a.get("held_out", {}), b.get("held_out", {})
    return {
        source: [rows_a[source]["bits_per_byte"], rows_b[source]["bits_per_byte"]]
        for source in rows_a
        if source in rows_b
    }


def _recipes(a: Path, b: Path, tables: tuple[str, ...]) -> list[str]:
    """`key: A → B` of what differs between two runs' recipes, in these tables."""
    recipes = [store.read_json_or_none(folder / "recipe.json") or {} for folder in (a, b)]
    one, two = ({t: recipe[t] for t in tables if t in recipe} for recipe in recipes)
    return flow.difference(one, two)
