"""The tokenize stage: learn (or take) a tokenizer, then encode every kept shard.

    kept/*.parquet → tokenizer.json → tokens/NAME.{bin,idx,documents.parquet}

The tokenizer learns from a sample of documents in the order of the hash of their ids, so the sample
does not depend on how documents lie in shards.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from pretrain import shards, store
from pretrain.errors import DataError
from pretrain.flow import Stage
from pretrain.recipe import Recipe
from pretrain.tasks import Task
from pretrain.tokenize import bpe, encode, token_shards

CHECKED_DOCUMENTS = 300  # compared between the two encoders before the fast one is trusted
INDEX = pa.schema(
    [
        ("id", pa.string()),
        ("cluster", pa.string()),
        ("source", pa.string()),
        ("n_bytes", pa.int64()),
        ("n_tokens", pa.int64()),
    ]
)


def inputs(recipe: Recipe) -> dict[str, Any]:
    path = recipe.tokenize.path
    return {"tokenizer": store.hash_file(Path(path))} if path and Path(path).is_file() else {}


def run(stage: Stage) -> dict[str, Any]:
    settings = stage.settings
    kept = stage.outputs_of("curate", "kept/*.parquet")
    hashes = stage.hashes_of("curate")
    names = {path.stem: f"kept/{path.name}" for path in kept}
    if settings.path is None:
        stage.say(f"learning {settings.vocab_size:,} tokens")
    learned = stage.run_tasks(
        [
            Task(
                "tokenizer",
                make_tokenizer,
                {
                    "kept": list(names.values()),
                    "vocab_size": settings.vocab_size,
                    "reserved": settings.reserved,
                    "pattern": settings.pattern,
                    "train_bytes": settings.train_bytes,
                    "path": settings.path,
                },
                ("tokenizer.json",),
                {n: hashes[n] for n in names.values()} | inputs(stage.recipe),
            )
        ],
        "tokenizer",
    )[0]
    tokenizer_hash = {"tokenizer.json": learned.outputs["tokenizer.json"]}
    receipts = stage.run_tasks(
        [
            Task(
                path.stem,
                encode_shard,
                {"kept": names[path.stem], "engine": learned.counts["engine"]},
                tuple(f"tokens/{path.stem}.{end}" for end in ("bin", "idx", "documents.parquet")),
                tokenizer_hash | {names[path.stem]: hashes[names[path.stem]]},
                weight=path.stat().st_size,
            )
            for path in kept
        ],
        "encode",
    )
    counts = {
        key: sum(r.counts[key] for r in receipts) for key in ("documents", "tokens", "n_bytes")
    }
    by_source: dict[str, int] = {}
    for receipt in receipts:
        for source, n_tokens in receipt.counts["by_source"].items():
            by_source[source] = by_source.get(source, 0) + n_tokens
    bytes_per_token = counts["n_bytes"] / max(counts["tokens"] - counts["documents"], 1)
    stage.say(
        f"{counts['tokens']:,} tokens of {counts['documents']:,} documents, "
        f"{bytes_per_token:.2f} bytes per token ({learned.counts['engine']})"
    )
    return counts | {
        "vocab_size": learned.counts["vocab_size"],
        "engine": learned.counts["engine"],
        "bytes_per_token": round(bytes_per_token, 4),
        "by_source": by_source,
    }


def make_tokenizer(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """Write tokenizer.json; returns its size and the encoder that serves it."""
    kept = [_curated(folder, name) for name in arguments["kept"]]
    target = folder / "tokenizer.json"
    if arguments["path"]:
        source = Path(arguments["path"])
        encode.Encoder(source)  # a clear error before anything is written
        store.write_bytes(target, source.read_bytes())
    else:
        n_merges = arguments["vocab_size"] - 256 - arguments["reserved"]
        learned = bpe.learn(_sample(kept, arguments["train_bytes"]), n_merges, arguments["pattern"])
        content = bpe.tokenizer_json(learned, arguments["pattern"], arguments["reserved"])
        store.write_bytes(target, bpe.dumps(content))
    engine = "tokenizers"
    if encode.supports_tiktoken(target):
        checked = [
            t for t, _ in zip(_sample(kept, 4 << 20), range(CHECKED_DOCUMENTS), strict=False)
        ]
        engine = "tiktoken" if encode.agrees(target, checked) else "tokenizers"
    return {"vocab_size": encode.Encoder(target, engine).vocab_size, "engine": engine}


def encode_shard(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """Encode one kept shard; tokens of a document include its separator."""
    encoder = encode.Encoder(folder / "tokenizer.json", arguments["engine"])
    dtype = token_shards.dtype_for(encoder.vocab_size)
    documents: list[np.ndarray] = []
    rows: list[dict[str, Any]] = []
    kept = _curated(folder, arguments["kept"])
    for batch in shards.batches(kept, ["id", "cluster", "source", "text"]):
        for row in batch.to_pylist():
            text = row.pop("text")
            tokens = np.array([*encoder.encode(text), encoder.end_of_text], dtype=dtype)
            documents.append(tokens)
            rows.append({**row, "n_bytes": len(text.encode()), "n_tokens": len(tokens)})
    prefix = folder / "tokens" / kept.stem
    token_shards.write(prefix, documents, dtype)
    shards.write_rows(Path(f"{prefix}.documents.parquet"), rows, INDEX)
    by_source: dict[str, int] = {}
    for row in rows:
        by_source[row["source"]] = by_source.get(row["source"], 0) + row["n_tokens"]
    return {
        "documents": len(rows),
        "tokens": sum(row["n_tokens"] for row in rows),
        "n_bytes": sum(row["n_bytes"] for row in rows),
        "by_source": by_source,
    }


def _curated(folder: Path, name: str) -> Path:
    """A file of the curate stage: named relatively, so that receipts do not tell where a run is."""
    return folder.parent / "curate" / name


def _sample(kept: list[Path], n_bytes: int) -> Iterator[str]:
    """Texts of about `n_bytes` in all, in the order of the hash of their documents' ids."""
    chosen: list[tuple[int, int, int]] = []  # hash, shard, row
    sizes: list[np.ndarray] = []
    for number, path in enumerate(kept):
        table = shards.read(path, ["id", "text"])
        sizes.append(pc.binary_length(table["text"]).to_numpy())
        chosen += [
            (xxhash.xxh3_64_intdigest(i.encode()), number, row)
            for row, i in enumerate(table["id"].to_pylist())
        ]
    chosen.sort()
    taken, total = [], 0
    for _, number, row in chosen:
        if total >= n_bytes:
            break
        taken.append((number, row))
        total += int(sizes[number][row])
    if not taken:
        raise DataError("tokenize: there is no text to learn from; see what curate dropped")
    by_shard: dict[int, list[int]] = {}
    for number, row in taken:
        by_shard.setdefault(number, []).append(row)
    for number, wanted in sorted(by_shard.items()):
        texts = shards.read(kept[number], ["text"])["text"].take(pa.array(sorted(wanted)))
        yield from (t.as_py() for t in texts)
