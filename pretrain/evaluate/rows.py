"""Texts as a network that sees both ways reads them: rows of token ids, marked, padded, by length.

    separator, text, separator              as documents stand in a training stream
    separator, text, separator, text, separator          a pair; the second text's segment is 1

A tokenizer with [CLS] and [SEP] (BERT's) begins with the one and parts and ends with the other.
Padding stands on the right and is a document of its own, so nothing sees it.

Dims: B batch, T time, D width.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from pretrain.errors import DataError
from pretrain.model.attention import Context
from pretrain.model.transformer import Transformer
from pretrain.tokenize.encode import Encoder

MASKS = ("<|mask|>", "[MASK]", "<mask>")  # ours, BERT's, RoBERTa's


def marks(encoder: Encoder) -> tuple[int, int]:
    """(what a row begins with, what ends each of its texts)."""
    names = encoder.specials
    if "[CLS]" in names and "[SEP]" in names:
        return names["[CLS]"], names["[SEP]"]
    return encoder.end_of_text, encoder.end_of_text


def mask_of(encoder: Encoder) -> int:
    """The id of the token that hides another. Raises: DataError where there is none."""
    for name in MASKS:
        if name in encoder.specials:
            return encoder.specials[name]
    raise DataError(
        f"evaluate: the tokenizer {encoder.path} has no token to hide text with; must have one of "
        f"{', '.join(MASKS)}"
    )


def by_length(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Numbers of rows in batches of at most `batch_tokens` with padding, the longest first."""
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    begin = 0
    while begin < len(order):
        end = begin + max(1, batch_tokens // max(1, lengths[order[begin]]))
        yield order[begin:end]
        begin = end


def padded(
    rows: Sequence[Sequence[int]], device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """(token ids B T, whether each stands for a token B T); padding has id 0."""
    longest = max(len(row) for row in rows)
    tokens = np.zeros((len(rows), longest), dtype=np.int64)
    seen = np.zeros((len(rows), longest), dtype=bool)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = row
        seen[i, : len(row)] = True
    return torch.from_numpy(tokens).to(device), torch.from_numpy(seen).to(device)


def documents_of(seen_BT: Tensor) -> Tensor | None:
    """What `Transformer.hidden` takes to leave padding out; None where there is none."""
    return None if bool(seen_BT.all()) else seen_BT.long()


def states(
    model: Transformer, tokens_BT: Tensor, seen_BT: Tensor, segments_BT: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:  # fmt: skip
    """Hidden states B T D of each token, before anything that serves the vocabulary's head.

    Of an encoder and a decoder, the encoder's (Ni et al. 2021, Sentence-T5, take these too).
    """
    stack = model.encoder if model.shape.encoder_layers else model
    context = Context(stack.shape.causal, segments_BT=segments_BT, dropout=dropout)
    documents_BT = None if stack.shape.causal else documents_of(seen_BT)
    return stack.run(model.embed(tokens_BT), context, documents_BT)
