"""Raw sources in, documents out.

    list files ─▶ group to about shard_bytes ─▶ one task per group ─▶ documents/ rejects/ files/

The list is sorted and the groups follow from sizes alone, so the output is the same bytes whatever
the number of workers. A task reads its files through the reader of the source's kind into a ledger
that accounts for every record. A file that cannot be read at all costs only itself; a source that
matches no file, or a run that collects nothing, stops with what happened.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pretrain import settings
from pretrain.collect import (
    code,
    crawl,
    environment,
    files,
    hub,
    jsonl,
    optout,
    parquet,
    streams,
    tables,
    warc,
    wikipedia,
)
from pretrain.collect.guard import Guard
from pretrain.collect.ledger import Ledger, output_names
from pretrain.collect.listing import Entry, Listing, group, list_source
from pretrain.collect.settings import Source
from pretrain.errors import DataError, PretrainError
from pretrain.tasks import Receipt, Task

if TYPE_CHECKING:
    from pretrain.flow import Stage
    from pretrain.recipe import Recipe

READERS: dict[str, Callable[[Entry, Source, Ledger, Any], None]] = {
    "files": files.read,
    "jsonl": jsonl.read,
    "csv": tables.read,
    "parquet": parquet.read,
    "warc": warc.read,
    "wikipedia": wikipedia.read,
    "code": code.read,
    "hf": hub.read,
    "python-environment": environment.read,
}


def inputs(recipe: "Recipe") -> dict[str, Any]:
    """source -> hash of the names, sizes and times of its files: part of the stage's key."""
    found: dict[str, Any] = {}
    for name, source in recipe.collect.sources.items():
        try:
            found[name] = [list_source(source).fingerprint(), optout.inputs(source.opt_out)]
        except PretrainError as error:  # `run` says so; `status` must not stop at a missing network
            found[name] = str(error)
    return found


def run(stage: "Stage") -> dict[str, Any]:
    """Collect every source; the counts of the stage."""
    listings = {name: _list(name, source) for name, source in stage.settings.sources.items()}
    tasks: list[Task] = []
    owners: list[str] = []
    for name, listing in listings.items():
        tasks += _tasks(stage, name, listing)
        owners += [name] * (len(tasks) - len(owners))
    receipts = stage.run_tasks(tasks, "reading")
    by_source = {}
    for name, listing in listings.items():
        mine = [r for r, owner in zip(receipts, owners, strict=True) if owner == name]
        by_source[name] = {**_sum(mine), "files_skipped": listing.skipped}
    counts = _sum(receipts)
    if not counts["documents"]:
        raise DataError(
            f"collect: no document was collected; {_story(counts)}; at least one record must hold "
            "text (the records are in collect/rejects; recipe table collect.sources)"
        )
    for name, own in by_source.items():
        _check_quarantine(name, own, stage.settings.max_quarantined)
        if not own["documents"]:
            hint = f"; see collect/rejects/{name}-*.parquet for what each record was"
            if "no_text" in own["reasons"]["quarantined"]:
                hint += f", and recipe key collect.sources.{name}.text_field"
            stage.say(f"source '{name}' gave no document; {_story(own)}{hint}")
    stage.say(_story(counts))
    return {**counts, "by_source": by_source}


def _list(name: str, source: Source) -> Listing:
    listing = list_source(source)
    if not listing.entries:
        skipped = sum(listing.skipped.values())
        what = ", ".join(source.paths) or f"part '{source.part}' of the Python environment"
        raise DataError(
            f"collect: source '{name}': no file matches {what} ({skipped} files of other suffixes "
            f"or hidden); must match at least one (recipe key collect.sources.{name}.path)"
        )
    return listing


def _tasks(stage: "Stage", name: str, listing: Listing) -> list[Task]:
    """The tasks that read one source."""
    source = stage.settings.sources[name]
    if source.kind == "common-crawl":
        return crawl.tasks(stage, name, source, listing.entries)
    groups = group(listing.entries, stage.settings.shard_bytes)
    return [_task(stage, f"{name}-{i:05d}", name, entries) for i, entries in enumerate(groups)]


def _task(stage: "Stage", task: str, name: str, entries: list[Entry]) -> Task:
    own = stage.settings
    return Task(
        name=task,
        function=collect,
        arguments={
            "task": task,
            "source": name,
            "settings": settings.resolved(own.sources[name]),
            "extract_seconds": own.extract_seconds,
            "extract_megabytes": own.extract_megabytes,
            "entries": [e.to_json() for e in entries],
        },
        outputs=output_names(task),
        inputs=optout.inputs(own.sources[name].opt_out),
        weight=float(sum(e.n_bytes or 0 for e in entries)),
    )


def collect(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """The task: read its files into one shard. Its counts are `Ledger.totals`."""
    name = f"collect.sources.{arguments['source']}"
    source: Source = settings.again(Source, arguments["settings"], name)
    reader = READERS[source.kind]
    folder.mkdir(parents=True, exist_ok=True)  # for temporary files
    limits = arguments["extract_seconds"], arguments["extract_megabytes"]
    guard = Guard(*limits, source.extractor)
    ledger = Ledger(folder, arguments["task"], arguments["source"], source.license)
    with guard, ledger:
        for value in arguments["entries"]:
            entry = Entry(**value)
            ledger.begin(entry)
            try:
                if entry.problem:
                    raise streams.Unreadable(entry.problem)
                reader(entry, source, ledger, guard)
            except streams.Unreadable as error:
                ledger.take()
                ledger.quarantine(0, entry.n_bytes or 0, "unreadable", str(error))
            ledger.finish()
    return ledger.totals()


def _check_quarantine(name: str, counts: dict[str, Any], limit: float) -> None:
    """Stop where too much of a source cannot be read; one record alone is never too much."""
    n, whole = counts["quarantined"], counts["records_in"]
    if n <= 1 or n <= limit * whole:
        return
    why = ", ".join(f"{reason} {k:,}" for reason, k in counts["reasons"]["quarantined"].items())
    raise DataError(
        f"collect: source '{name}': {n:,} of {whole:,} records ({n / whole:.1%}) cannot be read: "
        f"{why}; the limit is {limit:.1%}; look at collect/rejects/{name}-*.parquet, then mend the "
        "source, or set collect.max_quarantined and run again: what was read is not read again"
    )


def _sum(receipts: list[Receipt]) -> dict[str, Any]:
    """The counts of several tasks in one."""
    totals: Counter[str] = Counter()
    reasons: dict[str, Counter[str]] = {"dropped": Counter(), "quarantined": Counter()}
    names: dict[str, None] = {}
    for receipt in receipts:
        for key, value in receipt.counts.items():
            if key == "reasons":
                for kind, found in value.items():
                    reasons[kind].update(found)
            else:
                names[key] = None
                totals[key] += value
    result: dict[str, Any] = {name: totals[name] for name in names}
    result["reasons"] = {kind: dict(sorted(found.items())) for kind, found in reasons.items()}
    return result


def _story(counts: dict[str, Any]) -> str:
    """One line: what was read, kept, dropped and quarantined, and why."""
    parts = [
        f"{counts['files']:,} files, {counts['bytes_in'] / 1e6:,.1f} MB",
        f"{counts['records_in']:,} records",
        f"{counts['documents']:,} documents",
    ]
    for kind, reasons in counts["reasons"].items():
        why = ", ".join(f"{reason} {n:,}" for reason, n in reasons.items())
        parts.append(f"{counts[kind]:,} {kind}" + (f" ({why})" if why else ""))
    return " · ".join(parts)
