"""Factors by kind of parameter, so that rates tuned on a small model serve wider and deeper ones.

With n = width / base width and l = layers / base layers (l = 1 for mup), in AdamW:

                                  initial value    learning rate    epsilon
    embedding                     1                1                1/n
    matrix in a block             1 *              1/n              1/(n l)
    o, down                       1/l *            1/(n l)          1/n
    vector in a block             1                1                1/(n l)
    last norm                     1                1                1/n
    head                          1/n              1/n              1

    * `init` draws them with 1/√fan-in already. Muon: 1 for a matrix, 1/l for o and down.

These are table 8 of Tensor Programs V (Yang et al. 2022) and table 1 of CompleteP (Dey et al. 2025,
α = 1) without their multipliers, the head's 1/n and the branches' 1/l. Under Adam a weight behind a
multiplier a is the same function, before and after every step, as a weight of a times the initial
value, a times the learning rate and 1/a times epsilon (the abc-symmetry, Tensor Programs V, lemma
J.1); so the multipliers stand in o, down and head, and a published model needs none. A tied head
carries its factor in the last norm. Weight decay per step stays that of the base (decay x learning
rate, as in table 1). The price: the gradient norm that is clipped is that of the weights without
multipliers.

T5 divides no score by √head dim: its queries carry that multiplier, whatever is transferred.
Without it scores begin with a deviation of √head dim, and attention looks at one place only.

Muon's update has a spectral norm that transfers over width (Yang, Simon, Bernstein 2023) as long as
a matrix keeps its proportions. Wider means more heads of the same dim, and hidden grows alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pretrain.model.settings import Shape
from pretrain.parallel import pieces
from pretrain.train.settings import Settings


@dataclass(frozen=True)
class Factors:
    """What a parameter's initial value, rates (AdamW's, Muon's) and epsilon are multiplied by."""

    initial: float = 1.0
    lr: float = 1.0
    epsilon: float = 1.0
    matrix_lr: float = 1.0


def factors(
    parameters: Mapping[str, Tensor], shape: Shape, settings: Settings
) -> dict[str, Factors]:
    """The factors of every parameter; one where nothing is transferred or at the base."""
    found = {name: Factors() for name in parameters}
    if settings.transfer != "none":
        wider = shape.width / settings.base_width
        deeper = shape.layers / settings.base_layers if settings.transfer == "completep" else 1.0
        kinds = table(wider, deeper, shape.tied)
        found = {name: kinds[kind(name, p.ndim)] for name, p in parameters.items()}
    if shape.positions == "relative":
        a = shape.head_width**-0.5
        found |= {n: behind(a, f) for n, f in found.items() if n.endswith(".q.weight")}
    return found


def behind(a: float, of: Factors) -> Factors:
    """Factors of a weight that carries a multiplier a itself, and is the same function so."""
    return Factors(of.initial * a, of.lr * a, of.epsilon / a, of.matrix_lr * a)


def table(wider: float, deeper: float, tied: bool = False) -> dict[str, Factors]:
    """Factors by kind of a model that is so many times as wide and as deep as the base."""
    n, l = 1 / wider, 1 / deeper  # noqa: E741 as in the papers
    return {
        "embedding": Factors(epsilon=n),
        "matrix": Factors(lr=n, epsilon=n * l),
        "branch": Factors(initial=l, lr=n * l, epsilon=n, matrix_lr=l),
        "vector": Factors(epsilon=n * l),
        "last_norm": Factors(initial=n, lr=n) if tied else Factors(epsilon=n),
        "head": Factors(initial=n, lr=n),
    }


def kind(name: str, n_dims: int) -> str:
    """Which row of the table a parameter belongs to."""
    outside = {"embed.weight": "embedding", "head.weight": "head", "norm.weight": "last_norm"}
    if name in outside:
        return outside[name]
    if name.endswith(("position.weight", "segment.weight", "relative.weight")):
        return "embedding"
    if n_dims < 2:
        return "vector"
    return "branch" if name.endswith(("o.weight", "down.weight")) else "matrix"


@torch.no_grad()
def scale(parameters: Mapping[str, Tensor], factors: Mapping[str, Factors]) -> None:
    """Multiply initial values by their factors, in place."""
    for name, parameter in parameters.items():
        if factors[name].initial != 1:
            pieces.local(parameter).mul_(factors[name].initial)
