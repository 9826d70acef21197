"""What is shown of single documents in the report: where they are from, their start, the evidence.

The tasks name documents as [draw, row]; the smallest draws over all shards are shown. Only their
shards are opened. Sensitive data are replaced in everything shown.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pretrain import shards
from pretrain.curate import evidence, rules, sensitive
from pretrain.curate.judge import N_SAMPLES, read_columns
from pretrain.curate.rules import Rule
from pretrain.tasks import Receipt

CONTEXT_BYTES = 120
SPAN_BYTES = 240  # of the evidence; the rest of a long one is not shown
_SHOWN = ("id", "path", "source", "excerpt")

Place = tuple[int, int]  # shard, row


class Samples:
    """Reads documents of a stage folder by shard and row."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.folder, self.names = folder, names

    def of_rules(self, ruled: Sequence[Rule], judged: Sequence[Receipt]) -> list[list[Any]]:
        """For each rule its samples: documents it would remove, values, the offending span."""
        places = [
            _first(
                (draw, shard, row)
                for shard, receipt in enumerate(judged)
                for draw, row in receipt.counts["samples"][i]
            )
            for i in range(len(ruled))
        ]
        names = sorted({n for rule in ruled for n in rules.signals_of(rule.expression)})
        rows = self._read([p for found in places for p in found], names)
        texts = self._texts([p for found in places for p in found])
        result = []
        for rule, found in zip(ruled, places, strict=True):
            own = rules.signals_of(rule.expression)
            shown = []
            for place in found:
                sample = {n: rows[place][n] for n in _SHOWN}
                sample["values"] = {n: _rounded(rows[place][n]) for n in own}
                span = evidence.evidence(texts[place], own)
                if span:
                    sample["evidence"] = around(texts[place].encode(), *span)
                shown.append(sample)
            result.append(shown)
        return result

    def of_pairs(self, written: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Near-duplicates and what stays in their place."""
        places = _first(
            (draw, shard, row)
            for shard, counts in enumerate(written)
            for draw, row in counts["near"]
        )
        removed = self._read(places, [])
        pairs = []
        for place in places:
            name = self.names[place[0]]
            decision = shards.read(
                self.folder / "decisions" / name, ["duplicate_of", "similarity"]
            ).slice(place[1], 1)
            (row,) = decision.to_pylist()
            kept = self._find(row["duplicate_of"], near=place[0])
            pairs.append(
                {
                    "jaccard": round(row["similarity"], 6),
                    "removed": {n: removed[place][n] for n in _SHOWN},
                    "kept": {n: self._read([kept], [])[kept][n] for n in _SHOWN},
                }
            )
        return pairs

    def _find(self, identity: str, near: int) -> Place:
        """Where a document is; its duplicate's shard is looked into first."""
        for shard in sorted(range(len(self.names)), key=lambda s: (s != near, s)):
            ids = shards.read(self.folder / "decisions" / self.names[shard], ["id"])["id"]
            row = pc.index(ids, identity).as_py()
            if row >= 0:
                return shard, row
        raise KeyError(identity)

    def _read(self, places: Sequence[Place], names: list[str]) -> dict[Place, dict[str, Any]]:
        result = {}
        for shard, rows in _by_shard(places).items():
            table = read_columns(self.folder, self.names[shard], [*_SHOWN, *names])
            for row, values in zip(rows, table.take(pa.array(rows)).to_pylist(), strict=True):
                result[shard, row] = values
        return result

    def _texts(self, places: Sequence[Place]) -> dict[Place, str]:
        result = {}
        for shard, rows in _by_shard(places).items():
            first = 0
            for batch in shards.batches(self.folder / "texts" / self.names[shard], ["text"]):
                for row in rows:
                    if first <= row < first + len(batch):
                        result[shard, row] = batch.column(0)[row - first].as_py()
                first += len(batch)
        return result


def around(data: bytes, start: int, end: int) -> list[str]:
    """[before, span, after] of a piece of evidence, without sensitive data."""
    end = min(end, start + SPAN_BYTES)
    parts = (
        data[max(0, start - CONTEXT_BYTES) : start],
        data[start:end],
        data[end : end + CONTEXT_BYTES],
    )
    return [sensitive.hidden(part.decode(errors="ignore")) for part in parts]


def _first(found: Any) -> list[Place]:
    return [(shard, row) for _, shard, row in sorted(found)[:N_SAMPLES]]


def _by_shard(places: Sequence[Place]) -> dict[int, list[int]]:
    result: dict[int, list[int]] = {}
    for shard, row in sorted(set(places)):
        result.setdefault(shard, []).append(row)
    return result


def _rounded(value: Any) -> Any:
    return round(float(value), 6) if isinstance(value, int | float) else value
