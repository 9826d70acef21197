"""A classifier on top of a pre-trained network, what it reads, and how it is scored.

    logits = W · dropout(pool(states of the tokens)) + b

    first    the state of the first token, a mark             Devlin et al. 2018 (1810.04805)
    mean     the mean of all tokens' states                   Reimers and Gurevych 2019 (1908.10084)
    last     the state of the last token, a mark: all that a model that continues text has read

Of labelled words, the first token of each word is asked, the last one of a model that has read no
further. What does not fit the window is cut: the longer text of a pair first; words that are cut
off count as wrong.

Dims: B batch, T time, D width, N texts or words, C classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretrain.evaluate.glue import Example
from pretrain.evaluate.rows import by_length, marks, padded, states
from pretrain.model.transformer import Transformer
from pretrain.tokenize.encode import Encoder

Pool = Literal["first", "mean", "last"]


@dataclass(frozen=True)
class Input:
    """An example as tokens; `places` are those of its labelled words, none where texts are."""

    row: tuple[int, ...]
    n_first: int  # tokens up to the second text
    labels: tuple[int, ...]
    places: tuple[int, ...] = ()
    cut: bool = False


def inputs(
    encoder: Encoder, examples: Sequence[Example], words: bool, causal: bool, length: int
) -> list[Input]:
    """What a network reads of each example, at most `length` tokens."""
    read = _words if words else _texts
    return [read(encoder, example, causal, length) for example in examples]


def _texts(encoder: Encoder, example: Example, causal: bool, length: int) -> Input:
    begin, end = marks(encoder)
    parts = [encoder.encode(text) for text in example.texts]
    room = length - 1 - len(parts)
    whole = sum(map(len, parts))
    while sum(map(len, parts)) > room:
        max(parts, key=len).pop()
    row = [begin, *(t for part in parts for t in (*part, end))]
    return Input(tuple(row), len(parts[0]) + 2, example.labels, cut=whole > room)


def _words(encoder: Encoder, example: Example, causal: bool, length: int) -> Input:
    begin, end = marks(encoder)
    row, places = [begin], []
    for number, word in enumerate(example.texts):
        ids = encoder.encode(f" {word}" if number else word)
        if len(row) + len(ids) + 1 > length:
            break
        places.append(len(row) + (len(ids) - 1 if causal else 0))
        row += ids
    cut = len(places) < len(example.texts)
    return Input((*row, end), len(row) + 1, example.labels, tuple(places), cut)


class Classifier(nn.Module):
    """A network and one linear layer over what `pool` takes of it; of words, over each."""

    def __init__(
        self, model: Transformer, n_classes: int, pool: Pool, seed: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.model, self.pool, self.dropout = model, pool, dropout
        device = model.embed.weight.device
        # Not initialised by the ambient generator, which is the caller's.
        self.classes = nn.utils.skip_init(nn.Linear, model.shape.width, n_classes, device=device)
        drawn = torch.empty(n_classes, model.shape.width)
        drawn.normal_(0, 0.02, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            self.classes.weight.copy_(drawn)
            self.classes.bias.zero_()

    def forward(self, batch: Sequence[Input]) -> Tensor:
        """Logits N C; N: the texts, or all their words that were not cut off, in order."""
        device = self.model.embed.weight.device
        tokens_BT, seen_BT = padded([x.row for x in batch], device)
        segments_BT = None
        if self.model.shape.n_segments > 1:
            first = torch.tensor([x.n_first for x in batch], device=device)
            place = torch.arange(tokens_BT.shape[1], device=device)
            segments_BT = ((place >= first[:, None]) & seen_BT).long()
        dropout = self.dropout if self.training else 0.0
        x_BTD = states(self.model, tokens_BT, seen_BT, segments_BT, dropout)
        x_ND = self._pooled(x_BTD, seen_BT, batch)
        logits_NC: Tensor = self.classes(F.dropout(x_ND, dropout))
        return logits_NC

    def _pooled(self, x_BTD: Tensor, seen_BT: Tensor, batch: Sequence[Input]) -> Tensor:
        device = x_BTD.device
        if any(x.places for x in batch):
            row = [i for i, x in enumerate(batch) for _ in x.places]
            place = [p for x in batch for p in x.places]
            return x_BTD[torch.tensor(row, device=device), torch.tensor(place, device=device)]
        if self.pool == "first":
            return x_BTD[:, 0]
        n_seen_B = seen_BT.sum(dim=1)
        if self.pool == "last":
            return x_BTD[torch.arange(len(batch), device=device), n_seen_B - 1]
        return (x_BTD * seen_BT[..., None]).sum(dim=1) / n_seen_B[:, None]


def targets(batch: Sequence[Input]) -> list[int]:
    """The classes of what `Classifier` gives logits for."""
    return [y for x in batch for y in (x.labels[: len(x.places)] if x.places else x.labels)]


@torch.inference_mode()
def predict(
    classifier: Classifier, chosen: Sequence[Input], batch_tokens: int = 8192
) -> tuple[np.ndarray, np.ndarray, float]:
    """(predicted classes, true classes, mean loss in nats) of all texts or words, in order.

    A word that was cut off is predicted as -1, and has no part in the loss.
    """
    classifier.eval()
    found: list[np.ndarray] = [np.empty(0, np.int64)] * len(chosen)
    nats, n = 0.0, 0
    for batch in by_length([len(x.row) for x in chosen], batch_tokens):
        some = [chosen[i] for i in batch]
        logits_NC = classifier(some).float()
        true = torch.tensor(targets(some), device=logits_NC.device)
        nats += float(F.cross_entropy(logits_NC, true, reduction="sum"))
        n += len(true)
        sizes = [len(x.places) if x.places else 1 for x in some]
        parts = np.split(logits_NC.argmax(dim=1).cpu().numpy(), np.cumsum(sizes)[:-1])
        for i, part in zip(batch, parts, strict=True):
            missing = len(chosen[i].labels) - len(part)
            found[i] = np.concatenate([part, np.full(missing, -1, np.int64)])
    true_N = np.array([y for x in chosen for y in x.labels])
    return np.concatenate(found), true_N, nats / max(1, n)


def accuracy(found_N: np.ndarray, true_N: np.ndarray) -> float:
    return float((found_N == true_N).mean())


def f1(found_N: np.ndarray, true_N: np.ndarray) -> float:
    """Of class 1; 0 where it is neither found nor there."""
    both = int(((found_N == 1) & (true_N == 1)).sum())
    either = int((found_N == 1).sum() + (true_N == 1).sum())
    return 2 * both / either if either else 0.0


def mcc(found_N: np.ndarray, true_N: np.ndarray) -> float:
    """Matthews' correlation of two classes; 0 where one side says the same of all."""
    a = found_N.astype(np.float64) - found_N.mean()
    b = true_N.astype(np.float64) - true_N.mean()
    scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / scale if scale > 1e-12 else 0.0


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": accuracy, "f1": f1, "mcc": mcc,
}  # fmt: skip


def measured(names: Sequence[str], found_N: np.ndarray, true_N: np.ndarray) -> dict[str, float]:
    return {name: METRICS[name](found_N, true_N) for name in names}


def majority(
    names: Sequence[str], train: Sequence[Example], test: Sequence[Example]
) -> dict[str, float]:
    """What always saying the commonest class of the training labels scores."""
    counts = np.bincount([y for example in train for y in example.labels])
    true_N = np.array([y for example in test for y in example.labels])
    return measured(names, np.full(len(true_N), counts.argmax()), true_N)
