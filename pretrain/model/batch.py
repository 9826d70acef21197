"""Rows that a model continues together; they join and leave between tokens.

    join ─▶ its prompt is computed, next to rows of about its length ─┐
    step    all rows advance by one token, each at its own place  ◀───┘ ─▶ leave: the last row of
                                                                        the cache takes its place
Rows do not see each other. A row's logits are those of it alone, but for the last bits: products of
other sizes add in another order. Price: each step reads keys up to the longest row's length, and a
long prompt that joins holds up the others for as long as it takes to compute.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from pretrain.errors import DataError
from pretrain.model import sampling
from pretrain.model.attention import Cache
from pretrain.model.sampling import Sampling
from pretrain.model.transformer import Transformer

_PROMPT_TOKENS = 8192  # of rows that are computed at once, with their padding


@dataclass(eq=False)
class Row:
    """A prompt, and what follows it so far."""

    prompt: Sequence[int]  # not empty
    sampling: Sampling = field(default_factory=Sampling)
    index: int = 0  # which text of its seed
    n_likeliest: int | None = None  # keep log-probabilities: the token's, and of so many likeliest
    new: list[int] = field(default_factory=list)
    # (nats of the token, likeliest tokens and their nats), of the model itself, before sampling
    log_probabilities: list[tuple[float, dict[int, float]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.generator: np.random.Generator = sampling.generator(self.sampling.seed, self.index)

    @property
    def n_tokens(self) -> int:
        return len(self.prompt) + len(self.new)


class Batch:
    """Raises: DataError for a model that cannot continue text."""

    def __init__(self, model: Transformer) -> None:
        if not model.shape.is_decoder:
            raise DataError(
                "generate: the model predicts hidden text or needs a source; must be a decoder, "
                "such as size '124m' (recipe key model.size)"
            )
        self.model = model
        self.rows: list[Row] = []  # the first of them are in the cache
        self._n_cached = 0
        self._cache = Cache.empty(model.shape, 0, 0, _like(model))

    def join(self, row: Row) -> None:
        longest = self.model.shape.max_length
        if longest and row.n_tokens > longest:
            raise DataError(
                f"generate: a prompt of {row.n_tokens} tokens; must be at most the "
                f"{longest} positions of the model"
            )
        if not row.n_tokens:
            raise DataError("generate: a prompt without tokens; must begin with the separator")
        self.rows.append(row)

    @torch.inference_mode()
    def leave(self, row: Row) -> None:
        i = self.rows.index(row)
        if i < self._n_cached:  # the gap is filled from the end of the cache
            self._n_cached -= 1
            last = self.rows[self._n_cached]
            if last is not row:
                n = last.n_tokens - 1
                for part in (*self._cache.keys, *self._cache.values):
                    part[i, :, :n] = part[self._n_cached, :, :n]
            self.rows[i] = last
            i = self._n_cached
        del self.rows[i]

    @torch.inference_mode()
    def step(self) -> list[Row]:
        """One more token for every row; the rows, each with its token last in `new`."""
        if not self.rows:
            return []
        logits = [self._advance()] if self._n_cached else []
        # Neighbours of about the same length need little padding.
        self.rows[self._n_cached :] = sorted(
            self.rows[self._n_cached :], key=lambda row: row.n_tokens
        )
        logits += [self._enter(rows) for rows in _groups(self.rows[self._n_cached :])]
        logits_RV = torch.cat(logits).float()
        rows = list(self.rows)
        tokens = sampling.choose(
            logits_RV,
            [row.sampling for row in rows],
            [row.generator for row in rows],
            [
                (*row.prompt, *row.new) if row.sampling.repetition_penalty != 1 else ()
                for row in rows
            ],
        )
        for row, token, logits_V in zip(rows, tokens, logits_RV, strict=True):
            if row.n_likeliest is not None:
                row.log_probabilities.append(_log_probabilities(logits_V, token, row.n_likeliest))
            row.new.append(token)
        return rows

    def _advance(self) -> Tensor:
        """Logits after the last token of each row in the cache: R V."""
        rows = self.rows[: self._n_cached]
        self._reserve(len(rows), max(row.n_tokens for row in rows))
        device = self.model.embed.weight.device
        tokens = torch.tensor([row.new[-1:] for row in rows], device=device)
        places = torch.tensor([row.n_tokens - 1 for row in rows], device=device)
        n_most = max(row.n_tokens for row in rows) - 1
        cache = self._cache.first(len(rows), n_most, places)
        return self.model.logits_of(self.model.hidden(tokens, cache)[:, -1])

    def _enter(self, rows: list[Row]) -> Tensor:
        """Logits after the prompts of rows, which are put into the cache behind the others: R V."""
        device = self.model.embed.weight.device
        lengths = torch.tensor([row.n_tokens for row in rows], device=device)
        n_most = max(row.n_tokens for row in rows)
        # What stands behind a shorter prompt is seen by none of its tokens, and overwritten later.
        padded = [[*row.prompt, *row.new] + [0] * (n_most - row.n_tokens) for row in rows]
        cache = Cache.empty(self.model.shape, len(rows), n_most, _like(self.model))
        hidden_RTD = self.model.hidden(torch.tensor(padded, device=device), cache)
        first, last = self._n_cached, self._n_cached + len(rows)
        self._reserve(last, n_most)
        for mine, theirs in zip(
            (*self._cache.keys, *self._cache.values), (*cache.keys, *cache.values), strict=True
        ):
            mine[first:last, :, :n_most] = theirs
        self._n_cached = last
        each = torch.arange(len(rows), device=device)
        return self.model.logits_of(hidden_RTD[each, lengths - 1])

    def _reserve(self, n_rows: int, n_tokens: int) -> None:
        """Room in the cache; it doubles, so that what is there is moved seldom."""
        had_rows, _, had_tokens, _ = self._cache.keys[0].shape
        if n_rows <= had_rows and n_tokens <= had_tokens:
            return
        n_rows = max(n_rows, min(2 * n_rows, 2 * had_rows))
        n_tokens = max(n_tokens, min(2 * n_tokens, 2 * had_tokens))
        cache = Cache.empty(self.model.shape, n_rows, n_tokens, _like(self.model))
        n = self._n_cached
        for new, old in zip(
            (*cache.keys, *cache.values), (*self._cache.keys, *self._cache.values), strict=True
        ):
            new.zero_()  # what is not seen still enters sums, times 0: it must be finite
            new[:n, :, :had_tokens] = old[:n]
        self._cache = cache


def _like(model: Transformer) -> Tensor:
    return torch.empty(0, dtype=model.embed.weight.dtype, device=model.embed.weight.device)


def _groups(rows: list[Row]) -> Iterator[list[Row]]:
    """Neighbours that are computed at once; rows sorted by length."""
    group: list[Row] = []
    for row in rows:
        if group and (len(group) + 1) * row.n_tokens > _PROMPT_TOKENS:
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _log_probabilities(
    logits_V: Tensor, token: int, n_likeliest: int
) -> tuple[float, dict[int, float]]:
    logs_V = logits_V.log_softmax(dim=-1)
    values, ids = logs_V.topk(min(n_likeliest, len(logs_V)))
    return float(logs_V[token]), dict(zip(ids.tolist(), values.tolist(), strict=True))
