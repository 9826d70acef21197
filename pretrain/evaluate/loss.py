"""Bits per byte of texts under a model that continues text: by text, group and place in the window.

    bits per byte = Σ over the text's tokens of loss in nats / (ln 2 · UTF-8 bytes of the text)

Document start: each text stands alone, from the separator on. Its first token is predicted from the
separator, and a closing separator is neither asked for nor counted as a byte, so a text costs the
same whatever stands before it.

Sliding window: a text longer than `length` is read in windows of at most `length` tokens; each
token is a target exactly once. Windows after the first begin with the last `overlap` share of a
window as context only. With overlap 0 windows are blocks; more overlap gives more context, and
takes 1 / (1 - overlap) times as long.

Place p of a token is how many tokens it is predicted from, less one: 0 has the separator alone.
Places are told by powers of two, ⌊log₂(p + 1)⌋, as in training (train/gradients.py).
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from pretrain.evaluate.score import document_segments, losses
from pretrain.model.transformer import Transformer
from pretrain.tokenize.encode import Encoder

LN2 = 0.6931471805599453
N_PLACES = 24
_AT_ONCE = 64  # texts whose windows are in memory together


@dataclass(frozen=True)
class TextLoss:
    """What a text costs, or several together."""

    nats: float
    n_tokens: int
    n_bytes: int
    places_2P: np.ndarray  # nats, tokens by group of places
    n_texts: int = 1

    def __add__(self, other: "TextLoss") -> "TextLoss":
        return TextLoss(
            self.nats + other.nats, self.n_tokens + other.n_tokens, self.n_bytes + other.n_bytes,
            self.places_2P + other.places_2P, self.n_texts + other.n_texts,
        )  # fmt: skip

    @property
    def bits_per_byte(self) -> float:
        return self.nats / LN2 / max(1, self.n_bytes)

    @property
    def loss(self) -> float:
        """Nats per token."""
        return self.nats / max(1, self.n_tokens)

    def row(self) -> dict[str, Any]:
        """What scores.json says of a group."""
        return {
            "bits_per_byte": self.bits_per_byte,
            "loss": self.loss,
            "n_tokens": self.n_tokens,
            "n_bytes": self.n_bytes,
            "documents": self.n_texts,
        }

    def by_place(self) -> list[dict[str, Any]]:
        """Loss by place in the window: first to last of each group that has tokens."""
        return [
            {
                "first": 2**group - 1,
                "last": 2 ** (group + 1) - 2,
                "loss": float(nats / n),
                "n_tokens": int(n),
            }
            for group, (nats, n) in enumerate(self.places_2P.T)
            if n
        ]


NOTHING = TextLoss(0.0, 0, 0, np.zeros((2, N_PLACES)), 0)


def text_loss(
    model: Transformer, encoder: Encoder, texts: Sequence[str], length: int, overlap: float,
    batch_tokens: int, advance: Callable[[int], object] | None = None,
) -> list[TextLoss]:  # fmt: skip
    """What each text costs, in the order given; advance is told how many are done."""
    found: list[TextLoss] = []
    for begin in range(0, len(texts), _AT_ONCE):
        some = texts[begin : begin + _AT_ONCE]
        segments, of = [], []
        for number, text in enumerate(some):
            tokens = np.array(encoder.encode(text), dtype=np.int64)
            own = document_segments(tokens, encoder.end_of_text, length, overlap)
            segments += own
            of += [number] * len(own)
        sums = [NOTHING] * len(some)
        for number, segment, loss in zip(
            of, segments, losses(model, segments, batch_tokens), strict=True
        ):
            place = np.arange(segment.first, len(segment.tokens)) - 1
            group = np.minimum(np.log2(place + 1).astype(np.int64), N_PLACES - 1)
            nats = loss.astype(np.float64)
            places = np.stack(
                [np.bincount(group, w, minlength=N_PLACES) for w in (nats, np.ones_like(nats))]
            )
            sums[number] += TextLoss(float(nats.sum()), len(loss), 0, places, 0)
        for text, cost in zip(some, sums, strict=True):
            found.append(cost + TextLoss(0.0, 0, len(text.encode()), NOTHING.places_2P))
        if advance:
            advance(len(found))
    return found


def together(costs: Sequence[TextLoss]) -> TextLoss:
    """What some texts cost in all."""
    return sum(costs, NOTHING)


def by(costs: Sequence[TextLoss], keys: Sequence[Hashable], most: int = 0) -> dict[Any, TextLoss]:
    """What the texts of each key cost, the key with most bytes first.

    most: keys to keep; the rest are summed under None. 0: all. A key None is kept with the rest.
    """
    groups: dict[Any, list[TextLoss]] = defaultdict(list)
    for cost, key in zip(costs, keys, strict=True):
        groups[key].append(cost)
    found = {key: together(group) for key, group in groups.items()}
    rest = found.pop(None, NOTHING)
    order = sorted(found, key=lambda key: (-found[key].n_bytes, str(key)))
    kept = order[:most] if most else order
    rest = together([rest, *(found[key] for key in order[len(kept) :])])
    return {key: found[key] for key in kept} | ({None: rest} if rest.n_texts else {})


def host_of(url: str | None) -> str | None:
    """The host of a URL without 'www.'; None where there is none."""
    try:
        host = urlsplit(url or "").hostname
    except ValueError:
        return None
    return host.removeprefix("www.") if host else None
