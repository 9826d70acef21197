"""Task `judge`: what the rules say of one shard's documents, from columns alone.

    signals/S  scores/S  contamination/S ─▶ verdicts/S

A document leaves at the first of: empty, language, domain (block-list), contamination, each rule in
order, sensitive data that the recipe does not suffer. What duplicates take comes later and never
depends on the order of shards. Rules are counted over all documents of the sources they apply to,
also those that an earlier step took, so that each can be seen alone and beside the others.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pretrain import settings, shards
from pretrain.curate import rules
from pretrain.curate.rules import CONTAMINATION, DOMAIN, EMPTY, LANGUAGE, SENSITIVE, Rule

N_SAMPLES = 3

VERDICT = pa.schema(
    [("id", pa.string()), ("source", pa.string()), ("keep", pa.bool_()), ("reason", pa.string())]
)


def choice(own: Any) -> dict[str, Any]:
    """What `judge` depends on. Rules as lists: their order matters, and keys hash as if sorted."""
    table = settings.resolved(own)
    names = ("sources", "languages", "language_score", "language_scores", "block_domains")
    return {
        "rules": [[name, list(map(list, rules.items()))] for name, rules in table["rules"].items()],
        "extra": own.extra_signals(),
        "drop_kinds": kinds(own, "drop"),
        "drop_contaminated": bool(contamination_version(own, "drop")),
        **{n: table[n] for n in names},
    }


def kinds(own: Any, policy: str) -> list[str]:
    """The kinds of sensitive data with this policy."""
    table = settings.resolved(own.sensitive)
    return [kind for kind, chosen in table.items() if chosen == policy]


def contamination_version(own: Any, what: str) -> str:
    """'decontaminate 13' where the recipe asks for this; else nothing."""
    asked = own.decontaminate.benchmarks and own.decontaminate.what == what
    return f"decontaminate {own.decontaminate.n_words}" if asked else ""


def read_columns(folder: Path, name: str, wanted: list[str] | None = None) -> pa.Table:
    """Signals and scores of a shard as one table, `wanted` of them or all but the large ones."""
    heavy = ("content_hash", "signature", "sensitive", "lines", "excerpt")
    table = _columns(folder / "signals" / name, wanted, heavy)
    if (folder / "scores" / name).exists():
        scores = _columns(folder / "scores" / name, wanted, ())
        for column in scores.column_names:
            table = table.append_column(column, scores[column])
    return table


def _columns(path: Path, wanted: list[str] | None, heavy: tuple[str, ...]) -> pa.Table:
    names = shards.column_names(path)
    keep = [n for n in names if (n not in heavy if wanted is None else n in wanted)]
    return shards.read(path, keep)


def compiled(arguments: Mapping[str, Any]) -> list[Rule]:
    """The rules of the recipe in order, over the signals that it has."""
    sets = {name: dict(table) for name, table in arguments["rules"]}
    return rules.compile_rules(sets, list(sets), arguments["extra"])


def reasons(arguments: Mapping[str, Any], ruled: Sequence[Rule]) -> list[str]:
    """Every reason of a verdict, in the order in which the first one counts."""
    unwanted = [f"{SENSITIVE}.{kind}" for kind in arguments["drop_kinds"]]
    return [EMPTY, LANGUAGE, DOMAIN, CONTAMINATION, *[r.name for r in ruled], *unwanted]


def takes(
    table: pa.Table, arguments: Mapping[str, Any], ruled: Sequence[Rule], in_benchmarks: np.ndarray
) -> np.ndarray:
    """bool[reasons, documents]: which documents each reason alone would take."""
    columns = {n: shards.as_numpy(table[n]) for n in table.column_names if n not in ("id", "path")}
    removes, _ = rules.judge(ruled, columns)
    sources = columns["source"]
    for name, own in arguments["sources"].items():
        if (own or {}).get("rules") is not None:
            other = [i for i, r in enumerate(ruled) if r.name.partition(".")[0] not in own["rules"]]
            removes[np.ix_(np.array(other, int), np.flatnonzero(sources == name))] = False
    blocked = np.zeros(len(table), bool)
    if arguments["block_domains"]:
        from pretrain.curate import blocklist  # imports numba, which a question can do without

        blocked = blocklist.load(arguments["block_domains"]).blocks(table["domain"])
    found = [columns[f"n_{kind}"] > 0 for kind in arguments["drop_kinds"]]
    foreign = _foreign(table, columns, arguments)
    return np.vstack([columns["empty"], foreign, blocked, in_benchmarks, removes, *found])


def judge(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """The verdicts of one shard; counts: what each rule takes first, alone, only, and together."""
    name = arguments["shard"]
    table = read_columns(folder, name)
    ruled = compiled(arguments)
    names = reasons(arguments, ruled)
    found = contaminated(folder, name, arguments, len(table))
    taken = takes(table, arguments, ruled, found)
    reason = np.where(taken.any(axis=0), taken.argmax(axis=0), -1)
    keep = reason < 0
    verdicts = {
        "id": table["id"],
        "source": table["source"],
        "keep": pa.array(keep),
        "reason": pa.array(names, pa.string()).take(pa.array(reason, mask=keep)),
    }
    shards.write_table(folder / "verdicts" / name, pa.table(verdicts, schema=VERDICT))
    first = np.bincount(reason[~keep], minlength=len(names))
    start = names.index(ruled[0].name) if ruled else 0
    removes = taken[start : start + len(ruled)]
    n_removing = removes.sum(axis=0)
    draw = shards.as_numpy(table["draw"])
    return {
        "documents": len(table),
        "keep": int(keep.sum()),
        "reasons": {n: int(k) for n, k in zip(names, first, strict=True) if k},
        "alone": removes.sum(axis=1).tolist(),
        "only": (removes & (n_removing == 1)).sum(axis=1).tolist(),
        "overlap": overlap(removes),
        "samples": [drawn(np.flatnonzero(r), draw) for r in removes],
    }


def drawn(rows: np.ndarray, draw: np.ndarray, most: int = N_SAMPLES) -> list[list[int]]:
    """[draw, row] of the few documents that stand for all: a fair choice, the same in every run."""
    few = rows[np.argsort(draw[rows], kind="stable")[:most]]
    return [[int(draw[row]), int(row)] for row in few]


def overlap(removes: np.ndarray) -> list[list[int]]:
    """counts[i][j]: documents that rules i and j would both remove."""
    counts = np.zeros((len(removes), len(removes)), np.int64)
    for start in range(0, removes.shape[1], 1 << 16):  # exact in float32 up to 2^24 documents
        block = removes[:, start : start + (1 << 16)].astype(np.float32)
        counts += (block @ block.T).astype(np.int64)
    return counts.tolist()


def _foreign(
    table: pa.Table, columns: Mapping[str, np.ndarray], arguments: Mapping[str, Any]
) -> np.ndarray:
    """Which documents are in no wanted language, or not surely enough."""
    labels, sources = columns["language"], columns["source"]
    least = np.full(len(table), arguments["language_score"])
    for code, value in arguments["language_scores"].items():
        least[labels == code] = value
    foreign = columns["language_score"] < least
    for source in set(sources.tolist()):
        own = (arguments["sources"].get(source) or {}).get("languages")
        wanted = arguments["languages"] if own is None else own
        if wanted:
            inside = np.isin(labels, np.array(wanted, object))
            foreign |= (sources == source) & ~inside
    return foreign


def contaminated(folder: Path, name: str, arguments: Mapping[str, Any], n: int) -> np.ndarray:
    result = np.zeros(n, bool)
    if arguments["drop_contaminated"]:
        rows = shards.as_numpy(shards.read(folder / "contamination" / name, ["row"])["row"])
        result[rows] = True
    return result
