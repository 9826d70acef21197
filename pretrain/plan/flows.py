"""What a rank sends in a step, in closed form.

With H the elements of a micro-batch's hidden states on a `context` rank, in blocks' products 2
bytes, in the residual stream and what norms give 4:

    shard × context   parameters gathered, gradients summed: once a step in a pipeline, whose stages
                      stay gathered; else in both passes of each micro-batch, and after each
    replicate         the sums of those shards, once a step; without shards all gradients at once
    tensor            a block gathers what its two norms give (4 H each) and scatters two sums
                      (2 H); backward the reverse (2 H gathered, 4 H scattered). A stage: its tokens
                      gathered at its end, their gradients at its beginning. The embedding is one
                      sum, the loss three numbers a token and rank, the gradients of norms and of
                      the router a sum each (all in one where nothing is sharded)
    context           keys and values gathered in a block, their gradients summed and scattered; of
                      a layer of experts the means
    expert            how many tokens go to each expert, then each token (4 bytes an element) to its
                      experts and back (2); backward the same without the counts
    pipeline          hidden states over each border between ranks, gradients back: on every one
                      of the tensor ranks all of them

With recompute = "full" a block's forward pass is told again, but for its last sum, behind which
nothing is kept. Scheme of tensor parallelism: Korthikanti et al. 2022 (arXiv 2205.05198), section
4.2.2.

The tests hold all but `pipeline` to the traced calls of real layouts, call for call and byte for
byte, for networks without biases that predict every token. Real exchanges of experts are as uneven
as their loads: told are even ones, whose sum over ranks is the same. A tied matrix over a pipeline
is exchanged once more a step, which is left out.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from pretrain.model.loss import GPU_CHUNK_BYTES
from pretrain.model.settings import Shape
from pretrain.model.transformer import Transformer
from pretrain.parallel.layout import Layout
from pretrain.parallel.stages import Part, places
from pretrain.plan.traffic import sent_bytes

EXPERTS = " experts"  # behind a block's name: the group of its experts
_COLUMNS = ("q.bias", "k.bias", "v.bias", "gate.bias", "up.bias", "transform.bias", "head_bias")
_WHOLE = ("router.weight", "position.weight", "segment.weight")


@dataclass(frozen=True)
class Flow:
    """Collectives of one kind of one rank in one step."""

    axis: str  # shard: together with context
    kind: str
    n_calls: int
    n_bytes: float  # of all calls together, as traffic.py tells them
    n_ranks: int

    @property
    def sent_bytes(self) -> float:
        return sent_bytes(self.kind, self.n_bytes, self.n_ranks)


@dataclass(frozen=True)
class Step:
    """What a rank computes in a step."""

    shape: Shape
    layout: Layout
    sizes: Mapping[str, int]  # ranks along each axis
    length: int
    micro_rows: int
    n_micro: int
    balance: bool = False  # whether the experts' balance is a part of the loss
    product_bytes: int = 2  # of an element that goes into a product; sums and streams have 4

    @property
    def n_tokens(self) -> int:
        """Of a micro-batch, on one `context` rank."""
        return self.micro_rows * self.length // self.sizes["context"]

    @property
    def hidden(self) -> int:
        """Elements of their hidden states."""
        return self.n_tokens * self.shape.width

    @property
    def n_shards(self) -> int:
        """Ranks that parameters are cut over, besides `tensor`; context ranks join in."""
        return self.sizes["shard"] * self.sizes["context"] if self.sizes["shard"] > 1 else 1

    def gathered_bytes(self, elements: Mapping[str, float]) -> float:
        """Of FSDP groups: blocks as products take them, the rest in fp32 (shard.py)."""
        return sum(n * (4 if k == "root" else self.product_bytes) for k, n in elements.items())


def is_whole(name: str, parameter: Tensor) -> bool:
    """Whether every `tensor` rank has all of a parameter (parallel/tensor.py)."""
    return name.endswith(_WHOLE) or (parameter.ndim == 1 and not name.endswith(_COLUMNS))


def local_elements(model: Transformer, layout: Layout) -> dict[str, float]:
    """Elements of each FSDP group (a block, or 'root') that one of `tensor` ranks holds whole.

    Stacks of experts are divided over `expert` too, where they are a group of their own: what is
    left of `shard` gathers them.
    """
    found: dict[str, float] = {}
    for name, p in model.named_parameters():
        n = p.numel() / (1 if is_whole(name, p) else layout.tensor)
        group = _group(name)
        if p.ndim == 3 and layout.expert > 1:
            group += EXPERTS
            n /= layout.expert
        found[group] = found.get(group, 0) + n
    return found


def flows(step: Step, parts: Mapping[Part, Transformer]) -> Iterator[Flow]:
    """What a rank with these stages sends and receives in a step, on axes of two ranks or more."""
    calls: Counter[tuple[str, str, int]] = Counter()
    n_bytes: dict[tuple[str, str, int], float] = {}
    for axes in (_shards, _tensor, _context, _experts, _pipeline):
        for flow in axes(step, parts):
            key = (flow.axis, flow.kind, flow.n_ranks)
            calls[key] += flow.n_calls
            n_bytes[key] = n_bytes.get(key, 0) + flow.n_bytes
    for (axis, kind, n_ranks), n_calls in calls.items():
        if n_ranks > 1 and n_calls:
            yield Flow(axis, kind, n_calls, n_bytes[axis, kind, n_ranks], n_ranks)


def _shards(step: Step, parts: Mapping[Part, Transformer]) -> Iterator[Flow]:
    layout, sizes = step.layout, step.sizes
    every = [local_elements(model, layout) for model in parts.values()]
    if step.n_shards == 1:
        elements = sum(sum(group.values()) for group in every)
        copies = sizes["replicate"] * sizes["context"]
        yield Flow("replicate", "all-reduce", 1, elements * 4, copies)
        return
    times, twice = _times(step), int(layout.pipeline == 1)
    for experts, n_ranks in ((False, step.n_shards), (True, step.n_shards // layout.expert)):
        groups = [{k: n for k, n in g.items() if k.endswith(EXPERTS) == experts} for g in every]
        blocks = [{k: n for k, n in group.items() if k != "root"} for group in groups]
        n_groups, n_again = (sum(len(group) for group in which) for which in (groups, blocks))
        elements = sum(sum(group.values()) for group in groups)
        whole, again = (sum(map(step.gathered_bytes, which)) for which in (groups, blocks))
        yield Flow("shard", "all-gather", times * (n_groups + twice * n_again),
                   times * (whole + twice * again), n_ranks)  # fmt: skip
        yield Flow("shard", "reduce-scatter", times * n_groups, times * elements * 4, n_ranks)
        yield Flow("replicate", "all-reduce", n_groups, elements / n_ranks * 4, sizes["replicate"])


def _tensor(step: Step, parts: Mapping[Part, Transformer]) -> Iterator[Flow]:
    shape, m, n_ranks = step.shape, step.n_micro, step.sizes["tensor"]
    blocks, again = _blocks(step, parts), _again(step)
    is_first, is_last = (sum(getattr(p, end) for p in parts) for end in ("is_first", "is_last"))
    product, stream = step.hidden * step.product_bytes, step.hidden * 4

    def flow(kind: str, calls: int, n_bytes: float) -> Flow:
        return Flow("tensor", kind, m * calls, m * calls * n_bytes, n_ranks)

    yield flow("all-gather", (2 + 2 * again) * blocks + 2 * len(parts), stream)
    yield flow("all-gather", 2 * blocks, product)
    yield flow("reduce-scatter", (2 + again) * blocks, product)
    yield flow("reduce-scatter", 2 * blocks + is_last, stream)
    yield flow("all-reduce", is_first, stream)
    rows = max(16, GPU_CHUNK_BYTES // (4 * math.ceil(shape.vocab_size / n_ranks)))
    chunks = m * is_last * math.ceil(step.n_tokens / rows)
    yield Flow("tensor", "all-gather", chunks, m * is_last * 12 * step.n_tokens * n_ranks, n_ranks)
    norms = [
        (p.numel(), 4 if _group(name) == "root" else step.product_bytes)
        for model in parts.values() for name, p in model.named_parameters()
        if is_whole(name, p) and not name.endswith(_WHOLE[1:])
    ]  # fmt: skip
    if step.n_shards > 1:
        calls, n_bytes = len(norms), sum(n * size for n, size in norms)
        yield Flow("tensor", "all-reduce", _times(step) * calls, _times(step) * n_bytes, n_ranks)
    else:
        yield Flow("tensor", "all-reduce", 1, 4 * sum(n for n, _ in norms), n_ranks)


def _context(step: Step, parts: Mapping[Part, Transformer]) -> Iterator[Flow]:
    shape, m, n_ranks = step.shape, step.n_micro, step.sizes["context"]
    blocks, again, layers = _blocks(step, parts), _again(step), _layers(step, parts)
    keys = 2 * shape.kv_heads * shape.head_width // step.sizes["tensor"]
    both = step.n_tokens * n_ranks * keys * step.product_bytes
    means = 8 * shape.experts * n_ranks
    for kind, calls, told in (
        ("all-gather", 1 + again, 1 + again), ("reduce-scatter", 1, int(step.balance))
    ):  # fmt: skip
        yield Flow("context", kind, m * calls * blocks, m * calls * blocks * both, n_ranks)
        yield Flow("context", kind, m * told * layers, m * told * layers * means, n_ranks)


def _experts(step: Step, parts: Mapping[Part, Transformer]) -> Iterator[Flow]:
    m, n_ranks = step.n_micro * _layers(step, parts), step.layout.expert
    passes, again = 2 + _again(step), 1 + _again(step)
    routed = step.hidden * step.shape.experts_per_token * (4 + step.product_bytes)
    yield Flow("expert", "all-to-all", 2 * passes * m, passes * m * routed, n_ranks)
    yield Flow("expert", "all-to-all", again * m, again * m * 8 * step.shape.experts, n_ranks)


def _pipeline(step: Step, parts: Mapping[Part, Transformer]) -> Iterator[Flow]:
    owner = {s: r for r, own in enumerate(places(step.layout)) for s in own}
    borders = sum(
        owner.get(part.number + way, owner[part.number]) != owner[part.number]
        for part in parts for way in (-1, 1)
    )  # fmt: skip
    for kind in ("send", "receive"):
        n_calls = step.n_micro * borders
        yield Flow("pipeline", kind, n_calls, n_calls * step.hidden * 4, step.layout.pipeline)


def _group(name: str) -> str:
    return ".".join(name.split(".")[:2]) if name.startswith("blocks.") else "root"


def _times(step: Step) -> int:
    """How often gradients are summed over shards in a step."""
    return 1 if step.layout.pipeline > 1 else step.n_micro


def _again(step: Step) -> int:
    return int(step.layout.recompute == "full")


def _blocks(step: Step, parts: Mapping[Part, Transformer]) -> int:
    return sum(len(part.blocks) for part in parts)


def _layers(step: Step, parts: Mapping[Part, Transformer]) -> int:
    return sum(len(part.expert_layers(step.shape)) for part in parts)
