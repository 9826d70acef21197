"""The mix stage: hold documents out, list where each source's training stream lies. No copies.

    tokens/*.documents.parquet → spans/SOURCE.parquet, held_out/SOURCE.parquet, mixture.json

It runs again in seconds, so weights and windows can be changed without touching tokens.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pretrain import shards, store
from pretrain.errors import DataError, recipe_error
from pretrain.flow import Stage
from pretrain.mix import shares, split, windows
from pretrain.mix.settings import Settings
from pretrain.tokenize import token_shards


def run(stage: Stage) -> dict[str, Any]:
    settings = stage.settings
    documents = _documents(stage)
    sums = documents.group_by("source").aggregate([("n_tokens", "sum")]).to_pydict()
    weighed = _weighed(settings)
    found = dict(zip(sums["source"], sums["n_tokens_sum"], strict=True))
    tokens = dict(sorted((dict.fromkeys(weighed, 0) | found).items()))
    most = settings.held_out_tokens
    limits = {source: min(int(n * settings.held_out), most) for source, n in tokens.items()}
    held = split.held_out(documents, limits, stage.recipe.seed)
    sources: dict[str, Any] = {}
    for source, n_tokens in tokens.items():
        here = pc.equal(documents["source"], source).to_numpy()
        spans = windows.spans_of(documents, here & ~held)
        shards.write_table(stage.output(f"spans/{source}.parquet"), spans)
        rows = documents.filter(pa.array(here & held))
        shards.write_table(stage.output(f"held_out/{source}.parquet"), rows)
        trained = int(pc.sum(spans["n_tokens"]).as_py() or 0)
        chosen = settings.sources.get(source)
        count = windows.n_windows(trained, settings.sequence_length)
        if count == 0 and source in weighed:
            raise recipe_error(
                weighed[source],
                f"source '{source}' has {trained:,} training tokens, less than one window of "
                f"{settings.sequence_length}",
                "absent, or more text collected, or mix.sequence_length smaller",
            )
        sources[source] = {
            "documents": int(here.sum()),
            "tokens": n_tokens,
            "held_out_documents": rows.num_rows,
            "held_out_tokens": n_tokens - trained,
            "windows": count,
            # The stream's tail that fills no window is never trained on.
            "unused_tokens": trained - count * settings.sequence_length,
            "weight": chosen.weight if chosen else None,
            "max_epochs": chosen.max_epochs if chosen else None,
        }
    for source, row in sources.items():
        if row["windows"] == 0:
            stage.say(f"source '{source}' has no whole window and is not trained on")
        if row["held_out_documents"] == 0:
            stage.say(f"source '{source}' is one cluster of text; nothing of it is held out")
    if not any(row["windows"] for row in sources.values()):
        raise DataError(
            f"mix: {sum(tokens.values()):,} tokens do not fill one window of "
            f"{settings.sequence_length}; collect more text or lower mix.sequence_length "
            "(recipe key mix.sequence_length)"
        )
    mixture = {
        "seed": stage.recipe.seed,
        "sequence_length": settings.sequence_length,
        "temperature": settings.temperature,
        "phases": [
            {"name": name, "share": phase.share, "weights": phase.weights}
            for name, phase in settings.phases.items()
        ],
        "sources": sources,
    }
    store.write_json(stage.output("mixture.json"), mixture)
    keys = ("documents", "tokens", "held_out_documents", "held_out_tokens", "windows")
    counts = {key: sum(row[key] for row in sources.values()) for key in keys}
    return counts | {"plan": _say_plan(stage, mixture)}


def plan_of(mixture: dict[str, Any], n_samples: int) -> list[shares.Plan]:
    """Shares and epochs of each source in a run of `n_samples` windows."""
    rows = mixture["sources"]
    return shares.plan(
        {s: r["windows"] for s, r in rows.items()},
        {s: r["weight"] for s, r in rows.items()},
        {s: r["max_epochs"] for s, r in rows.items()},
        n_samples,
        mixture["temperature"],
        [shares.Phase(**phase) for phase in mixture["phases"]] or shares.WHOLE,
    )


def _weighed(settings: Settings) -> dict[str, str]:
    """The sources that have a weight, found or not, and the first recipe key that gives it."""
    keys: dict[str, str] = {}
    for name, phase in reversed(settings.phases.items()):
        keys |= {s: f"mix.phases.{name}.weights.{s}" for s, w in phase.weights.items() if w}
    own = {s: f"mix.sources.{s}.weight" for s, row in settings.sources.items() if row.weight}
    return keys | own


def _documents(stage: Stage) -> pa.Table:
    """All documents in stream order, with their shard and first token in it."""
    tables = []
    for path in stage.outputs_of("tokenize", "tokens/*.documents.parquet"):
        name = path.name.removesuffix(".documents.parquet")
        table = shards.read(path)
        _, lengths, starts = token_shards.read_index(path.parent / name)
        if not np.array_equal(lengths, table["n_tokens"].to_numpy()):
            raise DataError(
                f"mix: {name}.idx and {path.name} disagree; run `pretrain tokenize` with --restart"
            )
        table = table.append_column("shard", pa.array([name] * table.num_rows, pa.string()))
        tables.append(table.append_column("start", pa.array(starts, pa.int64())))
    return pa.concat_tables(tables)


def _say_plan(stage: Stage, mixture: dict[str, Any]) -> dict[str, Any]:
    """The plan of the run as the recipe is now, said and returned; training makes it anew."""
    n_samples = stage.recipe.train.n_samples(mixture["sequence_length"])
    rows = plan_of(mixture, n_samples)
    names = [phase["name"] for phase in mixture["phases"]]
    for row in rows:
        flag = "  repeats beyond four epochs give little (Muennighoff et al. 2023)"
        phases = "".join(f", {n:,} in {name}" for name, n in zip(names, row.by_phase, strict=False))
        stage.say(
            f"{row.source}: {100 * row.share:.1f} % of samples{phases}, {row.epochs:.2f} epochs of "
            f"{row.n_windows:,} windows{flag if row.epochs > shares.MANY_EPOCHS else ''}"
        )
    return {
        "samples": n_samples,
        "by_source": {r.source: {"samples": r.n_samples, "epochs": r.epochs} for r in rows},
        "by_phase": {name: {r.source: r.by_phase[i] for r in rows} for i, name in enumerate(names)},
        "beyond_four_epochs": [r.source for r in rows if r.epochs > shares.MANY_EPOCHS],
    }
