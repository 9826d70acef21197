"""AdamW and Muon as plain functions over lists of tensors; state is a flat dict of tensors.

    AdamW   m ← β₁m + (1−β₁)g;  v ← β₂v + (1−β₂)g²
            w ← w − lr·λ·w − lr·(m/(1−β₁ᵗ)) / (√(v/(1−β₂ᵗ)) + ε)       Loshchilov and Hutter 2019
    Muon    b ← μb + g;  u = orthogonalise(g + μb)
            w ← w − lr·λ·w − lr·√max(1, rows/columns)·u                  Jordan et al. 2024

Muon takes the matrices inside the blocks, AdamW everything else; a parameter of three dims is a
stack of matrices (experts), each orthogonalised alone. Weight decay falls on matrices only.

AdamW is PyTorch's fused kernel over our state: one pass, no temporaries, the same bits for any
number of threads. Muon is in two halves, `muon_updates` of whole matrices and `apply_updates`. On a
CPU a matrix's update has the same bits whatever others are updated beside it.

Where parameters lie in pieces over ranks, so does their state. AdamW moves each piece where it is;
a matrix that Muon moves has one `owner`, which gets its pieces and sends the update's back
(parallel/exchange.py: two collectives a step).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pretrain.parallel import pieces
from pretrain.parallel.exchange import Exchange, ranks_of
from pretrain.parallel.mesh import Mesh
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
    exchange: Exchange | None = None

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
            updates = muon_updates(self.muon, self.state, s.momentum, self.exchange)
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
    mesh: Mesh | None = None,
) -> Optimizer:
    """An optimizer with zero state for named parameters; without factors all are one.

    mesh: what parameters in pieces are laid on.
    """
    muon = {
        name: p
        for name, p in parameters.items()
        if settings.optimizer == "muon" and "blocks." in name and p.ndim in (2, 3)
    }
    adamw = {name: p for name, p in parameters.items() if name not in muon}
    state = {f"{part}.{n}": torch.zeros_like(p) for n, p in adamw.items() for part in "mv"}
    state |= {f"b.{n}": torch.zeros_like(p) for n, p in muon.items()}
    factors = factors or dict.fromkeys(parameters, Factors())
    divided = {
        name: p for name, p in muon.items() if any(d >= p.ndim - 2 for d in pieces.cut_dims(p))
    }
    exchange = None
    if divided and mesh:
        owner = owners({n: tuple(p.shape) for n, p in divided.items()}, len(ranks_of(mesh)))
        exchange = Exchange(divided, owner, mesh)
    return Optimizer(adamw, muon, state, settings, factors, exchange)


def _adamw(
    parameters: Mapping[str, Tensor], state: Mapping[str, Tensor], step: int, lr: float,
    decay: float, epsilon: float, s: Settings,
) -> None:  # fmt: skip
    weights = [pieces.local(p) for p in parameters.values()]
    n_steps = torch.full((), step + 1.0, device=weights[0].device)
    torch._fused_adamw_(
        weights,
        [_grad(p) for p in parameters.values()],
        [pieces.local(state[f"m.{n}"]) for n in parameters],
        [pieces.local(state[f"v.{n}"]) for n in parameters],
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
    parameters: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    momentum: float,
    exchange: Exchange | None = None,
) -> Iterable[tuple[str, Tensor]]:
    """(name, direction of its update) of matrices, one after another; momentum moves on.

    Of a matrix in pieces, this rank's piece. Matrices that lie whole on a rank, experts among
    them, are orthogonalised there; the others on the rank that owns them.
    """

    def ahead(name: str) -> Tensor:
        grad, b = _grad(parameters[name]), pieces.local(state[f"b.{name}"])
        b.mul_(momentum).add_(grad)
        return torch.add(grad, b, alpha=momentum)  # Nesterov

    divided = exchange.own if exchange else {}
    at_hand = {n: pieces.local(p) for n, p in parameters.items() if n not in divided}
    yield from _directions(at_hand, ahead)
    if exchange:
        parts = {name: ahead(name) for name in divided}
        whole = exchange.gather(parts)
        like = next(iter(parts.values()))
        parts.clear()
        yield from exchange.scatter(dict(_directions(whole, whole.__getitem__)), like).items()


def _directions(
    tensors: Mapping[str, Tensor], ahead: Callable[[str], Tensor]
) -> Iterator[tuple[str, Tensor]]:
    """Each matrix or stack that `ahead` gives by name, orthogonalised."""
    for names in _stacks(tensors):
        matrices = [g.view(-1, *g.shape[-2:]) for g in map(ahead, names)]
        u_NRC = orthogonalise(torch.cat(matrices) if len(matrices) > 1 else matrices[0])
        for name, u in zip(names, u_NRC.split([len(g) for g in matrices]), strict=True):
            yield name, u.view(tensors[name].shape)


def apply_updates(
    parameters: Mapping[str, Tensor],
    updates: Iterable[tuple[str, Tensor]],
    rates: Mapping[str, float],
    decay: float,
) -> None:
    """Decay each matrix and move it against its update, scaled by its shape and its rate."""
    for name, update in updates:
        rows, columns = parameters[name].shape[-2:]
        scale = rates[name] * math.sqrt(max(1.0, rows / columns))
        pieces.local(parameters[name]).mul_(1 - decay).add_(update, alpha=-scale)


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
    """The gradient of what this rank holds."""
    grad = pieces.local_grad(parameter)
    return grad if grad is not None else torch.zeros_like(pieces.local(parameter))
