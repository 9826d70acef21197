"""Stage `curate`: measure every text once, decide over the measurements, write what is kept.

    collect/documents/S ─measure→ texts/S  signals/S          a task per shard, knows no threshold
    signals/*           ─decide→  decisions/S                 one task: rules, then duplicates
    texts/S decisions/S ─write→   kept/S  dropped/S           a task per shard; then funnel.json

A changed threshold reruns `decide`, and `write` where a shard's decisions changed. A document
leaves at the first of: empty, language, each rule in order, exact duplicate, near-duplicate.
Price: the texts are on disk twice; `decide` holds all signals (about 0.5 KB a document) and, of
the documents that pass the rules, the signatures (448 bytes each) in memory.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from pretrain import shards, store
from pretrain.curate import funnel, language, minhash, normalize, redact, signals
from pretrain.curate.decide import choice, decide, nothing_left
from pretrain.document import DOCUMENT, KEPT
from pretrain.errors import DataError
from pretrain.flow import Stage
from pretrain.tasks import Task

EXCERPT_CHARS = 400
CONTEXT_CHARS = 80  # around a redaction, in the report's samples
DROPPED = pa.schema(
    [
        *[DOCUMENT.field(n) for n in ("id", "source", "path", "offset", "length")],
        ("reason", pa.string()),
        ("duplicate_of", pa.string()),
        ("excerpt", pa.string()),
    ]
)


def run(stage: Stage) -> dict[str, Any]:
    """Measure, decide, write; the counts of the stage."""
    collected = stage.hashes_of("collect")
    paths = stage.outputs_of("collect", "documents/*.parquet")
    names = [path.name for path in paths]
    n_bytes = [float(path.stat().st_size) for path in paths]
    measured = stage.run_tasks(
        [
            Task(
                f"measure-{Path(name).stem}", measure, {"shard": name},
                (f"texts/{name}", f"signals/{name}"), {name: collected[f"documents/{name}"]}, size,
            )
            for name, size in zip(names, n_bytes, strict=True)
        ],
        "measure",
    )  # fmt: skip
    n_documents = sum(receipt.counts["documents"] for receipt in measured)
    if not n_documents:
        raise DataError("curate: collect gave no documents; look at collect/report and its sources")
    hashes = {name: digest for r in measured for name, digest in r.outputs.items()}
    (chosen,) = stage.run_tasks(
        [
            Task(
                "decide", decide, {"shards": names, **choice(stage.settings)},
                tuple(f"decisions/{name}" for name in names), hashes,
            )
        ],
        "decide",
    )  # fmt: skip
    if not chosen.counts["kept"]:
        raise DataError(nothing_left(n_documents, chosen.counts["reasons"]))
    hashes |= chosen.outputs
    written = stage.run_tasks(
        [
            Task(
                f"write-{Path(name).stem}", write,
                {"shard": name, "redact": list(stage.settings.redact)},
                (f"kept/{name}", f"dropped/{name}"),
                {f: hashes[f] for k in ("texts", "signals", "decisions") for f in (f"{k}/{name}",)},
                size,
            )
            for name, size in zip(names, n_bytes, strict=True)
        ],
        "write",
    )  # fmt: skip
    counts = [receipt.counts for receipt in written]
    report = funnel.assemble(chosen.counts["funnel"], counts)
    store.write_json(stage.output("funnel.json"), report)
    totals = _totals(report, chosen.counts["reasons"])
    most = sorted(totals["reasons"].items(), key=lambda item: (-item[1], item[0]))[:4]
    stage.say(
        f"kept {totals['documents']:,} of {totals['documents_in']:,} documents"
        + (": " if most else "")
        + ", ".join(f"{reason} took {n:,}" for reason, n in most)
    )
    return totals


def measure(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """Normalise one shard's texts and write everything that rules and duplicates will ask."""
    name = arguments["shard"]
    table = shards.read(folder.parent / "collect" / "documents" / name)
    texts = normalize.normalize_all(_texts(table))
    labels, scores = language.identify(texts)
    data, offsets = normalize.buffers(texts)
    view = memoryview(data)  # type: ignore[arg-type]
    spans = zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
    hashes = [xxhash.xxh3_128_digest(view[a:b]) for a, b in spans]
    signatures = minhash.signatures(texts)
    ids = table["id"].to_pylist()
    columns = {
        **{n: table[n] for n in ("id", "source", "path")},
        "draw": pa.array([xxhash.xxh3_64_intdigest(i.encode()) for i in ids], pa.uint64()),
        "empty": pc.equal(pc.binary_length(pc.utf8_trim_whitespace(texts)), 0),
        "language": pa.array(labels.tolist(), pa.string()),
        "language_score": pa.array(scores),
        **{n: pa.array(values) for n, values in signals.measure(texts).items()},
        "content_hash": pa.array(hashes, pa.binary(16)),
        "signature": pa.array(
            [row.tobytes() for row in signatures], pa.binary(4 * minhash.N_HASHES)
        ),
    }
    at = table.schema.get_field_index("text")
    shards.write_table(folder / "texts" / name, table.set_column(at, DOCUMENT.field("text"), texts))
    shards.write_table(folder / "signals" / name, pa.table(columns))
    return {"documents": table.num_rows, "bytes": int(offsets[-1] - offsets[0])}


def write(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """Write one shard's kept documents, redacted, and an excerpt of each other one."""
    name, kinds = arguments["shard"], arguments["redact"]
    table = shards.read(folder / "texts" / name)
    decision = shards.read(folder / "decisions" / name)
    measured = shards.read(folder / "signals" / name, ["draw", "language"])
    keep = decision["keep"]
    kept, chosen, marks = table.filter(keep), decision.filter(keep), measured.filter(keep)
    texts, edits, redactions = _redact(kept, marks["draw"].to_pylist(), kinds)
    columns = {n: kept[n] for n in KEPT.names if n in kept.column_names}
    columns |= {"language": marks["language"], "cluster": chosen["cluster"]}
    columns |= {"copies": chosen["copies"], "edits": edits, "text": texts}
    shards.write_table(
        folder / "kept" / name, pa.table({n: columns[n] for n in KEPT.names}, schema=KEPT)
    )

    gone, why = table.filter(pc.invert(keep)), decision.filter(pc.invert(keep))
    starts = pc.utf8_slice_codeunits(gone["text"], 0, 2 * EXCERPT_CHARS).to_pylist()
    columns = {n: gone[n] for n in DROPPED.names if n in gone.column_names}
    columns |= {"reason": why["reason"], "duplicate_of": why["duplicate_of"]}
    columns["excerpt"] = pa.array([funnel.excerpt(t, EXCERPT_CHARS) for t in starts], pa.string())
    shards.write_table(
        folder / "dropped" / name, pa.table({n: columns[n] for n in DROPPED.names}, schema=DROPPED)
    )
    if len(kept) + len(gone) != len(table) or len(decision) != len(table):
        raise DataError(f"curate: {name}: {len(table)} in, {len(kept)} kept, {len(gone)} dropped")
    n_bytes = pc.binary_length(texts).to_numpy(zero_copy_only=False)
    by_source: dict[str, Counter[str]] = {}
    for source, n in zip(kept["source"].to_pylist(), n_bytes.tolist(), strict=True):
        by_source.setdefault(source, Counter()).update(documents=1, bytes=n)
    return {
        "documents": len(kept),
        "dropped": len(gone),
        "bytes": int(n_bytes.sum()),
        "by_source": {source: dict(counts) for source, counts in sorted(by_source.items())},
        "redactions": redactions,
    }


def _texts(table: pa.Table) -> pa.Array:
    return table["text"].cast(pa.large_string()).combine_chunks()


def _redact(
    kept: pa.Table, draws: list[int], kinds: list[str]
) -> tuple[pa.Array, pa.Array, dict[str, Any]]:
    """(texts, edits, per kind: documents, edits and samples of what now stands there)."""
    texts = _texts(kept)
    edits: list[list[redact.Edit]] = [[] for _ in range(len(texts))]
    changed: dict[int, str] = {}
    for i in np.flatnonzero(redact.suspects(texts, kinds)).tolist():
        text, made = redact.redact(texts[i].as_py(), kinds)
        if made:
            changed[i], edits[i] = text, made
    found = {}
    for kind in kinds:
        rows = [i for i in changed if any(what == kind for _, _, what in edits[i])]
        first = sorted(rows, key=lambda i: draws[i])[: funnel.N_SAMPLES]
        found[kind] = {
            "documents": len(rows),
            "edits": sum(what == kind for i in rows for _, _, what in edits[i]),
            "samples": [
                {n: kept[n][i].as_py() for n in ("id", "path", "source")}
                | {"draw": draws[i], "excerpt": _around(texts[i].as_py(), edits[i], kind)}
                for i in first
            ],
        }
    if changed:
        after = [changed.get(i, text) for i, text in enumerate(texts.to_pylist())]
        texts = pa.array(after, pa.large_string())
    fields = ("start", "end", "what")
    lists = [[dict(zip(fields, edit, strict=True)) for edit in made] for made in edits]
    return texts, pa.array(lists, KEPT.field("edits").type), found


def _around(text: str, edits: list[redact.Edit], kind: str) -> str:
    """What now stands where the first edit of a kind was made, with its surroundings."""
    start, end, _ = next(edit for edit in edits if edit[2] == kind)
    data = text.encode()
    near = data[max(0, start - 500) : end + 500].decode(errors="ignore")
    at = len(data[max(0, start - 500) : start].decode(errors="ignore"))
    n_chars = len(data[start:end].decode())
    before = redact.redact(near[:at])[0][-CONTEXT_CHARS:]
    address = redact.redact(near[at : at + n_chars])[0]
    return before + address + redact.redact(near[at + n_chars :])[0][:CONTEXT_CHARS]


def _totals(report: dict[str, Any], reasons: dict[str, int]) -> dict[str, Any]:
    first, last = report["steps"][0], report["steps"][-1]
    n_in, n_out = first["documents_in"], last["documents_out"]
    return {
        "documents_in": n_in,
        "documents": n_out,
        "dropped": n_in - n_out,
        "bytes_in": first["bytes_in"],
        "bytes": last["bytes_out"],
        "reasons": reasons,
        "by_source": {
            source: {
                "documents_in": totals["documents_in"],
                "documents": last["by_source"][source]["documents_out"],
                "bytes_in": totals["bytes_in"],
                "bytes": last["by_source"][source]["bytes_out"],
            }
            for source, totals in first["by_source"].items()
        },
        "redactions": {kind: r["edits"] for kind, r in report["redactions"].items()},
    }
