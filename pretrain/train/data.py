"""Batches of a run: a pure function of (seed, step). Ranks take slices of it and nothing else."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import xxhash
from torch import Tensor

from pretrain import shards, store
from pretrain.mix import windows
from pretrain.mix.order import Order, Plan
from pretrain.mix.run import plan_of
from pretrain.tokenize.encode import Encoder


@dataclass
class Data:
    """The training order over the token shards of a run."""

    order: Order
    plan: list[Plan]
    streams: list[windows.Stream]
    sequence_length: int
    batch_rows: int

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """(rows of sequence_length + 1 tokens, source of each row) of a whole step."""
        source, _, window = self.order.samples(step * self.batch_rows, self.batch_rows)
        return windows.rows(self.streams, source, window, self.sequence_length), source

    def sample_hash(self, step: int) -> str:
        """A hash of which windows the step trains on, in order."""
        samples = self.order.samples(step * self.batch_rows, self.batch_rows)
        return xxhash.xxh3_64_hexdigest(np.stack(samples).tobytes())

    def seen(self, ranges: list[list[int]]) -> np.ndarray:
        """Samples of each source in the steps of some ranges [first, end)."""
        none = np.zeros(len(self.plan), dtype=np.int64)
        seen, rows = self.order.seen, self.batch_rows
        return sum((seen(end * rows) - seen(first * rows) for first, end in ranges), none)

    def by_source(self, counts: np.ndarray) -> dict[str, int]:
        return {row.source: int(n) for row, n in zip(self.plan, counts, strict=True)}


def open_data(run_folder: Path, steps: int, batch_tokens: int) -> Data:
    mixture = store.read_json(run_folder / "mix" / "mixture.json")
    length = mixture["sequence_length"]
    batch_rows = batch_tokens // length
    plan = plan_of(mixture, steps * batch_rows)
    streams = [
        windows.open_stream(
            run_folder / "mix" / "spans" / f"{row.source}.parquet",
            run_folder / "tokenize" / "tokens",
        )
        for row in plan
    ]
    order = Order([r.n_windows for r in plan], [r.share for r in plan], mixture["seed"])
    return Data(order, plan, streams, length, batch_rows)


def slice_of(n_rows: int, rank: int, size: int) -> slice:
    """The rows of a batch that one rank works on: contiguous, as even as can be."""
    return slice(n_rows * rank // size, n_rows * (rank + 1) // size)


@dataclass
class HeldOut:
    """Windows of held-out text by source, with the bytes their targets stand for."""

    rows: dict[str, Tensor]  # windows, sequence_length + 1
    n_bytes: dict[str, int]


def open_held_out(run_folder: Path, n_tokens: int, encoder: Encoder) -> HeldOut:
    """The first windows of each source's held-out stream, about `n_tokens` over all sources."""
    mixture = store.read_json(run_folder / "mix" / "mixture.json")
    length = mixture["sequence_length"]
    lengths = byte_lengths(encoder)
    rows: dict[str, Tensor] = {}
    n_bytes: dict[str, int] = {}
    names = [s for s, r in mixture["sources"].items() if r["held_out_tokens"] > length]
    for source in names:
        documents = shards.read(run_folder / "mix" / "held_out" / f"{source}.parquet")
        spans = windows.spans_of(documents, np.ones(documents.num_rows, dtype=bool))
        stream = windows.stream_of(spans, run_folder / "tokenize" / "tokens")
        wanted = max(1, n_tokens // len(names) // length)
        count = min(windows.n_windows(len(stream), length), wanted)
        tokens = np.stack([stream.read(w * length, length + 1) for w in range(count)])
        rows[source] = torch.from_numpy(tokens)
        n_bytes[source] = int(lengths[tokens[:, 1:]].sum())
    return HeldOut(rows, n_bytes)


def byte_lengths(encoder: Encoder) -> np.ndarray:
    """Bytes of text each token stands for; special tokens stand for none."""
    lengths = np.zeros(encoder.vocab_size, dtype=np.int64)
    special = set(encoder.specials.values())
    for token in range(encoder.vocab_size):
        if token not in special:
            lengths[token] = len(encoder.token_bytes(token))
    return lengths
