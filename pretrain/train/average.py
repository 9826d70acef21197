"""Averages of the weights over steps, beside the weights: state named 'average.' + parameter.

    ema     a ← d·a + (1 − d)·w, bias-corrected       Polyak and Juditsky 1992; Adam's correction
    tail    the mean of w over the last steps         Izmailov et al. 2018 (SWA), every step

Both are a ← a + c(w − a) with a share c that depends on the step alone: (1 − d)/(1 − dᵗ) is the
bias-corrected EMA exactly, 1/t the mean. c of the first step is 1, so no start value remains. One
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


def share(step: int, settings: Settings) -> float:
    """How far a step, counted from 0, draws the average to its weights; 0: not begun."""
    if settings.average == "ema":
        return (1 - settings.ema_decay) / (1 - settings.ema_decay ** (step + 1))
    if settings.average == "none":
        return 0.0
    n_tail = max(1, math.ceil(settings.tail * settings.steps))
    n_seen = step + 1 - (settings.steps - n_tail)
    return 1 / n_seen if n_seen > 0 else 0.0


@torch.no_grad()
def update(
    state: Mapping[str, Tensor], parameters: Mapping[str, Tensor], step: int, settings: Settings
) -> None:
    """Draw the average to the weights after a step, in place."""
    if c := share(step, settings):
        averages = [pieces.local(state[PREFIX + name]) for name in parameters]
        torch._foreach_lerp_(averages, [pieces.local(p) for p in parameters.values()], c)


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
