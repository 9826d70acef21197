"""What a model weighs and what a token costs: exact counts in closed form.

FLOPs count multiply and add of matrix products, forward and backward (3 × forward). Norms,
activations and the optimizer are left out, as in every convention below:

    matmul     6 · (parameters in matrix products, head included, embedding look-up not;
                    of experts those that a token goes through)
    attention  12 · heads · head width · (keys that a position sees), over layers
    causal     half of all pairs where nothing else limits them (what a causal kernel computes)

`flops_per_token` is matmul + causal attention unless told otherwise; with an encoder it is that of
one token of the decoder and one of the encoder, both sequences being as long. An MFU without its
convention means little: print CONVENTION beside it.
"""

from pretrain.model.attention import RELATIVE_BUCKETS
from pretrain.model.settings import Shape

CONVENTION = "6N + 6·L·H·C·T per token: matrix products with head, causal attention"


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
    """Parameters that take part in a matrix product for every token."""
    total = shape.vocab_size * shape.width
    total += shape.width**2 if shape.head_transform else 0
    for stack, crosses in _stacks(shape):
        total += stack.layers * (1 + crosses) * _projections(stack)
        for layer in range(stack.layers):
            if _has_experts(stack, layer):
                hidden = stack.experts_per_token * stack.expert_hidden
                total += 3 * stack.width * hidden + stack.experts * stack.width
                total += _feed_forward(stack, stack.shared_hidden)
            else:
                total += _feed_forward(stack, stack.hidden)
    return total


def flops_per_token(shape: Shape, sequence_length: int, causal: bool = True) -> int:
    """Training FLOPs per token, forward and backward."""
    pairs = 0.0
    for stack, crosses in _stacks(shape):
        seen = [_keys_seen(stack, i, sequence_length, causal) for i in range(stack.layers)]
        pairs += 12 * stack.heads * stack.head_width * sum(seen)
        pairs += crosses * 12 * stack.layers * stack.heads * stack.head_width * sequence_length
    return 6 * matmul_parameters(shape) + round(pairs)


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


def _stacks(shape: Shape) -> list[tuple[Shape, bool]]:
    """(shape, whether it attends to the other's states) of the decoder and the encoder."""
    if shape.encoder_layers:
        return [(shape, True), (shape.encoder, False)]
    return [(shape, False)]


def _stack(shape: Shape, crosses: bool = False) -> dict[str, int]:
    c, d, n = shape.head_width, shape.width, shape.layers
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
        "feed_forward": sum(_layer(shape, i) for i in range(n)),
        "norms": norms,
    }


def _layer(shape: Shape, layer: int) -> int:
    if not _has_experts(shape, layer):
        return _feed_forward(shape, shape.hidden, biases=True)
    experts = shape.experts * (3 * shape.width * shape.expert_hidden + shape.width)
    return experts + _feed_forward(shape, shape.shared_hidden, biases=True)


def _matrices(shape: Shape, crosses: bool) -> int:
    """Parameters of matrices inside the blocks."""
    plain = shape.layers * (1 + crosses) * _projections(shape)
    for layer in range(shape.layers):
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


def _has_experts(shape: Shape, layer: int) -> bool:
    return bool(shape.experts) and layer >= shape.dense_layers


def _linear(shape: Shape, n_in: int, n_out: int) -> int:
    return n_in * n_out + (n_out if shape.biased else 0)


def _norm(shape: Shape) -> int:
    return shape.width * (2 if shape.norm == "layer" and shape.biased else 1)
