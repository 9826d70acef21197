"""Which documents say the same, in three degrees: exactly, nearly, and for the held-out split.

    verdicts signals ─sort───▶ order/S     preference.py: documents in the order of preference
            order/*  ─rank───▶ ranks/k     (longest first), exact copies found on the way
    signals ranks/*  ─spread─▶ rows/S      candidates.py: a row a band of the MinHash signature,
             rows/*  ─propose▶ edges/k     by range of its key; pairs that share a bucket;
            edges/*  ─link───▶ batches     who is verified together
         texts/S     ─gather─▶ values/S    survivors.py: 5-gram sets by batch;
           values/*  ─verify─▶ verified/t  exact Jaccard of every pair;
         verified/*  ─decide─▶ fates/k     in order: what repeats what, what belongs together;
            fates/*  ─route──▶ told/k      by shard again
             told/*  ─tell───▶ duplicates/S

Guaranteed: a removed document has Jaccard >= threshold with the document named for it (of several
the most similar), or equals one that has, and the one named is kept. No chains: a document like a
removed one only is kept. A cluster is a component of pairs >= split_threshold, removed ones
included, named for its first document, which is always kept. Nothing depends on shards, their
order or the number of workers. Not guaranteed: that every pair is found. A pair of similarity J
shares a bucket with probability 1 - (1 - J^8)^14: 92 % at 0.8, 99.9 % at 0.9; with split_rows = 4
another 28 bands of 4 rows look as well: 84 % at 0.5, over 99.9 % at 0.8. What real texts lose is in
benchmarks/results/duplicates.md: nothing with 4 rows; with 8, up to 3 % of removals at 0.8.

Memory: a shard, a range (ROWS_BYTES) or two batches (BATCH_BYTES of text) and one document more;
`link` and `decide` 16 bytes a document. Disk, until the stage ends: 16 bytes a band and document,
110 a document, 32 a pair and 8 a word of documents in pairs. What only these tasks read is no
output of the stage: a run that was killed goes on, a changed rule or threshold searches anew.
"""

from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any

from pretrain import store
from pretrain.curate import candidates, pairs, preference, survivors
from pretrain.flow import Stage
from pretrain.tasks import Function, Task

NEAR = (14, 8)  # bands, rows of a band
SPLIT = (28, 4)
ROWS_BYTES = 96 << 20  # of one range of keys
BATCH_BYTES = 64 << 20  # of text that is verified at once
NEVER = 2.0  # a similarity that no pair has

Each = Callable[..., list[dict[str, Any]]]


def run(
    stage: Stage, names: list[str], hashes: dict[str, str], chosen: dict[str, Any]
) -> dict[str, str]:
    """Find the duplicates of all shards; hashes of duplicates/S.

    Reads verdicts/S (who takes part), signals/S and texts/S, whose hashes are given. `chosen` are
    the settings `curate.duplicates`. What it makes on the way is no output of the stage.
    """
    basis = {n: hashes[n] for name in names for n in (f"verdicts/{name}", f"signals/{name}")}
    settings = {k: chosen[k] for k in ("exact", "fuzzy", "threshold", "split_threshold")}
    bands = [NEAR, SPLIT] if chosen["split_rows"] == SPLIT[1] else [NEAR]
    inputs = {"all": store.hash_json([basis, settings, bands])}
    last = [
        Task(
            f"duplicates-{Path(name).stem}", survivors.tell, {"number": i, "shard": name},
            (f"duplicates/{name}",), inputs,
        )
        for i, name in enumerate(names)
    ]  # fmt: skip
    if not stage.has_run(last):
        search(steps(stage, inputs), names, bands, settings)
    receipts = stage.run_tasks(last, "duplicates")
    return {name: digest for receipt in receipts for name, digest in receipt.outputs.items()}


def search(
    each: Each, names: list[str], bands: list[tuple[int, int]], settings: dict[str, Any]
) -> None:
    """All steps but the last. `each(function, n, arguments, *outputs)` runs a step of n tasks."""
    of_shard = [{"shard": name} for name in names]
    n_shards, split = len(names), settings["split_threshold"]
    near = settings["threshold"] if settings["fuzzy"] else NEVER
    ordered = each(preference.sort, of_shard, {}, "order")
    blocks = [block for counts in ordered for block in counts["blocks"]]
    cuts = preference.ranges(blocks, ROWS_BYTES // preference.ORDER.itemsize)
    n_ranges = len(cuts) - 1
    own = {"shards": n_shards, "exact": settings["exact"], "cuts": cuts}
    ranked = each(preference.rank, [{}] * n_ranges, own, "places", "ids", "ranks")
    bases = [0, *accumulate(counts["documents"] for counts in ranked)]
    n_rows = sum(counts["left"] for counts in ranked) * sum(n for n, _ in bands)
    n_parts = max(1, -(-n_rows * pairs.ROW.itemsize // ROWS_BYTES))
    known = {"shards": n_shards, "ranges": n_ranges, "parts": n_parts}
    each(candidates.spread, of_shard, {**known, "bands": bands}, "rows")
    limits = {"split": split, "near": min(near, 1.0)}
    each(candidates.propose, [{}] * n_parts, {**known, **limits}, "edges")
    sizes = {"documents": bases[-1], "batch_bytes": BATCH_BYTES}
    routed = [f"routed/{k:05d}" for k in range(n_parts)]
    (linked,) = each(candidates.link, [{}], {**known, **sizes}, "batches", *routed)
    tasks = [{"batches": batches} for batches in linked["tasks"]]
    if tasks:
        n_batches = sum(len(batches) == 1 for batches in linked["tasks"])
        own = {**known, "batches": n_batches, "documents": bases[-1]}
        each(survivors.gather, of_shard, own, "held", "values")
        each(survivors.verify, tasks, {**known, "split": split, "bases": bases}, "verified")
    own = {"bases": bases, "tasks": len(tasks), "near": near}
    fates = [f"fates/{k:05d}" for k in range(n_ranges)]
    each(survivors.decide, [{}], own, "bases", *fates)
    each(survivors.route, [{}] * n_ranges, {**known, "bases": bases}, "told")


def steps(stage: Stage, inputs: dict[str, str]) -> Each:
    """Steps as tasks of the stage. An output without a number gets that of its task."""

    def each(
        function: Function, own: list[dict[str, Any]], arguments: dict[str, Any], *outputs: str
    ) -> list[dict[str, Any]]:
        name = f"{preference.WORK}-{function.__name__}"
        tasks = [
            Task(
                f"{name}-{i:05d}", function, {"number": i, **arguments, **one},
                tuple(
                    f"{preference.WORK}/{o if '/' in o else f'{o}/{i:05d}'}.bin" for o in outputs
                ),
                inputs,
            )
            for i, one in enumerate(own)
        ]  # fmt: skip
        what = f"duplicates: {function.__name__}"
        return [receipt.counts for receipt in stage.run_tasks(tasks, what, passing=True)]

    return each
