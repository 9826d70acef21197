"""Seconds of a training step on boards of a table: a roofline for each operator.

    micro-batch    products       3 · 2 m n k / (largest rate · fill(m, n, k)), or their bytes
      and stage    other kernels  attention at a share of the peak, element-wise passes over bytes
                   in the open    messages of tensor, context and expert ranks
                   launches       a fixed time for each block
    step           (a + b + c + d) · (n_micro + (p − 1) / v)          p ranks, v stages of each
                   + messages of shards and copies that no computing hides + optimizer
                   · (1 + loss by stragglers · log2 of the domains)

    fill           k / (k + 128) · waves / (waves + 1/2), waves = tiles of 128 x 256 / units
    messages       n calls · latency + bytes sent / (share · rate); within a domain of boards its
                   links, else what the boards of the group have together to the outside

Four multipliers scale what the tables do not know of a software stack: products, other kernels,
messages, and the fixed rest (launches, stragglers). They have a prior (calibrate.py) and nothing
else is fitted. All of a layout's numbers may be arrays: many layouts are timed at once.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from pretrain.plan.facts import Board
from pretrain.plan.network import COLUMNS, WHOLE, Layer, Network

# Counted from the operations of a block, forward and backward, fused into one kernel between
# products: two norms, two residual sums; rotations; the activation. In elements read or written.
_PASSES_WIDTH, _PASSES_HEADS, _PASSES_HIDDEN, _PASSES_EXPERT = 30, 6, 9, 24
_PASSES_VOCABULARY = 4  # of fp32 logits
_PASSES_SCORES = 16  # product, mask and softmax, dropout, product; and their gradients
# Of the largest product's rate. FlashAttention-2 (2307.08691, figure 4) reaches up to 190 of 271
# TFLOP/s on an A100, forward and backward.
_ATTENTION_SHARE = 0.7
_ATTENTION_BACKWARD = 2.5  # of the forward pass's products: scores are computed again
LINK_SHARE = 0.8  # of a link's rate that large messages reach
_LATENCY_INSIDE, _LATENCY_OUTSIDE = 10e-6, 25e-6  # of a collective
_FILL = 128  # inner elements at which a product reaches half its rate
_LAUNCH, _LAUNCH_EXPERTS = 0.7e-3, 8e-3  # of a block's kernels, both ways; hidden by longer ones
_STRAGGLERS = 0.01  # of the step, each time the number of domains doubles
_HIDDEN = 0.8  # of computing that messages of shards can run beside
_CONTENTION = 0.7  # of their time that they still cost: they share units and memory with products
_CAST_BYTES = 4  # of a number that is made narrower for a product: read, written, turned over

Numbers = Any  # a number, or an array of one number a layout


@dataclass(frozen=True)
class Layouts:
    """Ways to divide a step. Every field a number or an array."""

    data: Numbers  # ranks that divide rows: replicate x shard
    shard: Numbers = 1  # of data x context ranks: over which parameters are sharded
    tensor: Numbers = 1
    pipeline: Numbers = 1
    virtual: Numbers = 1
    context: Numbers = 1
    expert: Numbers = 1  # of the data (and context) ranks
    micro_rows: Numbers = 1
    n_micro: Numbers = 1
    products_again: Numbers = 0.0  # share of blocks' forward products computed again backward
    kernels_again: Numbers = 0.0  # and of their other kernels
    state_shard: Numbers = 0  # ranks that moments alone are divided over (ZeRO-1); 0: shard
    expert_tensor: Numbers = 0  # ranks that share an expert's matrices; 0: tensor
    scores: Numbers = 0  # whether attention's are written out: no FlashAttention
    regather: Numbers = 1  # whether shards are given up after each pass (else once a step)

    @property
    def ranks(self) -> Numbers:
        return self.data * self.tensor * self.pipeline * self.context


class Multipliers(NamedTuple):
    """What seconds of the four parts are multiplied by."""

    products: float = 1.0
    kernels: float = 1.0
    messages: float = 1.0
    fixed: float = 1.0


AS_TOLD = Multipliers()


@dataclass(frozen=True)
class Costs:
    """Seconds before multipliers; of one micro-batch in the slowest stage where not said."""

    products: Numbers
    kernels: Numbers
    open_messages: Numbers
    launches: Numbers
    n_micro: Numbers
    ramp: Numbers  # micro-batches' times that a pipeline waits: (p − 1) / v
    beside: Numbers  # messages of shards and copies, a step
    windows: Numbers  # micro-batches beside which they run
    optimizer: Numbers  # a step
    spread: Numbers  # log2 of domains


def costs(
    network: Network, board: Board, length: int, at: Layouts, precision: str = "bf16"
) -> Costs:
    """Seconds by part of each layout."""
    tokens = at.micro_rows * length / at.context
    again, light = at.products_again, at.kernels_again
    products = kernels = opened = launches = 0.0
    for layer, n in network.layers:
        p = _products(layer, board, tokens, at, precision)
        k, attention = _kernels(layer, network.width, board, tokens, length, at)
        products += n * p * (3 + again)
        kernels += n * (k * (3 + light) / 3)
        kernels += n * attention * (1 + _ATTENTION_BACKWARD + np.equal(again, 1))
        opened += n * _open(layer, network.width, board, tokens, at)
        launches += n * (_LAUNCH_EXPERTS if layer.experts else _LAUNCH)
    head = 3 * _product(network.width, network.vocabulary / at.tensor, tokens, board, "bf16")
    loss = 4 * _PASSES_VOCABULARY * tokens * network.vocabulary / at.tensor / board.bandwidth
    # Blocks are laid out so that ranks come as near to equal as whole blocks allow.
    depth = network.depth
    share = np.ceil(depth / at.pipeline) / depth
    blocks = products + kernels + opened
    fuller = np.maximum(share, (1 + (head + loss) / blocks) / at.pipeline)
    stage = np.where(np.equal(at.pipeline, 1), 1.0, fuller)
    ends = np.where(np.equal(at.pipeline, 1), 1.0, 0.0)
    messages, windows = _beside(network, board, at)
    hops = 2 * tokens * network.width * 2 / at.tensor / (LINK_SHARE * _outside(board))
    hops = np.where(np.greater(at.pipeline, 1), hops * at.virtual + 2 * _LATENCY_OUTSIDE, 0.0)
    own = network.total / at.tensor / at.pipeline
    divided = np.where(np.greater(at.state_shard, 0), at.state_shard, at.shard)
    return Costs(
        products=products * stage + ends * head,
        kernels=kernels * stage + ends * loss,
        open_messages=opened * stage + hops,
        launches=launches * stage * (3 + light) / 3,
        n_micro=at.n_micro,
        ramp=(at.pipeline - 1) / at.virtual,
        beside=messages,
        windows=windows,
        optimizer=own / divided * 40 / board.bandwidth,
        spread=np.log2(np.maximum(1.0, at.ranks / board.boards)),
    )


def combine(found: Costs, by: Multipliers = AS_TOLD) -> dict[str, Numbers]:
    """Seconds of a step by part; their sum is the step."""
    parts = {
        "products": by.products * found.products,
        "kernels": by.kernels * found.kernels,
        "messages in the open": by.messages * found.open_messages,
    }
    busy = sum(parts.values())
    # A processor that launches slower than its board computes is waited for.
    micro = (busy**4 + (by.fixed * found.launches) ** 4) ** 0.25
    parts["launches"] = micro - busy
    seconds = {name: found.n_micro * s for name, s in parts.items()}
    seconds["pipeline waits"] = micro * found.ramp
    window = _HIDDEN * micro * found.windows
    beside = by.messages * found.beside
    seconds["shards not hidden"] = np.maximum(_CONTENTION * beside, beside - window)
    seconds["optimizer"] = by.kernels * found.optimizer
    step = sum(seconds.values())
    seconds["stragglers"] = by.fixed * _STRAGGLERS * found.spread * step
    return seconds


def seconds(found: Costs, by: Multipliers = AS_TOLD) -> Numbers:
    return sum(combine(found, by).values())


def expert_ranks(at: Layouts) -> Numbers:
    """Tensor ranks that share an expert's matrices."""
    return np.where(np.greater(at.expert_tensor, 0), at.expert_tensor, at.tensor)


def _product(inner: Numbers, outer: Numbers, rows: Numbers, board: Board, precision: str) -> Any:
    """Seconds of one product of (rows x inner) by (inner x outer): arithmetic or bytes."""
    tiles = np.ceil(rows / 128) * np.ceil(outer / 256)
    waves = tiles / board.units
    fill = inner / (inner + _FILL) * waves / (waves + 0.5)
    size = 2 if precision == "bf16" else 1
    read = (inner * outer + rows * inner) * size + rows * outer * 2
    arithmetic = 2 * rows * inner * outer / (board.largest(precision) * fill)
    # Narrower numbers are made from bf16 first: read, written, and once more turned over.
    cast = (
        0 if precision == "bf16" else _CAST_BYTES * (rows * inner + inner * outer) / board.bandwidth
    )
    return np.maximum(arithmetic, read / board.bandwidth) + cast


def _products(layer: Layer, board: Board, tokens: Numbers, at: Layouts, precision: str) -> Numbers:
    """Forward products of a block on one rank."""
    total: Numbers = 0.0
    for inner, outer, cut in layer.products:
        by: Numbers = 1 if cut == WHOLE else at.tensor
        a, b = (inner, outer / by) if cut == COLUMNS else (inner / by, outer)
        total += _product(a, b, tokens, board, "bf16" if cut == WHOLE else precision)
    if layer.experts:
        by = expert_ranks(at)
        here = layer.experts / at.expert
        # A rank's tokens for each of its experts, loads being even; where experts are not cut over
        # tensor ranks, those send their own tokens only.
        rows = tokens / (at.tensor / by) * at.expert * layer.per_token / layer.experts
        for inner, outer, cut in layer.expert_products:
            a, b = (inner, outer / by) if cut == COLUMNS else (inner / by, outer)
            whole = np.ceil(rows / 128) * 128  # tiles of an expert hold no other's rows
            # All experts' tiles run at once: waves are of their sum.
            one = _product(a, b, whole * here, board, precision)
            weights = here * a * b * 2 / board.bandwidth
            total += np.maximum(one, weights)
    return total


def _kernels(
    layer: Layer, width: int, board: Board, tokens: Numbers, length: int, at: Layouts
) -> tuple[Numbers, Numbers]:
    """(element-wise passes, both ways; attention's forward pass) of a block on one rank."""
    heads = layer.heads * (layer.key_width + layer.value_width) / 2 + layer.kv_elements
    hidden = layer.hidden * (2 + layer.gated) / 3
    elements = _PASSES_WIDTH * width + _PASSES_HEADS * heads + _PASSES_HIDDEN * hidden
    by = expert_ranks(at)
    if layer.experts:
        routed = _PASSES_EXPERT * width + _PASSES_HIDDEN * layer.expert_hidden / by
        elements += layer.per_token * routed * by
    flops = 2 * layer.heads * (layer.key_width + layer.value_width) * layer.keys_seen(length)
    attention = tokens * flops / at.tensor / (_ATTENTION_SHARE * board.largest("bf16"))
    elements = elements + at.scores * _PASSES_SCORES * layer.heads * length
    return 2 * tokens * elements / at.tensor / board.bandwidth, attention


def _open(layer: Layer, width: int, board: Board, tokens: Numbers, at: Layouts) -> Numbers:
    """Messages of a block, both ways, that stand between its products."""
    again = 0.5 * np.equal(at.products_again, 1)
    t = at.tensor
    calls = 8 * (1 + again)  # gather and scatter of attention and feed-forward, both ways
    total = _seconds(board, calls, calls * tokens * width * 2 * (t - 1) / t, t, 1)
    c = at.context
    kv = layer.kv_elements / t * tokens * 2 * (c - 1)
    total = total + _seconds(board, 3, 3 * kv, c, t)
    if layer.experts:
        e = at.expert
        by = expert_ranks(at)
        routed = tokens / (t / by) * layer.per_token * width * 2
        beyond = np.maximum(0.0, 1 - board.boards / (e * by))  # leaves the domain
        slow = routed * beyond / _outside(board)
        fast = routed * ((e - 1) / e - beyond) / (board.inside_gb * 1e9)
        one = np.maximum(slow, fast) / LINK_SHARE + _LATENCY_OUTSIDE
        total = total + np.where(np.greater(e, 1), 4 * (1 + again) * one, 0.0)
    return total


def _beside(network: Network, board: Board, at: Layouts) -> tuple[Numbers, Numbers]:
    """(seconds a step of shards' and copies' messages, micro-batches that they run beside)."""
    dense = experts = 0.0
    for layer, n in network.layers:
        dense += n * layer.dense_parameters
        experts += n * layer.expert_parameters
    ends = (1 if network.tied else 2) * network.width * network.vocabulary
    own = (dense + ends) / at.tensor / at.pipeline
    by = expert_ranks(at)
    own_experts = experts / by / at.pipeline / at.expert
    inner = at.tensor * at.context
    alone = np.equal(at.pipeline, 1) & np.equal(at.regather, 1)
    times = np.where(alone, at.n_micro, 1)
    total: Numbers = 0.0
    for n_parameters, apart in ((own, 1), (own_experts, at.expert)):
        shard = np.where(np.greater(at.shard, 1), np.maximum(1, at.shard / apart), 1)
        part = (shard - 1) / shard * n_parameters
        depth = network.depth / at.pipeline
        passes = np.where(alone, 2, 1)
        total = total + _seconds(
            board, times * depth * (passes + 1), times * part * (2 * passes + 4), shard, at.tensor
        )
        copies = at.data * at.context / shard / apart
        # Whole gradients, or those of shards; moments divided alone (ZeRO-1) send as much.
        sent = 2 * (copies - 1) / copies * n_parameters / shard * 4
        total = total + _seconds(board, 1, sent, copies, shard * inner)
    windows = np.where(
        alone, at.n_micro, np.where(np.equal(at.pipeline, 1), 0.7, at.virtual / (1 + at.virtual))
    )
    return total, windows


def _seconds(
    board: Board, calls: Numbers, n_bytes: Numbers, ranks: Numbers, stride: Numbers
) -> Any:
    """Of so many collectives among `ranks` that lie `stride` apart, each sending so many bytes."""
    within = np.less_equal(ranks * stride, board.boards)
    together = np.maximum(1.0, board.boards / stride)  # of the group in one domain
    inside = board.inside_gb * 1e9
    rate = np.where(within, inside, np.minimum(inside, _outside(board) * together))
    latency = np.where(within, _LATENCY_INSIDE, _LATENCY_OUTSIDE)
    found = calls * latency + n_bytes / (LINK_SHARE * rate)
    return np.where(np.greater(ranks, 1), found, 0.0)


def _outside(board: Board) -> float:
    """Bytes a second to other domains; a board without such a link cannot have any there."""
    return (board.outside_gb or 1e-3) * 1e9
