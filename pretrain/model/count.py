"""What a model weighs and what a token costs: exact counts in closed form.

FLOPs count multiply and add of matrix products, forward and backward (3 × forward). Norms,
activations and the optimizer are left out, as in every convention below:

    matmul     6 · (parameters in matrix products, head included, embedding look-up not;
                    of experts those that a token goes through)
    attention  12 · heads · head width · (keys that a position sees), over layers
    causal     half of all pairs where nothing else limits them (what a causal kernel computes)

`flops_per_row` is matmul + causal attention of what a row goes through: the head only at targets,
an encoder over its source. An MFU without its convention means little: print NAME or CONVENTION
beside it (L layers, d = heads · head width, S tokens of a row).
"""

from dataclasses import replace
from itertools import pairwise

from pretrain.model.attention import RELATIVE_BUCKETS
from pretrain.model.settings import Shape

NAME = "6N + 6LdS"
CONVENTION = f"{NAME} per token: matrix products with head, causal attention"


def parameters(shape: Shape) -> dict[str, int]:
    """Parameters by part; the values add up to the model's own count."""
    decoder = _stack(shape, crosses=bool(shape.encoder_layers))
    encoder = _stack(shape.encoder) if shape.encoder_layers else {}
    total = {part: n + encoder.get(part, 0) for part, n in decoder.items()}
    total["embedding"] += shape.vocab_size * shape.width
    total["head"] = 0 if shape.tied else shape.vocab_size * shape.width
    if shape.head_transform:
        total["head"] += _linear(shape, shape.width, shape.width) + shape.vocab_size
        total["norms"] += _norm(shape)
    return total


def n_parameters(shape: Shape) -> int:
    return sum(parameters(shape).values())


def matmul_parameters(shape: Shape) -> int:
    """Parameters that take part in a matrix product for every token of a decoder or an encoder."""
    return shape.vocab_size * shape.width + _stack_products(shape, crosses=False)


def flops_per_token(shape: Shape, sequence_length: int, causal: bool = True) -> int:
    """Training FLOPs per token, forward and backward; of a pair, per token of both."""
    n_source = sequence_length if shape.encoder_layers else 0
    return round(flops_per_row(shape, sequence_length, n_source, causal=causal) / sequence_length)


def flops_per_row(
    shape: Shape, n_tokens: int, n_source: int = 0, n_targets: int | None = None,
    causal: bool = True,
) -> int:  # fmt: skip
    """Training FLOPs of a row of tokens.

    n_source: what an encoder reads; n_targets: positions that go through the head, all by default.
    """
    crosses = bool(shape.encoder_layers)
    pairs = n_tokens * _pairs(shape, n_tokens, causal)
    products = n_tokens * _stack_products(shape, crosses)
    products += (n_tokens if n_targets is None else n_targets) * shape.vocab_size * shape.width
    if shape.ahead:
        is_dense = not _has_experts(shape, shape.layers - 1)
        block = replace(shape, layers=1, dense_layers=int(is_dense))
        one = _stack_products(block, False) + shape.vocab_size * shape.width
        products += n_tokens * shape.ahead * one
        pairs += n_tokens * shape.ahead * _pairs(block, n_tokens, causal)
    if crosses:
        encoder = shape.encoder
        # Keys and values of the source are made once a layer of the decoder.
        memory = shape.layers * 2 * shape.width * shape.head_width * shape.kv_heads
        products += n_source * (_stack_products(encoder, False) + memory) - n_tokens * memory
        pairs += n_source * _pairs(encoder, n_source, causal)
        pairs += n_tokens * shape.layers * n_source * shape.heads * shape.head_width
    return 6 * products + round(12 * pairs)


def conventions(shape: Shape, length: int) -> dict[str, float]:
    """Training FLOPs per token as others count them, by name; MFUs differ by as much.

    6N: all parameters. 6N + 12LdS: with attention to every position (Chowdhery et al. 2022, PaLM,
    appendix B; llm-foundry). causal: half of those pairs, the embedding's look-up left out
    (Megatron-Bridge). NAME: ours, CONVENTION, with windows. Of experts those that a token uses; an
    encoder's source is taken as long as the row.
    """
    n, lookup = n_parameters(shape), shape.vocab_size * shape.width
    unused = sum(
        (shape.experts - shape.experts_per_token) * 3 * shape.width * shape.expert_hidden
        for layer in range(shape.layers) if _has_experts(shape, layer)
    )  # fmt: skip
    n -= unused
    pairs = 12 * length * sum(
        (1 + crosses) * stack.layers * stack.heads * stack.head_width
        for stack, crosses in _stacks(shape)
    )  # fmt: skip
    without = n if shape.tied else n - lookup
    return {
        "6N": 6.0 * n,
        "6N + 12LdS": 6.0 * n + pairs,
        "causal, without embedding": 6.0 * without + pairs / 2,
        NAME: float(flops_per_token(shape, length)),
    }


def flops_by_block(shape: Shape, n_tokens: int) -> tuple[list[int], int]:
    """(training FLOPs of a row in each block of a decoder or an encoder, those of its head)."""
    products = [
        _stack_products(replace(shape, layers=n, head_transform=False), crosses=False)
        for n in range(shape.layers + 1)
    ]
    blocks = [
        6 * n_tokens * (after - before)
        + round(12 * n_tokens * shape.heads * shape.head_width
                * _keys_seen(shape, layer, n_tokens, causal=True))
        for layer, (before, after) in enumerate(pairwise(products))
    ]  # fmt: skip
    head = shape.vocab_size * shape.width + shape.head_transform * shape.width**2
    return blocks, 6 * n_tokens * head


def state_bytes(shape: Shape, optimizer: str) -> dict[str, int]:
    """Bytes of fp32 weights, gradients and optimizer state on one rank."""
    total = n_parameters(shape)
    matrices = sum(_matrices(stack, crosses) for stack, crosses in _stacks(shape))
    adam = total - matrices if optimizer == "muon" else total
    return {
        "weights": 4 * total,
        "gradients": 4 * total,
        "optimizer": 8 * adam + (4 * matrices if optimizer == "muon" else 0),
    }


def _stack_products(shape: Shape, crosses: bool) -> int:
    """Parameters of a stack in a matrix product for each of its tokens."""
    total = shape.layers * (1 + crosses) * _projections(shape)
    total += shape.width**2 if shape.head_transform else 0
    for layer in range(shape.layers):
        if _has_experts(shape, layer):
            hidden = shape.experts_per_token * shape.expert_hidden
            total += 3 * shape.width * hidden + shape.experts * shape.width
            total += _feed_forward(shape, shape.shared_hidden)
        else:
            total += _feed_forward(shape, shape.hidden)
    return total


def _pairs(shape: Shape, length: int, causal: bool) -> float:
    """Heads × head width × keys that a position of a stack sees on average, over its layers."""
    seen = [_keys_seen(shape, i, length, causal) for i in range(shape.layers)]
    return shape.heads * shape.head_width * sum(seen)


def _stacks(shape: Shape) -> list[tuple[Shape, bool]]:
    """(shape, whether it attends to the other's states) of the decoder and the encoder."""
    if shape.encoder_layers:
        return [(shape, True), (shape.encoder, False)]
    return [(shape, False)]


def _stack(shape: Shape, crosses: bool = False) -> dict[str, int]:
    blocks = _blocks(shape)
    c, d, n = shape.head_width, shape.width, len(blocks)
    attention = _projections(shape)
    if shape.biased:
        attention += c * (shape.heads + 2 * shape.kv_heads) + d
    qk_norms = 2 * c if shape.qk_norm else 0
    layer_norms = n * (2 + crosses) - (not shape.first_norm)
    norms = layer_norms * _norm(shape) + n * (1 + crosses) * qk_norms
    norms += _norm(shape) * ((shape.norm_place == "before") + shape.input_norm)
    embedding = shape.max_length * d if shape.positions == "learned" else 0
    embedding += RELATIVE_BUCKETS * shape.heads if shape.positions == "relative" else 0
    return {
        "embedding": embedding + shape.n_segments * d,
        "attention": n * (1 + crosses) * attention,
        "feed_forward": sum(_layer(shape, i) for i in blocks),
        "norms": norms,
    }


def _layer(shape: Shape, layer: int) -> int:
    if not _has_experts(shape, layer):
        return _feed_forward(shape, shape.hidden, biases=True)
    experts = shape.experts * (3 * shape.width * shape.expert_hidden + shape.width)
    return experts + _feed_forward(shape, shape.shared_hidden, biases=True)


def _matrices(shape: Shape, crosses: bool) -> int:
    """Parameters of matrices inside the blocks."""
    blocks = _blocks(shape)
    plain = len(blocks) * (1 + crosses) * _projections(shape)
    for layer in blocks:
        if _has_experts(shape, layer):
            plain += shape.experts * (3 * shape.width * shape.expert_hidden + shape.width)
            plain += _feed_forward(shape, shape.shared_hidden)
        else:
            plain += _feed_forward(shape, shape.hidden)
    return plain


def _projections(shape: Shape) -> int:
    """Weights of q, k, v and o."""
    return shape.width * shape.head_width * (2 * shape.heads + 2 * shape.kv_heads)


def _feed_forward(shape: Shape, hidden: int, biases: bool = False) -> int:
    if not hidden:
        return 0
    weights = (2 + shape.gated) * shape.width * hidden
    has_biases = biases and shape.biased
    return weights + (has_biases * ((1 + shape.gated) * hidden + shape.width))


def _keys_seen(shape: Shape, layer: int, length: int, causal: bool) -> float:
    """Keys that a position sees, on average; half of all where they are causal."""
    window = shape.window_of(layer)
    if not (shape.causal and causal):
        return min(length, window + 1) if window and not shape.causal else length
    if window and window < length:
        return window - window**2 / (2 * length)
    return length / 2


def _blocks(shape: Shape) -> list[int]:
    """The layer each block is made as: those that look further ahead are like the last."""
    return [*range(shape.layers), *[shape.layers - 1] * shape.ahead]


def _has_experts(shape: Shape, layer: int) -> bool:
    return bool(shape.experts) and layer >= shape.dense_layers


def _linear(shape: Shape, n_in: int, n_out: int) -> int:
    return n_in * n_out + (n_out if shape.biased else 0)


def _norm(shape: Shape) -> int:
    return shape.width * (2 if shape.norm == "layer" and shape.biased else 1)
