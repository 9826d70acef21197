"""What becomes of documents that may be alike: tasks `gather`, `verify`, `decide`, `route`, `tell`.

      texts of shard S ─gather─▶ held/S values/S  5-gram sets of the documents in pairs, by batch
             pairs of t ─verify─▶ verified/t       those of Jaccard >= split_threshold, by range of
                                                  ranks
           all verified ─decide─▶ fates/k          what repeats what and what belongs together
               range k ─route──▶ told/k           the same with ids, by shard
        all, of shard S ─tell───▶ duplicates/S     one row a document

`decide` is one pass over the verified pairs in order; it holds 16 bytes a document and one range of
pairs, however large a component is. A document that nothing was found for is in no told/k.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pretrain import shards
from pretrain.curate import clusters, minhash, pairs, preference, shuffle
from pretrain.curate.clusters import NONE, PAIR
from pretrain.curate.preference import ID, PLACE, path

U4, U8 = np.dtype("<u4"), np.dtype("<u8")
HELD = np.dtype([("rank", "<u4"), ("n", "<u4")])
FATE = np.dtype(
    [("kept", "<u4"), ("root", "<u4"), ("members", "<u4"), ("copies", "<u4"), ("exact", "<u4"),
     ("similarity", "<f4")]
)  # fmt: skip
TOLD = np.dtype(
    [("row", "<u4"), *FATE.descr[2:], ("removed", "<u4"), ("kept", ID), ("root", ID)]
)  # fmt: skip
DUPLICATE = pa.schema(
    [
        ("kind", pa.string()),  # exact or near; null for what stays or took no part
        ("duplicate_of", pa.string()),
        ("similarity", pa.float32()),
        ("cluster", pa.string()),
        ("cluster_size", pa.int64()),
        ("copies", pa.int64()),
    ]
)


def gather(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """The 5-gram sets of those documents of one shard that are in pairs, by batch."""
    number, n_batches = arguments["number"], arguments["batches"]
    some = preference.ranks_of(folder, number, arguments["ranges"])
    batches = shuffle.map_array(path(folder, "batches", 0), U4, arguments["documents"])
    batch = batches[some["rank"]]
    some, batch = some[batch != NONE], batch[batch != NONE]
    held, values = np.empty(len(some), HELD), np.empty(0, U8)
    if len(some):
        texts = shards.read(folder / "texts" / arguments["shard"], ["text"])["text"]
        texts = texts.cast(pa.large_string()).take(pa.array(some["row"]))
        values, bounds = minhash.shingle_sets(texts.combine_chunks())
        held["rank"], held["n"] = some["rank"], np.diff(bounds)
    shuffle.write(path(folder, "held", number), held, batch, n_batches)
    shuffle.write(path(folder, "values", number), values, np.repeat(batch, held["n"]), n_batches)
    return {"documents": len(some)}


def verify(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """The exact similarity of the pairs of one task."""
    number, numbers = arguments["number"], range(arguments["shards"])
    ranks, values, starts = np.empty(0, U4), np.empty(0, U8), np.zeros(1, np.int64)
    for batch in arguments["batches"]:
        held = shuffle.read([path(folder, "held", i) for i in numbers], batch, HELD)
        own = shuffle.read([path(folder, "values", i) for i in numbers], batch, U8)
        ranks, values = np.concatenate([ranks, held["rank"]]), np.concatenate([values, own])
        starts = np.concatenate([starts, starts[-1] + np.cumsum(held["n"], dtype=np.int64)])
    files = [path(folder, "routed", k) for k in range(arguments["parts"])]
    found = pairs.distinct(shuffle.read(files, number, U8))
    order = np.argsort(ranks)
    both = np.stack([found >> np.uint64(32), found & np.uint64(NONE)], axis=1)
    places = order[np.searchsorted(ranks, both, sorter=order)]
    similarity = pairs.similarities(places, values, starts)
    out = np.empty(len(found), PAIR)
    out["later"], out["earlier"], out["similarity"] = both[:, 0], both[:, 1], similarity
    return write_verified(folder, number, out, arguments)


def write_verified(
    folder: Path, number: int, found: np.ndarray, arguments: dict[str, Any]
) -> dict[str, Any]:
    """verified/t: the pairs similar enough, by the range of the later one's rank."""
    alike = found[found["similarity"] >= arguments["split"]]
    bases = arguments["bases"]
    parts = np.searchsorted(bases[1:-1], alike["later"], side="right")
    shuffle.write(path(folder, "verified", number), alike, parts, len(bases) - 1)
    return {"pairs": len(found), "alike": len(alike)}


def decide(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """What became of every document, in the order of preference."""
    bases = arguments["bases"]
    parent = np.arange(bases[-1], dtype=U4)
    kept = np.full(bases[-1], NONE, U4)
    files = [path(folder, "verified", t) for t in range(arguments["tasks"])]
    similarities, exact = [], []
    for k, base in enumerate(bases[:-1]):
        found = shuffle.read(files, k, PAIR)
        found = found[np.lexsort((found["earlier"], found["later"]))]
        chosen = clusters.decide(found, arguments["near"], parent, kept)
        similarities.append((found["later"][chosen > 0], chosen[chosen > 0].astype("<f4")))
        first = shuffle.read([path(folder, "places", k)], 0, PLACE)["first"]
        copies = np.flatnonzero(first != NONE)
        of = first[copies]  # the original may itself be a near-duplicate by now
        kept[base + copies] = np.where(kept[of] != NONE, kept[of], of)
        exact.append((base + copies).astype(U4))
    clusters.roots(parent)
    copies, members = clusters.counted(parent, kept)
    for k, (base, end) in enumerate(pairwise(bases)):
        fate = np.zeros(end - base, FATE)
        fate["kept"], fate["root"] = kept[base:end], parent[base:end]
        fate["copies"], fate["members"] = copies[base:end], members[base:end]
        fate["exact"][exact[k] - base] = 1
        ranks, similarity = similarities[k]
        fate["similarity"][ranks - base] = similarity
        shuffle.write(path(folder, "fates", k), fate)
    shuffle.write(path(folder, "bases", 0), np.array(bases, U8))
    return {"exact": sum(map(len, exact)), "near": sum(len(r) for r, _ in similarities)}


def route(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """What was found for the documents of one range of ranks, by shard, with ids."""
    number, bases = arguments["number"], arguments["bases"]
    fate = shuffle.read([path(folder, "fates", number)], 0, FATE)
    places = shuffle.read([path(folder, "places", number)], 0, PLACE)
    some = np.flatnonzero((fate["kept"] != NONE) | (fate["members"] > 1) | (fate["copies"] > 1))
    fate, places = fate[some], places[some]
    told = np.zeros(len(some), TOLD)
    told["row"] = places["row"]
    for name in ("members", "copies", "exact", "similarity"):
        told[name] = fate[name]
    removed = fate["kept"] != NONE
    told["removed"] = removed
    told["kept"][removed] = preference.ids_of(folder, fate["kept"][removed], bases)
    told["root"][~removed] = preference.ids_of(folder, fate["root"][~removed], bases)
    shuffle.write(path(folder, "told", number), told, places["shard"], arguments["shards"])
    return {"documents": len(told)}


def tell(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """duplicates/S: what became of one shard's documents."""
    name = arguments["shard"]
    table = shards.read(folder / "verdicts" / name, ["id", "keep"])
    part = table["keep"].to_numpy()
    n_ranges = len(shuffle.read([path(folder, "bases", 0)], 0, U8)) - 1
    files = [path(folder, "told", k) for k in range(n_ranges)]
    told = shuffle.read(files, arguments["number"], TOLD)
    rows, removed = told["row"], told["removed"] > 0
    kind: np.ndarray = np.full(len(part), None, object)
    of = kind.copy()
    kind[rows[removed]] = np.where(told["exact"][removed], "exact", "near")
    of[rows[removed]] = _named(told["kept"][removed])
    cluster = table["id"].to_numpy().copy()
    cluster[~part], cluster[rows] = None, None
    cluster[rows[~removed]] = _named(told["root"][~removed])
    similarity = np.zeros(len(part), np.float32)
    similarity[rows] = told["similarity"]
    members, copies = part.astype(np.int64), part.astype(np.int64)
    members[rows], copies[rows] = told["members"], told["copies"]
    columns = {
        "kind": pa.array(kind, pa.string()),
        "duplicate_of": pa.array(of, pa.string()),
        "similarity": pa.array(similarity, mask=similarity == 0),
        "cluster": pa.array(cluster, pa.string()),
        "cluster_size": pa.array(members),
        "copies": pa.array(copies),
    }
    shards.write_table(folder / "duplicates" / name, pa.table(columns, schema=DUPLICATE))
    return {"removed": int(removed.sum())}


def _named(ids: np.ndarray) -> list[str]:
    text = ids.tobytes().hex()
    return [text[at : at + 32] for at in range(0, len(text), 32)]
