"""The model card and the data summary, filled from the run's records; nothing is typed by hand."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from pretrain import __version__, settings, shards, store
from pretrain.model import count
from pretrain.model.settings import Shape
from pretrain.publish import hf
from pretrain.recipe import Recipe

EU_THRESHOLD_FLOPS = 1e23  # indicative size of a general-purpose model: C(2025) 7719


def data_summary(kept: list[Path]) -> dict[str, Any]:
    """Documents and bytes of the kept text by source, language, licence and path's first part."""
    tables: dict[str, dict[str, list[int]]] = {
        name: {} for name in ("source", "language", "license", "origin")
    }
    for path in kept:
        table = shards.read(path, ["source", "language", "license", "path", "url", "text"])
        sizes = pc.binary_length(table["text"]).to_numpy()
        columns = {n: table[n].to_pylist() for n in ("source", "language", "license")}
        addresses = zip(table["url"].to_pylist(), table["path"].to_pylist(), strict=True)
        columns["origin"] = [_origin(url or path) for url, path in addresses]
        for name, values in columns.items():
            for value, n_bytes in zip(values, sizes.tolist(), strict=True):
                row = tables[name].setdefault(value or "unknown", [0, 0])
                row[0] += 1
                row[1] += n_bytes
    return {
        name: [
            {"name": value, "documents": n, "bytes": b}
            for value, (n, b) in sorted(rows.items(), key=lambda r: (-r[1][1], r[0]))[:50]
        ]
        for name, rows in tables.items()
    }


def _origin(address: str) -> str:
    """The host of a URL, or the first two parts of a path."""
    scheme, found, rest = address.partition("://")
    if found:
        return rest.split("/")[0].lower()
    return "/".join(scheme.split("/")[:2])


def energy(run_folder: Path, recipe: Recipe) -> dict[str, float]:
    """Seconds of the stages so far, and energy and carbon by the recipe's assumptions."""
    seconds = {
        path.parent.name: store.read_json(path)["seconds"]
        for path in sorted(run_folder.glob("*/timing.json"))
    }
    lines = store.read_lines(run_folder / "train" / "speed.jsonl")
    training = sum(line["seconds"] + line["look_seconds"] + line["save_seconds"] for line in lines)
    seconds["train"] = round(training, 3)  # over all attempts
    workers = max(
        (store.read_json(p)["workers"] for p in run_folder.glob("*/timing.json")), default=1
    )
    kwh = sum(seconds.values()) * workers * recipe.plan.watts_per_core / 3.6e6
    return {
        "seconds": round(sum(seconds.values()), 1),
        "training_seconds": round(training, 1),
        "cores": workers,
        "kwh": kwh,
        "kg_co2": kwh * recipe.plan.kg_co2_per_kwh,
    }


def model_card(
    run_folder: Path,
    recipe: Recipe,
    shape: Shape,
    summary: dict[str, Any],
    verified: dict[str, Any],
) -> str:
    """README.md of the published folder."""
    scores = store.read_json(run_folder / "evaluate" / "scores.json")
    train = store.read_json(run_folder / "train" / "result.json")
    funnel = store.read_json(run_folder / "curate" / "manifest.json")["counts"]
    used = energy(run_folder, recipe)
    languages = [r["name"] for r in summary["language"] if len(r["name"]) == 2][:8]
    tokens = train["tokens"]
    side = "below" if train["flops"] < EU_THRESHOLD_FLOPS else "above"
    lines = [
        "---",
        f"license: {json.dumps(recipe.publish.license)}",
        "library_name: transformers",
        "pipeline_tag: text-generation",
        # Quoted: YAML reads a bare `no` (Norwegian) as false.
        f"language: {json.dumps(languages)}",
        "tags: [pretrain, base-model]",
        "co2_eq_emissions:",
        f"  emissions: {1000 * used['kg_co2']:.6f}",
        "  source: estimate from time and assumed power",
        "  training_type: pre-training",
        "---",
        "",
        f"# {recipe.name}",
        "",
        recipe.publish.description
        or "A base model trained from nothing. It continues text; it follows no instructions.",
        "",
        "```python",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        'tokenizer = AutoTokenizer.from_pretrained("PATH")',
        'model = AutoModelForCausalLM.from_pretrained("PATH")',
        "```",
        "",
        "## Model",
        "",
        *_table(
            ("", ""),
            [
                ("Class", f"`{hf.config(shape, 0, 0, 0, '')['architectures'][0]}`"),
                ("Parameters", f"{count.n_parameters(shape):,}"),
                ("Layers x width", f"{shape.layers} x {shape.width}"),
                ("Heads (key/value)", f"{shape.heads} ({shape.kv_heads})"),
                ("Feed-forward", f"{shape.hidden}"),
                ("Vocabulary", f"{shape.vocab_size:,} byte-level BPE"),
                ("Sequence length", f"{recipe.mix.sequence_length:,}"),
                ("Logits checked against", _verified(verified)),
            ],
        ),
        "",
        "## Training",
        "",
        *_table(
            ("", ""),
            [
                ("Tokens", f"{tokens:,} in {train['steps']:,} steps"),
                ("Compute", f"{train['flops']:.3g} FLOP ({count.CONVENTION})"),
                ("EU AI Act size", f"{side} the indicative {EU_THRESHOLD_FLOPS:.0e} FLOP"),
                *_averaged(recipe),
                ("Optimizer", f"{recipe.train.optimizer}, {recipe.train.schedule} schedule"),
                ("Time", f"{used['seconds']:,.0f} s, of which training "
                 f"{used['training_seconds']:,.0f} s"),
                ("Energy, estimate", f"{used['kwh']:.4f} kWh: {used['cores']:.0f} cores at "
                 f"{recipe.plan.watts_per_core:g} W assumed"),
                ("Carbon, estimate", f"{1000 * used['kg_co2']:.2f} g CO2: "
                 f"{recipe.plan.kg_co2_per_kwh:g} kg per kWh assumed"),
            ],
        ),
        "",
        "## Data",
        "",
        f"Curation kept {funnel['documents']:,} of {funnel['documents_in']:,} documents "
        f"({funnel['bytes']:,} bytes). The whole summary is in `data_summary.json`.",
        "",
        *_composition(summary, train),
        "",
        "## Evaluation",
        "",
        *_scores(scores),
        "",
        "## Limits",
        "",
        "The model repeats what its data contain, mistakes and bias included. "
        + _sensitive(recipe),
        "",
        f"Made with pretrain {__version__}.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _verified(verified: dict[str, Any]) -> str:
    if not verified.get("transformers"):
        return "not measured (transformers was not installed)"
    difference = verified["largest_logit_difference"]
    return f"transformers {verified['transformers']}, largest difference {difference:.1e}"


def _sensitive(recipe: Recipe) -> str:
    """One sentence on personal data and secrets, as the recipe treats them."""
    policies = settings.resolved(recipe.curate.sensitive)
    done = {"replace": "replaced", "drop": "reason to drop the document", "keep": "left as found"}
    parts = [
        f"{done[policy]}: {', '.join(k.replace('_', ' ') for k in kinds)}"
        for policy in done
        if (kinds := [k for k, chosen in policies.items() if chosen == policy])
    ]
    return f"Personal data and secrets that were recognised are {'; '.join(parts)}."


def _composition(summary: dict[str, Any], train: dict[str, Any]) -> list[str]:
    total = max(1, sum(r["bytes"] for r in summary["source"]))
    rows = [
        (
            r["name"],
            f"{r['documents']:,}",
            f"{r['bytes']:,}",
            f"{100 * r['bytes'] / total:.1f} %",
            f"{train['epochs'].get(r['name'], 0):.2f}",
        )
        for r in summary["source"]
    ]
    lines = _table(("Source", "Documents", "Bytes", "Share", "Epochs trained"), rows)
    for title, key in (("Licence", "license"), ("Language", "language"), ("Origin", "origin")):
        top = [
            (r["name"], f"{r['documents']:,}", f"{100 * r['bytes'] / total:.1f} %")
            for r in summary[key][:10]
        ]
        lines += ["", *_table((title, "Documents", "Share of bytes"), top)]
    return lines


def _scores(scores: dict[str, Any]) -> list[str]:
    rows = [
        (
            name,
            f"{r['bits_per_byte']:.4f}",
            f"{r['xz']:.3f}",
            "not measured" if r["zstd"] is None else f"{r['zstd']:.3f}",
            f"{r['n_bytes']:,}",
        )
        for name, r in scores["held_out"].items()
    ]
    lines = ["Bits per byte of held-out text (less is better):", ""]
    lines += _table(("Held out", "This model", "xz -9e", "zstd, dictionary", "Bytes"), rows)
    if scores["tasks"]:
        tasks = [
            (
                name,
                f"{t['accuracy']:.3f} ± {t['accuracy_error']:.3f}",
                f"{t['chance']:.3f}",
                f"{t['items']:,}",
            )
            for name, t in scores["tasks"].items()
        ]
        lines += ["", *_table(("Task", "Accuracy", "Chance", "Items"), tasks)]
    return lines


def _table(head: tuple[str, ...], rows: Sequence[Sequence[str]]) -> list[str]:
    safe = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return [
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *(f"| {' | '.join(row)} |" for row in safe),
    ]


def _averaged(recipe: Recipe) -> list[tuple[str, str]]:
    """A row that says so where the published weights are not the last ones."""
    if recipe.publish.weights == "last":
        return []
    how = {
        "ema": f"exponential average over steps (decay {recipe.train.ema_decay:g})",
        "tail": f"mean over the last {recipe.train.tail:.0%} of the steps",
    }[recipe.train.average]
    return [("Weights", f"{how}; the evaluation is of the last step's")]
