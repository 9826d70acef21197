"""The model card and the data summary, filled from the run's records; nothing is typed by hand."""

import json
from pathlib import Path
from typing import Any

from pretrain import __version__, settings, store
from pretrain.model import count, hf
from pretrain.model.settings import Shape
from pretrain.publish import card_data
from pretrain.recipe import Recipe

_PIPELINES = {
    "AutoModelForCausalLM": "text-generation",
    "AutoModelForMaskedLM": "fill-mask",
    "AutoModelForSeq2SeqLM": "text2text-generation",
}
EU_THRESHOLD_FLOPS = 1e23  # indicative size of a general-purpose model: C(2025) 7719


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
    repeated: dict[str, Any],
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
        f"pipeline_tag: {_PIPELINES[hf.auto_class(shape)]}",
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
        or f"A base model trained {_begun(recipe)}. "
        f"{'It continues text' if shape.is_decoder else 'It fills in hidden text'}; it follows no "
        "instructions.",
        "",
        "```python",
        f"from transformers import {hf.auto_class(shape)}, AutoTokenizer",
        "",
        'tokenizer = AutoTokenizer.from_pretrained("PATH")',
        f'model = {hf.auto_class(shape)}.from_pretrained("PATH")',
        "```",
        "",
        "## Model",
        "",
        *card_data.table(
            ("", ""),
            [
                ("Class", f"`{hf.config(shape, 0, 0, 0, '')['architectures'][0]}`"),
                ("Parameters", f"{count.n_parameters(shape):,}"),
                ("Layers x width", f"{shape.layers} x {shape.width}"),
                ("Heads (key/value)", f"{shape.heads} ({shape.kv_heads})"),
                ("Feed-forward", f"{shape.hidden}"),
                ("Vocabulary", f"{shape.vocab_size:,} rows"),
                ("Sequence length", f"{recipe.mix.sequence_length:,}"),
                ("Logits checked against", _verified(verified)),
            ],
        ),
        "",
        "## Training",
        "",
        *card_data.table(
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
        f"({funnel['bytes']:,} bytes). The whole summary, with the facts of the EU's template for "
        "public summaries of training content, is in `data_summary.json`.",
        "",
        *card_data.composition(summary, train),
        "",
        *card_data.funnel(run_folder),
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
        "## Memorisation",
        "",
        *card_data.memorisation(repeated),
        "",
        "## Licence and citation",
        "",
        f"Licence of the weights: {recipe.publish.license} (`LICENSE`). Cite as `CITATION.cff` "
        f"says: {recipe.publish.about.provider or 'provider not stated'}, *{recipe.name}*"
        + (f", {recipe.publish.about.url}." if recipe.publish.about.url else "."),
        "",
        f"Made with pretrain {__version__}.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _begun(recipe: Recipe) -> str:
    start = recipe.model.start
    return f"on from {Path(start).name}" if start else "from nothing"


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


def _scores(scores: dict[str, Any]) -> list[str]:
    rows = [
        (
            name,
            f"{r['bits_per_byte']:.4f}",
            *(
                [f"{100 * r['accuracy']:.1f} %"]
                if "hidden" in r
                else ["not measured" if r[k] is None else f"{r[k]:.3f}" for k in ("xz", "zstd")]
            ),
            f"{r['n_bytes']:,}",
        )
        for name, r in scores["held_out"].items()
    ]
    hidden = any("hidden" in r for r in scores["held_out"].values())
    what = "of what is hidden in held-out text" if hidden else "of held-out text"
    beside = ("Right tokens",) if hidden else ("xz -9e", "zstd, dictionary")
    lines = [f"Bits per byte {what} (less is better):", ""]
    lines += card_data.table(("Held out", "This model", *beside, "Bytes"), rows)
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
        lines += ["", *card_data.table(("Task", "Accuracy", "Chance", "Items"), tasks)]
        if any(t["probability"] != "log-probability" for t in scores["tasks"].values()):
            lines += ["", "Tasks are scored by pseudo-log-likelihood: each token hidden alone."]
    suites = [
        (
            name.upper() if suite["complete"] else f"{name}, in part",
            version,
            f"{value:.4f} ± {error:.4f}",
            f"{suite['tasks']} of {suite['of']} tasks"
            + (", first items only" if suite["limited"] else ""),
        )
        for name, suite in scores.get("suites", {}).items()
        for version, (value, error) in suite["scores"].items()
    ]
    if suites:
        lines += ["", *card_data.table(("Suite", "Version", "Mean", "Of"), suites)]
    return lines


def _averaged(recipe: Recipe) -> list[tuple[str, str]]:
    """A row that says so where the published weights are not the last ones."""
    if recipe.publish.weights == "last":
        return []
    how = {
        "ema": f"exponential average over steps (decay {recipe.train.ema_decay:g})",
        "tail": f"mean over the last {recipe.train.tail:.0%} of the steps",
    }[recipe.train.average]
    return [("Weights", f"{how}; the evaluation is of the last step's")]
