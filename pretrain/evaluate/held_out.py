"""Held-out bits per byte beside compressors, and a passage token by token.

Bits per byte (loss.py): each held-out document alone, from the separator on; every token of its
text is predicted exactly once; the closing separator counts neither as a token nor as a byte. By
source, and of all text by language, domain (host of the URL) and place in the window.

A model that does not continue text (BERT, T5) is asked for hidden tokens or spans of held-out
windows instead, always the same ones (train/look.py); bits per byte are those of what was hidden,
so neither compressors nor tasks compare with them.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from pretrain import shards
from pretrain.evaluate import compression, loss, score
from pretrain.evaluate.loss import LN2
from pretrain.flow import Stage
from pretrain.model.transformer import Transformer
from pretrain.tokenize.encode import Encoder
from pretrain.train.look import Score, asked_of, open_held_out, scores

PASSAGE_TOKENS = 320
_MOST_TOKENS = 1 << 23  # of held-out windows for hidden tokens
_MOST_ROWS = 50  # of languages and of domains
_TRAINING_BYTES = 8 << 20  # of text for the zstd dictionary


def documents_of(stage: Stage, source: str) -> pa.Table:
    """Held-out documents of a source with text, language and URL, in stream order."""
    table = shards.read(stage.parent("mix") / "held_out" / f"{source}.parquet")
    columns = ["text", "language", "url"]
    rows: list[dict[str, Any]] = []
    for shard in dict.fromkeys(table["shard"].to_pylist()):
        wanted = table.filter(pc.equal(table["shard"], shard))["id"]
        path = stage.parent("curate") / "kept" / f"{shard}.parquet"
        kept = shards.read(path, ["id", *columns])
        position = {i: row for row, i in enumerate(kept["id"].to_pylist())}
        taken = kept.take(pa.array([position[i] for i in wanted.to_pylist()]))
        rows += taken.select(columns).to_pylist()
    kinds = pa.large_string(), pa.string(), pa.string()
    for column, kind in zip(columns, kinds, strict=True):
        values = pa.array([row[column] for row in rows], kind)
        table = table.drop_columns([column] if column in table.column_names else [])
        table = table.append_column(column, values)
    return table


def bits_per_byte(
    stage: Stage,
    model: Transformer,
    encoder: Encoder,
    documents: dict[str, pa.Table],
    length: int,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(rows by source and of all, the same text by language, domain and place in the window)."""
    settings = stage.settings
    rows: dict[str, Any] = {}
    everything: list[bytes] = []
    all_training: list[bytes] = []
    costs: list[loss.TextLoss] = []
    languages: list[str | None] = []
    hosts: list[str | None] = []
    total = sum(t.num_rows for t in documents.values())
    with stage.log.progress("evaluate", "held-out documents", total) as advance:
        for source, table in documents.items():
            texts = table["text"].to_pylist()
            before = len(costs)

            def tell(done: int, before: int = before, source: str = source) -> None:
                advance(before + done, source)

            own = loss.text_loss(
                model, encoder, texts, length, settings.overlap, settings.batch_tokens, tell
            )
            raw = [t.encode() for t in texts]
            training = _training_texts(stage, source, set(table["id"].to_pylist()))
            rows[source] = _row(loss.together(own), raw, training)
            costs += own
            languages += [name or None for name in table["language"].to_pylist()]
            hosts += map(loss.host_of, table["url"].to_pylist())
            everything += raw
            all_training += training
    if not rows:
        return rows, {}
    whole = loss.together(costs)
    rows["all"] = _row(whole, everything, all_training)
    parts = {
        "language": _rows_by(costs, languages),
        "domain": _rows_by(costs, hosts),
        "position": whole.by_place(),
    }
    return rows, parts


def _rows_by(costs: list[loss.TextLoss], keys: list[str | None]) -> list[dict[str, Any]]:
    """Rows of the keys with most bytes; name None: of all others, and of what has no key."""
    return [{"name": k, **c.row()} for k, c in loss.by(costs, keys, _MOST_ROWS).items()]


def hidden_tokens(
    stage: Stage, model: Transformer, encoder: Encoder, documents: dict[str, pa.Table]
) -> dict[str, Any]:
    """Scores of hidden tokens by source, over all held-out windows up to a bound."""
    asked = asked_of(stage.recipe, encoder)
    device = model.embed.weight.device
    held_out = open_held_out(stage.run_folder, _MOST_TOKENS, encoder, asked, device)
    rows_at_once = max(1, stage.settings.batch_tokens // stage.recipe.mix.sequence_length)
    found = scores(model, held_out, torch.float32, rows_at_once)
    if found:
        found["all"] = sum(found.values(), Score())
    return {
        source: {
            "hidden": asked.settings.kind,
            "bits_per_byte": score.bits_per_byte,
            "loss": score.loss,
            "accuracy": score.accuracy,
            "n_tokens": score.n_targets,
            "n_bytes": score.n_bytes,
            "documents": sum(t.num_rows for s, t in documents.items() if source in (s, "all")),
            "xz": None,
            "zstd": None,
        }
        for source, score in found.items()
    }


def _row(cost: loss.TextLoss, texts: list[bytes], training: list[bytes]) -> dict[str, Any]:
    return cost.row() | {"xz": compression.xz(texts), "zstd": compression.zstd(texts, training)}


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


def passages(
    model: Transformer, encoder: Encoder, documents: dict[str, pa.Table], length: int
) -> list[dict[str, Any]]:
    """The beginning of one held-out document per source, with the loss of every token in bits."""
    found = []
    for source, table in documents.items():
        sizes = table["n_tokens"].to_numpy()
        long_enough = np.flatnonzero(sizes >= min(PASSAGE_TOKENS, sizes.max()))
        row = table.slice(int(long_enough[0]), 1).to_pylist()[0]
        tokens = np.array(encoder.encode(row["text"]))[: min(PASSAGE_TOKENS, length)]
        segment = score.document_segments(tokens, encoder.end_of_text, length, 0.0)[0]
        bits = score.losses(model, [segment], length)[0] / LN2
        pieces = _pieces(encoder, tokens.tolist(), bits.tolist())
        found.append({"source": source, "id": row["id"], "pieces": pieces})
    return found


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
