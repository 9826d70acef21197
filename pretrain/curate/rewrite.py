"""The edits of step 1: what is cut from the kept texts of one shard, and what is replaced in them.

    spans/S  contamination/S ─▶ cuts ──────────┐
    signals/S sensitive      ─▶ replacements ──┴▶ apart ─▶ text, edits

Contamination is cut with its surroundings, a duplicate as it is. Only texts with something to edit
become Python objects.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pretrain import shards
from pretrain.curate import decontaminate, edits, judge, sensitive
from pretrain.curate.edits import Edit

CONTEXT_CHARS = 80  # around an edit, in the report's samples

Cut = tuple[int, int, str, str]  # bytes [start, end), what, by


def cuts(folder: Path, name: str, arguments: Mapping[str, Any]) -> dict[int, list[Cut]]:
    """row -> what is cut from its text."""
    result: dict[int, list[Cut]] = {}
    if arguments["spans"]:
        for row in shards.read(folder / "spans" / name).to_pylist():
            cut = (row["start"], row["end"], row["what"], arguments["spans"][row["what"]])
            result.setdefault(row["row"], []).append(cut)
    if arguments["cut_contamination"]:
        for row in shards.read(folder / "contamination" / name).to_pylist():
            by = f"{arguments['cut_contamination']}: {row['benchmark']}"
            cut = (row["start"], row["end"], "contamination", by)
            result.setdefault(row["row"], []).append(cut)
    return result


def rewritten(
    texts: pa.Array, measured: pa.Table, keep: np.ndarray, own_cuts: Mapping[int, list[Cut]],
    kinds: Sequence[str],
) -> tuple[pa.Array, dict[int, list[Edit]], list[int]]:  # fmt: skip
    """(texts, row -> its edits of both steps, rows of which nothing is left), of kept rows."""
    found = measured["sensitive"].combine_chunks()
    lines = measured["lines"].combine_chunks()
    n_found = pc.list_value_length(found).fill_null(0).to_numpy()
    n_lines = pc.list_value_length(lines).fill_null(0).to_numpy()
    made = {row: lines[row].as_py() for row in np.flatnonzero(keep & (n_lines > 0)).tolist()}
    touched = set(np.flatnonzero(keep & (n_found > 0)).tolist())
    touched |= {row for row in own_cuts if keep[row]}
    new: dict[int, str] = {}
    for row in sorted(touched):
        text = texts[row].as_py()
        own = _edits(text, found[row].as_py() or (), own_cuts.get(row, ()), kinds)
        if own:
            new[row] = edits.apply(text.encode(), own).decode()
            made[row] = made.get(row, []) + own
    empty = [row for row, text in new.items() if not text or text.isspace()]
    return edits.changed(texts, new), made, empty


def summary(
    table: pa.Table, texts: pa.Array, draw: np.ndarray, made: Mapping[int, list[Edit]]
) -> dict[str, Any]:
    """what -> documents, edits, bytes taken out, and samples of what now stands there."""
    result: dict[str, Any] = {}
    for what in sorted({one["what"] for own in made.values() for one in own}):
        rows = np.array([r for r, own in made.items() if any(e["what"] == what for e in own)])
        ours = [e for own in made.values() for e in own if e["what"] == what]
        result[what] = {
            "documents": len(rows),
            "edits": len(ours),
            "bytes": sum(e["end"] - e["start"] - len(e["replacement"].encode()) for e in ours),
            "samples": [
                {n: table[n][row].as_py() for n in ("id", "path", "source")}
                | {"draw": d, "excerpt": _around(texts[row].as_py(), made[row], what)}
                for d, row in judge.drawn(np.sort(rows), draw)
            ],
        }
    return result


def _around(text: str, own: list[Edit], what: str) -> str:
    """What now stands where the first edit of a kind was made, with its surroundings."""
    first = next(e for e in own if e["what"] == what)
    same_step = [e for e in own if e["step"] == first["step"] and e["start"] < first["start"]]
    shift = sum(len(e["replacement"].encode()) - (e["end"] - e["start"]) for e in same_step)
    data = text.encode()
    at = min(first["start"] + shift, len(data))
    end = at + len(first["replacement"].encode())
    before = data[max(0, at - 4 * CONTEXT_CHARS) : at].decode(errors="ignore")[-CONTEXT_CHARS:]
    after = data[end : end + 4 * CONTEXT_CHARS].decode(errors="ignore")[:CONTEXT_CHARS]
    return before + (first["replacement"] or "[…]") + after


def _edits(
    text: str, found: Sequence[Mapping[str, Any]], own_cuts: Sequence[Cut], kinds: Sequence[str]
) -> list[Edit]:
    """The edits of one text, in order and apart."""
    data = text.encode()
    masks = []
    for span in found:
        start, end, kind = span["start"], span["end"], span["kind"]
        if kind in kinds:
            stands = sensitive.replacement(kind, data[start:end].decode())
            masks.append(edits.edit(1, start, end, kind, stands, sensitive.version()))
    gone = []
    for start, end, what, by in own_cuts:
        if what == "contamination":
            ((start, end),) = decontaminate.cuts(text, [(start, end)])
        gone.append(edits.edit(1, start, end, what, "", by))
    return edits.apart(gone, masks)
