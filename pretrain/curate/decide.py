"""Task `decide`: which documents stay, from the signals of all shards.

A document leaves at the first of: empty, language, each rule in order, exact duplicate,
near-duplicate. Duplicates are looked for among what is left; preferred is the longest text, then
the smallest id, so nothing depends on the order of documents or shards. Texts are read only of
documents that LSH proposes (and of samples).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pretrain import settings, shards
from pretrain.curate import duplicates, funnel, rules

EMPTY, LANGUAGE, EXACT, NEAR = "empty", "language", "exact_duplicate", "near_duplicate"

DECISION = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("keep", pa.bool_()),
        ("reason", pa.string()),  # null for what is kept
        ("cluster", pa.string()),  # null for what is not
        ("copies", pa.int64()),
        ("duplicate_of", pa.string()),
    ]
)


def choice(chosen: Any) -> dict[str, Any]:
    """What `decide` depends on. Rules as lists: their order matters, and keys hash as if sorted."""
    table = settings.resolved(chosen)
    return {
        "rules": [[name, list(map(list, rules.items()))] for name, rules in table["rules"].items()],
        **{n: table[n] for n in ("sources", "languages", "language_score", "duplicates")},
    }


def decide(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """Which documents stay, why each other one goes, and the funnel of it."""
    names = arguments["shards"]
    paths = [folder / "signals" / name for name in names]
    wanted = [
        n for n in shards.read(paths[0]).column_names if n not in ("content_hash", "signature")
    ]
    table = shards.read_all(paths, wanted).combine_chunks()
    numbers = {
        n: table[n].to_numpy() for n in wanted if n not in ("id", "source", "path", "language")
    }
    encoded = table["source"].combine_chunks().dictionary_encode()
    sources, source = encoded.dictionary.to_pylist(), encoded.indices.to_numpy()
    compiled, removes = _judge(arguments, numbers, sources, source)
    reasons = [EMPTY, LANGUAGE, *[r.name for r in compiled], EXACT, NEAR]
    foreign = _foreign(arguments, table["language"], numbers["language_score"], sources, source)
    takes = np.vstack([numbers["empty"][None], foreign[None], removes])
    reason = np.where(takes.any(axis=0), takes.argmax(axis=0), -1)

    rows = [len(shards.read(path, ["empty"])) for path in paths]
    starts = np.concatenate([[0], np.cumsum(rows)])
    by_id = np.empty(len(table), np.int64)
    by_id[pc.sort_indices(table["id"]).to_numpy()] = np.arange(len(table))
    read_texts = _reader([folder / "texts" / name for name in names], starts)
    twins = _twins(arguments["duplicates"], paths, starts, numbers["n_bytes"], by_id, reason,
                   read_texts, (reasons.index(EXACT), reasons.index(NEAR)))  # fmt: skip

    duplicate_of, similarity, cluster = twins
    kept = reason < 0
    copies = np.where(
        kept, 1 + np.bincount(duplicate_of[duplicate_of >= 0], minlength=len(kept)), 0
    )
    ids = table["id"].combine_chunks()
    decisions = pa.table(
        {
            "id": ids,
            "source": table["source"],
            "keep": pa.array(kept),
            "reason": pa.array(reasons).take(pa.array(reason, mask=kept)),
            "cluster": ids.take(pa.array(cluster, mask=~kept)),
            "copies": pa.array(copies),
            "duplicate_of": ids.take(pa.array(duplicate_of, mask=duplicate_of < 0)),
        },
        schema=DECISION,
    )
    for name, start, n in zip(names, starts[:-1].tolist(), rows, strict=True):
        shards.write_table(folder / "decisions" / name, decisions.slice(start, n))
    order = sorted(range(len(sources)), key=lambda i: sources[i])
    report = funnel.decided(
        funnel.Decided(
            table, numbers["n_bytes"], numbers["draw"], [sources[i] for i in order],
            np.argsort(order)[source], reasons, reason, compiled, removes, numbers, duplicate_of,
            similarity, copies, cluster, read_texts,
        )
    )  # fmt: skip
    taken = np.bincount(reason[~kept], minlength=len(reasons)).tolist()
    return {
        "kept": int(kept.sum()),
        "reasons": {r: n for r, n in zip(reasons, taken, strict=True) if n},
        "funnel": report,
    }


def nothing_left(n_documents: int, reasons: dict[str, int]) -> str:
    """The message when all documents are gone: what took how many, and what to change."""
    most = sorted(reasons, key=lambda reason: (-reasons[reason], reason))
    keys = {
        EMPTY: "look at what collect reads",
        LANGUAGE: "change curate.languages or curate.language_score",
    }
    took = ", ".join(f"{reason} took {reasons[reason]:,}" for reason in most)
    advice = keys.get(most[0], f"relax curate.rules.{most[0]}")
    return (
        f"curate: all {n_documents:,} documents were removed: {took}; {advice} "
        "(samples in receipts/decide.json)"
    )


def _judge(
    arguments: dict[str, Any],
    numbers: dict[str, np.ndarray],
    sources: list[str],
    source: np.ndarray,
) -> tuple[list[rules.Rule], np.ndarray]:
    """All rules in order, and which documents each removes among the sources it applies to."""
    sets = {name: dict(table) for name, table in arguments["rules"]}
    compiled = rules.compile_rules(sets, list(sets))
    removes, _ = rules.judge(compiled, numbers)
    for s, name in enumerate(sources):
        own = (arguments["sources"].get(name) or {}).get("rules")
        if own is not None:
            other = [i for i, r in enumerate(compiled) if r.name.partition(".")[0] not in own]
            removes[np.ix_(np.array(other, int), np.flatnonzero(source == s))] = False
    return compiled, removes


def _foreign(
    arguments: dict[str, Any], labels: pa.ChunkedArray, scores: np.ndarray,
    sources: list[str], source: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Which documents are in no wanted language, or not surely enough."""
    foreign = scores < arguments["language_score"]
    for s, name in enumerate(sources):
        own = (arguments["sources"].get(name) or {}).get("languages")
        wanted = arguments["languages"] if own is None else own
        if wanted:
            inside = pc.is_in(labels, pa.array(wanted)).to_numpy()
            foreign |= (source == s) & ~inside
    return foreign


def _twins(
    chosen: dict[str, Any], paths: list[Path], starts: np.ndarray, n_bytes: np.ndarray,
    by_id: np.ndarray, reason: np.ndarray, read_texts: Callable[[np.ndarray], pa.Array],
    codes: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """(duplicate_of, similarity, cluster), as rows of all documents; marks `reason`.

    Preferred is the longest text, then the smallest id; nothing depends on the order of shards.
    """
    n = len(reason)
    duplicate_of, similarity, cluster = np.full(n, -1), np.zeros(n), np.arange(n)
    left = np.flatnonzero(reason < 0)
    left = left[np.lexsort((by_id[left], -n_bytes[left]))]
    hashes = _fixed(paths, starts, left, "content_hash", np.uint64)
    signatures = _fixed(paths, starts, left, "signature", np.uint32)
    if chosen["exact"]:
        first = duplicates.exact(hashes)
        again = left[first >= 0]
        duplicate_of[again], reason[again] = left[first[first >= 0]], codes[0]
        left, signatures = left[first < 0], signatures[first < 0]
    if chosen["fuzzy"]:
        rows = left
        first, score = duplicates.near(
            signatures, n_bytes[rows], lambda i: read_texts(rows[i]), chosen["threshold"]
        )
        again = left[first >= 0]
        duplicate_of[again], reason[again] = left[first[first >= 0]], codes[1]
        similarity[again] = score[first >= 0]
        left, signatures = left[first < 0], signatures[first < 0]
    chained = np.flatnonzero(duplicate_of >= 0)
    end = duplicate_of[duplicate_of[chained]]  # an exact copy's original may be a near-duplicate
    duplicate_of[chained] = np.where(end >= 0, end, duplicate_of[chained])
    component = duplicates.clusters(
        signatures, n_bytes[left], lambda i: read_texts(left[i]), chosen["split_threshold"]
    )
    order = np.lexsort((by_id[left], component))
    named, at = np.unique(component[order], return_index=True)
    cluster[left] = left[order][at][np.searchsorted(named, component)]
    return duplicate_of, similarity, cluster


def _fixed(
    paths: list[Path], starts: np.ndarray, rows: np.ndarray, column: str, kind: type
) -> np.ndarray:
    """Fixed-size binary values of the rows as a matrix, read shard by shard."""
    out = None
    shard = np.searchsorted(starts, rows, side="right") - 1
    for s, path in enumerate(paths):
        here = np.flatnonzero(shard == s)
        if out is not None and not len(here):
            continue
        values = shards.read(path, [column])[column].combine_chunks()
        n_values = values.type.byte_width // np.dtype(kind).itemsize
        data: np.ndarray = np.frombuffer(values.buffers()[1] or b"", kind)
        if out is None:
            out = np.empty((len(rows), n_values), kind)
        if len(here):
            out[here] = data[: len(values) * n_values].reshape(-1, n_values)[rows[here] - starts[s]]
    assert out is not None
    return out


def _reader(paths: list[Path], starts: np.ndarray) -> Callable[[np.ndarray], pa.Array]:
    """A function that reads the texts of rows, in their order, opening only the shards of them."""

    def read_texts(rows: np.ndarray) -> pa.Array:
        shard = np.searchsorted(starts, rows, side="right") - 1
        pieces, order = [pa.array([], pa.large_string())], []
        for s in np.unique(shard):
            here = np.flatnonzero(shard == s)
            wanted = np.sort(rows[here]) - starts[s]
            order.append(here[np.argsort(rows[here], kind="stable")])
            first = 0
            for batch in shards.batches(paths[s], ["text"]):
                inside = wanted[(wanted >= first) & (wanted < first + len(batch))] - first
                pieces.append(batch.column(0).take(pa.array(inside)))
                first += len(batch)
        place = np.empty(len(rows), np.int64)
        if order:
            place[np.concatenate(order)] = np.arange(len(rows))
        return pa.concat_arrays(pieces).take(pa.array(place))

    return read_texts
