"""Bytes on the fullest rank of each layout, by part: what must fit, said before anything starts.

    parameters, gradients, moments    of a rank's blocks and ends, over shards
    gathered                          of shards: two blocks and both ends, or a pipeline's all
    weights in bf16                   without shards: autocast's, kept by each micro-batch under way
                                      unless blocks are computed again
    activations                       kept by a block and token · tokens · blocks under way
    logits or a block's backward      whichever is more: one is gone when the other comes; of a
                                      pipeline the last rank's alone, where that is the fullest
    messages                          buffers of collectives
    slack                             what an allocator reserves beyond: 12 % (research: 7 to 21 %)

Kept by a block, in bytes a token, with D width, q and kv elements of heads, F hidden units:

    between products (norms' inputs)            2 · stream D      over tensor ranks
    products' inputs behind norms               4 D               over tensor ranks, or gathered
    queries, keys, values, attention's result   2 (2 q + 2 kv)    over tensor ranks
    their rotations                             2 (q + kv)
    feed-forward: gate, up, activation, product 8 F, or 4 F where nothing gates
    scores without FlashAttention               5 heads · length  (Korthikanti et al. 2022, eq. 1)

1F1B's first rank has p micro-batches under way, with v stages each p (1 + (p − 1) / (p v)):
Korthikanti et al. 2022 (2205.05198), section 4.2.3. A pipeline's ranks share blocks and head by
their FLOPs (parallel/stages.py), so that the first has more blocks than the last. Layouts may be
arrays, as in steptime.py.
"""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from pretrain.plan.network import Layer, Network
from pretrain.plan.steptime import Layouts, Numbers, expert_ranks

FULL = 0.95  # of a board's memory that may be asked for


@dataclass(frozen=True)
class Habits:
    """What a program keeps. The defaults are this project's on a GPU."""

    stream_bytes: int = 4  # of a number between blocks
    gathers: bool = True  # what tensor ranks gather is kept whole, not cut again
    scores: bool = False  # attention's are kept
    masks: bool = False  # of dropout
    whole_stream: bool = False  # tensor ranks each keep all tokens between products
    more_bytes: int = 4  # of a number of the width that a block keeps besides: traced
    one_root: bool = True  # embedding and head are gathered and summed as one
    counts_head: bool = True  # a pipeline's last rank has fewer blocks for it
    casts: bool = True  # products take copies of fp32 weights in bf16
    state_bytes: tuple[int, int, int] = (4, 4, 8)  # parameter, gradient, moments
    logit_bytes: float = 0.0  # of each logit of a micro-batch; 0: in pieces of a fixed size
    piece_bytes: float = 3 * 2**30  # of logits in pieces: what a chunk takes (plan/simulate.py)
    slack: float = 1.12


OURS = Habits()
# torchtitan: bf16 stream, cross-entropy over whole fp32 logits (2 + 4 and their gradients).
TITAN = Habits(
    stream_bytes=2, gathers=False, more_bytes=0, one_root=False, counts_head=False, casts=False,
    logit_bytes=12,
)  # fmt: skip
# Megatron-LM as Korthikanti et al. describe it: dropout's masks; with and without their two means.
MEGATRON = replace(TITAN, masks=True, logit_bytes=8)
MEGATRON_PLAIN = replace(MEGATRON, scores=True, whole_stream=True)


def activation_bytes(network: Network, length: int, at: Layouts, habits: Habits = OURS) -> Numbers:
    """What forward passes keep on the first rank of a pipeline, all micro-batches under way."""
    blocks = kept_by_blocks(network, length, at, habits) * shares(network, at, habits)[0]
    return _on_tokens(blocks * under_way(at), network, length, at, habits)


def _on_tokens(
    kept: Numbers, network: Network, length: int, at: Layouts, habits: Habits
) -> Numbers:
    tokens = at.micro_rows * length / at.context
    # And at the ends: what came from the embedding, what goes into the head, in fp32 and again.
    return tokens * (kept + 4 * habits.more_bytes * network.width / at.tensor)


def shares(network: Network, at: Layouts, habits: Habits) -> tuple[Numbers, Numbers]:
    """Which shares of the blocks the first rank of a pipeline has, and the last."""
    ends, depth = network.width * network.vocabulary, network.depth
    head = ends * depth / (network.active_parameters - ends) if habits.counts_head else 0.0
    ranks, virtual = np.broadcast_arrays(at.pipeline, at.virtual)
    each = [_first_and_last(depth, head, p, v) for p, v in zip(ranks.flat, virtual.flat)]  # noqa: B905
    first, last = np.reshape(np.transpose(each), (2, *ranks.shape)) / depth
    return first, last


@cache
def _first_and_last(depth: int, head: float, ranks: int, virtual: int) -> tuple[int, int]:
    """Blocks of the first and the last rank, as stages.balanced cuts blocks of equal cost.

    head: its cost in blocks. The last stage has some blocks and the head, the others share the rest
    evenly, the first ones one block less.
    """
    if ranks == 1:
        return depth, depth
    others = min(ranks * virtual, depth) - 1
    ways = []
    for own in range(1, depth - others + 1):
        few, more = divmod(depth - own, others)
        costs = (max(few + (more > 0), own + head),
                 (others - more) * few**2 + more * (few + 1) ** 2 + (own + head) ** 2)  # fmt: skip
        ways.append((*costs, few, more, own))
    _, _, few, more, own = min(ways)
    stages = [few + (i >= others - more) for i in range(others)] + [own]
    return sum(stages[::ranks]), sum(stages[ranks - 1 :: ranks])


def under_way(at: Layouts) -> Numbers:
    """Micro-batches that the first rank of a pipeline keeps at once."""
    p, v = at.pipeline, at.virtual
    most = np.where(np.greater(v, 1), p * (1 + (p - 1) / (p * v)), p)
    return np.minimum(most, at.n_micro)


def kept_by_blocks(network: Network, length: int, at: Layouts, habits: Habits) -> Numbers:
    """Bytes a token that all blocks keep."""
    return sum(n * kept(layer, network.width, length, at, habits) for layer, n in network.layers)


def kept(layer: Layer, d: int, length: int, at: Layouts, habits: Habits) -> Numbers:
    """Bytes a token that one block keeps on one rank."""
    t = at.tensor
    stream = habits.stream_bytes * d / (1 if habits.whole_stream else t)
    inputs = 2 * d / (1 if habits.whole_stream or habits.gathers else t)
    q, kv = layer.heads * layer.value_width, layer.kv_elements
    keys = layer.heads * layer.key_width
    attention = 2 * (keys + kv + q) / t
    turned = 2 * (keys + kv / 2) / t if layer.rotary else 0.0
    dense = 2 * layer.hidden * (4 if layer.gated else 2) / t
    scores = 5 * layer.heads * length / t if habits.scores else 0.0
    masks = 2 * d / (1 if habits.whole_stream else t) if habits.masks else 0.0
    routed: Numbers = 0.0
    if layer.experts:
        by = expert_ranks(at)
        # A token's copies come to ranks that share an expert, and go back.
        one = 4 * 2 * layer.expert_hidden / by + (2 + habits.stream_bytes) * d
        routed = layer.per_token * one / (t / by) + habits.stream_bytes * d / t
    more = habits.more_bytes * d * np.where(np.equal(t, 1) | (not habits.gathers), 1 / t, 1.5)
    whole = more + 2 * stream + 2 * inputs + attention + turned + dense + scores + masks + routed
    # Selective: products' results and attention's are kept, what lies between is not.
    sent = (12 * d if habits.gathers else 0) * np.greater(t, 1)
    dense_kept = 2 * layer.hidden * (1 + layer.gated) / t
    some = stream + sent + attention + dense_kept + 4 * d / t + routed
    half = stream + (attention + dense_kept + 4 * d / t + 2 * q / t) / 2 + routed
    return np.where(
        np.equal(at.products_again, 1), stream,
        np.where(np.greater(at.products_again, 0), half,
                 np.where(np.greater(at.kernels_again, 0), some, whole)),
    )  # fmt: skip


def bytes_by_part(
    network: Network, length: int, at: Layouts, habits: Habits = OURS
) -> dict[str, Numbers]:
    """Bytes of the fullest rank by part; their sum is what the board must have."""
    d, t, p = network.width, at.tensor, at.pipeline
    ends_apart = np.where(np.equal(p, 1), 1 if network.tied else 2, 1)  # on one rank
    end = d * network.vocabulary / t
    largest = max(layer.dense_parameters for layer, _ in network.layers)
    by = expert_ranks(at)
    dense = sum(n * x.dense_parameters for x, n in network.layers)
    experts = sum(n * x.expert_parameters for x, n in network.layers)
    rank, last_share = shares(network, at, habits)
    own = rank * dense / t + ends_apart * end
    own_experts = rank * experts / by / at.expert
    shards = at.shard
    expert_shards = np.maximum(1, shards / at.expert)
    weight, gradient, moments = habits.state_bytes
    divided = np.where(np.greater(at.state_shard, 0), at.state_shard, shards)
    held = own / shards + own_experts / expert_shards
    states = own / np.maximum(divided, 1)
    states = states + own_experts / np.maximum(1, divided / at.expert)
    block = largest / t + max(x.expert_parameters for x, _ in network.layers) / by / at.expert
    piped = np.greater(p, 1)
    sharded = np.greater(shards, 1)
    gathered = np.where(piped, 2 * (own + own_experts) + 2 * ends_apart * end,
                        4 * block + 4 * ends_apart * end)  # fmt: skip
    last = block + ends_apart * end if habits.one_root else np.maximum(block, end)
    summed = np.where(piped, 4 * (own + own_experts), 4 * last)
    tokens = at.micro_rows * length / at.context
    whole = Layouts(data=at.data, tensor=t, context=at.context, expert=at.expert,
                    expert_tensor=at.expert_tensor)  # fmt: skip
    most = np.max([np.broadcast_to(kept(x, d, length, whole, habits), np.shape(tokens * t))
                   for x, _ in network.layers], axis=0)  # fmt: skip
    again = np.greater(at.products_again, 0) | np.greater(at.kernels_again, 0)
    anew = np.where(again, 2.0, 1.0)
    if habits.logit_bytes:
        logits = habits.logit_bytes * tokens * network.vocabulary / t
    else:
        logits = np.minimum(habits.piece_bytes, 16 * tokens * network.vocabulary / t)
    backward = anew * tokens * most
    # The last rank of a pipeline has the head, and fewest micro-batches under way.
    first = activation_bytes(network, length, at, habits)
    blocks = kept_by_blocks(network, length, at, habits) * last_share
    ahead = ((at.virtual - 1) * p + 1) / at.virtual
    last_rank = _on_tokens(blocks * ahead, network, length, at, habits)
    is_first = piped & (first + backward > last_rank + np.maximum(logits, backward))
    casts = 2 * (own + own_experts - np.where(piped | network.tied, 0, end)) * under_way(at)
    parts = {
        "parameters": weight * held,
        "gradients": gradient * held,
        "moments": moments * states,
        "gathered parameters": np.where(sharded, gathered, 0.0),
        "gradients being summed": np.where(sharded, summed, 0.0),
        "weights in bf16": np.where(sharded | again | (not habits.casts), 0.0, casts),
        "activations": np.where(is_first | ~piped, first, last_rank),
        "logits or a block's backward pass": np.where(
            is_first, backward, np.maximum(logits, backward)
        ),
        "messages": np.where(np.greater(t * at.context * p, 1), 4.0 * tokens * d, 0.0),
    }
    total: Any = sum(parts.values())
    parts["slack"] = (habits.slack - 1) * total
    return parts


def fits(parts: dict[str, Numbers], board_bytes: float) -> Numbers:
    """Whether a rank has room, with what drivers take left free."""
    return np.less_equal(sum(parts.values()), FULL * board_bytes)
