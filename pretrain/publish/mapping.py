"""How a tensor of ours becomes one of `transformers`', and back, exactly.

copy    the same                       turn        transposed (GPT-2's Conv1D)
join    several, one above the other   join-turn   and then transposed
slice   one matrix of a stack of experts           fixed   a constant of theirs that we compute
"""

from collections.abc import Callable, Iterable, Mapping
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


def to_theirs(entries: Iterable[Entry], ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    result = {}
    for one in entries:
        if one.value is not None:
            result[one.theirs] = one.value()
            continue
        parts = [ours[name] for name in one.ours]
        tensor = torch.cat(parts) if one.how.startswith("join") else parts[0]
        if one.how == "slice":
            tensor = tensor[one.index]
        result[one.theirs] = tensor.t() if one.how.endswith("turn") else tensor
    return result


def to_ours(entries: Iterable[Entry], theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Raises: DataError where tensors are missing."""
    entries = [one for one in entries if one.value is None]
    missing = [one.theirs for one in entries if one.theirs not in theirs]
    if missing:
        raise DataError(
            f"publish: the weights lack {', '.join(missing[:3])} ({len(missing)} in all)"
        )
    result: dict[str, Tensor] = {}
    stacks: dict[str, list[Tensor]] = {}
    for one in entries:
        tensor = theirs[one.theirs].float()
        tensor = tensor.t() if one.how.endswith("turn") else tensor
        if one.how == "slice":
            stacks.setdefault(one.ours[0], []).append(tensor)
        elif one.how.startswith("join"):
            result |= zip(one.ours, tensor.split(list(one.rows)), strict=True)
        else:
            result[one.ours[0]] = tensor
    return result | {name: torch.stack(parts) for name, parts in stacks.items()}
