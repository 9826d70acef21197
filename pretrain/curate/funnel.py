"""The funnel: what each step and each rule took, alone and together with the others, with samples.

`decided` looks at the columns once; `assemble` joins it with what the writing tasks counted.

    steps       in order: documents and bytes before and after, overall and by source
    rules       removes_first (what the funnel shows), removes_alone (were it the only rule),
                removes_only (no other rule takes the same document), samples with their values
    overlap     counts[i][j]: documents that rules i and j would both remove
    duplicates, languages, redactions

Rules are counted over all documents of the sources they apply to, also those that an earlier step
took. Samples are those with the smallest hash of their id: a fair draw that is the same in every
run. Every excerpt is redacted first; an address that was replaced is shown nowhere.
"""

import ast
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pretrain.curate.redact import redact
from pretrain.curate.rules import Rule

N_SAMPLES = 3
EXCERPT_CHARS = 300
TOP_LANGUAGES = 20
_BLOCK = 1 << 16

Totals = dict[str, int]


@dataclass(frozen=True)
class Decided:
    """Columns over all documents, in the order of the shards."""

    table: pa.Table  # id, source, path, language
    n_bytes: np.ndarray
    draw: np.ndarray  # uint64, the order of samples
    sources: list[str]
    source: np.ndarray  # index into sources
    reasons: list[str]
    reason: np.ndarray  # index into reasons, -1: kept
    rules: list[Rule]
    removes: np.ndarray  # bool[rules, documents], false where a rule does not apply
    signals: dict[str, np.ndarray]
    duplicate_of: np.ndarray  # row, or -1
    similarity: np.ndarray
    copies: np.ndarray
    cluster: np.ndarray  # row that stands for the component
    read_texts: Callable[[np.ndarray], pa.Array]


def decided(d: Decided) -> dict[str, Any]:
    """The part of the funnel that the columns tell."""
    kept = d.reason < 0
    near = _drawn(np.flatnonzero(d.similarity > 0), d.draw)
    shown = [_drawn(np.flatnonzero(removed), d.draw) for removed in d.removes]
    samples = _samples(d, [*sum(shown, near), *d.duplicate_of[near].tolist()])
    return {
        "steps": _steps(d),
        "rules": _rules(d, shown, samples),
        "overlap": {"rules": [r.name for r in d.rules], "counts": _overlap(d.removes)},
        "duplicates": {
            "copies": _histogram(d.copies[kept]),
            "split_clusters": _histogram(np.unique(d.cluster[kept], return_counts=True)[1]),
            "samples": [
                {
                    "jaccard": round(float(d.similarity[row]), 6),
                    "removed": samples[row],
                    "kept": samples[int(d.duplicate_of[row])],
                }
                for row in near
            ],
        },
        "languages": _languages(d),
    }


def assemble(part: dict[str, Any], written: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """funnel.json: the decided part, and the redactions of all shards as its last step."""
    last = part["steps"][-1]
    step = {
        "step": "redact",
        "documents_in": last["documents_out"],
        "bytes_in": last["bytes_out"],
        "documents_out": last["documents_out"],
        "bytes_out": sum(w["bytes"] for w in written),
        "by_source": {
            source: {
                "documents_in": totals["documents_out"],
                "bytes_in": totals["bytes_out"],
                "documents_out": totals["documents_out"],
                "bytes_out": sum(w["by_source"].get(source, {}).get("bytes", 0) for w in written),
            }
            for source, totals in last["by_source"].items()
        },
    }
    kinds = sorted({kind for w in written for kind in w["redactions"]})
    redactions = {}
    for kind in kinds:
        found = [w["redactions"][kind] for w in written if kind in w["redactions"]]
        samples = sorted((s for f in found for s in f["samples"]), key=lambda s: s["draw"])
        redactions[kind] = {
            "documents": sum(f["documents"] for f in found),
            "edits": sum(f["edits"] for f in found),
            "samples": [{k: v for k, v in s.items() if k != "draw"} for s in samples[:N_SAMPLES]],
        }
    return part | {"steps": [*part["steps"], step], "redactions": redactions}


def excerpt(text: str, n_chars: int = EXCERPT_CHARS) -> str:
    """The start of a text, redacted, at most n_chars characters."""
    head = text[: 2 * n_chars]  # longer than shown, and whole words: no address is cut in two
    if len(text) > len(head):
        head = head.rpartition(" ")[0] or head
    return redact(head)[0][:n_chars]


def _steps(d: Decided) -> list[dict[str, Any]]:
    names = list(dict.fromkeys(reason.partition(".")[0] for reason in d.reasons))
    step_of = np.array([names.index(r.partition(".")[0]) for r in d.reasons] or [0])
    step = np.where(d.reason < 0, len(names), step_of[d.reason])
    rows = []
    for i, name in enumerate(names):
        before, after = step >= i, step > i
        rows.append(
            {
                "step": name,
                **_totals(d, before, after),
                "by_source": {
                    source: _totals(d, before & (d.source == s), after & (d.source == s))
                    for s, source in enumerate(d.sources)
                },
            }
        )
    return rows


def _totals(d: Decided, before: np.ndarray, after: np.ndarray) -> Totals:
    return {
        "documents_in": int(before.sum()),
        "bytes_in": int(d.n_bytes[before].sum()),
        "documents_out": int(after.sum()),
        "bytes_out": int(d.n_bytes[after].sum()),
    }


def _rules(
    d: Decided, shown: list[list[int]], samples: dict[int, dict[str, Any]]
) -> list[dict[str, Any]]:
    n_removing = d.removes.sum(axis=0)
    rows = []
    for i, rule in enumerate(d.rules):
        removed = d.removes[i]
        tree = ast.walk(ast.parse(rule.expression))
        names = sorted({node.id for node in tree if isinstance(node, ast.Name)})
        rows.append(
            {
                "rule": rule.name,
                "expression": rule.expression,
                "removes_first": int((d.reason == d.reasons.index(rule.name)).sum()),
                "removes_alone": int(removed.sum()),
                "removes_only": int((removed & (n_removing == 1)).sum()),
                "samples": [
                    samples[row]
                    | {"values": {n: round(float(d.signals[n][row]), 6) for n in names}}
                    for row in shown[i]
                ],
            }
        )
    return rows


def _overlap(removes: np.ndarray) -> list[list[int]]:
    counts = np.zeros((len(removes), len(removes)), np.int64)
    for start in range(0, removes.shape[1], _BLOCK):  # exact in float32 up to 2^24 documents
        block = removes[:, start : start + _BLOCK].astype(np.float32)
        counts += (block @ block.T).astype(np.int64)
    return counts.tolist()


def _drawn(rows: np.ndarray, draw: np.ndarray) -> list[int]:
    return rows[np.argsort(draw[rows], kind="stable")[:N_SAMPLES]].tolist()


def _samples(d: Decided, rows: Sequence[int]) -> dict[int, dict[str, Any]]:
    """What is shown of each row; all texts are read at once, so each shard is opened once."""
    wanted = sorted(set(rows))
    texts = d.read_texts(np.array(wanted, np.int64)).to_pylist()
    names = ("id", "path", "source")
    return {
        row: {n: d.table[n][row].as_py() for n in names} | {"excerpt": excerpt(text)}
        for row, text in zip(wanted, texts, strict=True)
    }


def _histogram(sizes: np.ndarray) -> dict[str, int]:
    """Size -> how many, sizes padded so that they sort as text."""
    counts = Counter(sizes.tolist())
    width = len(str(max(counts, default=1)))
    return {f"{size:0{width}d}": n for size, n in sorted(counts.items())}


def _languages(d: Decided) -> list[dict[str, Any]]:
    codes = d.table["language"].combine_chunks().dictionary_encode()
    index = codes.indices.to_numpy()
    n = len(codes.dictionary)
    documents = np.bincount(index, minlength=n)
    n_bytes = np.bincount(index, weights=d.n_bytes, minlength=n)
    names = codes.dictionary.to_pylist()
    order = sorted(range(n), key=lambda i: (-documents[i], names[i]))[:TOP_LANGUAGES]
    return [
        {"language": names[i], "documents": int(documents[i]), "bytes": int(n_bytes[i])}
        for i in order
    ]
