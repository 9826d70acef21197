"""Attention over heads, and who sees whom.

    y = softmax(q kᵀ · scale + bias, over what is visible) v

    causal      position i sees j ≤ i                     with a window of W: i − j < W
    both ways   position i sees all of its text           with a window of W: |i − j| ≤ W / 2
    documents   no position sees one of another document of its row

Where nothing but `causal` is asked for, no mask is made and the fused kernel is told so; else one
mask a kind of layer is made for a whole pass, not one a layer (on CUDA: flex.py). A cap on
the scores (Gemma 2) has no fused kernel and costs T × T numbers a head.

Dims: B batch, T queries, S keys, D width, H heads, K key/value heads, C head width.
Sources: Vaswani et al. 2017 (arXiv 1706.03762); rotary: Su et al. 2021 (2104.09864); QK-norm:
Dehghani et al. 2023 (2302.05442); relative bias: Raffel et al. 2020 (1910.10683), section 2.1;
windows: Beltagy et al. 2020 (2004.05150); caps: Gemma Team 2024 (2408.00118).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from pretrain.model import flex
from pretrain.model.norms import RMSNorm
from pretrain.model.settings import Shape

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

    from pretrain.model.tree import Tree

RELATIVE_BUCKETS, RELATIVE_REACH = 32, 128  # T5's


@dataclass
class Cache:
    """Keys and values of the tokens seen so far, per layer: B K S C, allocated once."""

    keys: list[Tensor]
    values: list[Tensor]
    n_tokens: int = 0  # of the longest row
    lengths_B: Tensor | None = None  # tokens of each row; None: all have n_tokens

    @classmethod
    def empty(cls, shape: Shape, batch: int, n_tokens: int, like: Tensor) -> "Cache":
        size = (batch, shape.kv_heads, n_tokens, shape.head_width)
        return cls(
            [like.new_empty(size) for _ in range(shape.layers)],
            [like.new_empty(size) for _ in range(shape.layers)],
        )

    def first(self, n_rows: int, n_tokens: int, lengths_B: Tensor) -> "Cache":
        """The first rows, which have so many tokens each; it writes into this one."""
        keys, values = [k[:n_rows] for k in self.keys], [v[:n_rows] for v in self.values]
        return Cache(keys, values, n_tokens, lengths_B)

    def append(self, layer: int, k_BKTC: Tensor, v_BKTC: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values of a layer with the newest behind each row's: B K S C."""
        t = k_BKTC.shape[2]
        end = self.n_tokens + t
        for cached, new in ((self.keys[layer], k_BKTC), (self.values[layer], v_BKTC)):
            if self.lengths_B is None:
                cached[:, :, self.n_tokens : end] = new
            else:
                place_BT = self.lengths_B[:, None] + torch.arange(t, device=new.device)
                row_B1 = torch.arange(len(new), device=new.device)[:, None]
                cached[row_B1, :, place_BT] = new.transpose(1, 2).to(cached.dtype)
        return self.keys[layer][:, :, :end], self.values[layer][:, :, :end]


@dataclass(frozen=True)
class Part:
    """Some tokens of each row, and how a pass over them comes to keys and values of the whole row.

    gather: the own ones, B K T C, to all of them, B K S C, with gradients.
    """

    places_T: Tensor  # where in their row the tokens stand
    key_places_S: Tensor  # where what is gathered stands
    n_together: int  # both come in runs of so many neighbours
    gather: Callable[[Tensor], Tensor]


@dataclass
class Context:
    """What all layers of one pass share."""

    causal: bool
    rotary: dict[float, tuple[Tensor, Tensor]] = field(default_factory=dict)  # by base
    # By window; True: visible. Of blocks where flex.py computes.
    masks: "dict[int, Tensor | BlockMask | None]" = field(default_factory=dict)
    bias: Tensor | None = None  # relative positions: 1 H T S
    segments_BT: Tensor | None = None  # which text of a pair a token is of; None: the first
    cache: Cache | None = None
    part: Part | None = None  # where a pass is given only some tokens of each row
    tree: "Tree | None" = None  # where rows branch
    memory: Tensor | None = None  # what the encoder gave: B S D
    memory_mask: Tensor | None = None
    balance: list[tuple[Tensor, Tensor]] = field(default_factory=list)  # experts, see moe.py
    dropout: float = 0.0  # behind the embedding and every branch
    # (tokens of a row, which of them the residual stream holds); None: all of them
    own: tuple[int, Tensor] | None = None
    looks_ahead: bool = False  # fill `ahead`
    ahead: list[Tensor] = field(default_factory=list)  # hidden states for tokens further on: B T D


def drop(x_BTD: Tensor, context: Context) -> Tensor:
    """x with its dropout: drawn for whole rows, so the same whoever holds which of their tokens."""
    if not context.dropout:
        return x_BTD
    if context.own is None:
        return F.dropout(x_BTD, context.dropout)
    n_tokens, own_T = context.own
    whole = x_BTD.new_ones(x_BTD.shape[0], n_tokens, x_BTD.shape[2])
    return x_BTD * F.dropout(whole, context.dropout)[:, own_T]


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
            self.q_norm = RMSNorm(c, shape.norm_epsilon)
            self.k_norm = RMSNorm(c, shape.norm_epsilon)
        # Kept, not looked up by layer in a pass: layers of one kind are compiled once.
        self.window = 0 if crosses else shape.window_of(layer)
        self.rope_base = shape.rope_base(layer)
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
            q_BHTC, k_BKSC = self.q_norm(q_BHTC), self.k_norm(k_BKSC)
        q_BHTC, k_BKSC = q_BHTC.transpose(1, 2), k_BKSC.transpose(1, 2)
        v_BKSC = self.v(from_BSD).view(b, from_BSD.shape[1], -1, c).transpose(1, 2)
        if self.crosses:
            y_BHTC = attend(q_BHTC, k_BKSC, v_BKSC, context.memory_mask, False, self.scale)
            return self.o(y_BHTC.transpose(1, 2).reshape(b, t, -1))
        if shape.positions == "rotary":
            rotary = context.rotary[self.rope_base]
            q_BHTC, k_BKSC = rotate(q_BHTC, rotary), rotate(k_BKSC, rotary)
        if context.part is not None:
            both_B2SC = context.part.gather(torch.cat([k_BKSC, v_BKSC], dim=1))
            k_BKSC, v_BKSC = both_B2SC.chunk(2, dim=1)
        if context.tree is not None:
            k_BKSC, v_BKSC = context.tree.with_trunk(self.layer, k_BKSC, v_BKSC)
        if context.cache is not None:
            k_BKSC, v_BKSC = context.cache.append(self.layer, k_BKSC, v_BKSC)
        y_BHTC = attend(
            q_BHTC, k_BKSC, v_BKSC, context.masks[self.window], context.causal,
            self.scale, context.bias, shape.attention_cap,
        )  # fmt: skip
        return self.o(y_BHTC.transpose(1, 2).reshape(b, t, -1))


def attend(
    q_BHTC: Tensor,
    k_BKSC: Tensor,
    v_BKSC: Tensor,
    mask: "Tensor | BlockMask | None",
    causal: bool,
    scale: float | None = None,
    bias: Tensor | None = None,
    cap: float = 0.0,
) -> Tensor:
    """B H T C. `mask` is True where a key is visible; where it is None, `causal` says all.

    Without a mask a causal pass is a square, or one query after all keys.
    """
    if mask is not None and not isinstance(mask, Tensor):
        return flex.attend(q_BHTC, k_BKSC, v_BKSC, mask, scale)
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
    return visible_at(keys[n_keys - n_queries :], keys, causal, window, documents_BT)


def visible_at(
    places_T: Tensor,
    key_places_S: Tensor,
    causal: bool,
    window: int,
    documents_BL: Tensor | None = None,
) -> Tensor:
    """Which keys each query sees, T S or B 1 T S, by where in their row they stand.

    places_T: B T where rows differ, without documents.
    """
    distance = places_T[..., None] - key_places_S
    mask = distance >= 0 if causal else torch.ones_like(distance, dtype=torch.bool)
    if window:
        mask = mask & (distance < window if causal else distance.abs() <= window // 2)
    if documents_BL is not None:
        same = documents_BL[:, places_T, None] == documents_BL[:, None, key_places_S]
        mask = mask & same
    return mask if mask.ndim == 2 else mask[:, None]


def rotary_table(base: float, c: int, places_T: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines of positions in a row, each … T C, in the dtype of `like`.

    Angles are computed in fp32: bf16 cannot tell position 257 from 258.
    """
    channel = torch.arange(0, c, 2, device=like.device, dtype=torch.float32)
    frequency = base ** (-channel / c)
    angle = places_T[..., None].float() * frequency
    angle = torch.cat([angle, angle], dim=-1)
    return angle.cos().to(like.dtype), angle.sin().to(like.dtype)


def rotate(x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary embedding of … T C, in the half-split channel order of `transformers`."""
    cos, sin = (table.to(x.dtype) for table in rotary)
    if x.device.type != "cpu":  # compiled there, in one kernel with what is around it
        low, high = x.chunk(2, dim=-1)
        return x * cos + torch.cat((-high, low), dim=-1) * sin
    y: Tensor = _Rotate.apply(x, cos, sin)
    return y


class _Rotate(torch.autograd.Function):
    """low·cos − high·sin and high·cos + low·sin; the gradient turns back. Nothing is kept of x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Any:
        ctx.save_for_backward(cos, sin)
        return _turn(x, cos, sin, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Any:
        cos, sin = ctx.saved_tensors
        return _turn(dy, cos, sin, -1), None, None


def _turn(x: Tensor, cos: Tensor, sin: Tensor, way: int) -> Tensor:
    y = x * cos
    (low, high), (y_low, y_high) = x.chunk(2, dim=-1), y.chunk(2, dim=-1)
    sin_low, sin_high = sin.chunk(2, dim=-1)
    y_low.addcmul_(high, sin_low, value=-way)
    y_high.addcmul_(low, sin_high, value=way)
    return y


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
