"""Norms by group of layers: of gradients, weights, and what a step of the optimizer changed.

    embedding,  blocks.0.attention,  blocks.0.feed_forward,  …,  norms,  head

A measured step moves one group after another, so that the old weights of one group alone are kept
beside the new ones. The optimizer's rules do not look across groups: the weights move as in a step
that is not measured, on a processor by the same bits (a GPU's orthogonalisation may differ in the
last bit, always at the same steps of a recipe). A tied head is part of the embedding.

Of tensors in pieces each piece is counted once, by the first rank that holds it, and the squares
are summed over ranks: one collective for all groups.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from pretrain.parallel import pieces
from pretrain.parallel.mesh import Mesh
from pretrain.train.optimizers import Optimizer

Groups = Mapping[str, Mapping[str, Tensor]]
_CHUNK = 1 << 24  # elements: a longer sum of squares in fp32 is off by more than 1e-4


def group_of(name: str) -> str:
    """The group of a parameter, by its name."""
    *path, _ = name.split(".")
    if path and path[-1].endswith("norm"):
        return "norms"
    if part := re.match(r"(.*blocks\.\d+\.\w+)", name):
        return part[1]
    return "head" if name.startswith(("head", "transform")) else "embedding"


def groups_of(parameters: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Parameters by group, in the order of a model."""
    groups: dict[str, dict[str, Tensor]] = {}
    for name, parameter in parameters.items():
        groups.setdefault(group_of(name), {})[name] = parameter
    return groups


@torch.no_grad()
def total(parameters: Sequence[Tensor], mesh: Mesh) -> Tensor:
    """The norm of all gradients together, the same on every rank."""
    grads = [p.grad for p in parameters if p.grad is not None]
    if mesh.is_whole:
        return torch.nn.utils.get_total_norm(grads)
    return _over_ranks(_squares(_of_gradients(parameters, mesh), grads), mesh).sqrt().float()


@torch.no_grad()
def clip_(parameters: Sequence[Tensor], most: float, norm: Tensor) -> None:
    """Scale the gradients down to a norm of `most` where theirs is larger.

    As torch.nn.utils.clip_grads_with_norm_, for whatever part of each a rank holds.
    """
    grads = [g for p in parameters if (g := pieces.local_grad(p)) is not None]
    torch._foreach_mul_(grads, torch.clamp(most / (norm + 1e-6), max=1.0))


@torch.no_grad()
def of_gradients(groups: Groups, mesh: Mesh | None = None) -> dict[str, Tensor]:
    """The norm of each group's gradients."""
    if not groups:
        return {}
    squares = []
    for members in groups.values():
        parameters = list(members.values())
        squares.append(_squares(_of_gradients(parameters, mesh), parameters))
    norms = _over_ranks(torch.stack(squares), mesh).sqrt()
    return dict(zip(groups, norms, strict=True))


@torch.no_grad()
def step(
    optimizer: Optimizer, groups: Groups, gradients: Mapping[str, Tensor], n: int, factor: float,
    mesh: Mesh | None = None,
) -> dict[str, dict[str, float]]:  # fmt: skip
    """The optimizer's step `n`, group by group; norms as what a metrics line says.

    weight: before the step; update: of the difference, weight decay included; relative: their
    ratio, left out where all weights are zero. `gradients` come from before clipping. Without
    groups it is a plain step.
    """
    if not groups:
        optimizer.step(n, factor)
        return {}
    # Matrices in pieces go to their owners all together, so that all old pieces are kept.
    rounds = [groups] if optimizer.exchange else [{g: m} for g, m in groups.items()]
    squares = []
    for together in rounds:
        members = {name: p for group in together.values() for name, p in group.items()}
        before = {name: pieces.local(p).detach().clone() for name, p in members.items()}
        weights = [_squares(_counted(m, before, mesh), m.values()) for m in together.values()]
        replace(
            optimizer,
            adamw={name: p for name, p in optimizer.adamw.items() if name in members},
            muon={name: p for name, p in optimizer.muon.items() if name in members},
        ).step(n, factor)
        for name, old in before.items():
            old.sub_(pieces.local(members[name]))
        updates = [_squares(_counted(m, before, mesh), m.values()) for m in together.values()]
        squares += [torch.stack(two) for two in zip(weights, updates, strict=True)]
    of_weights = _over_ranks(torch.stack(squares), mesh).sqrt()
    first = torch.stack([gradients[group] for group in groups])
    norms = torch.cat([first[:, None], of_weights], dim=1).tolist()  # one wait
    told = {}
    for group, (gradient, weight, update) in zip(groups, norms, strict=True):
        told[group] = {"gradient": gradient, "weight": weight, "update": update}
        if weight:
            told[group]["relative"] = update / weight
    return told


def _of_gradients(parameters: Iterable[Tensor], mesh: Mesh | None) -> list[Tensor]:
    """The gradients' parts that this rank counts."""
    grads = [(p, pieces.local_grad(p)) for p in parameters]
    return [g for p, g in grads if g is not None and (mesh is None or pieces.is_first(p, mesh))]


def _counted(
    members: Mapping[str, Tensor], parts: Mapping[str, Tensor], mesh: Mesh | None
) -> list[Tensor]:
    """Of some parameters' parts those that this rank counts, so that each is counted once."""
    return [parts[n] for n, p in members.items() if mesh is None or pieces.is_first(p, mesh)]


def _squares(tensors: list[Tensor], of: Iterable[Tensor]) -> Tensor:
    """The sum of all elements' squares, in fp64."""
    squares = [c.dot(c).double() for t in tensors for c in t.reshape(-1).split(_CHUNK)]
    if not squares:
        device = next((t.device for t in of), None)
        return torch.zeros((), dtype=torch.float64, device=device)
    return torch.stack(squares).sum()


def _over_ranks(squares: Tensor, mesh: Mesh | None) -> Tensor:
    """Sums of squares of all ranks' parts; as they are where every rank holds all."""
    if mesh is not None and not mesh.is_whole:
        mesh.world.sum_([squares])
    return squares
