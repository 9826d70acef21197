"""A network as a planner sees it: kinds of layers, their products, attention and experts.

A product is (inputs, outputs, how tensor ranks cut it): by columns (outputs), by rows (inputs) or
not at all. Every Shape has a Network; one that Shape does not know (latent attention, published
elsewhere) can be written down as its layers.
"""

from collections import Counter
from dataclasses import dataclass, replace

from pretrain.model import count
from pretrain.model.settings import Shape

COLUMNS, ROWS, WHOLE = "columns", "rows", "whole"
Product = tuple[int, int, str]


@dataclass(frozen=True)
class Layer:
    """A block. Widths in elements."""

    products: tuple[Product, ...]  # of every token; experts' apart
    heads: int
    key_width: int  # of a head's queries and keys
    value_width: int
    kv_elements: int  # keys and values of a token, all heads: what context ranks exchange
    hidden: int  # units of the feed-forward that every token goes through
    gated: bool = True
    window: int = 0  # 0: everything before
    causal: bool = True
    rotary: bool = True  # queries and keys are turned, and kept so
    experts: int = 0
    per_token: int = 0
    expert_products: tuple[Product, ...] = ()
    expert_hidden: int = 0

    @property
    def dense_parameters(self) -> int:
        return sum(k * n for k, n, _ in self.products)

    @property
    def expert_parameters(self) -> int:
        return self.experts * sum(k * n for k, n, _ in self.expert_products)

    @property
    def active_parameters(self) -> int:
        return self.dense_parameters + self.per_token * sum(
            k * n for k, n, _ in self.expert_products
        )

    def keys_seen(self, length: int) -> float:
        """Keys of a position on average."""
        if self.window and self.window < length:
            if self.causal:
                return self.window - self.window**2 / (2 * length)
            return min(length, self.window + 1)
        return length / 2 if self.causal else length


@dataclass(frozen=True)
class Network:
    layers: tuple[tuple[Layer, int], ...]  # each kind and how many
    width: int
    vocabulary: int
    tied: bool = False
    shape: Shape | None = None  # where it is one of ours
    n_parameters: int = 0

    @property
    def depth(self) -> int:
        return sum(n for _, n in self.layers)

    @property
    def active_parameters(self) -> int:
        """In a product for each token, head included."""
        blocks = sum(n * layer.active_parameters for layer, n in self.layers)
        return blocks + self.width * self.vocabulary

    @property
    def total(self) -> int:
        """All parameters; of foreign networks without norms and biases."""
        if self.n_parameters:
            return self.n_parameters
        blocks = sum(n * (x.dense_parameters + x.expert_parameters) for x, n in self.layers)
        return blocks + (1 if self.tied else 2) * self.width * self.vocabulary

    def flops_per_token(self, length: int) -> float:
        """Training FLOPs: products with head, attention as far as it sees (count.CONVENTION)."""
        pairs = sum(
            n * x.heads * (x.key_width + x.value_width) / 2 * x.keys_seen(length)
            for x, n in self.layers
        )
        return 6 * self.active_parameters + 12 * pairs


def of(shape: Shape) -> Network:
    """The network of a shape; an encoder's blocks stand beside its decoder's."""
    kinds: Counter[Layer] = Counter()
    for i in range(shape.layers + shape.ahead):
        kinds[_layer(shape, min(i, shape.layers - 1))] += 1
    for i in range(shape.encoder_layers):
        kinds[_layer(shape.encoder, i)] += 1
    whole = count.n_parameters(shape)
    return Network(tuple(kinds.items()), shape.width, shape.vocab_size, shape.tied, shape, whole)


def _layer(shape: Shape, i: int) -> Layer:
    d, c = shape.width, shape.head_width
    q, kv = shape.heads * c, shape.kv_heads * c
    attention: tuple[Product, ...] = ((d, q + 2 * kv, COLUMNS), (q, d, ROWS))
    if shape.encoder_layers:  # a second attention, over the encoder's states
        attention *= 2
    has_experts = bool(shape.experts) and i >= shape.dense_layers
    hidden = shape.shared_hidden if has_experts else shape.hidden
    products = attention + feed_forward(d, hidden, shape.gated)
    layer = Layer(
        products, shape.heads, c, c, 2 * kv, hidden, shape.gated, shape.window_of(i), shape.causal,
        shape.positions == "rotary",
    )  # fmt: skip
    if not has_experts:
        return layer
    router: Product = (d, shape.experts, WHOLE)
    return replace(
        layer, products=(*products, router), experts=shape.experts,
        per_token=shape.experts_per_token, expert_hidden=shape.expert_hidden,
        expert_products=feed_forward(d, shape.expert_hidden, True),
    )  # fmt: skip


def feed_forward(width: int, hidden: int, gated: bool) -> tuple[Product, ...]:
    if not hidden:
        return ()
    return ((width, (1 + gated) * hidden, COLUMNS), (hidden, width, ROWS))
