"""Stage `curate`: measure every text once, decide over the measurements, write what is kept.

    collect/documents/S ─measure─▶ texts/S signals/S     every column, no threshold
                texts/S ─score───▶ scores/S              quality models and word lists, where asked
                texts/S ─scan────▶ contamination/S       overlap with benchmarks, where asked
              signals/S ─judge───▶ verdicts/S            rules, from columns alone
             signatures ─────────▶ duplicates/S          LSH over all shards, verified on texts
                texts/S ─────────▶ spans/S               duplicated paragraphs, where asked
                   all  ─write───▶ kept/S dropped/S decisions/S funnel/S

Every arrow is a task per shard (duplicates: per range of hashes), so memory is bounded by a shard
and any of them may be killed. A changed threshold reruns `judge` and what follows from it; a shard
whose verdicts and duplicates stay is not written again. Price: the texts are on disk twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pretrain import settings, shards, store
from pretrain.curate import compiled as compiled_kernels
from pretrain.curate import decontaminate, duplicates, files, funnel, quality, samples, spans
from pretrain.curate.judge import choice, compiled, contamination_version, judge, kinds, reasons
from pretrain.curate.measure import measure, score
from pretrain.curate.rules import TWINS
from pretrain.curate.write import write
from pretrain.errors import DataError
from pretrain.flow import Stage
from pretrain.tasks import Function, Receipt, Task

if TYPE_CHECKING:
    from pretrain.recipe import Recipe

MOST_MISSING = 0.5  # of the kernels: many belong to settings that this machine has never run
LEAST_DOCUMENTS = 1000  # of a source whose duplicates are held against a limit


def inputs(recipe: "Recipe") -> dict[str, Any]:
    """Hashes of the files that the settings name: part of the stage's key."""
    return files.hashes(recipe.curate)


def run(stage: Stage) -> dict[str, Any]:
    """Measure, judge, find duplicates, write; the counts of the stage."""
    if compiled_kernels.missing() > MOST_MISSING * compiled_kernels.known():
        stage.say("compiling kernels, once: a minute or two, then they are on disk")
    work = Work(stage, files.hashes(stage.settings))
    own = stage.settings
    modes = {"measure": own.measure, "lines": own.lines}
    measured = work.each(measure, modes, ("collect",), ("texts", "signals"))
    n_documents = sum(receipt.counts["documents"] for receipt in measured)
    if not n_documents:
        raise DataError("curate: collect gave no documents; look at collect/report and its sources")
    judged_from = ["signals", *_scores(work), *_contamination(work)]
    chosen = choice(own)
    blocked = work.files["block_domains"]  # arguments hold its path alone
    judged = work.each(judge, chosen, judged_from, ("verdicts",), blocked)
    taken = _sum(receipt.counts["reasons"] for receipt in judged)
    if not any(receipt.counts["keep"] for receipt in judged):
        raise DataError(nothing_left(n_documents, taken))
    table = settings.resolved(own.duplicates)
    work.hashes |= duplicates.run(stage, work.names, work.hashes, table)
    _check_limits(work)
    written_from = [*judged_from, "texts", "verdicts", "duplicates", *_spans(work, table)]
    how = {
        "replace_kinds": kinds(own, "replace"),
        "spans": spans.versions(table),
        "cut_contamination": contamination_version(own, "cut"),
    }
    results = ("kept", "dropped", "decisions", "funnel")
    written = work.each(write, how, dict.fromkeys(written_from), results)
    return _report(work, chosen, judged, written, taken)


@dataclass
class Work:
    """The shards of the stage, and the hash of every file that is known by now."""

    stage: Stage
    files: dict[str, Any]  # hashes of files that the settings name
    names: list[str] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    hashes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        paths = self.stage.outputs_of("collect", "documents/*.parquet")
        self.names = [path.name for path in paths]
        self.weights = [float(path.stat().st_size) for path in paths]
        collected = self.stage.hashes_of("collect")
        self.hashes |= {f"collect/{name}": collected[f"documents/{name}"] for name in self.names}

    def each(
        self, function: Function, arguments: dict[str, Any], reads: Any, writes: Sequence[str],
        also: dict[str, str] | None = None,
    ) -> list[Receipt]:  # fmt: skip
        """One task a shard; `reads` and `writes` are folders, `also` hashes of more inputs."""
        what = function.__name__
        tasks = [
            Task(
                name=f"{what}-{Path(name).stem}",
                function=function,
                arguments={"shard": name, **arguments},
                outputs=tuple(f"{kind}/{name}" for kind in writes),
                inputs={f"{k}/{name}": self.hashes[f"{k}/{name}"] for k in reads} | (also or {}),
                weight=weight,
            )
            for name, weight in zip(self.names, self.weights, strict=True)
        ]
        return self.keep(self.stage.run_tasks(tasks, what))

    def keep(self, receipts: list[Receipt]) -> list[Receipt]:
        for receipt in receipts:
            self.hashes |= receipt.outputs
        return receipts


def nothing_left(n_documents: int, reasons: dict[str, int]) -> str:
    """The message when all documents are gone: what took how many, and what to change."""
    most = sorted(reasons, key=lambda reason: (-reasons[reason], reason))
    keys = {
        "empty": "look at what collect reads",
        "language": "change curate.languages or curate.language_score",
        "domain": "change curate.block_domains",
        "contamination": "change curate.decontaminate",
    }
    took = ", ".join(f"{reason} took {reasons[reason]:,}" for reason in most)
    advice = keys.get(most[0], f"relax curate.rules.{most[0]}")
    if most[0].startswith("sensitive."):
        advice = f"change curate.{most[0]}"
    return (
        f"curate: all {n_documents:,} documents were removed: {took}; {advice} (pretrain curate "
        "RECIPE --what-if KEY=VALUE shows what a change would keep)"
    )


def _scores(work: Work) -> list[str]:
    """Train the recipe's quality models and score all texts with them and its word lists."""
    own = work.stage.settings
    if not own.quality and not own.words:
        return []
    tasks = [
        quality.task(name, settings.resolved(model), work.names, work.hashes, work.files)
        for name, model in own.quality.items()
    ]
    trained = work.keep(work.stage.run_tasks(tasks, "train quality models")) if tasks else []
    models = {name: digest for receipt in trained for name, digest in receipt.outputs.items()}
    words = {name: store.hash_json(value) for name, value in work.files["words"].items()}
    arguments = {"words": settings.resolved(own)["words"], "models": list(own.quality)}
    work.each(score, arguments, ("texts",), ("scores",), models | words)
    return ["scores"]


def _contamination(work: Work) -> list[str]:
    own = work.stage.settings.decontaminate
    if not own.benchmarks:
        return []
    arguments = {"benchmarks": settings.resolved(own)["benchmarks"], "n_words": own.n_words}
    task = Task(
        "contamination-index", decontaminate.build_task, arguments,
        decontaminate.INDEX, work.files["benchmarks"],
    )  # fmt: skip
    (index,) = work.keep(work.stage.run_tasks([task], "index benchmarks"))
    work.each(decontaminate.scan_task, {}, ("texts",), ("contamination",), index.outputs)
    return ["contamination"]


def _spans(work: Work, table: dict[str, Any]) -> list[str]:
    if not spans.versions(table):
        return []
    work.hashes |= spans.run(work.stage, work.names, work.hashes, table)
    return ["spans"]


def _check_limits(work: Work) -> None:
    """Stop where duplicates take more of a source than the recipe expects of it."""
    own = work.stage.settings
    total: dict[str, int] = {}
    removed: dict[str, int] = {}
    for name in work.names:
        verdict = shards.read(work.stage.folder / "verdicts" / name, ["source", "keep"])
        kind = shards.read(work.stage.folder / "duplicates" / name, ["kind"])["kind"]
        for source, keep, what in zip(
            verdict["source"].to_pylist(), verdict["keep"].to_pylist(), kind.to_pylist(),
            strict=True,
        ):  # fmt: skip
            total[source] = total.get(source, 0) + keep
            removed[source] = removed.get(source, 0) + (what is not None)
    for source, n in sorted(total.items()):
        chosen = own.sources.get(source)
        limit = chosen.max_removed if chosen else None
        limit = own.duplicates.max_removed if limit is None else limit
        if n >= LEAST_DOCUMENTS and removed[source] > limit * n:
            raise DataError(
                f"curate: dedup removed {removed[source] / n:.0%} of source '{source}' "
                f"({removed[source]:,} of {n:,} documents); the limit is {limit:.0%}; look at "
                f"curate/duplicates and, if this is right, set curate.sources.{source}.max_removed"
            )


def _report(
    work: Work, chosen: dict[str, Any], judged: list[Receipt], written: list[Receipt],
    taken: dict[str, int],
) -> dict[str, Any]:  # fmt: skip
    """Write funnel.json and funnel.parquet; the counts of the stage."""
    stage, own = work.stage, work.stage.settings
    ruled = compiled(chosen)
    asked = {"domain": chosen["block_domains"], "contamination": chosen["drop_contaminated"]}
    possible = [r for r in reasons(chosen, ruled) if asked.get(r, True)]
    names = funnel.step_names([*possible, *TWINS], own.lines != "none")
    cubes = funnel.merge(stage.folder / "funnel" / name for name in work.names)
    counts = [receipt.counts for receipt in written]
    shown = samples.Samples(stage.folder, work.names)
    report = {
        **funnel.summary(cubes, names),
        **funnel.rules(ruled, [r.counts for r in judged], shown.of_rules(ruled, judged)),
        "duplicates": {
            "copies": funnel.histogram(c["copies"] for c in counts),
            "split_clusters": funnel.histogram(c["cluster_sizes"] for c in counts),
            "samples": shown.of_pairs(counts),
        },
        "edits": funnel.edits(counts),
    }
    if own.decontaminate.benchmarks:
        index = store.read_json(stage.folder / "receipts" / "contamination-index.json")["counts"]
        report["contamination"] = decontaminate.report(stage.folder, work.names, index)
    store.write_json(stage.output("funnel.json"), report)
    shards.write_table(stage.output("funnel.parquet"), funnel.table(cubes, names))
    taken = _sum(c["reasons"] for c in counts)
    totals = _totals(report, taken)
    most = sorted(taken.items(), key=lambda item: (-item[1], item[0]))[:4]
    stage.say(
        f"kept {totals['documents']:,} of {totals['documents_in']:,} documents"
        + (": " if most else "")
        + ", ".join(f"{reason} took {n:,}" for reason, n in most)
    )
    return totals


def _totals(report: dict[str, Any], taken: dict[str, int]) -> dict[str, Any]:
    first, last = report["steps"][0], report["steps"][-1]
    n_in, n_out = first["documents_in"], last["documents_out"]
    return {
        "documents_in": n_in,
        "documents": n_out,
        "dropped": n_in - n_out,
        "bytes_in": first["bytes_in"],
        "bytes": last["bytes_out"],
        "reasons": taken,
        "by_source": {
            source: {
                "documents_in": totals["documents_in"],
                "documents": last["by_source"][source]["documents_out"],
                "bytes_in": totals["bytes_in"],
                "bytes": last["by_source"][source]["bytes_out"],
            }
            for source, totals in first["by_source"].items()
        },
        "edits": {what: row["edits"] for what, row in report["edits"].items()},
    }


def _sum(counts: Any) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in counts:
        for key, n in one.items():
            total[key] = total.get(key, 0) + n
    return dict(sorted(total.items()))
