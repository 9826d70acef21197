"""What a model weighs and what a token costs: exact counts in closed form.

FLOPs count multiply and add of matrix products, forward and backward (3 × forward). Norms,
activations and the optimizer are left out, as in every convention below:

    matmul     6 · (parameters in matrix products, head included, embedding look-up not)
    attention  12 · layers · heads · head width · T          (all pairs, PaLM appendix B)
    causal     half of that                                  (what a causal kernel computes)

`flops_per_token` is matmul + causal attention unless told otherwise. An MFU without its convention
means little: print CONVENTION beside it.
"""

from pretrain.model.settings import Shape

CONVENTION = "6N + 6·L·H·C·T per token: matrix products with head, causal attention"


def parameters(shape: Shape) -> dict[str, int]:
    """Parameters by part; the values add up to the model's own count."""
    c = shape.head_width
    attention = shape.width * c * (2 * shape.heads + 2 * shape.kv_heads)
    norms = 2 * shape.width + (2 * c if shape.qk_norm else 0)
    return {
        "embedding": shape.vocab_size * shape.width,
        "attention": shape.layers * attention,
        "feed_forward": shape.layers * 3 * shape.width * shape.hidden,
        "norms": shape.layers * norms + shape.width,
        "head": 0 if shape.tied else shape.vocab_size * shape.width,
    }


def n_parameters(shape: Shape) -> int:
    return sum(parameters(shape).values())


def matmul_parameters(shape: Shape) -> int:
    """Parameters that take part in a matrix product for every token."""
    parts = parameters(shape)
    return parts["attention"] + parts["feed_forward"] + shape.vocab_size * shape.width


def flops_per_token(shape: Shape, sequence_length: int, causal: bool = True) -> int:
    """Training FLOPs per token, forward and backward."""
    pairs = 12 * shape.layers * shape.heads * shape.head_width * sequence_length
    return 6 * matmul_parameters(shape) + (pairs // 2 if causal else pairs)


def state_bytes(shape: Shape, optimizer: str) -> dict[str, int]:
    """Bytes of fp32 weights, gradients and optimizer state on one rank."""
    total = n_parameters(shape)
    matrices = parameters(shape)["attention"] + parameters(shape)["feed_forward"]
    adam = total - matrices if optimizer == "muon" else total
    return {
        "weights": 4 * total,
        "gradients": 4 * total,
        "optimizer": 8 * adam + (4 * matrices if optimizer == "muon" else 0),
    }
