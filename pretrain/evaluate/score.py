"""Log-probabilities of token sequences under a model, in batches sorted by length.

A segment is a row of tokens with the index of its first target; each token from there on is
predicted once, from what stands before it in the row. Rows are padded on the right: in a causal
model that changes nothing to their left.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pretrain.model.loss import token_losses
from pretrain.model.transformer import Transformer


@dataclass(frozen=True)
class Segment:
    tokens: np.ndarray  # int64, the first one is never a target
    first: int = 1  # index of the first target


def losses(model: Transformer, segments: Sequence[Segment], batch_tokens: int) -> list[np.ndarray]:
    """Per segment the loss in nats of each of its targets, fp32, in the order given."""
    result: list[np.ndarray] = [np.empty(0, np.float32)] * len(segments)
    order = sorted(range(len(segments)), key=lambda i: (-len(segments[i].tokens), i))
    device = model.embed.weight.device
    begin = 0
    while begin < len(order):
        longest = len(segments[order[begin]].tokens)
        end = min(len(order), begin + max(1, batch_tokens // longest))
        chosen = order[begin:end]
        rows = np.zeros((len(chosen), longest), dtype=np.int64)
        for row, i in zip(rows, chosen, strict=True):
            row[: len(segments[i].tokens)] = segments[i].tokens
        tokens = torch.from_numpy(rows).to(device)
        with torch.inference_mode():
            hidden = model.hidden(tokens[:, :-1])
            flat = token_losses(
                hidden.flatten(0, 1), model.head_weight, tokens[:, 1:].flatten(), model.loss_head
            )
        table = flat.view(len(chosen), longest - 1).cpu().numpy()
        for row, i in zip(table, chosen, strict=True):
            segment = segments[i]
            result[i] = row[segment.first - 1 : len(segment.tokens) - 1].copy()
        begin = end
    return result


def document_segments(
    tokens: np.ndarray, prefix: int, length: int, overlap: float
) -> list[Segment]:
    """A document cut so that each of its tokens is a target once, in windows of `length`.

    The first window starts from `prefix` (the separator). Later ones begin with the last
    `overlap` share of a window as context only.
    """
    stream = np.concatenate([[prefix], tokens]).astype(np.int64)
    context = int(length * overlap)
    segments = []
    done = 1  # the next target
    while done < len(stream):
        begin = 0 if done == 1 else max(0, done - 1 - context)
        end = min(len(stream), begin + length + 1)
        segments.append(Segment(stream[begin:end], done - begin))
        done = end
    return segments
