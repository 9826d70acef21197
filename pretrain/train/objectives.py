"""What a model is asked to predict: rows of tokens become inputs and targets.

    next_token   inputs t₀ … tₙ₋₁, targets t₁ … tₙ
    masked       a share of the tokens is hidden: 80 % a mask, 10 % another token, 10 % left as is;
                 they are the targets. Devlin et al. 2018, section 3.1, at 15 %; Warner et al. 2024
                 (ModernBERT) at 30 %
    span         spans of 3 tokens on average, 15 % of all, become one sentinel each; the decoder
                 says sentinel, span, sentinel, span, … Raffel et al. 2020, section 3.1.4
    fill_in      documents are cut at two places and come as prefix, suffix, middle, or suffix,
                 prefix, middle, half each; the marks push as many tokens off the end of the row.
                 Bavarian et al. 2022, section 3

All are pure functions of a row and (seed, its sample number): the same on any number of ranks and
after any resume. Counts are exact, not drawn: a row of n tokens always has round(share · n) targets
(at least one), so that steps weigh the same. `IGNORED` targets count for nothing.

The plain rows of `next_token` and `fill_in` also say which document each position is of, where
attention must not leave it.

Dims: R rows, L tokens of a row, S tokens of the source.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pretrain.errors import RecipeError
from pretrain.train.settings import Objective

IGNORED = -100
_MASKED, _SWAPPED = 0.8, 0.1  # shares of the hidden tokens
_LEAST_PIECE = 8  # tokens of a document that is worth filling in


@dataclass(frozen=True)
class Asked:
    """What an objective needs to know of recipe and tokenizer."""

    vocab_size: int
    separator: int
    specials: Mapping[str, int]
    settings: Objective = Objective()


@dataclass
class Batch:
    """int64 arrays; `source` is what an encoder reads."""

    inputs_RL: np.ndarray
    targets_RL: np.ndarray
    source_RS: np.ndarray | None = None
    documents_RL: np.ndarray | None = None  # see documents_of

    @property
    def n_targets(self) -> int:
        return int((self.targets_RL != IGNORED).sum())


Make = Callable[[np.ndarray, np.ndarray, int, Asked], Batch]


def next_token(rows: np.ndarray, numbers: np.ndarray, seed: int, asked: Asked) -> Batch:
    return Batch(rows[:, :-1], rows[:, 1:])


def masked(rows: np.ndarray, numbers: np.ndarray, seed: int, asked: Asked) -> Batch:
    tokens = rows[:, :-1]
    inputs, targets = tokens.copy(), np.full_like(tokens, IGNORED)
    mask = special(asked, "<|mask|>", "masked")
    plain = np.setdiff1d(np.arange(asked.vocab_size), list(asked.specials.values()))
    for row, number in enumerate(numbers.tolist()):
        draw = generator(seed, number)
        open_places = np.flatnonzero(tokens[row] != asked.separator)
        n_hidden = min(len(open_places), max(1, round(asked.settings.share * len(open_places))))
        places = draw.permutation(open_places)[:n_hidden]
        n_masked, n_swapped = round(_MASKED * n_hidden), round(_SWAPPED * n_hidden)
        targets[row, places] = tokens[row, places]
        inputs[row, places[:n_masked]] = mask
        swapped = places[n_masked : n_masked + n_swapped]
        inputs[row, swapped] = draw.choice(plain, len(swapped))
    return Batch(inputs, targets)


def span(rows: np.ndarray, numbers: np.ndarray, seed: int, asked: Asked) -> Batch:
    tokens = rows[:, :-1]
    n_tokens = tokens.shape[1]
    n_hidden, n_spans = _hidden_spans(n_tokens, asked.settings)
    marks = sentinels(asked, n_spans + 1)
    source = np.empty((len(tokens), n_tokens - n_hidden + n_spans), np.int64)
    says = np.empty((len(tokens), n_hidden + n_spans + 1), np.int64)
    for row, number in enumerate(numbers.tolist()):
        draw = generator(seed, number)
        kept, hidden = (_parts(n, n_spans, draw) for n in (n_tokens - n_hidden, n_hidden))
        bounds = np.cumsum(np.stack([kept, hidden], axis=1).ravel())[:-1]
        pieces = np.split(tokens[row], bounds)
        source[row] = np.concatenate(
            [part for i in range(n_spans) for part in (pieces[2 * i], marks[i : i + 1])]
        )
        told = [part for i in range(n_spans) for part in (marks[i : i + 1], pieces[2 * i + 1])]
        says[row] = np.concatenate([*told, marks[n_spans:]])
    start = np.full((len(says), 1), asked.specials.get("<|pad|>", asked.separator))
    return Batch(np.concatenate([start, says[:, :-1]], axis=1), says, source)


def fill_in(rows: np.ndarray, numbers: np.ndarray, seed: int, asked: Asked) -> Batch:
    prefix, suffix, middle = (
        special(asked, f"<|fim_{part}|>", "fill_in") for part in ("prefix", "suffix", "middle")
    )
    made = np.empty_like(rows)
    for row, number in enumerate(numbers.tolist()):
        draw = generator(seed, number)
        ends = np.flatnonzero(rows[row] == asked.separator) + 1
        pieces = []
        for document in np.split(rows[row], ends):
            ended = len(document) > 0 and document[-1] == asked.separator
            text = document[: len(document) - ended]
            if len(text) < _LEAST_PIECE or draw.random() >= asked.settings.fill_in:
                pieces.append(document)
                continue
            first, second = np.sort(draw.integers(1, len(text), 2))
            a, b, c = np.split(text, [first, second])
            order: tuple[Any, ...] = ([prefix], a, [suffix], c, [middle], b)
            if (
                draw.random() < 0.5
            ):  # suffix first, in the form that shares its marks with the other
                order = ([prefix], [suffix], c, [middle], a, b)
            whole = np.concatenate([np.asarray(part, np.int64) for part in order])
            pieces.append(np.concatenate([whole, document[len(text) :]]))
        made[row] = np.concatenate(pieces)[: rows.shape[1]]
    return next_token(made, numbers, seed, asked)


OBJECTIVES: dict[str, Make] = {
    "next_token": next_token, "masked": masked, "span": span, "fill_in": fill_in,
}  # fmt: skip


def make(rows: np.ndarray, numbers: np.ndarray, seed: int, asked: Asked) -> Batch:
    """What rows of tokens (R L+1), of these sample numbers, ask of the model."""
    batch = OBJECTIVES[asked.settings.kind](rows, numbers, seed, asked)
    if asked.settings.document_mask:
        # A hidden token is no separator in disguise: documents are those of the inputs' text.
        text = batch.inputs_RL if asked.settings.kind == "fill_in" else rows[:, :-1]
        batch.documents_RL = documents_of(text, asked.separator)
    return batch


def sizes(length: int, settings: Objective) -> tuple[int, int, int]:
    """(inputs, source, targets) of a row of `length` tokens.

    Of `masked`, targets are those of a row without separators, which are never hidden.
    """
    if settings.kind == "span":
        n_hidden, n_spans = _hidden_spans(length, settings)
        return n_hidden + n_spans + 1, length - n_hidden + n_spans, n_hidden + n_spans + 1
    if settings.kind == "masked":
        return length, 0, max(1, round(settings.share * length))
    return length, 0, length


def documents_of(tokens: np.ndarray, separator: int) -> np.ndarray:
    """The number of each position's document in its row; a separator ends its document."""
    ended = np.cumsum(tokens == separator, axis=1)
    return ended - (tokens == separator)


def generator(seed: int, number: int) -> np.random.Generator:
    """Random numbers of one sample's objective, and of nothing else."""
    return np.random.Generator(np.random.Philox(key=[seed & (2**64 - 1), number]))


def special(asked: Asked, name: str, objective: str) -> int:
    """The id of a special token.

    Raises: RecipeError where the tokenizer lacks it.
    """
    if name not in asked.specials:
        raise RecipeError(
            f"train: the tokenizer has no {name}, which the objective {objective!r} needs; must be "
            "one trained by `pretrain tokenize` (recipe key train.objective.kind)"
        )
    return asked.specials[name]


def sentinels(asked: Asked, n: int) -> np.ndarray:
    """The ids that stand for spans: the tokenizer's reserved ones, in their order; T5's by number.

    T5's lie backwards: <extra_id_0>, the first, has the largest id.
    """
    free = sorted(i for name, i in asked.specials.items() if "reserved" in name)
    free = free or sorted((i for n, i in asked.specials.items() if "extra_id" in n), reverse=True)
    if len(free) < n:
        raise RecipeError(
            f"train: span corruption needs {n} sentinels, the tokenizer has {len(free)} reserved "
            f"tokens; must be as many: set tokenize.reserved to {n + 8} or more, or shorten "
            "mix.sequence_length (recipe key tokenize.reserved)"
        )
    return np.array(free[:n], np.int64)


def _parts(total: int, n: int, draw: np.random.Generator) -> np.ndarray:
    """`n` lengths of at least 1 that add up to `total`, every way as likely."""
    cuts = np.sort(draw.choice(total - 1, n - 1, replace=False) + 1) if n > 1 else np.empty(0, int)
    return np.diff(np.concatenate([[0], cuts, [total]])).astype(np.int64)


def _hidden_spans(n_tokens: int, settings: Objective) -> tuple[int, int]:
    """(hidden tokens, spans they come in) of a row."""
    n_hidden = min(n_tokens - 1, max(1, round(settings.share * n_tokens)))
    return n_hidden, max(1, min(round(n_hidden / settings.span), n_tokens - n_hidden))
