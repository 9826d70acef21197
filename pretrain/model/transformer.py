"""The Llama family as one small module: RMSNorm, rotary positions, grouped queries, SwiGLU.

    x = embed(tokens)
    for each block:  x += attention(norm(x));  x += feed_forward(norm(x))
    logits = head(norm(x))

Options: normalised queries and keys (then it is Qwen3's layout), tied embeddings, normalised
embedding. Single-device code: it knows nothing of ranks. Built on `meta` it costs nothing, whatever
its size; `init.initialise` fills it.

Dims: B batch, T time, D width, H heads, K key/value heads, C head width, F hidden, V vocabulary.
Source: Touvron et al. 2023 (arXiv 2302.13971); QK-norm: Dehghani et al. 2023 (arXiv 2302.05442).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretrain.model.settings import Shape


@dataclass
class Cache:
    """Keys and values of the tokens seen so far, per layer: B K T C, allocated once."""

    keys: list[Tensor]
    values: list[Tensor]
    n_tokens: int = 0

    @classmethod
    def empty(cls, shape: Shape, batch: int, n_tokens: int, like: Tensor) -> "Cache":
        size = (batch, shape.kv_heads, n_tokens, shape.head_width)
        return cls(
            [like.new_empty(size) for _ in range(shape.layers)],
            [like.new_empty(size) for _ in range(shape.layers)],
        )


class Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        c = shape.head_width
        self.q = nn.Linear(shape.width, shape.heads * c, bias=False)
        self.k = nn.Linear(shape.width, shape.kv_heads * c, bias=False)
        self.v = nn.Linear(shape.width, shape.kv_heads * c, bias=False)
        self.o = nn.Linear(shape.heads * c, shape.width, bias=False)
        if shape.qk_norm:
            self.q_norm = nn.RMSNorm(c, eps=shape.norm_epsilon)
            self.k_norm = nn.RMSNorm(c, eps=shape.norm_epsilon)

    def forward(
        self, x_BTD: Tensor, rotary: tuple[Tensor, Tensor], cache: Cache | None, layer: int
    ) -> Tensor:
        b, t, _ = x_BTD.shape
        c = self.shape.head_width
        q_BTHC = self.q(x_BTD).view(b, t, -1, c)
        k_BTKC = self.k(x_BTD).view(b, t, -1, c)
        if self.shape.qk_norm:
            # The norms' weights stay fp32; autocast's bf16 queries would leave the fused kernel.
            q_BTHC, k_BTKC = _norm(self.q_norm, q_BTHC), _norm(self.k_norm, k_BTKC)
        q_BHTC = rotate(q_BTHC.transpose(1, 2), rotary)
        k_BKTC = rotate(k_BTKC.transpose(1, 2), rotary)
        v_BKTC = self.v(x_BTD).view(b, t, -1, c).transpose(1, 2)
        if cache is not None:
            end = cache.n_tokens + t
            cache.keys[layer][:, :, cache.n_tokens : end] = k_BKTC
            cache.values[layer][:, :, cache.n_tokens : end] = v_BKTC
            k_BKTC, v_BKTC = cache.keys[layer][:, :, :end], cache.values[layer][:, :, :end]
        # With a cache the queries are the last t of the keys' positions: all keys for one token, a
        # causal square for the first call. More than one token on a filled cache is not supported.
        y_BHTC = F.scaled_dot_product_attention(
            q_BHTC,
            k_BKTC,
            v_BKTC,
            is_causal=t > 1,
            enable_gqa=self.shape.heads != self.shape.kv_heads,
        )
        return self.o(y_BHTC.transpose(1, 2).reshape(b, t, -1))


class FeedForward(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate = nn.Linear(shape.width, shape.hidden, bias=False)
        self.up = nn.Linear(shape.width, shape.hidden, bias=False)
        self.down = nn.Linear(shape.hidden, shape.width, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x_BTD)) * self.up(x_BTD))


class Block(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(shape.width, eps=shape.norm_epsilon)
        self.attention = Attention(shape)
        self.feed_forward_norm = nn.RMSNorm(shape.width, eps=shape.norm_epsilon)
        self.feed_forward = FeedForward(shape)

    def forward(
        self, x_BTD: Tensor, rotary: tuple[Tensor, Tensor], cache: Cache | None, layer: int
    ) -> Tensor:
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), rotary, cache, layer)
        return x_BTD + self.feed_forward(self.feed_forward_norm(x_BTD))


class Transformer(nn.Module):
    """Tokens in, final hidden states out; `head_weight` turns those into logits."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed = nn.Embedding(shape.vocab_size, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.width, eps=shape.norm_epsilon)
        if not shape.tied:
            self.head = nn.Linear(shape.width, shape.vocab_size, bias=False)

    @property
    def head_weight(self) -> Tensor:
        """V D."""
        return self.embed.weight if self.shape.tied else self.head.weight

    def hidden(self, tokens_BT: Tensor, cache: Cache | None = None) -> Tensor:
        """Normalised hidden states B T D, ready for the head."""
        start = cache.n_tokens if cache is not None else 0
        x_BTD = self.embed(tokens_BT)
        if self.shape.embedding_norm:
            x_BTD = F.rms_norm(x_BTD, (self.shape.width,), eps=self.shape.norm_epsilon)
        rotary = rotary_table(self.shape, start, tokens_BT.shape[1], x_BTD)
        for layer, block in enumerate(self.blocks):
            x_BTD = block(x_BTD, rotary, cache, layer)
        if cache is not None:
            cache.n_tokens += tokens_BT.shape[1]
        return self.norm(x_BTD)

    def forward(self, tokens_BT: Tensor, cache: Cache | None = None) -> Tensor:
        """Logits B T V."""
        return F.linear(self.hidden(tokens_BT, cache), self.head_weight)


def _norm(norm: nn.RMSNorm, x: Tensor) -> Tensor:
    """RMSNorm in the dtype of x: inputs and weight agree, so that the fused kernel is used."""
    return F.rms_norm(x, norm.normalized_shape, norm.weight.to(x.dtype), norm.eps)


def rotary_table(shape: Shape, start: int, length: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines of positions start … start+length, each T C, in the dtype of `like`.

    Angles are computed in fp32: bf16 cannot tell position 257 from 258.
    """
    c = shape.head_width
    channel = torch.arange(0, c, 2, device=like.device, dtype=torch.float32)
    frequency = shape.rope_theta ** (-channel / c)
    position = torch.arange(start, start + length, device=like.device, dtype=torch.float32)
    angle = torch.outer(position, frequency).repeat(1, 2)
    return angle.cos().to(like.dtype), angle.sin().to(like.dtype)


def rotate(x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary embedding of … T C, in the half-split channel order of `transformers`."""
    cos, sin = (table.to(x.dtype) for table in rotary)
    low, high = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-high, low), dim=-1) * sin
