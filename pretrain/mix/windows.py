"""Rows of tokens by window number, straight from the token shards: nothing is copied or reordered.

A source's training text is the stream of its documents that are not held out, in shard order, each
ending with the separator. Window w of length L is tokens w·L … w·L + L of that stream (one more
than L, for the last target). `spans` says where the stream's pieces lie in the shards.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from pretrain import shards
from pretrain.tokenize import token_shards

SPANS = pa.schema([("shard", pa.string()), ("start", pa.int64()), ("n_tokens", pa.int64())])


@dataclass
class Stream:
    """The training stream of one source, readable at any position."""

    tokens: list[np.ndarray]  # per shard
    shard: np.ndarray  # per span
    start: np.ndarray
    end: np.ndarray  # position in the stream after the span
    names: list[str]

    def __len__(self) -> int:
        return int(self.end[-1]) if len(self.end) else 0

    def read(self, first: int, count: int) -> np.ndarray:
        """Tokens first … first+count of the stream, int64."""
        out = np.empty(count, dtype=np.int64)
        done = 0
        for shard, start, n in self.pieces(first, count):
            out[done : done + n] = self.tokens[shard][start : start + n]
            done += n
        return out

    def pieces(self, first: int, count: int) -> list[tuple[int, int, int]]:
        """Where tokens first … first+count lie: (shard number, first token in it, tokens)."""
        pieces = []
        span = int(np.searchsorted(self.end, first, side="right"))
        while count > 0:
            begin = int(self.end[span - 1]) if span else 0
            skip = first - begin
            n = min(count, int(self.end[span]) - first)
            pieces.append((int(self.shard[span]), int(self.start[span]) + skip, n))
            first, count, span = first + n, count - n, span + 1
        return pieces


def spans_of(documents: pa.Table, mask: np.ndarray) -> pa.Table:
    """Spans (shard, start, n_tokens) of the documents where mask holds, neighbours joined.

    documents: columns shard, start, n_tokens, in stream order.
    """
    chosen = documents.filter(pa.array(mask))
    shard = chosen["shard"].to_numpy(zero_copy_only=False)
    start, n_tokens = chosen["start"].to_numpy(), chosen["n_tokens"].to_numpy()
    if not len(start):
        return pa.Table.from_pylist([], schema=SPANS)
    new = np.ones(len(start), dtype=bool)
    new[1:] = (shard[1:] != shard[:-1]) | (start[1:] != start[:-1] + n_tokens[:-1])
    first = np.flatnonzero(new)
    return pa.table(
        {
            "shard": pa.array(shard[first], pa.string()),
            "start": start[first],
            "n_tokens": np.add.reduceat(n_tokens, first),
        },
        schema=SPANS,
    )


def open_stream(spans: Path, tokens_folder: Path) -> Stream:
    """The stream whose spans a Parquet file lists, over the shards in `tokens_folder`."""
    return stream_of(shards.read(spans), tokens_folder)


def stream_of(table: pa.Table, tokens_folder: Path) -> Stream:
    """The stream of a table of spans."""
    names = sorted(set(table["shard"].to_pylist()))
    number = {name: i for i, name in enumerate(names)}
    opened = []
    for name in names:
        dtype, lengths, _ = token_shards.read_index(tokens_folder / name)
        n_tokens = int(lengths.sum(dtype=np.int64))
        opened.append(token_shards.open_tokens(tokens_folder / name, dtype, n_tokens))
    return Stream(
        opened,
        np.array([number[s] for s in table["shard"].to_pylist()], dtype=np.int64),
        table["start"].to_numpy(),
        np.cumsum(table["n_tokens"].to_numpy()),
        names,
    )


def n_windows(n_tokens: int, length: int) -> int:
    """Whole windows in a stream: each needs one token more than its length."""
    return max(0, (n_tokens - 1) // length)


def rows(
    streams: Sequence[Stream], source: np.ndarray, window: np.ndarray, length: int
) -> np.ndarray:
    """The windows' tokens, int64 of shape (windows, length + 1)."""
    pairs = zip(source.tolist(), window.tolist(), strict=True)
    return np.stack([streams[s].read(w * length, length + 1) for s, w in pairs])
