"""The ways to divide a network and its batch over boards, without those that training refuses.

tensor x pipeline x context x data    their product is the boards; shard and expert within data
refused    what a network, its rows or the recipe's settings do not take (parallel/layout.py,
           train/ranks.py, pipeline.misfit): said by `limits`
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from pretrain.parallel.layout import Layout
from pretrain.plan.facts import Board
from pretrain.plan.network import Network

_MOST_MICRO_ROWS = 32


@dataclass(frozen=True)
class Task:
    """What is to be laid out. stretches: (rows, tokens of a row) where a run has other batches."""

    network: Network
    board: Board
    count: int
    length: int
    batch_rows: int
    precision: str = "bf16"
    stretches: tuple[tuple[int, int], ...] = ()
    is_exact: bool = False  # sums of gradients in one tree (train.sums)


def of(task: Task) -> Iterator[tuple[int, ...]]:
    """(tensor, pipeline, virtual, context, expert, data, shard, rows of a micro-batch, recompute:
    0 none, 1 selective, 2 full) of every way."""
    n, network = task.count, task.network
    experts = max((x.experts for x, _ in network.layers), default=0)
    domain = task.board.boards if task.board.outside_gb else n
    for t, p in itertools.product(_divisors(min(n, domain), n), _divisors(network.depth, n)):
        if n % (t * p) or not _network_divides(task, t, p):
            continue
        for c in _divisors(n // (t * p), n // (t * p)):
            if not _tokens_divide(task, t, c) or c > max(1, task.length // 2048):
                continue
            data = n // (t * p * c)
            if task.batch_rows % data:
                continue
            own = task.batch_rows // data
            for v, micro in itertools.product(_virtual(network.depth, p), _divisors(own, own)):
                if micro <= _MOST_MICRO_ROWS and _schedule_fits(p, v, own // micro):
                    for shard in _shards(data, t * c, task.board.boards):
                        if not _trains(task, p, v, data, shard, micro):
                            continue
                        for e in _experts(experts, shard):
                            for again in range(3):
                                yield t, p, v, c, e, data, shard, micro, again


def limits(task: Task) -> list[str]:
    """Which ways training refuses, whatever divides, and why."""
    shape = task.network.shape
    if shape is None:
        return []
    found = {
        "tensor ranks with fp8 (train.precision)": task.precision == "fp8",
        "all but whole copies with exact sums (train.sums)": task.is_exact,
        "pipeline and context ranks of an encoder with a decoder": bool(shape.encoder_layers),
        "pipeline and context ranks with model.ahead": bool(shape.ahead),
        "tensor ranks of shared experts with biases": shape.shared_hidden and shape.biased,
    }
    return [name for name, is_so in found.items() if is_so]


def said(task: Task) -> str:
    """The limits as the end of a sentence; nothing where there are none."""
    found = limits(task)
    return f". Training refuses {'; '.join(found)}" if found else ""


def none(task: Task) -> str:
    """What to say where there is no way."""
    n, rows = task.count, task.batch_rows
    fitting = [d for d in range(1, min(n, rows) + 1) if rows % d == 0 and n % d == 0]
    shape = task.network.shape
    heads = f"{shape.heads} heads over {shape.kv_heads} kv_heads, " if shape else ""
    others = ", ".join(f"{rows:,} rows of {length:,} tokens" for rows, length in task.stretches)
    return (
        f"no layout divides {n:,} boards: {rows:,} rows a step, {heads}{task.network.depth} "
        f"layers. Data ranks could be {fitting[-1]:,} at most; a batch of a multiple of {n:,} x "
        f"{task.length} tokens, or {2 ** (n.bit_length() - 1):,} boards, would divide"
        + (f". Some steps have {others}" if others else "")
        + said(task)
    )


def _network_divides(task: Task, t: int, p: int) -> bool:
    shape = task.network.shape
    if shape is None:  # another program's
        return all(x.heads % t == 0 and x.hidden % t == 0 for x, _ in task.network.layers)
    if (t * p > 1 and task.is_exact) or (t > 1 and task.precision == "fp8"):
        return False
    return Layout(tensor=t, pipeline=p).misfit(shape) is None


def _tokens_divide(task: Task, t: int, c: int) -> bool:
    shape = task.network.shape
    if c > 1 and shape is not None:
        if task.is_exact or Layout(context=c).misfit(shape) is not None:
            return False
        if any(length % (2 * c) for _, length in task.stretches):
            return False
    return task.length % (2 * c if c > 1 else 1) == 0 and task.length // c % t == 0


def _trains(task: Task, p: int, v: int, data: int, shard: int, micro: int) -> bool:
    """Whether the rows of all stretches go to the data ranks and through a pipeline."""
    if task.is_exact and (shard > 1 or data & (data - 1)):
        return False
    whole = data == task.count and shard == 1  # copies: their passes need not match
    for rows, length in task.stretches:
        own, part = divmod(rows, data)
        if not own or (part and (task.is_exact or not whole)):
            return False
        at_once = max(1, micro * task.length // length)
        if task.is_exact and data > 1 and own % at_once:
            return False
        if p > 1 and (own % at_once or not _schedule_fits(p, v, own // at_once)):
            return False
    return True


def _virtual(depth: int, p: int) -> list[int]:
    return [1] if p == 1 else [v for v in range(1, 17) if p * v <= depth]


def _schedule_fits(p: int, v: int, n_micro: int) -> bool:
    if p == 1:
        return True
    return n_micro >= p if v == 1 else n_micro >= p and n_micro % p == 0


def _shards(data: int, inner: int, boards: int) -> list[int]:
    """None, all, one domain's, and two steps between."""
    wanted = {1, data, max(1, boards // inner), min(data, 64), min(data, 512)}
    return sorted(s for s in wanted if data % s == 0)


def _experts(experts: int, shard: int) -> list[int]:
    return [e for e in _divisors(shard, shard) if experts % e == 0] if experts else [1]


def _divisors(most: int, n: int) -> list[int]:
    return [d for d in range(1, min(most, n) + 1) if n % d == 0]
