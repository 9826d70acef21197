"""The evaluate stage: held-out bits per byte beside compressors, tasks, a passage token by token.

    final checkpoint, held-out documents, task files → scores.json, passage.json

Bits per byte: each held-out document alone, from the separator on; every token of its text is
predicted exactly once; the closing separator counts neither as a token nor as a byte.
"""

import os
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from pretrain import shards, store
from pretrain.errors import recipe_error
from pretrain.evaluate import compression, items, score
from pretrain.flow import Stage
from pretrain.model.transformer import Transformer
from pretrain.parallel.world import device_of
from pretrain.recipe import Recipe
from pretrain.tokenize.encode import Encoder
from pretrain.train.load import load_run

LN2 = 0.6931471805599453
PASSAGE_TOKENS = 320
_TRAINING_BYTES = 8 << 20  # of text for the zstd dictionary


def inputs(recipe: Recipe) -> dict[str, Any]:
    """Name, size and time of every task file."""
    return {
        name: [[str(p), p.stat().st_size, p.stat().st_mtime_ns] for p in items.find(task)]
        for name, task in recipe.evaluate.tasks.items()
    }


def run(stage: Stage) -> dict[str, Any]:
    threads = stage.recipe.train.threads or os.cpu_count() or 1
    torch.set_num_threads(threads)
    model, encoder = load_run(stage.run_folder, device_of())
    mixture = store.read_json(stage.parent("mix") / "mixture.json")
    length = mixture["sequence_length"]
    documents = {s: _held_out(stage, s) for s in mixture["sources"]}
    documents = {s: table for s, table in documents.items() if table.num_rows}
    held_out = _bits_per_byte(stage, model, encoder, documents, length)
    store.write_json(stage.output("passage.json"), _passage(model, encoder, documents, length))
    tasks = _tasks(stage, model, encoder, length)
    store.write_json(stage.output("scores.json"), {"held_out": held_out, "tasks": tasks})
    overall = held_out.get("all")
    if overall:
        stage.say(
            f"held-out {overall['bits_per_byte']:.4f} bits per byte "
            f"(xz -9e {overall['xz']:.3f}, zstd with dictionary {overall['zstd']:.3f})"
            if overall["zstd"]
            else f"held-out {overall['bits_per_byte']:.4f} bits per byte (xz {overall['xz']:.3f})"
        )
    else:
        stage.say("nothing is held out: no bits per byte (see mix)")
    return {
        "bits_per_byte": round(overall["bits_per_byte"], 6) if overall else None,
        "held_out_bytes": overall["n_bytes"] if overall else 0,
        "tasks": len(tasks),
    }


def _held_out(stage: Stage, source: str) -> pa.Table:
    """Held-out documents of a source with their text, in stream order."""
    table = shards.read(stage.parent("mix") / "held_out" / f"{source}.parquet")
    texts = []
    for shard in dict.fromkeys(table["shard"].to_pylist()):
        wanted = table.filter(pc.equal(table["shard"], shard))["id"]
        kept = shards.read(stage.parent("curate") / "kept" / f"{shard}.parquet", ["id", "text"])
        position = {i: row for row, i in enumerate(kept["id"].to_pylist())}
        texts += kept["text"].take(pa.array([position[i] for i in wanted.to_pylist()])).to_pylist()
    return table.append_column("text", pa.array(texts, pa.large_string()))


def _bits_per_byte(
    stage: Stage,
    model: Transformer,
    encoder: Encoder,
    documents: dict[str, pa.Table],
    length: int,
) -> dict[str, Any]:
    settings = stage.settings
    rows: dict[str, Any] = {}
    everything: list[bytes] = []
    all_training: list[bytes] = []
    total = sum(t.num_rows for t in documents.values())
    done = 0
    with stage.log.progress("evaluate", "held-out documents", total) as advance:
        for source, table in documents.items():
            texts = [t.encode() for t in table["text"].to_pylist()]
            nats, n_tokens = 0.0, 0
            for begin in range(0, len(texts), 64):
                segments = [
                    s
                    for text in texts[begin : begin + 64]
                    for s in score.document_segments(
                        np.array(encoder.encode(text.decode())),
                        encoder.end_of_text,
                        length,
                        settings.overlap,
                    )
                ]
                for loss in score.losses(model, segments, settings.batch_tokens):
                    nats += float(loss.sum(dtype=np.float64))
                    n_tokens += len(loss)
                done += len(texts[begin : begin + 64])
                advance(done, source)
            training = _training_texts(stage, source, set(table["id"].to_pylist()))
            rows[source] = _row(nats, n_tokens, texts, training)
            everything += texts
            all_training += training
    if rows:
        parts = [(r["bits_per_byte"] * r["n_bytes"] * LN2, r["n_tokens"]) for r in rows.values()]
        rows["all"] = _row(
            sum(n for n, _ in parts), sum(t for _, t in parts), everything, all_training
        )
    return rows


def _row(nats: float, n_tokens: int, texts: list[bytes], training: list[bytes]) -> dict[str, Any]:
    n_bytes = sum(len(t) for t in texts)
    return {
        "bits_per_byte": nats / LN2 / n_bytes,
        "loss": nats / n_tokens,
        "n_tokens": n_tokens,
        "n_bytes": n_bytes,
        "documents": len(texts),
        "xz": compression.xz(texts),
        "zstd": compression.zstd(texts, training),
    }


def _training_texts(stage: Stage, source: str, held_out: set[str]) -> list[bytes]:
    """Some training text of a source, for the compressor's dictionary."""
    texts: list[bytes] = []
    total = 0
    for path in stage.outputs_of("curate", "kept/*.parquet"):
        for batch in shards.batches(path, ["id", "source", "text"]):
            for row in batch.to_pylist():
                if row["source"] == source and row["id"] not in held_out:
                    texts.append(row["text"].encode())
                    total += len(texts[-1])
                    if total > _TRAINING_BYTES:
                        return texts
    return texts


def _passage(
    model: Transformer, encoder: Encoder, documents: dict[str, pa.Table], length: int
) -> list[dict[str, Any]]:
    """The beginning of one held-out document per source, with the loss of every token in bits."""
    passages = []
    for source, table in documents.items():
        sizes = table["n_tokens"].to_numpy()
        long_enough = np.flatnonzero(sizes >= min(PASSAGE_TOKENS, sizes.max()))
        row = table.slice(int(long_enough[0]), 1).to_pylist()[0]
        tokens = np.array(encoder.encode(row["text"]))[: min(PASSAGE_TOKENS, length)]
        segment = score.document_segments(tokens, encoder.end_of_text, length, 0.0)[0]
        bits = score.losses(model, [segment], length)[0] / LN2
        pieces = _pieces(encoder, tokens.tolist(), bits.tolist())
        passages.append({"source": source, "id": row["id"], "pieces": pieces})
    return passages


def _pieces(encoder: Encoder, tokens: list[int], bits: list[float]) -> list[list[Any]]:
    """[text, bits] pairs; tokens that only together make a character are joined."""
    pieces: list[list[Any]] = []
    pending, cost = b"", 0.0
    for token, b in zip(tokens, bits, strict=True):
        pending, cost = pending + encoder.token_bytes(token), cost + b
        try:
            pieces.append([pending.decode(), round(cost, 3)])
        except UnicodeDecodeError:
            continue
        pending, cost = b"", 0.0
    return pieces


def _tasks(
    stage: Stage, model: Transformer, encoder: Encoder, length: int
) -> dict[str, dict[str, Any]]:
    result: dict[str, dict[str, Any]] = {}
    for name, task in stage.settings.tasks.items():
        paths = items.find(task)
        if not paths:
            if task.required:
                key = f"evaluate.tasks.{name}.path"
                raise recipe_error(key, f"no file matches '{task.path}'", "a file or glob")
            stage.say(f"task '{name}' skipped: no file matches {task.path}")
            continue
        files: dict[str, Any] = {}
        with stage.log.progress("evaluate", name, len(paths)) as advance:
            for i, path in enumerate(paths):
                file_name = path.name.partition(".")[0]
                files[file_name] = items.run_file(
                    model, encoder, name, path, task, length, stage.settings.batch_tokens
                )
                advance(i + 1, file_name)
        result[name] = _average(files) | {"files": files}
        stage.say(
            f"{name}: accuracy {result[name]['accuracy']:.3f} "
            f"± {result[name]['accuracy_error']:.3f} (chance {result[name]['chance']:.3f}, "
            f"{result[name]['items']:,} items)"
        )
    return result


def _average(files: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Plain means over files; the standard error is that of the mean of independent files."""
    rows = list(files.values())
    result: dict[str, Any] = {"items": sum(r["items"] for r in rows)}
    for key in ("accuracy", "accuracy_per_byte", "chance"):
        if key in rows[0]:
            result[key] = round(sum(r[key] for r in rows) / len(rows), 6)
    for key in ("accuracy_error", "accuracy_per_byte_error"):
        if key in rows[0]:
            result[key] = round(sum(r[key] ** 2 for r in rows) ** 0.5 / len(rows), 6)
    result["truncated"] = sum(r["truncated"] for r in rows)
    return result
