"""The best ways to lay a network out over boards: all that divide, timed and weighed at once.

    candidates   tensor within a domain x pipeline x virtual x context x expert x shard
                 x rows of a micro-batch x recompute; data ranks take what is left
    dropped      what training would refuse (divisions.py), and what does not fit in memory
                 (memory.py)
    ranked       by seconds of a step (steptime.py); of equal divisions the fastest variant stands

Everything is an array over candidates: 16,384 boards take about a second.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from pretrain.errors import UsageError
from pretrain.parallel.layout import Layout
from pretrain.plan import divisions, memory, steptime
from pretrain.plan.divisions import Task as Task
from pretrain.plan.facts import GIB
from pretrain.plan.memory import OURS, Habits
from pretrain.plan.steptime import Layouts, Multipliers

RECOMPUTE = ("none", "selective", "full")
MOST_DRAWN = 120  # layouts of a picture, of those that fit and of those that do not


@dataclass(frozen=True)
class Found:
    """A layout with what it takes."""

    layout: Layout
    replicate: int
    data: int
    micro_rows: int
    n_micro: int
    seconds_by_part: dict[str, float]
    bytes_by_part: dict[str, float]

    @property
    def seconds(self) -> float:
        return sum(self.seconds_by_part.values())

    @property
    def n_bytes(self) -> float:
        return sum(self.bytes_by_part.values())

    @property
    def at(self) -> Layouts:
        return layouts_of(self.layout, self.data, self.micro_rows, self.n_micro)

    @property
    def said(self) -> str:
        """In a few words: `data 128 (shard 128) x tensor 8 x pipeline 16 (3 stages)`."""
        one = self.layout
        words = [f"replicate {self.replicate}"] if self.replicate > 1 else []
        for name in ("shard", "context", "tensor", "pipeline", "expert"):
            if getattr(one, name) > 1:
                words.append(f"{name} {getattr(one, name)}")
        if one.virtual > 1:
            words.append(f"virtual {one.virtual}")
        return ", ".join([*words, f"recompute {one.recompute}"])


def layouts_of(one: Layout, data: int, micro_rows: float, n_micro: float) -> Layouts:
    """A recipe's layout as step times are told; data: replicate x shard ranks."""
    return Layouts(
        data, one.shard * one.context if one.shard > 1 else 1, one.tensor, one.pipeline,
        one.virtual, one.context, one.expert, micro_rows, n_micro,
        float(one.recompute == "full"), float(one.recompute != "none"),
        regather=int(one.pipeline == 1),
    )  # fmt: skip


def best(
    task: Task, by: Multipliers, habits: Habits = OURS, n: int = 3
) -> tuple[list[Found], dict[str, int]]:
    """(the fastest layouts that fit, how many candidates there were and fitted).

    UsageError where nothing divides or nothing fits, with what would.
    """
    at = candidates(task)
    parts = memory.bytes_by_part(task.network, task.length, at, habits)
    room = memory.fits(parts, task.board.memory_bytes)
    if not room.any():
        raise UsageError(_no_room(task, at, parts))
    some = _take(at, room)
    found = steptime.combine(costs(task, some), by)
    total = sum(found.values())
    order = np.argsort(total, kind="stable")
    chosen: dict[tuple[int, ...], int] = {}
    for i in order:
        chosen.setdefault(_division(some, i), int(i))
        if len(chosen) == n:
            break
    weights = {name: np.broadcast_to(x, room.shape)[room] for name, x in parts.items()}
    rows = [_found(some, i, found, weights) for i in chosen.values()]
    return rows, {"candidates": len(room), "fitting": int(room.sum())}


def survey(
    task: Task, by: Multipliers, habits: Habits = OURS, most: int = MOST_DRAWN
) -> list[tuple[Found, bool]]:
    """(layout, whether it fits) for a picture: of each division its fastest variant that fits, or
    its smallest; the fastest of those that fit and of those that do not, so many of each.
    """
    at = candidates(task)
    weights = memory.bytes_by_part(task.network, task.length, at, habits)
    seconds = steptime.combine(costs(task, at), by)
    shape = np.shape(at.data)
    room = np.broadcast_to(memory.fits(weights, task.board.memory_bytes), shape)
    total = np.broadcast_to(sum(seconds.values()), shape)
    size = np.broadcast_to(sum(weights.values()), shape)
    chosen: dict[tuple[int, ...], int] = {}
    for i in np.lexsort((np.where(room, total, size), ~room)):
        chosen.setdefault(_division(at, i), int(i))
    ranked = sorted(chosen.values(), key=lambda i: total[i])
    shown = [i for fits in (True, False) for i in [j for j in ranked if room[j] == fits][:most]]
    return [(_found(at, i, seconds, weights), bool(room[i])) for i in shown]


def _division(at: Layouts, i: int) -> tuple[int, ...]:
    """What tells a layout from its variants (stages of a rank, rows at once, recompute)."""
    return tuple(int(x[i]) for x in (at.tensor, at.pipeline, at.context, at.shard, at.expert))


def costs(task: Task, at: Layouts) -> steptime.Costs:
    return steptime.costs(task.network, task.board, task.length, at, task.precision)


def candidates(task: Task) -> Layouts:
    """Every layout that divides the boards, the network and the batch. UsageError if none does."""
    if task.count < 1 or task.batch_rows < 1:
        raise UsageError(
            f"{task.count} boards and {task.batch_rows} rows a step: must be 1 or more"
        )
    rows = list(divisions.of(task))
    if not rows:
        raise UsageError(divisions.none(task))
    columns = np.array(rows, dtype=np.int64).T
    t, p, v, c, e, data, shard, micro, again = columns
    return Layouts(
        data=data, shard=np.where(shard > 1, shard * c, 1), tensor=t, pipeline=p, virtual=v,
        context=c, expert=e, micro_rows=micro, n_micro=task.batch_rows // data // micro,
        products_again=(again == 2) * 1.0, kernels_again=(again > 0) * 1.0,
        regather=(p == 1) * 1,
    )  # fmt: skip


def _take(at: Layouts, which: Any) -> Layouts:
    return Layouts(**{
        f.name: x[which] if np.ndim(x := getattr(at, f.name)) else x for f in fields(Layouts)
    })  # fmt: skip


def _found(at: Layouts, i: int, seconds: dict[str, Any], weights: dict[str, Any]) -> Found:
    def number(x: Any) -> int:
        return int(np.broadcast_to(x, np.shape(at.data))[i])

    context, p, v = number(at.context), number(at.pipeline), number(at.virtual)
    shard = max(1, number(at.shard) // context)
    again = int(at.kernels_again[i] + at.products_again[i])
    layout = Layout(
        shard=shard, tensor=number(at.tensor), pipeline=p, virtual=v, context=context,
        expert=number(at.expert), schedule="interleaved_1f1b" if v > 1 else "1f1b",
        recompute=RECOMPUTE[again],  # type: ignore[arg-type]
    )  # fmt: skip
    data = number(at.data)
    shape = np.shape(at.data)
    return Found(
        layout, data // shard, data, number(at.micro_rows), number(at.n_micro),
        {k: float(np.broadcast_to(x, shape)[i]) for k, x in seconds.items()},
        {k: float(np.broadcast_to(x, shape)[i]) for k, x in weights.items()},
    )  # fmt: skip


def why(winner: Found, loser: Found) -> str:
    """What the second lost most time by, and where it gained."""
    parts = {k: loser.seconds_by_part[k] - s for k, s in winner.seconds_by_part.items()}
    worst = max(parts, key=lambda k: parts[k])
    least = min(parts, key=lambda k: parts[k])
    more = 100 * (loser.seconds / winner.seconds - 1)
    text = f"{more:.1f} % slower: {worst} +{parts[worst]:.2f} s a step"
    if parts[least] < -0.005 * winner.seconds:
        text += f" ({least} {parts[least]:.2f} s)"
    return text


def check_product(count: int, **sizes: int) -> None:
    """UsageError where a layout's sizes do not multiply to the boards."""
    product = int(np.prod(list(sizes.values())))
    if product != count:
        told = " x ".join(f"{name} {n}" for name, n in sizes.items())
        raise UsageError(f"{told} = {product:,} boards; must be {count:,}")


def _no_room(task: Task, at: Layouts, parts: dict[str, Any]) -> str:
    total = np.broadcast_to(sum(parts.values()), np.shape(at.data))
    i = int(np.argmin(total))
    least = {k: float(np.broadcast_to(x, total.shape)[i]) / GIB for k, x in parts.items()}
    largest = sorted(least, key=lambda k: -least[k])[:3]
    told = ", ".join(f"{k} {least[k]:.1f}" for k in largest)
    need = total[i] / GIB
    have = memory.FULL * task.board.memory_gib
    state = 16 * task.network.total / GIB
    return (
        f"{task.network.total / 1e9:.3g} B parameters fit no layout on {task.count:,} x "
        f"{task.board.name}: the least of {total.size:,} needs {need:.1f} GiB a board, {have:.1f} "
        f"may be used ({told}). Weights, gradients and moments alone take {state:,.0f} GiB: "
        f"{int(np.ceil(state / (0.6 * have))):,} boards or more, boards with more memory, shorter "
        "rows or a smaller network would make it possible" + divisions.said(task)
    )
