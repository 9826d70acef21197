"""Where a network is cut into the stages of a pipeline, and which rank has which stage.

    cost      FLOPs of each block, the head's with the last one            model/count.py
    cut       contiguous blocks, at least one a stage; the largest sum is as small as can be
    place     one after another, over and over     stage s on rank s mod ranks
              down and back (V schedules)          rank r has stages r and 2 · ranks − 1 − r

The embedding goes with the first stage, the last norm and the head with the last: an embedding is
looked up and costs no FLOPs, but of equal cuts the one whose first stages are smallest is taken,
for they hold the embedding and the most micro-batches (with 405B's 126 blocks on 16 stages: the
7, 8 … 8 of Grattafiori et al. 2024, arXiv 2407.21783, section 3.3.2, but for the last one's 7).

A stage is the whole network with the rest taken out: what stays keeps its name
(`blocks.5.attention.q.weight`), so initial values and checkpoints are those of any layout.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

import torch

from pretrain.model import count
from pretrain.model.settings import Shape
from pretrain.model.transformer import Transformer
from pretrain.parallel.layout import V_SHAPED, Layout


@dataclass(frozen=True)
class Part:
    """One stage of a network."""

    number: int
    n_parts: int
    blocks: range

    @property
    def is_first(self) -> bool:
        return self.number == 0

    @property
    def is_last(self) -> bool:
        return self.number == self.n_parts - 1

    def expert_layers(self, shape: Shape) -> range:
        """Which of all layers of experts it has, counted from 0."""
        if not shape.experts:
            return range(0)
        return range(
            *(max(0, b - shape.dense_layers) for b in (self.blocks.start, self.blocks.stop))
        )


@cache
def divide(shape: Shape, layout: Layout, length: int) -> tuple[Part, ...]:
    """The stages of a network for rows of `length` tokens."""
    blocks, head = count.flops_by_block(shape, length)
    blocks[-1] += head
    n = layout.stages
    return tuple(Part(i, n, part) for i, part in enumerate(balanced(blocks, n)))


def balanced(costs: Sequence[int], n_parts: int) -> list[range]:
    """Contiguous parts, none empty, whose largest sum is least; of those the least uneven (sum of
    squares), of these the ones that begin smallest. Exact: O(n² · parts)."""
    n, sums = len(costs), [0, *accumulate(costs)]
    most = [sums[n] - s for s in sums[:n]]  # [i]: least largest sum of the costs from i on
    for parts in range(2, n_parts + 1):
        most = [
            min(max(sums[end] - sums[i], most[end]) for end in range(i + 1, n - parts + 2))
            for i in range(n - parts + 1)
        ]
    least = most[0]
    rows = [[(_square(sums[n] - s, least), n) for s in sums[:n]]]
    for parts in range(2, n_parts + 1):
        after = rows[-1]
        rows.append([
            min((_square(sums[end] - sums[i], least) + after[end][0], end)
                for end in range(i + 1, n - parts + 2))
            for i in range(n - parts + 1)
        ])  # fmt: skip
    cuts, begin = [], 0
    for row in reversed(rows):
        cuts.append(range(begin, row[begin][1]))
        begin = row[begin][1]
    return cuts


def _square(cost: int, most: int) -> float:
    return cost**2 if cost <= most else math.inf


def places(layout: Layout) -> list[list[int]]:
    """The stages of each rank along the pipeline, in their order."""
    ranks, n = layout.pipeline, layout.stages
    if layout.schedule in V_SHAPED and ranks > 1:
        return [[r, n - 1 - r] for r in range(ranks)]
    return [list(range(r, n, ranks)) for r in range(ranks)]


def build(shape: Shape, layout: Layout, length: int, rank: int) -> dict[Part, Transformer]:
    """A pipeline rank's stages on `meta`, to be divided further and filled (model/init.py)."""
    parts = divide(shape, layout, length)
    found: dict[Part, Transformer] = {}
    for number in places(layout)[rank]:
        with torch.device("meta"):
            model = Transformer(shape)
        take_out(model, parts[number])
        found[parts[number]] = model
    first, last = parts[places(layout)[rank][0]], parts[places(layout)[rank][-1]]
    if shape.tied and first.is_first and last.is_last:
        found[last].embed = found[first].embed  # both ends of a V: one matrix, one gradient
    return found


def take_out(model: Transformer, part: Part) -> None:
    """Leave of a network what a stage computes with."""
    for i in range(model.shape.layers):
        if i not in part.blocks:
            delattr(model.blocks, str(i))  # the others keep their numbers
    unwanted = []
    if not part.is_first:
        unwanted += ["position", "segment", "input_norm"]
    if not part.is_last:
        unwanted += ["norm", "head", "transform", "transform_norm", "head_bias"]
    if not (part.is_first or (part.is_last and model.shape.tied)):
        unwanted.append("embed")
    for name in unwanted:
        if hasattr(model, name):
            delattr(model, name)
