"""Token shards on disk: `.bin` + `.idx` as Megatron-LM reads them, and a document index beside.

    NAME.bin                 token ids one after another, uint16 (vocabulary < 65,500) or int32
    NAME.idx                 magic, version, dtype code, counts, then per document its length
                             (int32), byte position (int64), and document boundaries (int64)
    NAME.documents.parquet   row i is document i of the shard: id, cluster, source, bytes, tokens

Each document is one sequence and ends with the separator token, so a shard is also a plain stream.
Source of the format: Megatron-LM, megatron/core/datasets/indexed_dataset.py (MMIDIDX version 1).
"""

import struct
from pathlib import Path

import numpy as np

from pretrain import store
from pretrain.errors import DataError

_MAGIC = b"MMIDIDX\x00\x00"
_CODES: dict[np.dtype, int] = {np.dtype(np.int32): 4, np.dtype(np.uint16): 8}
_DTYPES = {code: dtype for dtype, code in _CODES.items()}


def dtype_for(vocab_size: int) -> np.dtype:
    """Megatron's rule: uint16 below 65,500 tokens, else int32."""
    return np.dtype(np.uint16) if vocab_size < 65_500 else np.dtype(np.int32)


def write(prefix: Path, documents: list[np.ndarray], dtype: np.dtype) -> None:
    """Write PREFIX.bin and PREFIX.idx; each document already ends with its separator."""
    lengths = np.array([len(d) for d in documents], dtype=np.int32)
    starts = np.zeros(len(documents), dtype=np.int64)
    np.cumsum(lengths[:-1].astype(np.int64) * dtype.itemsize, out=starts[1:])
    with store.atomic(Path(f"{prefix}.bin")) as temporary, open(temporary, "wb") as file:
        for document in documents:
            file.write(document.astype(dtype, copy=False).tobytes())
    header = _MAGIC + struct.pack("<QB", 1, _CODES[dtype])
    header += struct.pack("<QQ", len(documents), len(documents) + 1)
    boundaries = np.arange(len(documents) + 1, dtype=np.int64)
    body = lengths.tobytes() + starts.tobytes() + boundaries.tobytes()
    store.write_bytes(Path(f"{prefix}.idx"), header + body)


def read_index(prefix: Path) -> tuple[np.dtype, np.ndarray, np.ndarray]:
    """(dtype, tokens per document, first token of each document) of a shard."""
    data = Path(f"{prefix}.idx").read_bytes()
    if data[:9] != _MAGIC or len(data) < 34:
        raise DataError(f"mix: {prefix}.idx is not a Megatron index; run `tokenize` again")
    version, code, n_sequences, n_boundaries = struct.unpack_from("<QBQQ", data, 9)
    if version != 1 or code not in _DTYPES or len(data) != 34 + 12 * n_sequences + 8 * n_boundaries:
        raise DataError(f"mix: {prefix}.idx is damaged; remove it and run `tokenize` again")
    lengths = np.frombuffer(data, np.int32, n_sequences, 34)
    positions = np.frombuffer(data, np.int64, n_sequences, 34 + 4 * n_sequences)
    dtype = _DTYPES[code]
    return dtype, lengths, positions // dtype.itemsize


def open_tokens(prefix: Path, dtype: np.dtype, n_tokens: int) -> np.ndarray:
    """The token ids of a shard as a read-only memory map (an empty array for an empty shard)."""
    path = Path(f"{prefix}.bin")
    n_bytes = path.stat().st_size
    if n_bytes != n_tokens * dtype.itemsize:
        raise DataError(
            f"mix: {path} has {n_bytes:,} bytes; must have {n_tokens * dtype.itemsize:,}, as its "
            "index says; remove it and run `tokenize` again"
        )
    return np.memmap(path, dtype=dtype, mode="r") if n_bytes else np.empty(0, dtype)
