"""What lies between attention: norms, feed-forward, and the block that joins them.

before   x += f(norm(x))            GPT-2, Llama, T5, ModernBERT
after    x = norm(x + f(x))         the first Transformer, BERT
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from pretrain.model.attention import Attention, Context, drop
from pretrain.model.moe import Experts
from pretrain.model.norms import RMSNorm
from pretrain.model.settings import Shape

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
    "relu2": lambda x: F.relu(x).square(),
}


def norm(shape: Shape) -> nn.Module:
    if shape.norm == "rms":
        return RMSNorm(shape.width, shape.norm_epsilon)
    return nn.LayerNorm(shape.width, eps=shape.norm_epsilon, bias=shape.biased)


class FeedForward(nn.Module):
    def __init__(self, shape: Shape, hidden: int) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[shape.activation]
        self.gated = shape.gated
        if shape.gated:
            self.gate = nn.Linear(shape.width, hidden, bias=shape.biased)
        self.up = nn.Linear(shape.width, hidden, bias=shape.biased)
        self.down = nn.Linear(hidden, shape.width, bias=shape.biased)

    def forward(self, x: Tensor) -> Tensor:
        if self.gated:
            return self.down(self.activation(self.gate(x)) * self.up(x))
        return self.down(self.activation(self.up(x)))


class Block(nn.Module):
    """One layer; `crosses` for a decoder's, which also attends to the encoder's states."""

    def __init__(self, shape: Shape, layer: int, crosses: bool = False) -> None:
        super().__init__()
        self.is_after = shape.norm_place == "after"
        self.attention = Attention(shape, layer)
        if shape.first_norm or layer:
            self.attention_norm = norm(shape)
        else:  # ModernBERT: the embedding's own norm has just been
            self.attention_norm = nn.Identity()
        if crosses:
            self.cross_attention = Attention(shape, layer, crosses=True)
            self.cross_attention_norm = norm(shape)
        self.crosses = crosses
        self.has_experts = bool(shape.experts) and layer >= shape.dense_layers
        if self.has_experts:
            shared = FeedForward(shape, shape.shared_hidden) if shape.shared_hidden else None
            self.feed_forward: nn.Module = Experts(shape, shared)
        else:
            self.feed_forward = FeedForward(shape, shape.hidden)
        self.feed_forward_norm = norm(shape)

    def forward(self, x_BTD: Tensor, context: Context) -> Tensor:
        def attention(x: Tensor) -> Tensor:
            return self.attention(x, context)

        def cross(x: Tensor) -> Tensor:
            return self.cross_attention(x, context)

        def feed_forward(x: Tensor) -> Tensor:
            return self.feed_forward(x, context) if self.has_experts else self.feed_forward(x)

        x_BTD = self._join(x_BTD, attention, self.attention_norm, context)
        if self.crosses:
            x_BTD = self._join(x_BTD, cross, self.cross_attention_norm, context)
        return self._join(x_BTD, feed_forward, self.feed_forward_norm, context)

    def _join(
        self, x: Tensor, f: Callable[[Tensor], Tensor], norm: nn.Module, context: Context
    ) -> Tensor:
        y = x + drop(f(x if self.is_after else norm(x)), context)
        return norm(y) if self.is_after else y
