"""Task `write`: the kept documents of one shard with their edits made, and what is left of others.

    texts/S  signals/S  verdicts/S  duplicates/S [spans/S contamination/S] ─▶ kept/S  dropped/S
                                                                              decisions/S  funnel/S

Cuts (duplicated paragraphs and windows, contamination) and replacements (sensitive data) are edits
of step 1, made together; a document of which they leave nothing goes with the reason
`nothing_left`. decisions/S says of every document what became of it and why, funnel/S counts
documents and bytes by reason, source, language, licence and domain.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pretrain import shards
from pretrain.curate import judge, rewrite
from pretrain.curate.edits import Edit
from pretrain.curate.rules import NEAR_DUPLICATE, NOTHING_LEFT
from pretrain.document import DOCUMENT, KEPT
from pretrain.errors import DataError

DROPPED = pa.schema(
    [
        *[DOCUMENT.field(n) for n in ("id", "source", "path", "offset", "length")],
        ("reason", pa.string()),
        ("duplicate_of", pa.string()),
        ("excerpt", pa.string()),
    ]
)
DECISION = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("domain", pa.string()),
        ("license", pa.string()),
        ("language", pa.string()),
        ("keep", pa.bool_()),
        ("reason", pa.string()),  # null for what is kept
        ("duplicate_of", pa.string()),
        ("similarity", pa.float32()),
        ("cluster", pa.string()),  # null for what is not kept
        ("cluster_size", pa.int64()),
        ("copies", pa.int64()),
        ("n_bytes_collected", pa.int64()),
        ("n_bytes_normalized", pa.int64()),
        ("n_bytes", pa.int64()),  # after the line rules, as the rules saw it
        ("n_bytes_out", pa.int64()),  # after all edits; 0 for what is not kept
    ]
)
_BYTES = ("n_bytes_collected", "n_bytes_normalized", "n_bytes", "n_bytes_out")
KEYS = ("reason", "source", "language", "license", "domain")


def write(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """Write what became of each document of one shard; its counts feed the funnel."""
    name = arguments["shard"]
    table = shards.read(folder / "texts" / name)
    measured = shards.read(
        folder / "signals" / name,
        ["draw", "domain", "language", "sensitive", "lines", "excerpt", *list(_BYTES[:3])],
    )
    decided = _decisions(folder, name, table, measured)
    texts, made, empty = rewrite.rewritten(
        table["text"].cast(pa.large_string()).combine_chunks(),
        measured,
        shards.as_numpy(decided["keep"]),
        rewrite.cuts(folder, name, arguments),
        arguments["replace_kinds"],
    )
    decided = _emptied(decided, texts, empty)
    keep = decided["keep"].combine_chunks()
    _write_kept(folder / "kept" / name, table, measured, decided, texts, made, keep)
    _write_dropped(folder / "dropped" / name, table, measured, decided, pc.invert(keep))
    shards.write_table(folder / "decisions" / name, decided)
    shards.write_table(folder / "funnel" / name, _counted(decided))
    draw = shards.as_numpy(measured["draw"])
    near = np.flatnonzero(pc.equal(decided["reason"], NEAR_DUPLICATE).fill_null(False).to_numpy())
    kept = decided.filter(keep)
    return {
        "documents": len(kept),
        "dropped": len(table) - len(kept),
        "bytes": pc.sum(kept["n_bytes_out"]).as_py() or 0,
        "reasons": _histogram(decided["reason"].drop_null()),
        "edits": rewrite.summary(table, texts, draw, made),
        "near": judge.drawn(near, draw),
        "copies": _histogram(kept["copies"]),
        "cluster_sizes": _histogram(
            kept.filter(pc.equal(kept["cluster"], kept["id"]))["cluster_size"]
        ),
    }


def _decisions(folder: Path, name: str, table: pa.Table, measured: pa.Table) -> pa.Table:
    """The verdicts joined with what duplicates took."""
    verdict = shards.read(folder / "verdicts" / name)
    twins = shards.read(folder / "duplicates" / name)
    if not len(table) == len(verdict) == len(twins) == len(measured):
        raise DataError(
            f"curate: {name} has {len(table)} texts, {len(verdict)} verdicts, {len(twins)} rows of "
            "duplicates; must be equal; run `pretrain curate RECIPE --restart`"
        )
    taken = pc.is_valid(twins["kind"])
    keep = pc.and_(verdict["keep"], pc.invert(taken))
    why = pc.binary_join_element_wise(twins["kind"], "duplicate", "_")
    columns = {
        "id": table["id"],
        "source": table["source"],
        "license": table["license"],
        **{n: measured[n] for n in ("domain", "language", *_BYTES[:3])},
        "keep": keep,
        "reason": pc.if_else(taken, why, verdict["reason"]),
        **{n: twins[n] for n in ("duplicate_of", "similarity", "cluster")},
        **{n: twins[n] for n in ("cluster_size", "copies")},
        "n_bytes_out": pc.if_else(keep, measured["n_bytes"], 0),
    }
    return pa.table({n: columns[n] for n in DECISION.names}, schema=DECISION).combine_chunks()


def _emptied(decided: pa.Table, texts: pa.Array, empty: list[int]) -> pa.Table:
    """The decisions after the edits: bytes that are left, and documents of which nothing is."""
    keep = shards.as_numpy(decided["keep"]).copy()
    keep[empty] = False
    reason = decided["reason"].to_pylist()
    for row in empty:
        reason[row] = NOTHING_LEFT
    n_bytes = pc.binary_length(texts).to_numpy(zero_copy_only=False)
    columns = {n: decided[n] for n in DECISION.names}
    columns |= {
        "keep": pa.array(keep),
        "reason": pa.array(reason, pa.string()),
        "n_bytes_out": pa.array(np.where(keep, n_bytes, 0)),
        "cluster": pc.if_else(pa.array(keep), decided["cluster"], None),
    }
    return pa.table(columns, schema=DECISION).combine_chunks()


def _write_kept(
    path: Path, table: pa.Table, measured: pa.Table, decided: pa.Table, texts: pa.Array,
    made: dict[int, list[Edit]], keep: pa.Array,
) -> None:  # fmt: skip
    kept = table.filter(keep)
    columns = {n: kept[n] for n in KEPT.names if n in kept.column_names}
    columns["language"] = measured["language"].filter(keep)
    columns |= {n: decided[n].filter(keep) for n in ("cluster", "copies")}
    rows = np.flatnonzero(keep.to_numpy(zero_copy_only=False)).tolist()
    columns["edits"] = pa.array([made.get(row, []) for row in rows], KEPT.field("edits").type)
    columns["text"] = texts.filter(keep)
    shards.write_table(path, pa.table({n: columns[n] for n in KEPT.names}, schema=KEPT))


def _write_dropped(
    path: Path, table: pa.Table, measured: pa.Table, decided: pa.Table, gone: pa.Array
) -> None:
    rows, why = table.filter(gone), decided.filter(gone)
    columns = {n: rows[n] for n in DROPPED.names if n in rows.column_names}
    columns |= {"reason": why["reason"], "duplicate_of": why["duplicate_of"]}
    columns["excerpt"] = measured["excerpt"].filter(gone)
    shards.write_table(path, pa.table({n: columns[n] for n in DROPPED.names}, schema=DROPPED))


def _counted(decided: pa.Table) -> pa.Table:
    """Documents and bytes by what became of them, source, language, licence and domain."""
    table = decided.select([*KEYS, *_BYTES])
    grouped = table.group_by(list(KEYS), use_threads=False).aggregate(
        [([], "count_all"), *[(n, "sum") for n in _BYTES]]
    )
    return grouped.rename_columns([*KEYS, "documents", *_BYTES]).sort_by(
        [(n, "ascending") for n in KEYS]
    )


def _histogram(values: pa.ChunkedArray) -> dict[str, int]:
    return {str(k): n for k, n in sorted(Counter(values.to_pylist()).items())}
