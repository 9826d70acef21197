"""How long the ranks of a pipeline wait: a schedule's own order, played with the stages' costs.

    bubble = 1 − Σ computing / (ranks · time of the step)           messages take no time here

With equal stages and backward passes of twice a forward one, 1F1B gives (p − 1) / (m + p − 1) for p
ranks and m micro-batches, with v stages a rank about (p − 1) / (v · m + p − 1) (Narayanan et al.
2021, arXiv 2104.04473, section 2.2). Also told: of each stage, how many micro-batches are under way
at once at most, which is what activations are kept of.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FORWARD, BACKWARD, INPUT, WEIGHT = "F", "B", "I", "W"
_NAMES = {
    "FORWARD": FORWARD, "FULL_BACKWARD": BACKWARD, "BACKWARD_INPUT": INPUT,
    "BACKWARD_WEIGHT": WEIGHT,
}  # fmt: skip


@dataclass(frozen=True)
class Played:
    """A schedule as it went."""

    bubble: float
    seconds: float  # in the unit of the costs
    under_way: dict[int, int]  # of each stage: micro-batches at once, at most


def order_of(schedule: Any) -> list[list[tuple[str, int, int]]]:
    """(what, stage, micro-batch) of each rank in turn, from PyTorch's schedule.

    Forward passes are numbered as they come: torch 2.13's own table of 1F1B begins with 1 at the
    last stage, though what it runs does not.
    """
    told: Mapping[int, Sequence[Any]] = schedule.pipeline_order
    order = []
    for rank in sorted(told):
        seen: Counter[int] = Counter()
        steps = []
        for action in told[rank]:
            for what, stage, micro in _plain(action) if action is not None else ():
                if what == FORWARD:
                    micro = seen[stage]
                    seen[stage] += 1
                steps.append((what, stage, micro))
        order.append(steps)
    return order


def _plain(action: Any) -> list[tuple[str, int, int]]:
    if action.sub_actions:  # a forward and a backward pass side by side
        return [step for sub in action.sub_actions for step in _plain(sub)]
    what = _NAMES.get(action.computation_type.name)
    return [(what, action.stage_index, action.microbatch_index)] if what else []


def play(order: Sequence[Sequence[tuple[str, int, int]]], forward: Sequence[float]) -> Played:
    """forward: the cost of each stage's forward pass; gradients by inputs and by weights cost as
    much again each."""
    last = len(forward) - 1
    cost = {FORWARD: 1.0, BACKWARD: 2.0, INPUT: 1.0, WEIGHT: 1.0}
    done: dict[tuple[str, int, int], float] = {}  # when a pass's result is there
    clocks, busy = [0.0] * len(order), 0.0
    at = [0] * len(order)
    kept: Counter[int] = Counter()
    most: Counter[int] = Counter()
    while any(i < len(steps) for i, steps in zip(at, order, strict=True)):
        moved = False
        for rank, steps in enumerate(order):
            while at[rank] < len(steps):
                what, stage, micro = steps[at[rank]]
                needed = None
                if what == FORWARD and stage:
                    needed = (FORWARD, stage - 1, micro)
                elif what in (BACKWARD, INPUT) and stage < last:
                    needed = (BACKWARD, stage + 1, micro)
                if needed is not None and needed not in done:
                    break
                begin = max(clocks[rank], done[needed] if needed else 0.0)
                clocks[rank] = begin + cost[what] * forward[stage]
                busy += cost[what] * forward[stage]
                done[BACKWARD if what == INPUT else what, stage, micro] = clocks[rank]
                kept[stage] += {FORWARD: 1, INPUT: 0}.get(what, -1)
                most[stage] = max(most[stage], kept[stage])
                at[rank] += 1
                moved = True
        assert moved, "the schedule waits for itself"
    seconds = max(clocks)
    return Played(1 - busy / (len(order) * seconds), seconds, dict(most))
