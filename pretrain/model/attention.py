"""Attention over heads, and who sees whom.

    y = softmax(q kᵀ · scale + bias, over what is visible) v

    causal      position i sees j ≤ i                     with a window of W: i − j < W
    both ways   position i sees all of its text           with a window of W: |i − j| ≤ W / 2
    documents   no position sees one of another document of its row

Where nothing but `causal` is asked for, no mask is made and the fused kernel is told so; else one
mask a kind of layer is made for a whole pass, not one a layer. A cap on the scores (Gemma 2) has no
fused kernel and costs T × T numbers a head.

Dims: B batch, T queries, S keys, D width, H heads, K key/value heads, C head width.
Sources: Vaswani et al. 2017 (arXiv 1706.03762); rotary: Su et al. 2021 (2104.09864); QK-norm:
Dehghani et al. 2023 (2302.05442); relative bias: Raffel et al. 2020 (1910.10683), section 2.1;
windows: Beltagy et al. 2020 (2004.05150); caps: Gemma Team 2024 (2408.00118).
"""

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretrain.model.settings import Shape

RELATIVE_BUCKETS, RELATIVE_REACH = 32, 128  # T5's


@dataclass
class Cache:
    """Keys and values of the tokens seen so far, per layer: B K S C, allocated once."""

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


@dataclass
class Context:
    """What all layers of one pass share."""

    causal: bool
    rotary: dict[float, tuple[Tensor, Tensor]] = field(default_factory=dict)  # by base
    masks: dict[int, Tensor | None] = field(default_factory=dict)  # by window; True: visible
    bias: Tensor | None = None  # relative positions: 1 H T S
    cache: Cache | None = None
    memory: Tensor | None = None  # what the encoder gave: B S D
    memory_mask: Tensor | None = None
    balance: list[tuple[Tensor, Tensor]] = field(default_factory=list)  # experts, see moe.py


class Attention(nn.Module):
    """Self-attention, or with `crosses` that of a decoder over the encoder's states."""

    def __init__(self, shape: Shape, layer: int, crosses: bool = False) -> None:
        super().__init__()
        self.shape, self.layer, self.crosses = shape, layer, crosses
        c, bias = shape.head_width, shape.biased
        self.q = nn.Linear(shape.width, shape.heads * c, bias=bias)
        self.k = nn.Linear(shape.width, shape.kv_heads * c, bias=bias)
        self.v = nn.Linear(shape.width, shape.kv_heads * c, bias=bias)
        self.o = nn.Linear(shape.heads * c, shape.width, bias=bias)
        if shape.qk_norm:
            self.q_norm = nn.RMSNorm(c, eps=shape.norm_epsilon)
            self.k_norm = nn.RMSNorm(c, eps=shape.norm_epsilon)
        self.window = 0 if crosses else shape.window_of(layer)
        self.scale = 1.0 if shape.positions == "relative" else None  # T5 keeps it in its weights

    def forward(self, x_BTD: Tensor, context: Context) -> Tensor:
        b, t, _ = x_BTD.shape
        c, shape = self.shape.head_width, self.shape
        q_BHTC = self.q(x_BTD).view(b, t, -1, c)
        from_BSD = x_BTD
        if self.crosses:
            assert context.memory is not None
            from_BSD = context.memory
        k_BKSC = self.k(from_BSD).view(b, from_BSD.shape[1], -1, c)
        if shape.qk_norm:
            # The norms' weights stay fp32; autocast's bf16 queries would leave the fused kernel.
            q_BHTC, k_BKSC = _norm(self.q_norm, q_BHTC), _norm(self.k_norm, k_BKSC)
        q_BHTC, k_BKSC = q_BHTC.transpose(1, 2), k_BKSC.transpose(1, 2)
        v_BKSC = self.v(from_BSD).view(b, from_BSD.shape[1], -1, c).transpose(1, 2)
        if self.crosses:
            y_BHTC = attend(q_BHTC, k_BKSC, v_BKSC, context.memory_mask, False, self.scale)
            return self.o(y_BHTC.transpose(1, 2).reshape(b, t, -1))
        if shape.positions == "rotary":
            rotary = context.rotary[shape.rope_base(self.layer)]
            q_BHTC, k_BKSC = rotate(q_BHTC, rotary), rotate(k_BKSC, rotary)
        cache = context.cache
        if cache is not None:
            end = cache.n_tokens + t
            cache.keys[self.layer][:, :, cache.n_tokens : end] = k_BKSC
            cache.values[self.layer][:, :, cache.n_tokens : end] = v_BKSC
            k_BKSC = cache.keys[self.layer][:, :, :end]
            v_BKSC = cache.values[self.layer][:, :, :end]
        y_BHTC = attend(
            q_BHTC, k_BKSC, v_BKSC, context.masks[self.window], context.causal,
            self.scale, context.bias, shape.attention_cap,
        )  # fmt: skip
        return self.o(y_BHTC.transpose(1, 2).reshape(b, t, -1))


def attend(
    q_BHTC: Tensor,
    k_BKSC: Tensor,
    v_BKSC: Tensor,
    mask: Tensor | None,
    causal: bool,
    scale: float | None = None,
    bias: Tensor | None = None,
    cap: float = 0.0,
) -> Tensor:
    """B H T C. `mask` is True where a key is visible; where it is None, `causal` says all.

    Without a mask a causal pass is a square, or one query after all keys.
    """
    t, s = q_BHTC.shape[2], k_BKSC.shape[2]
    grouped = q_BHTC.shape[1] != k_BKSC.shape[1]
    if cap:
        return _attend_capped(q_BHTC, k_BKSC, v_BKSC, mask, causal, scale, cap)
    if bias is not None:
        if mask is None and causal:
            mask = visible(t, s, True, 0, q_BHTC.device)
        bias = bias.to(q_BHTC.dtype)
        mask = bias if mask is None else bias.masked_fill(~mask, float("-inf"))
    return F.scaled_dot_product_attention(
        q_BHTC, k_BKSC, v_BKSC, attn_mask=mask, is_causal=causal and mask is None and t > 1,
        scale=scale, enable_gqa=grouped,
    )  # fmt: skip


def _attend_capped(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, scale: float | None,
    cap: float,
) -> Tensor:  # fmt: skip
    repeat = q.shape[1] // k.shape[1]
    k, v = (x.repeat_interleave(repeat, dim=1) for x in (k, v))
    scores = q @ k.mT * (q.shape[-1] ** -0.5 if scale is None else scale)
    scores = cap * torch.tanh(scores / cap)
    if mask is None and causal:
        mask = visible(q.shape[2], k.shape[2], True, 0, q.device)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.float().softmax(dim=-1).to(q.dtype) @ v


def visible(
    n_queries: int,
    n_keys: int,
    causal: bool,
    window: int,
    device: torch.device,
    documents_BT: Tensor | None = None,
) -> Tensor:
    """Which keys each query sees, T S or B 1 T S; queries are the last of the keys' positions."""
    keys = torch.arange(n_keys, device=device)
    distance = keys[n_keys - n_queries :, None] - keys
    mask = distance >= 0 if causal else torch.ones_like(distance, dtype=torch.bool)
    if window:
        mask = mask & (distance < window if causal else distance.abs() <= window // 2)
    if documents_BT is not None:
        same = documents_BT[:, :, None] == documents_BT[:, None, :]
        mask = (mask & same)[:, None]
    return mask


def rotary_table(
    base: float, c: int, start: int, length: int, like: Tensor
) -> tuple[Tensor, Tensor]:
    """Cosines and sines of positions start … start+length, each T C, in the dtype of `like`.

    Angles are computed in fp32: bf16 cannot tell position 257 from 258.
    """
    channel = torch.arange(0, c, 2, device=like.device, dtype=torch.float32)
    frequency = base ** (-channel / c)
    position = torch.arange(start, start + length, device=like.device, dtype=torch.float32)
    angle = torch.outer(position, frequency).repeat(1, 2)
    return angle.cos().to(like.dtype), angle.sin().to(like.dtype)


def rotate(x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary embedding of … T C, in the half-split channel order of `transformers`."""
    cos, sin = (table.to(x.dtype) for table in rotary)
    low, high = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-high, low), dim=-1) * sin


def relative_buckets(length: int, causal: bool, device: torch.device) -> Tensor:
    """T T numbers of buckets: exact for near positions, logarithmic up to RELATIVE_REACH."""
    position = torch.arange(length, device=device)
    back = position[:, None] - position  # how far a key lies behind its query
    n, result = RELATIVE_BUCKETS, torch.zeros_like(back)
    if not causal:
        n //= 2
        result = (back < 0) * n
        back = back.abs()
    back = back.clamp(min=0)
    near = n // 2
    steps = torch.log(back.clamp(min=1).float() / near) / math.log(RELATIVE_REACH / near)
    far = (near + (steps * (n - near)).long()).clamp(max=n - 1)
    return result + torch.where(back < near, back, far)


def _norm(norm: nn.RMSNorm, x: Tensor) -> Tensor:
    """RMSNorm in the dtype of x: inputs and weight agree, so that the fused kernel is used."""
    return F.rms_norm(x, norm.normalized_shape, norm.weight.to(x.dtype), norm.eps)
