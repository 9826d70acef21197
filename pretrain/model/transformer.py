"""The network: embedding, blocks, norm, head; causal, both ways, or an encoder before a decoder.

    x = embed(tokens)                                  + learned or sinusoidal positions, segments
    for each block:  x += attention(norm(x));  x += feed_forward(norm(x))          layers.py
    logits = head(norm(x))                             transformed first where BERT does so

One stack for all families; `sizes.py` says which shape is whose. Single-device code: it knows
nothing of ranks. Built on `meta` it costs nothing, whatever its size; `init.initialise` fills it.

Dims: B batch, T time, S time of the encoder, D width, V vocabulary.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretrain.model import flex
from pretrain.model.attention import (
    RELATIVE_BUCKETS,
    Cache,
    Context,
    Part,
    drop,
    relative_buckets,
    rotary_table,
    visible_at,
)
from pretrain.model.layers import ACTIVATIONS, Block, norm
from pretrain.model.loss import Head
from pretrain.model.settings import Shape


class Stack(nn.Module):
    """Blocks and what stands before and behind them, for embedded tokens."""

    ahead_blocks: nn.ModuleList
    # Where a pass is given only some tokens of each row: which, of so many that it is given.
    part_of: Callable[[int, torch.device], Part] | None = None

    def __init__(self, shape: Shape, crosses: bool = False) -> None:
        super().__init__()
        self.shape = shape
        if shape.positions == "learned":
            self.position = nn.Embedding(shape.max_length, shape.width)
        if shape.positions == "relative":
            self.relative = nn.Embedding(RELATIVE_BUCKETS, shape.heads)
        if shape.n_segments:
            self.segment = nn.Embedding(shape.n_segments, shape.width)
        if shape.input_norm:
            self.input_norm = norm(shape)
        self.blocks = nn.ModuleList(Block(shape, i, crosses) for i in range(shape.layers))
        if shape.norm_place == "before":
            self.norm = norm(shape)

    def run(self, x_BTD: Tensor, context: Context, documents_BT: Tensor | None = None) -> Tensor:
        """Hidden states of embedded tokens, and what `context` gathers on the way.

        documents_BT: of whole rows, also where a pass is given only some of their tokens.
        """
        x_BTD = self.enter(x_BTD, context, documents_BT)
        return self.leave(self.through(x_BTD, context, documents_BT), context)

    def enter(self, x_BTD: Tensor, context: Context, documents_BT: Tensor | None) -> Tensor:
        """What the first block reads: embedded tokens, placed and normalised."""
        shape = self.shape
        places, _ = self._places(x_BTD, context)
        x_BTD = x_BTD * shape.embedding_scale if shape.embedding_scale != 1.0 else x_BTD
        if shape.embedding_norm:
            x_BTD = F.rms_norm(x_BTD, (shape.width,), eps=shape.norm_epsilon)
        if shape.positions in ("learned", "sinusoidal"):
            place = places
            if documents_BT is not None:  # each document starts at 0
                place = place - _starts(documents_BT)[:, places]
            if shape.positions == "learned":
                x_BTD = x_BTD + self.position(place)
            else:
                x_BTD = x_BTD + sinusoids(place, shape.width).to(x_BTD.dtype)
        if shape.n_segments:
            segments_BT = context.segments_BT  # all text is of the first where none are given
            if segments_BT is None:
                segments_BT = torch.zeros(1, dtype=torch.int64, device=x_BTD.device)
            x_BTD = x_BTD + self.segment(segments_BT)
        if shape.input_norm:
            x_BTD = self.input_norm(x_BTD)
        return drop(x_BTD, context)

    def through(self, x_BTD: Tensor, context: Context, documents_BT: Tensor | None) -> Tensor:
        """What the last block that is here gives."""
        places, keys = self._places(x_BTD, context)
        self._prepare(context, places, keys, x_BTD, documents_BT)
        for block in self.blocks:
            x_BTD = block(x_BTD, context)
        return x_BTD

    def leave(self, x_BTD: Tensor, context: Context) -> Tensor:
        if context.looks_ahead:
            context.ahead = [self.norm(block(x_BTD, context)) for block in self.ahead_blocks]
        return self.norm(x_BTD) if self.shape.norm_place == "before" else x_BTD

    def _places(self, x_BTD: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        """Where in its row each token stands, and each that it can attend to: T or B T, S."""
        t = x_BTD.shape[1]
        if context.tree is not None:
            return context.tree.places_BT, context.tree.places_BT
        if self.part_of is not None and context.cache is None:
            context.part = self.part_of(t, x_BTD.device)
            context.own = len(context.part.key_places_S), context.part.places_T
            return context.part.places_T, context.part.key_places_S
        start = context.cache.n_tokens if context.cache is not None else 0
        keys = torch.arange(start + t, device=x_BTD.device)
        if context.cache is not None and context.cache.lengths_B is not None:
            return context.cache.lengths_B[:, None] + keys[:t], keys
        return keys[start:], keys

    def _prepare(
        self, context: Context, places: Tensor, keys: Tensor, x_BTD: Tensor,
        documents_BT: Tensor | None,
    ) -> None:  # fmt: skip
        """The tables that the layers share: rotary, masks by window, relative bias."""
        shape, device, part = self.shape, x_BTD.device, context.part
        n_together = part.n_together if part else places.shape[-1]
        rows_differ = places.ndim == 2
        layers = range(shape.layers)
        if shape.positions == "rotary":
            for base in {shape.rope_base(i) for i in layers}:
                heads_alike = places[:, None] if rows_differ else places
                context.rotary[base] = rotary_table(base, shape.head_width, heads_alike, x_BTD)
        for window in {shape.window_of(i) for i in layers}:
            if context.tree is not None:
                context.masks[window] = context.tree.mask(window)
                continue
            needed = documents_BT is not None or (
                window and len(keys) > window // (1 + (not shape.causal))
            )
            if not needed and not (part and shape.causal) and not rows_differ:
                context.masks[window] = None
            elif flex.fits(shape, n_together, context.cache is not None, device):
                at = (places, keys) if part else None
                context.masks[window] = flex.block_mask(
                    len(places), shape.causal, window, device, documents_BT, at
                )
            else:
                context.masks[window] = visible_at(places, keys, shape.causal, window, documents_BT)
        if shape.positions == "relative":
            buckets = relative_buckets(len(places), shape.causal, device)
            context.bias = self.relative(buckets).permute(2, 0, 1)[None]


class Transformer(Stack):
    """Tokens in, final hidden states out; `head_weight` turns those into logits."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape, crosses=bool(shape.encoder_layers))
        self.embed = nn.Embedding(shape.vocab_size, shape.width)
        if shape.encoder_layers:
            self.encoder = Stack(shape.encoder)
        if shape.head_transform:
            self.transform = nn.Linear(shape.width, shape.width, bias=shape.biased)
            self.transform_norm = norm(shape)
            self.head_bias = nn.Parameter(torch.zeros(shape.vocab_size))
        if not shape.tied:
            self.head = nn.Linear(shape.width, shape.vocab_size, bias=False)
        if shape.ahead:  # Gloeckle et al. 2024 (2404.19737): a block per token, the head shared
            last = shape.layers - 1
            self.ahead_blocks = nn.ModuleList(Block(shape, last) for _ in range(shape.ahead))

    @property
    def head_weight(self) -> Tensor:
        """V D."""
        return self.embed.weight if self.shape.tied else self.head.weight

    @property
    def loss_head(self) -> Head:
        """What the loss needs besides hidden states and `head_weight`."""
        bias = self.head_bias if self.shape.head_transform else None
        return Head(bias, self.shape.logit_cap)

    def hidden(
        self,
        tokens_BT: Tensor,
        cache: Cache | None = None,
        documents_BT: Tensor | None = None,
        source_BS: Tensor | None = None,
        source_visible_BS: Tensor | None = None,
        context: Context | None = None,
    ) -> Tensor:
        """Hidden states B T D, ready for the head.

        documents_BT numbers the documents of each row: no position sees another document's.
        source_BS: what the encoder reads (only where there is one); source_visible_BS: False at
        its padding. A `context` given from outside keeps what the layers report (moe.py).
        """
        context = context or Context(self.shape.causal)
        context.cache = cache
        if self.shape.encoder_layers:
            assert source_BS is not None, "an encoder needs something to read"
            reading = Context(False, dropout=context.dropout)
            seen = None if source_visible_BS is None else source_visible_BS.long()
            # Padding is a document of its own: it sees itself, and nobody else does.
            context.memory = self.encoder.run(self.embed(source_BS), reading, seen)
            context.balance += reading.balance
            if source_visible_BS is not None:
                context.memory_mask = source_visible_BS[:, None, None, :]
        x_BTD = self.run(self.embed(tokens_BT), context, documents_BT)
        if cache is not None:
            cache.n_tokens += tokens_BT.shape[1]
        return self.ready(x_BTD)

    def ready(self, x_BTD: Tensor) -> Tensor:
        """The stack's result as the head takes it."""
        if self.shape.head_transform:
            x_BTD = self.transform_norm(ACTIVATIONS[self.shape.activation](self.transform(x_BTD)))
        return x_BTD * self.shape.logit_scale if self.shape.logit_scale != 1.0 else x_BTD

    def forward(self, tokens_BT: Tensor, cache: Cache | None = None, **more: Tensor) -> Tensor:
        """Logits B T V."""
        return self.logits_of(self.hidden(tokens_BT, cache, **more))  # type: ignore[arg-type]

    def logits_of(self, hidden_BTD: Tensor) -> Tensor:
        """Logits … V of hidden states … D, as `hidden` gives them."""
        logits_BTV = F.linear(hidden_BTD, self.head_weight)
        if self.shape.head_transform:
            logits_BTV = logits_BTV + self.head_bias
        if self.shape.logit_cap:
            logits_BTV = self.shape.logit_cap * torch.tanh(logits_BTV / self.shape.logit_cap)
        return logits_BTV


def sinusoids(place: Tensor, width: int) -> Tensor:
    """… D: sines of all frequencies, then their cosines. Source: Vaswani et al. 2017, section 3.5,
    who put them in turn: a permutation of the width."""
    channel = torch.arange(0, width, 2, device=place.device, dtype=torch.float32)
    angle = place[..., None].float() * torch.exp(channel * (-math.log(10_000.0) / width))
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def _starts(documents_BT: Tensor) -> Tensor:
    """Where the document of each position begins in its row: B T."""
    t = documents_BT.shape[1]
    begins = torch.ones_like(documents_BT, dtype=torch.bool)
    begins[:, 1:] = documents_BT[:, 1:] != documents_BT[:, :-1]
    place = torch.arange(t, device=documents_BT.device).expand_as(documents_BT)
    return torch.where(begins, place, 0).cummax(dim=1).values
