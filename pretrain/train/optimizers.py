"""AdamW and Muon as plain functions over lists of tensors; state is a flat dict of tensors.

    AdamW   m ← β₁m + (1−β₁)g;  v ← β₂v + (1−β₂)g²
            w ← w − lr·λ·w − lr·(m/(1−β₁ᵗ)) / (√(v/(1−β₂ᵗ)) + ε)       Loshchilov and Hutter 2019
    Muon    b ← μb + g;  u = orthogonalise(g + μb)
            w ← w − lr·λ·w − lr·√max(1, rows/columns)·u                  Jordan et al. 2024

Muon takes the matrices inside the blocks, AdamW everything else; a parameter of three dims is a
stack of matrices (experts), each orthogonalised alone. Weight decay falls on matrices only.

AdamW is PyTorch's fused kernel over our state: one pass, no temporaries, the same bits for any
number of threads. Muon is in two halves, `muon_updates` of whole matrices and `apply_updates`, so
that each matrix can have one `owner` among ranks. On a CPU a matrix's update has the same bits
whatever others are updated beside it.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pretrain.train.settings import Settings
from pretrain.train.transfer import Factors

# The quintic's coefficients: Jordan et al. 2024, tuned for steep growth of small singular values.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_NEWTON_SCHULZ_STEPS = 5
_STACK_BYTES = 256 << 20  # of matrices that a GPU orthogonalises at once


@dataclass
class Optimizer:
    """Which parameters each rule moves, and their state: names such as 'm.embed.weight'."""

    adamw: dict[str, Tensor]
    muon: dict[str, Tensor]
    state: dict[str, Tensor]
    settings: Settings
    factors: Mapping[str, Factors]

    @torch.no_grad()
    def step(self, step: int, factor: float) -> None:
        """Move all parameters by their `.grad`; `step` counts from 0, `factor` scales the rates."""
        s = self.settings
        for (of, decayed), names in self._alike().items():
            group = {name: self.adamw[name] for name in names}
            # Decay per step is the base's: the kernel multiplies by the rate, factor and all.
            decay = s.weight_decay / of.lr if decayed else 0.0
            _adamw(group, self.state, step, s.lr * factor * of.lr, decay, s.epsilon * of.epsilon, s)
        if self.muon:
            rate = s.matrix_lr * factor
            rates = {name: rate * self.factors[name].matrix_lr for name in self.muon}
            updates = muon_updates(self.muon, self.state, s.momentum)
            apply_updates(self.muon, updates, rates, rate * s.weight_decay)

    def _alike(self) -> dict[tuple[Factors, bool], list[str]]:
        """AdamW's parameters by what their step is made of."""
        groups: dict[tuple[Factors, bool], list[str]] = {}
        for name, p in self.adamw.items():
            groups.setdefault((self.factors[name], p.ndim > 1), []).append(name)
        return groups


def build(
    parameters: Mapping[str, Tensor],
    settings: Settings,
    factors: Mapping[str, Factors] | None = None,
) -> Optimizer:
    """An optimizer with zero state for named parameters; without factors all are one."""
    muon = {
        name: p
        for name, p in parameters.items()
        if settings.optimizer == "muon" and name.startswith("blocks.") and p.ndim in (2, 3)
    }
    adamw = {name: p for name, p in parameters.items() if name not in muon}
    state = {f"{part}.{n}": torch.zeros_like(p) for n, p in adamw.items() for part in "mv"}
    state |= {f"b.{n}": torch.zeros_like(p) for n, p in muon.items()}
    return Optimizer(adamw, muon, state, settings, factors or dict.fromkeys(parameters, Factors()))


def _adamw(
    parameters: Mapping[str, Tensor], state: Mapping[str, Tensor], step: int, lr: float,
    decay: float, epsilon: float, s: Settings,
) -> None:  # fmt: skip
    weights = list(parameters.values())
    n_steps = torch.full((), step + 1.0, device=weights[0].device)
    torch._fused_adamw_(
        weights,
        [_grad(p) for p in weights],
        [state[f"m.{n}"] for n in parameters],
        [state[f"v.{n}"] for n in parameters],
        [],
        [n_steps] * len(weights),
        lr=lr,
        beta1=s.beta1,
        beta2=s.beta2,
        weight_decay=decay,
        eps=epsilon,
        amsgrad=False,
        maximize=False,
    )


def muon_updates(
    parameters: Mapping[str, Tensor], state: Mapping[str, Tensor], momentum: float
) -> Iterable[tuple[str, Tensor]]:
    """(name, direction of its update) of whole matrices, one after another; momentum moves on.

    Given some of a model's parameters, only their state is read: what a rank does that owns these.
    """
    for names in _stacks(parameters):
        ahead = []
        for name in names:
            grad, b = _grad(parameters[name]), state[f"b.{name}"]
            b.mul_(momentum).add_(grad)
            g = torch.add(grad, b, alpha=momentum)  # Nesterov
            ahead.append(g.view(-1, *g.shape[-2:]))
        u_NRC = orthogonalise(torch.cat(ahead) if len(ahead) > 1 else ahead[0])
        for name, u in zip(names, u_NRC.split([len(g) for g in ahead]), strict=True):
            yield name, u.view_as(parameters[name])


def apply_updates(
    parameters: Mapping[str, Tensor],
    updates: Iterable[tuple[str, Tensor]],
    rates: Mapping[str, float],
    decay: float,
) -> None:
    """Decay each matrix and move it against its update, scaled by its shape and its rate."""
    for name, update in updates:
        rows, columns = update.shape[-2:]
        scale = rates[name] * math.sqrt(max(1.0, rows / columns))
        parameters[name].mul_(1 - decay).add_(update, alpha=-scale)


def owners(shapes: Mapping[str, tuple[int, ...]], n_ranks: int) -> dict[str, int]:
    """The rank that orthogonalises each matrix: the largest first, to the rank with least to do.

    A pure function of names, shapes and ranks. Work is Newton-Schulz FLOPs; a stack of experts
    stays whole. The busiest rank has at most 4/3 − 1/(3 ranks) of the best split's work.
    Source: Graham 1969, longest processing time first.
    """
    load = [0] * n_ranks
    owner = {}
    for name in sorted(shapes, key=lambda n: (-newton_schulz_flops(shapes[n]), n)):
        owner[name] = min(range(n_ranks), key=lambda rank: (load[rank], rank))
        load[owner[name]] += newton_schulz_flops(shapes[name])
    return owner


def newton_schulz_flops(shape: tuple[int, ...]) -> int:
    """FLOPs to orthogonalise a matrix or a stack: per step x xᵀ, its square, and one with x."""
    *n, rows, columns = shape
    short, long = sorted((rows, columns))
    return math.prod(n) * _NEWTON_SCHULZ_STEPS * (4 * short**2 * long + 2 * short**3)


def orthogonalise(g_NRC: Tensor) -> Tensor:
    """Each matrix with its singular values driven to about 1, its singular vectors kept."""
    if not g_NRC.is_cuda and len(g_NRC) > 1:
        # One at a time is as fast, and a product of a stack has bits of its own.
        return torch.cat([orthogonalise(g) for g in g_NRC.split(1)])
    wide = g_NRC.shape[-2] <= g_NRC.shape[-1]
    x = g_NRC if wide else g_NRC.mT
    if x.is_cuda:
        x = x.bfloat16()
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(_NEWTON_SCHULZ_STEPS):
        a = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(a, a, a, beta=_B, alpha=_C), x, beta=_A)
    return (x if wide else x.mT).to(g_NRC.dtype)


def _stacks(parameters: Mapping[str, Tensor]) -> list[list[str]]:
    """Names to orthogonalise at once: matrices of one shape up to a bound; on a CPU one name."""
    stacks: dict[tuple[object, ...], list[str]] = {}
    n_bytes: dict[tuple[int, ...], int] = {}
    for name, p in parameters.items():
        size = tuple(p.shape[-2:])
        n_bytes[size] = n_bytes.get(size, 0) + p.nbytes
        key = (size, n_bytes[size] // _STACK_BYTES) if p.is_cuda else (name,)
        stacks.setdefault(key, []).append(name)
    return list(stacks.values())


def _grad(parameter: Tensor) -> Tensor:
    return parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
