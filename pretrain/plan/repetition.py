"""Data that is read more than once is worth less each time (Muennighoff et al. 2023, 2305.16264).

    effective tokens      U_D + U_D R_D* (1 − exp(−R_D / R_D*))      R_D = D / U_D − 1
    effective parameters  U_N + U_N R_N* (1 − exp(−R_N / R_N*))      R_N = N / U_N − 1

U_D are the unique tokens, U_N the parameters that are best for so many, at most N. A law of loss is
then asked at the effective values. The two constants were fitted on C4 with up to some 40 passes;
on small models at high repetition the form is wrong by several percent.
"""

import math
from dataclasses import dataclass

import numpy as np

from pretrain.plan import facts
from pretrain.plan.fit import DELTA, Form, Law
from pretrain.plan.minimise import Array

# Passes up to which the published fit was tried (2305.16264, figure 4: 44 epochs at most).
MOST_EPOCHS = 44


@dataclass(frozen=True)
class Decay:
    """How fast repeats lose their worth: R_D* of data, R_N* of excess parameters."""

    data: float
    parameters: float

    def effective(self, n: Array, d: Array, unique: Array, law: Law) -> tuple[Array, Array]:
        """(parameters, tokens) that count, of N parameters on D tokens with so many unique."""
        unique = np.minimum(unique, d)
        fitting = np.minimum(n, size_for_tokens(law, unique))
        return _saturated(n, fitting, self.parameters), _saturated(d, unique, self.data)


def published() -> tuple[Law, Decay]:
    """The law and the decay of the paper, all digits of its code."""
    row = facts.fact("laws", "muennighoff")
    law = Law(
        Form(tied=True), math.exp(row["e"]), (math.exp(row["a"]), math.exp(row["b"])),
        (row["alpha"], row["alpha"]), unit=row["counts"],
    )  # fmt: skip
    return law, Decay(row["r_data"], row["r_parameters"])


def size_for_tokens(law: Law, d: Array) -> Array:
    """Parameters that spend compute best on D tokens: G (G D)^(β/α), G^(α+β) = αA / βB."""
    (alpha, beta), (a, b) = law.exponents, law.factors
    g = (alpha * a / (beta * b)) ** (1 / (alpha + beta))
    return np.asarray(g * (g * np.asarray(d, dtype=np.float64)) ** (beta / alpha))


def fit_decay(x: Array, unique: Array, loss: Array, law: Law, delta: float = DELTA) -> Decay:
    """R_D* and R_N* of runs with repeats, the law held; Huber on log loss, a grid made finer.

    Shapes: x (runs, 2), unique and loss (runs,).
    """
    n, d = np.asarray(x, dtype=np.float64).T

    def error(data: float, parameters: float) -> float:
        found = law(*Decay(data, parameters).effective(n, d, unique, law))
        residual = np.abs(np.log(found / loss))
        huber = np.where(residual < delta, residual**2 / (2 * delta), residual - delta / 2)
        return float(huber.sum())

    data, parameters, width = 2.0, 2.0, 3.5  # natural logarithms, and how far around
    for _ in range(14):
        steps = np.linspace(-width, width, 9)
        grid = [(data + i, parameters + j) for i in steps for j in steps]
        data, parameters = min(grid, key=lambda at: error(math.exp(at[0]), math.exp(at[1])))
        width /= 2.5
    return Decay(math.exp(data), math.exp(parameters))


def _saturated(whole: Array, unique: Array, rate: float) -> Array:
    repeats = np.maximum(np.asarray(whole) / unique - 1, 0)
    return np.asarray(unique * (1 - rate * np.expm1(-repeats / rate)))
