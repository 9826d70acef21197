"""Tasks `measure` and `score`: a shard's texts, normalised, and all that will be asked of them.

    collect/documents/S ─▶ normalise ─▶ line rules ─▶ texts/S ─▶ signals/S     knows no threshold
                                                      texts/S ─▶ scores/S      the recipe's models
                                                                               and word lists
A changed threshold reads the columns again and never a text; a new model or word list reads the
texts once more and leaves the signals as they are. signals/S is one row a document: the signals of
docs/RULES.md, what was found of sensitive data and where, the edits of the line rules, a hash of
the text, its MinHash signature, and its first characters for samples.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from pretrain import shards
from pretrain.curate import (
    blocklist,
    language,
    lines,
    minhash,
    normalize,
    quality,
    sensitive,
    signals,
    words,
)
from pretrain.document import DOCUMENT, EDIT

EXCERPT_CHARS = 300
# Columns of signals/S that no rule can name.
NOT_SIGNALS = ("id", "path", "draw", "empty", "content_hash", "signature", "excerpt")


def measure(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """Normalise one shard's texts and write everything that rules and duplicates will ask."""
    name = arguments["shard"]
    table = shards.read(folder.parent / "collect" / "documents" / name)
    collected = table["text"].cast(pa.large_string()).combine_chunks()
    normal = normalize.normalize_all(collected)
    texts, line_edits, removed = lines.cut(normal, arguments["lines"])
    labels, scores = language.identify(texts)
    data, offsets = normalize.buffers(texts)
    view = memoryview(data)  # type: ignore[arg-type]
    spans = zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
    hashes = [xxhash.xxh3_128_digest(view[a:b]) for a, b in spans]
    found = sensitive.find(texts)
    counts = found.counts()
    ids = table["id"].to_pylist()
    columns = {
        **{n: table[n] for n in ("id", "source", "path", "license")},
        "domain": blocklist.domains(table["url"]),
        "draw": pa.array([xxhash.xxh3_64_intdigest(i.encode()) for i in ids], pa.uint64()),
        "empty": pc.equal(pc.binary_length(pc.utf8_trim_whitespace(texts)), 0),
        "language": pa.array(labels.tolist(), pa.string()),
        "language_score": pa.array(scores),
        "n_bytes_collected": pc.binary_length(collected),
        "n_bytes_normalized": pc.binary_length(normal),
        "removed_word_fraction": pa.array(removed),
        **{n: pa.array(v) for n, v in signals.measure(texts, arguments["measure"]).items()},
        **{n: pa.array(v) for n, v in counts.items()},
        "sensitive": found.spans(),
        "lines": pa.array(line_edits, pa.list_(EDIT)),
        "excerpt": excerpts(texts, np.sum(list(counts.values()), axis=0)),
        "content_hash": pa.array(hashes, pa.binary(16)),
        "signature": _rows(minhash.signatures(texts)),
    }
    at = table.schema.get_field_index("text")
    shards.write_table(folder / "texts" / name, table.set_column(at, DOCUMENT.field("text"), texts))
    shards.write_table(folder / "signals" / name, pa.table(columns))
    return {"documents": table.num_rows, "bytes": int(offsets[-1] - offsets[0])}


def score(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """The columns of the recipe's quality models and word lists for one shard."""
    name = arguments["shard"]
    texts = shards.read(folder / "texts" / name, ["text"])["text"].combine_chunks()
    columns: dict[str, Any] = {}
    if arguments["words"]:
        columns |= words.count(texts, words.load(arguments["words"]))
    for model in arguments["models"]:
        loaded = quality.load(folder / "quality" / f"{model}.safetensors")
        columns[f"quality_{model}"] = quality.score(texts, loaded)
    shards.write_table(folder / "scores" / name, pa.table(columns))
    return {"documents": len(texts)}


def excerpts(texts: pa.Array, n_found: np.ndarray) -> pa.Array:
    """The first characters of each text; sensitive data in them are replaced, whatever the policy:
    a sample is shown to people who never asked for it.
    """
    starts = pc.utf8_slice_codeunits(texts, 0, EXCERPT_CHARS).to_pylist()
    for row in np.flatnonzero(n_found).tolist():  # from a longer start: no address is cut in two
        starts[row] = sensitive.hidden(texts[row].as_py()[: 2 * EXCERPT_CHARS])[:EXCERPT_CHARS]
    return pa.array(starts, pa.string())


def _rows(matrix: np.ndarray) -> pa.Array:
    """A matrix as fixed-size binary values, one a row."""
    width = matrix.dtype.itemsize * matrix.shape[1]
    flat = np.ascontiguousarray(matrix)
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(width), len(matrix), [None, pa.py_buffer(flat)]
    )
