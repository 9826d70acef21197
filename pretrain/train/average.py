"""Averages of the weights over steps, beside the weights: state named 'average.' + parameter.

    ema     a ← d·a + (1 − d)·w, bias-corrected       Polyak and Juditsky 1992; Adam's correction
    tail    the mean of w over the last steps         Izmailov et al. 2018 (SWA), every step

Both are a ← a + c(w − a) after every step t, one without an update too, for w is the weights after
it: c = (1 − d)/(1 − dᵗ) is the bias-corrected EMA exactly, 1/n the mean of n steps. c of the first
step is 1, so no start value remains. Which step is the mean's first lies in every checkpoint: a
tail that an accepted change has moved begins where it says, or at once where that is past. One
buffer of the weights' size, no other; it is part of the optimizer's state in checkpoints. The
weights being trained never see it.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from pretrain.parallel import pieces
from pretrain.train.settings import Settings

PREFIX = "average."


def start(parameters: Mapping[str, Tensor], settings: Settings) -> dict[str, Tensor]:
    """The state of the average, empty where none is kept."""
    if settings.average == "none":
        return {}
    return {PREFIX + name: p.detach().clone() for name, p in parameters.items()}


def first_step(before: int | None, step: int, settings: Settings) -> int | None:
    """The first step, counted from 0, that is in the average after this one; None: not begun.

    before: what it was after the step before.
    """
    if settings.average != "tail":
        return 0 if settings.average == "ema" else None
    begin = settings.steps - max(1, math.ceil(settings.tail * settings.steps))
    if step < begin:
        return None
    return step if before is None or before < begin else before


def share(step: int, first: int, settings: Settings) -> float:
    """How far a step draws the average to its weights, where `first` is its first step."""
    if settings.average == "ema":
        return (1 - settings.ema_decay) / (1 - settings.ema_decay ** (step + 1))
    return 1 / (step + 1 - first)


@torch.no_grad()
def update(
    state: Mapping[str, Tensor], parameters: Mapping[str, Tensor], step: int, first: int | None,
    settings: Settings,
) -> None:  # fmt: skip
    """Draw the average to the weights after a step, in place; first: as `first_step` says."""
    if first is not None:
        averages = [pieces.local(state[PREFIX + name]) for name in parameters]
        weights = [pieces.local(p) for p in parameters.values()]
        torch._foreach_lerp_(averages, weights, share(step, first, settings))


@contextmanager
def used(state: Mapping[str, Tensor], parameters: Mapping[str, Tensor]) -> Iterator[None]:
    """Within, the parameters hold the average; one tensor's memory beside them."""
    _swap(state, parameters)
    try:
        yield
    finally:
        _swap(state, parameters)


@torch.no_grad()
def _swap(state: Mapping[str, Tensor], parameters: Mapping[str, Tensor]) -> None:
    """By value: who gathers parameters from their pieces knows where those lie."""
    for name, p in parameters.items():
        weight, average = pieces.local(p), pieces.local(state[PREFIX + name])
        kept = weight.clone()
        weight.copy_(average)
        average.copy_(kept)


def of(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The average's tensors by parameter name."""
    return {n.removeprefix(PREFIX): t for n, t in state.items() if n.startswith(PREFIX)}
