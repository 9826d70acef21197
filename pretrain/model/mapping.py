"""How a tensor of ours becomes one of `transformers`', and back, exactly.

copy    the same                       turn        transposed (GPT-2's Conv1D)
join    several, one above the other   join-turn   and then transposed
slice   one matrix of a stack of experts           fixed   a constant of theirs that we compute
"""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pretrain.errors import DataError


@dataclass(frozen=True)
class Entry:
    """One tensor of theirs. `rows` are those of each of ours, where several are joined."""

    theirs: str
    ours: tuple[str, ...]
    how: str = "copy"
    rows: tuple[int, ...] = ()
    index: int = 0
    value: Callable[[], Tensor] | None = None


def entry(theirs: str, *ours: str, how: str = "copy", rows: tuple[int, ...] = ()) -> Entry:
    return Entry(theirs, ours, how, rows)


def linear(theirs: str, ours: str, biased: bool, how: str = "copy") -> list[Entry]:
    """The weight of a linear layer, and its bias where it has one."""
    weight = entry(f"{theirs}.weight", f"{ours}.weight", how=how)
    return [weight, entry(f"{theirs}.bias", f"{ours}.bias")] if biased else [weight]


def theirs_of(one: Entry, ours: Mapping[str, Tensor]) -> Tensor:
    """One tensor of theirs."""
    if one.value is not None:
        return one.value()
    parts = [ours[name] for name in one.ours]
    tensor = torch.cat(parts) if one.how.startswith("join") else parts[0]
    if one.how == "slice":
        tensor = tensor[one.index]
    return tensor.t() if one.how.endswith("turn") else tensor


def to_theirs(entries: Iterable[Entry], ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {one.theirs: theirs_of(one, ours) for one in entries}


def each_of_ours(
    entries: Iterable[Entry], theirs: Callable[[str], Tensor]
) -> Iterator[tuple[str, Tensor]]:
    """Ours by name, fp32, one after another; `theirs` reads one of theirs.

    Memory: one tensor, or one stack of experts.
    """
    stack: list[Tensor] = []
    stacked = ""
    for one in entries:
        if one.value is not None:
            continue
        if stack and one.ours[0] != stacked:
            yield stacked, torch.stack(stack)
            stack = []
        tensor = theirs(one.theirs).float()
        tensor = tensor.t() if one.how.endswith("turn") else tensor
        if one.how == "slice":
            stacked = one.ours[0]
            stack.append(tensor)
        elif one.how.startswith("join"):
            yield from zip(one.ours, tensor.split(list(one.rows)), strict=True)
        else:
            yield one.ours[0], tensor
    if stack:
        yield stacked, torch.stack(stack)


def missing_of(entries: Iterable[Entry], names: Container[str]) -> list[str]:
    """Theirs that are not among the names; constants need not be."""
    return [one.theirs for one in entries if one.value is None and one.theirs not in names]


def to_ours(entries: Sequence[Entry], theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Raises: DataError where tensors are missing."""
    if missing := missing_of(entries, theirs):
        raise DataError(f"model: the weights lack {', '.join(missing[:3])} ({len(missing)} in all)")
    return dict(each_of_ours(entries, theirs.__getitem__))
