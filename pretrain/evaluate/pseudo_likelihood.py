"""Pseudo-log-likelihood: how probable a text is to a network that fills in what is hidden.

    PLL(text) = Σ_i log p(token i | all others)                       in nats

masked          token i alone is hidden. Salazar et al. 2020 (arXiv 1910.14659), section 2.1
  within_word   the rest of its word, to its right, is hidden too: else a word of several tokens
                gives itself away. Kauf and Ivanova 2023 (2305.10588), PLL-word-l2r
span            of an encoder with a decoder: token i is a span of its own, and is asked for with
                the sentinel that ends it, so p says that the span is this token and no more
  within_word   each word is one span; its tokens are told from left to right

It is no log-probability: it does not add up to one over texts, and compares texts of one model
only. A text is asked as one document; of one longer than the window, each token is hidden in the
middle of the `length` tokens around it. The price is a pass per token.

    PLL(continuation | context) = Σ_i log p(token i | the context, all others of the continuation)

serves to choose between continuations: the same sum, the context always seen.

A model that continues text has the log-probability itself and is refused here.
"""

import itertools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from pretrain.errors import DataError, UsageError
from pretrain.evaluate import encode_pair
from pretrain.evaluate.ask import Answer, Request
from pretrain.evaluate.rows import by_length, documents_of, marks, mask_of, padded
from pretrain.model.loss import token_losses
from pretrain.model.transformer import Transformer
from pretrain.tokenize.encode import Encoder
from pretrain.train.objectives import Asked, sentinels

MASK = "<|mask|>"  # as `fill` reads it, whatever the tokenizer calls it


@dataclass(frozen=True)
class _Question:
    text: int
    row: list[int]  # of at most `length` tokens
    begin: int  # of what is hidden: row[begin:end]
    end: int


def scores(
    model: Transformer, encoder: Encoder, texts: Sequence[str], length: int,
    within_word: bool = False, batch_tokens: int = 8192,
    advance: Callable[[int], object] | None = None,
) -> list[float]:  # fmt: skip
    """The pseudo-log-likelihood of each text in nats; 0 for a text without tokens.

    length: tokens of a window, both marks counted; advance is told how many rows are done.
    Raises: DataError where the model continues text, or its tokenizer has nothing to hide with.
    """
    rows = [((), encoder.encode(text)) for text in texts]
    return _sums(model, encoder, rows, length, within_word, batch_tokens, advance)


def answers(
    model: Transformer, encoder: Encoder, requests: Sequence[Request], length: int,
    batch_tokens: int = 8192,
) -> list[Answer]:  # fmt: skip
    """The pseudo-log-likelihood of each continuation, its tokens hidden one at a time.

    Requests are those of `pair_encoder`. length: tokens of a window, both marks counted.
    Raises: DataError as `scores` does.
    """
    rows = [(r.context[1:], r.continuation) for r in requests]
    found = _sums(model, encoder, rows, length, False, batch_tokens, None)
    return [Answer(nats, None) for nats in found]


def pair_encoder(encoder: Encoder, length: int) -> Callable[[str, str], tuple[Request, int]]:
    """As encode_pair's, for `answers`: nothing is cut off.

    The number beside a request is of the tokens that no window shows together with the others.
    """
    encode_whole = encode_pair.pair_encoder(encoder, sys.maxsize - 1)

    def encode(context: str, continuation: str) -> tuple[Request, int]:
        request, _ = encode_whole(context, continuation)
        n_tokens = len(request.context) + len(request.continuation) + 1  # with both marks
        return request, max(0, n_tokens - length)

    return encode


def _sums(
    model: Transformer, encoder: Encoder, rows: Sequence[tuple[Sequence[int], Sequence[int]]],
    length: int, within_word: bool, batch_tokens: int, advance: Callable[[int], object] | None,
) -> list[float]:  # fmt: skip
    """The pseudo-log-likelihood of the second part of each row, seen behind its first part."""
    if model.shape.is_decoder:
        raise DataError(
            "evaluate: this model continues text and has no pseudo-log-likelihood; must be asked "
            "for the log-probability of the text itself"
        )
    questions = [
        question
        for number, (seen, hidden) in enumerate(rows)
        for question in _questions(
            model, encoder, number, [*seen, *hidden], len(seen), length, within_word
        )
    ]
    ask = _told_by_decoder if model.shape.encoder_layers else _filled_in
    totals = [0.0] * len(rows)
    done = 0
    for batch in by_length([len(q.row) for q in questions], batch_tokens):
        chosen = [questions[i] for i in batch]
        for question, found in zip(chosen, ask(model, encoder, chosen), strict=True):
            totals[question.text] += found
        done += len(batch)
        if advance:
            advance(done)
    return totals


def words(encoder: Encoder, ids: Sequence[int]) -> list[int]:
    """The number of the word that each token is of.

    A token goes on with a word where the characters at the border, or the one that it cuts, are
    letters or digits on both sides; of WordPiece, where its piece begins with ##.
    """
    found: list[int] = []
    number = -1
    is_wordpiece = encoder.file["model"].get("type") == "WordPiece"
    before = b""
    for token in ids:
        piece = encoder.token_bytes(token)
        inside = piece.startswith(b"##") if is_wordpiece else _is_inside(before, piece)
        number += not inside or not found
        found.append(number)
        before = (before + piece)[-8:]
    return found


def _is_inside(before: bytes, after: bytes) -> bool:
    """Whether the border between two pieces of UTF-8 lies within a word."""
    if after[:1] and 0x80 <= after[0] < 0xC0:  # goes on with a character
        return True
    left = before.decode("utf-8", "ignore")[-1:]
    # A character that the piece begins and does not end is taken for a letter.
    right = after.decode("utf-8", "ignore")[:1] if after[:1] < b"\x80" else "a"
    return left.isalnum() and right.isalnum()


def _questions(
    model: Transformer, encoder: Encoder, number: int, ids: Sequence[int], n_seen: int,
    length: int, within_word: bool,
) -> list[_Question]:  # fmt: skip
    """Those of the tokens behind the first `n_seen`, which are never hidden."""
    begin_mark, end_mark = marks(encoder)
    whole = [begin_mark, *ids, end_mark]
    first = 1  # of the text, behind the mark
    borders = list(range(n_seen, len(ids) + 1))
    if within_word:
        of = words(encoder, ids)
        starts = [i for i in borders[:-1] if i == n_seen or of[i - 1] != of[i]]
        borders = [*starts, len(ids)]
    spans = list(itertools.pairwise(borders))
    if within_word and not model.shape.encoder_layers:
        spans = [(i, end) for begin, end in spans for i in range(begin, end)]
    questions = []
    for begin, end in spans:
        cut = min(max(0, first + begin - length // 2), max(0, len(whole) - length))
        row = whole[cut : cut + length]
        at = first + begin - cut
        questions.append(_Question(number, row, at, min(first + end - cut, len(row))))
    return questions


@torch.inference_mode()
def _filled_in(model: Transformer, encoder: Encoder, questions: Sequence[_Question]) -> list[float]:
    """log p of the first hidden token of each question."""
    mask, device = mask_of(encoder), model.embed.weight.device
    rows = [[*q.row[: q.begin], *[mask] * (q.end - q.begin), *q.row[q.end :]] for q in questions]
    tokens_BT, seen_BT = padded(rows, device)
    hidden_BTD = model.hidden(tokens_BT, documents_BT=documents_of(seen_BT))
    at = torch.tensor([q.begin for q in questions], device=device)
    targets = torch.tensor([q.row[q.begin] for q in questions], device=device)
    hidden_BD = hidden_BTD[torch.arange(len(questions), device=device), at]
    losses = token_losses(hidden_BD, model.head_weight, targets, model.loss_head)
    return [-float(x) for x in losses.double()]


@torch.inference_mode()
def _told_by_decoder(
    model: Transformer, encoder: Encoder, questions: Sequence[_Question]
) -> list[float]:
    """log p of each question's hidden tokens and of the sentinel behind them."""
    device = model.embed.weight.device
    asked = Asked(encoder.vocab_size, encoder.end_of_text, encoder.specials)
    first, last = sentinels(asked, 2).tolist()
    start = encoder.specials.get("<|pad|>", encoder.end_of_text)  # as in training
    sources = [[*q.row[: q.begin], first, *q.row[q.end :]] for q in questions]
    told = [[start, first, *q.row[q.begin : q.end], last] for q in questions]
    source_BS, there_BS = padded(sources, device)
    told_BT, seen_BT = padded(told, device)
    hidden_BTD = model.hidden(
        told_BT[:, :-1], source_BS=source_BS,
        source_visible_BS=None if bool(there_BS.all()) else there_BS,
    )  # fmt: skip
    losses_BT = token_losses(
        hidden_BTD.flatten(0, 1), model.head_weight, told_BT[:, 1:].flatten(), model.loss_head
    ).view(len(questions), -1)
    counted = seen_BT[:, 1:].clone()
    counted[:, 0] = False  # the first sentinel is no part of the text
    return [-float(x) for x in (losses_BT.double() * counted).sum(dim=1)]


@torch.inference_mode()
def fill(
    model: Transformer, encoder: Encoder, text: str, top_k: int = 5
) -> list[list[tuple[str, float]]]:
    """For each <|mask|> of a text the likeliest tokens with their probabilities, best first.

    Spaces before a mask are of the hidden token, as in RoBERTa. All masks are hidden at once.
    Raises: UsageError where the text has no mask, or more tokens than the network has positions.
    """
    if model.shape.causal or model.shape.encoder_layers:
        raise DataError(
            "fill: this model does not fill in single hidden tokens; must be one trained with "
            "train.objective.kind = 'masked', such as recipes/bert.toml"
        )
    if MASK not in text:
        raise UsageError(f"fill: the text has no {MASK}; must have at least one")
    mask, (begin_mark, end_mark) = mask_of(encoder), marks(encoder)
    *parts, tail = text.split(MASK)
    row = [begin_mark]
    for part in parts:
        row += [*encoder.encode(part.rstrip(" ")), mask]
    row += [*encoder.encode(tail), end_mark]
    if model.shape.max_length and len(row) > model.shape.max_length:
        raise UsageError(
            f"fill: the text has {len(row)} tokens; must have at most {model.shape.max_length}"
        )
    tokens_BT = torch.tensor([row], device=model.embed.weight.device)
    likely_MV = model(tokens_BT)[0, tokens_BT[0] == mask].float().softmax(dim=-1)
    best = likely_MV.topk(min(top_k, likely_MV.shape[1]))
    return [
        [
            (encoder.token_bytes(int(i)).decode("utf-8", "replace"), float(p))
            for p, i in zip(values, ids, strict=True)
        ]
        for values, ids in zip(best.values, best.indices, strict=True)
    ]
