"""Batches of a run: a pure function of (seed, step). Ranks take slices of it and nothing else."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash

from pretrain import shards, store
from pretrain.errors import DataError
from pretrain.mix import windows
from pretrain.mix.order import Order
from pretrain.mix.run import plan_of
from pretrain.mix.shares import Plan, order_of
from pretrain.tokenize.encode import Encoder
from pretrain.train.settings import Settings, Stretch

_MOST_PIECES = 1 << 20  # of a window


@dataclass
class Data:
    """The training order over the token shards of a run.

    A sample is a window of `sequence_length` tokens; a step's rows are its samples, whole or cut.
    """

    order: Order
    plan: list[Plan]
    streams: list[windows.Stream]
    sequence_length: int
    stretches: list[Stretch]

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """(rows of the step's length + 1 tokens, source of each row) of a whole step."""
        source, _, window = self._samples(step)
        rows = windows.rows(self.streams, source, window, self.sequence_length)
        return cut(rows, source, self.length(step))

    def length(self, step: int) -> int:
        """Tokens that each row of a step trains on."""
        return self._stretch(step).length

    def n_tokens(self, step: int) -> int:
        """Tokens that a step trains on, over all ranks."""
        return self._stretch(step).windows * self.sequence_length

    def samples_before(self, step: int) -> int:
        """Samples of all steps before one."""
        stretch = self._stretch(step)
        before = sum(s.steps * s.windows for s in self.stretches if s.first < stretch.first)
        return before + (step - stretch.first) * stretch.windows

    def tokens_before(self, step: int) -> int:
        """Tokens of all steps before one."""
        return self.samples_before(step) * self.sequence_length

    @property
    def batch_rows(self) -> int:
        """Samples of a batch at its largest."""
        return max(s.windows for s in self.stretches)

    @property
    def fewest_rows(self) -> int:
        """Rows of the smallest batch."""
        return min(s.windows * (self.sequence_length // s.length) for s in self.stretches)

    def numbers(self, step: int) -> np.ndarray:
        """A number of each row of a step that no other row of the run has."""
        pieces = self.sequence_length // self.length(step)
        first = self.samples_before(step)
        samples = np.arange(first, first + self._stretch(step).windows)
        return (samples[:, None] * _MOST_PIECES + np.arange(pieces)).ravel()

    def count(self, step: int, source: np.ndarray) -> np.ndarray:
        """Samples of each source in the rows of a step."""
        pieces = self.sequence_length // self.length(step)
        return np.bincount(source, minlength=len(self.plan)) // pieces

    def check(self, read: np.ndarray, end: int) -> None:
        """Compare samples by source, as counted while the run read them, with order and plan.

        Raises: DataError where they are not those of the steps before `end`.
        """
        ordered = self.order.seen(self.samples_before(end))
        planned = np.array([p.n_samples for p in self.plan])
        is_planned = self.samples_before(end) != planned.sum() or np.array_equal(read, planned)
        if not (np.array_equal(read, ordered) and is_planned):
            raise DataError(
                f"train: trained on samples by source {self.by_source(read)}; must be as planned, "
                f"{self.by_source(planned)}: the order and the plan disagree, which is a fault of "
                "this program; please report it with mix/mixture.json and the recipe"
            )

    def samples_in(self, ranges: list[list[int]]) -> np.ndarray:
        """Samples of each source in the steps of some ranges [first, end)."""
        none = np.zeros(len(self.plan), dtype=np.int64)
        seen, before = self.order.seen, self.samples_before
        return sum((seen(before(end)) - seen(before(first)) for first, end in ranges), none)

    def by_source(self, counts: np.ndarray) -> dict[str, int]:
        return {row.source: int(n) for row, n in zip(self.plan, counts, strict=True)}

    def sample_hash(self, step: int) -> str:
        """A hash of which windows the step trains on, in order."""
        return xxhash.xxh3_64_hexdigest(np.stack(self._samples(step)).tobytes())

    def _stretch(self, step: int) -> Stretch:
        return [s for s in self.stretches if s.first <= step][-1]

    def _samples(self, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.order.samples(self.samples_before(step), self._stretch(step).windows)


def open_data(run_folder: Path, settings: Settings) -> Data:
    mixture = store.read_json(run_folder / "mix" / "mixture.json")
    length = mixture["sequence_length"]
    plan = plan_of(mixture, settings.n_samples(length))
    streams = [
        windows.open_stream(
            run_folder / "mix" / "spans" / f"{row.source}.parquet",
            run_folder / "tokenize" / "tokens",
        )
        for row in plan
    ]
    order = order_of(plan, mixture["seed"])
    return Data(order, plan, streams, length, settings.stretches(length))


def cut(rows: np.ndarray, source: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Each row of tokens in pieces of `length` + 1, and each piece's source.

    The last token of a piece, its last target, is the first of the next: every token that was a
    target of a row is a target of one piece.
    """
    pieces = (rows.shape[1] - 1) // length
    starts = np.arange(pieces)[:, None] * length + np.arange(length + 1)
    return rows[:, starts].reshape(-1, length + 1), np.repeat(source, pieces)


def slice_of(n_rows: int, rank: int, size: int) -> slice:
    """The rows of a batch that one rank works on: contiguous, as even as can be."""
    return slice(n_rows * rank // size, n_rows * (rank + 1) // size)


def held_out_windows(run_folder: Path, n_tokens: int) -> dict[str, np.ndarray]:
    """The first windows of each source's held-out stream, about `n_tokens` over all sources.

    Each: windows, sequence_length + 1.
    """
    mixture = store.read_json(run_folder / "mix" / "mixture.json")
    length = mixture["sequence_length"]
    found: dict[str, np.ndarray] = {}
    names = [s for s, r in mixture["sources"].items() if r["held_out_tokens"] > length]
    for source in names:
        documents = shards.read(run_folder / "mix" / "held_out" / f"{source}.parquet")
        spans = windows.spans_of(documents, np.ones(documents.num_rows, dtype=bool))
        stream = windows.stream_of(spans, run_folder / "tokenize" / "tokens")
        wanted = max(1, n_tokens // len(names) // length)
        count = min(windows.n_windows(len(stream), length), wanted)
        found[source] = np.stack([stream.read(w * length, length + 1) for w in range(count)])
    return found


def byte_lengths(encoder: Encoder) -> np.ndarray:
    """Bytes of text each token stands for; special tokens stand for none."""
    lengths = np.zeros(encoder.vocab_size, dtype=np.int64)
    special = set(encoder.specials.values())
    for token in range(encoder.vocab_size):
        if token not in special:
            lengths[token] = len(encoder.token_bytes(token))
    return lengths
