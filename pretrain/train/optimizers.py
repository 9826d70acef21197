"""AdamW and Muon as plain functions over lists of tensors; state is a flat dict of tensors.

    AdamW   m ← β₁m + (1−β₁)g;  v ← β₂v + (1−β₂)g²
            w ← w − lr·λ·w − lr·(m/(1−β₁ᵗ)) / (√(v/(1−β₂ᵗ)) + ε)       Loshchilov and Hutter 2019
    Muon    b ← μb + g;  u = orthogonalise(g + μb)
            w ← w − lr·λ·w − lr·√max(1, rows/columns)·u                  Jordan et al. 2024

Muon takes the matrices inside the blocks, AdamW everything else. `orthogonalise` is five steps of
a Newton-Schulz iteration on all matrices of one shape at once. Weight decay falls on matrices only.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pretrain.train.settings import Settings

# The quintic's coefficients: Jordan et al. 2024, tuned for steep growth of small singular values.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_NEWTON_SCHULZ_STEPS = 5


@dataclass
class Optimizer:
    """Which parameters each rule moves, and their state: names such as 'm.embed.weight'."""

    adamw: dict[str, Tensor]
    muon: dict[str, Tensor]
    state: dict[str, Tensor]
    settings: Settings

    @torch.no_grad()
    def step(self, step: int, factor: float) -> None:
        """Move all parameters by their `.grad`; `step` counts from 0, `factor` scales the rates."""
        s = self.settings
        if self.adamw:
            _adamw(self.adamw, self.state, step, s.lr * factor, s)
        if self.muon:
            _muon(self.muon, self.state, s.matrix_lr * factor, s)


def build(parameters: Mapping[str, Tensor], settings: Settings) -> Optimizer:
    """An optimizer with zero state for named parameters."""
    muon = {
        name: p
        for name, p in parameters.items()
        if settings.optimizer == "muon" and name.startswith("blocks.") and p.ndim == 2
    }
    adamw = {name: p for name, p in parameters.items() if name not in muon}
    state = {f"{part}.{n}": torch.zeros_like(p) for n, p in adamw.items() for part in "mv"}
    state |= {f"b.{n}": torch.zeros_like(p) for n, p in muon.items()}
    return Optimizer(adamw, muon, state, settings)


def _adamw(
    parameters: dict[str, Tensor], state: dict[str, Tensor], step: int, lr: float, s: Settings
) -> None:
    weights = list(parameters.values())
    grads = [_grad(p) for p in weights]
    m = [state[f"m.{n}"] for n in parameters]
    v = [state[f"v.{n}"] for n in parameters]
    _decay(weights, lr * s.weight_decay)
    torch._foreach_lerp_(m, grads, 1 - s.beta1)
    torch._foreach_mul_(v, s.beta2)
    torch._foreach_addcmul_(v, grads, grads, 1 - s.beta2)
    denominator = torch._foreach_sqrt(v)
    torch._foreach_div_(denominator, math.sqrt(1 - s.beta2 ** (step + 1)))
    torch._foreach_add_(denominator, s.epsilon)
    torch._foreach_addcdiv_(weights, m, denominator, -lr / (1 - s.beta1 ** (step + 1)))


def _muon(parameters: dict[str, Tensor], state: dict[str, Tensor], lr: float, s: Settings) -> None:
    _decay(list(parameters.values()), lr * s.weight_decay)
    by_shape: dict[tuple[int, ...], list[str]] = {}
    for name, parameter in parameters.items():
        by_shape.setdefault(tuple(parameter.shape), []).append(name)
    for (rows, columns), names in by_shape.items():
        grads = [_grad(parameters[n]) for n in names]
        momentum = [state[f"b.{n}"] for n in names]
        torch._foreach_mul_(momentum, s.momentum)
        torch._foreach_add_(momentum, grads)
        ahead = torch._foreach_add(grads, momentum, alpha=s.momentum)  # Nesterov
        updates = orthogonalise(torch.stack(ahead))
        scale = lr * math.sqrt(max(1.0, rows / columns))
        torch._foreach_add_([parameters[n] for n in names], list(updates), alpha=-scale)


def orthogonalise(g_NRC: Tensor) -> Tensor:
    """Each matrix with its singular values driven to about 1, its singular vectors kept."""
    wide = g_NRC.shape[-2] <= g_NRC.shape[-1]
    x = g_NRC if wide else g_NRC.mT
    if x.is_cuda:
        x = x.bfloat16()
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(_NEWTON_SCHULZ_STEPS):
        a = x @ x.mT
        x = _A * x + (_B * a + _C * (a @ a)) @ x
    return (x if wide else x.mT).to(g_NRC.dtype)


def _decay(weights: list[Tensor], amount: float) -> None:
    matrices = [w for w in weights if w.ndim > 1]
    if matrices and amount:
        torch._foreach_mul_(matrices, 1 - amount)


def _grad(parameter: Tensor) -> Tensor:
    return parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
