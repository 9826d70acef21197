"""Texts as shards that the search for duplicates reads, and stages over them."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from pretrain import settings, shards, store
from pretrain.curate import duplicates, minhash
from pretrain.events import Log
from pretrain.flow import Stage
from pretrain.recipe import Recipe

WORDS = [f"w{i}" for i in range(4000)]
CHOSEN = {
    "exact": True, "fuzzy": True, "threshold": 0.8, "split_threshold": 0.5, "split_rows": 4,
}  # fmt: skip


def column(texts: list[str]) -> pa.Array:
    return pa.array(texts, pa.large_string())


def mutated(text: str, n: int, draw: random.Random) -> str:
    words = text.split()
    for at in draw.sample(range(len(words)), min(n, len(words))):
        words[at] = draw.choice(WORDS)
    return " ".join(words)


def family(n_bases: int, seed: int) -> list[str]:
    """Texts, each with exact and near copies of all degrees, mixed."""
    draw = random.Random(seed)
    texts = []
    for _ in range(n_bases):
        base = " ".join(draw.choices(WORDS, k=draw.randrange(80, 300)))
        texts += [base, base, *(mutated(base, n, draw) for n in (1, 2, 3, 5, 8, 13, 21))]
    draw.shuffle(texts)
    return texts


def identity(text: str, number: int) -> str:
    return xxhash.xxh3_128_hexdigest(f"{number} {text}".encode())


def jaccards(texts: list[str]) -> np.ndarray:
    """All similarities, from Python's sets."""
    sets = [set(minhash.shingles(t).tolist()) for t in texts]
    return np.array([[len(a & b) / max(1, len(a | b)) for b in sets] for a in sets])


def documents(texts: list[str]) -> list[dict[str, Any]]:
    """Rows with an id that does not depend on where the document lies."""
    seen: dict[str, int] = {}
    rows = []
    for text in texts:
        seen[text] = seen.get(text, 0) + 1
        rows.append({"id": identity(text, seen[text]), "text": text, "keep": True})
    return rows


def write(folder: Path, rows: list[dict[str, Any]], n_shards: int) -> tuple[list[str], dict]:
    """verdicts/S signals/S texts/S of a stage's folder; (names, hashes)."""
    names, hashes = [], {}
    for s in range(n_shards):
        name = f"part-{s:05d}.parquet"
        some = rows[s::n_shards]
        texts = column([row["text"] for row in some])
        signatures = [s.tobytes() for s in minhash.signatures(texts)]
        ids = pa.array([row["id"] for row in some], pa.string())
        data = [row["text"].encode() for row in some]
        tables = {
            "verdicts": {"id": ids, "keep": pa.array([row["keep"] for row in some], pa.bool_())},
            "signals": {
                "id": ids,
                "n_bytes": pa.array([len(d) for d in data], pa.int64()),
                "content_hash": pa.array([xxhash.xxh3_128_digest(d) for d in data], pa.binary(16)),
                "signature": pa.array(signatures, pa.binary(448)),
            },
            "texts": {"text": texts},
        }
        for kind, columns in tables.items():
            shards.write_table(folder / kind / name, pa.table(columns))
            hashes[f"{kind}/{name}"] = store.hash_file(folder / kind / name)
        names.append(name)
    return names, hashes


def stage(folder: Path, workers: int = 1) -> Stage:
    sources = {"x": {"kind": "files", "path": "x.txt"}}
    recipe = settings.parse(Recipe, {"name": "t", "collect": {"sources": sources}})
    log = Log(quiet=True)
    return Stage("curate", folder, folder.parent, recipe, "key", "code", workers, log)


def found(folder: Path, rows: list[dict[str, Any]], n_shards: int = 2, **chosen: Any) -> dict:
    """{id: row of duplicates} of documents; `workers` among what is chosen."""
    workers = chosen.pop("workers", 1)
    names, hashes = write(folder, rows, n_shards)
    own = stage(folder, workers)
    told = duplicates.run(own, names, hashes, {**CHOSEN, **chosen})
    if own.engine:
        own.engine.stop()
    assert {n: store.hash_file(folder / n) for n in told} == told
    return table(folder, names)


def table(folder: Path, names: list[str]) -> dict[str, dict[str, Any]]:
    out = {}
    for name in names:
        ids = shards.read(folder / "verdicts" / name, ["id"])["id"].to_pylist()
        told = shards.read(folder / "duplicates" / name).to_pylist()
        out |= dict(zip(ids, told, strict=True))
    return out
