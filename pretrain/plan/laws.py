"""Loss before training, by published laws, with an interval; and where compute is best spent.

Each public set of runs has its law (facts/laws.toml). They disagree by some 10 %: tokenizers, text
and recipes differ, and a plan's own differ again. So the next set is taken as one more draw:

    log L  =  mean over sets ± t(k - 1) · spread of the sets · √(1 + 1/k)       80 %, k sets

Left-out sets lie inside for 80 % of their runs, each set counting the same (tests/plan/test_laws).
One measured run of one's own (an anchor) takes the sets' offsets out and leaves how differently
they go on from there; runs enough for a fit of one's own are better still (plan/fit.py).
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pretrain.errors import UsageError
from pretrain.plan import facts
from pretrain.plan.fit import Form, Law
from pretrain.plan.minimise import Array
from pretrain.plan.repetition import MOST_EPOCHS, published

FAR = 10.0  # times outside the fitted range: flagged
# Scatter of single runs around their set's law: median over the eight laws of the root mean square
# of log residuals, from 0.005 (StepLaw) to 0.044 (datablations).
_SCATTER = 0.023
Surface = Callable[[Any, Any], Array]  # loss by parameters and tokens
# Student's t, 90 % to one side, by degrees of freedom (any table).
_T90 = (3.078, 1.886, 1.638, 1.533, 1.476, 1.440, 1.415, 1.397, 1.383, 1.372)


@dataclass(frozen=True)
class Prediction:
    """Nats per token with an 80 % interval, what it rests on, and what to know about it."""

    loss: float
    low: float
    high: float
    law: str
    note: str


@dataclass(frozen=True)
class Published:
    """A law of the table."""

    name: str
    family: str
    law: Law
    text: str


@functools.cache
def ensemble() -> tuple[Published, ...]:
    """The laws of the table."""
    return tuple(
        Published(
            name, row["family"],
            Law(Form(), row["E"], (row["A"], row["B"]), (row["alpha"], row["beta"]),
                low=tuple(row["low"]), high=tuple(row["high"]), n_runs=row["runs"],
                unit=row["counts"]),
            row["text"],
        )
        for name, row in facts.fact("laws", "ensemble").items()
    )  # fmt: skip


def log_losses(
    n: Array, d: Array, unique: Array | None = None, without: tuple[str, ...] = ()
) -> Array:
    """Log loss by each family of runs: (families, *shape of n and d). `without`: families."""
    by_family: dict[str, list[Array]] = {}
    _, decay = published()
    for row in ensemble():
        if row.family not in without:
            at = (n, d) if unique is None else decay.effective(n, d, unique, row.law)
            by_family.setdefault(row.family, []).append(np.log(row.law(*at)))
    return np.array([np.mean(rows, axis=0) for rows in by_family.values()])


def central(n: Array | float, d: Array | float, unique: Array | None = None) -> Array:
    """The ensemble's loss: the mean of the families' log losses."""
    return np.exp(log_losses(np.asarray(n, float), np.asarray(d, float), unique).mean(axis=0))


def predict(
    n_parameters: float,
    tokens: float,
    unique_tokens: float | None = None,
    anchor: tuple[float, float, float] | None = None,
    without: tuple[str, ...] = (),
) -> Prediction:
    """Loss of a dense model of N parameters on D tokens, of which so many are different.

    anchor: (N, D, loss) of a finished run with the same text and tokenizer.
    Raises: UsageError where a number is not above 0.
    """
    _above_0("the number of parameters", n_parameters)
    _above_0("the number of tokens", tokens)
    if unique_tokens is not None:
        _above_0("the number of unique tokens", unique_tokens)
    repeats = unique_tokens is not None and unique_tokens < tokens
    unique = np.asarray(unique_tokens, dtype=np.float64) if repeats else None
    n, d = np.asarray(n_parameters, float), np.asarray(tokens, float)
    logs = log_losses(n, d, unique, without)
    own = 0.0
    if anchor is not None:
        n_0, d_0 = (np.asarray(value, float) for value in anchor[:2])
        logs = logs - log_losses(n_0, d_0, without=without) + math.log(anchor[2])
        # The anchor and the run to come both scatter around their law.
        own = 2 * _SCATTER**2
    k = len(logs)
    spread = math.sqrt(logs.var(ddof=1) * (1 + 1 / k) + own)
    middle, half = float(logs.mean()), _T90[k - 2] * spread
    return Prediction(
        math.exp(middle), math.exp(middle - half), math.exp(middle + half),
        f"{k} families of public runs" + (", through your run" if anchor else ""),
        _note(n_parameters, tokens, unique_tokens if repeats else None, anchor is not None),
    )  # fmt: skip


def optimum(flops: float, law: Surface | None = None) -> tuple[float, float]:
    """(parameters, tokens) with the lowest loss for 6 N D = flops.

    Without a law of one's own: the geometric mean of families that found it at equal compute.
    """
    _above_0("a compute budget in FLOP", flops)
    if law is None:
        n = math.exp(np.mean([np.mean(np.log(sizes)) for sizes in _by_family(flops).values()]))
        return n, flops / 6 / n
    low, high = 0.0, math.log(flops / 6)
    for _ in range(4):
        at = np.linspace(low, high, 201)
        losses = law(np.exp(at), flops / 6 / np.exp(at))
        best, step = at[int(np.argmin(losses))], at[1] - at[0]
        low, high = best - 2 * step, best + 2 * step
    n = math.exp(best)
    return n, flops / 6 / n


def optima(flops: float) -> dict[str, tuple[float, float]]:
    """The optimum by each of them: how far opinions go."""
    found = {}
    for name, row in facts.fact("laws", "optimum").items():
        value = row["factor"] * flops ** row["exponent"]
        n = value if row["of"] == "size" else flops / 6 / value
        found[name] = (n, flops / 6 / n)
    return found


def _by_family(flops: float) -> dict[str, list[float]]:
    families: dict[str, list[float]] = {}
    for name, (n, _) in optima(flops).items():
        families.setdefault(facts.fact("laws", "optimum", name)["family"], []).append(n)
    return families


def reference(n: float, d: float) -> Surface:
    """The law for trading size against tokens: that of Chinchilla's runs, whose optimum others
    find too, scaled to the ensemble's loss at (n, d).
    """
    law = next(row.law for row in ensemble() if row.name == "chinchilla")
    scale = float(central(n, d) / law(n, d))
    return lambda size, tokens: scale * law(size, tokens)


def downstream(task: str) -> str:
    """What can be said of a task before training: an error, or that it is not predictable."""
    errors = facts.fact("laws", "downstream")["errors"]
    error = errors.get(task)
    if error is None or error >= 5:
        known = ", ".join(name for name, e in errors.items() if e < 5)
        why = "was never within 5 %" if error is None else f"was {error:g} % off"
        return f"not predictable: a chain of fits {why} (works for: {known})"
    return f"predictable from a ladder of one's own within about {error:g} %"


def _above_0(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise UsageError(f"plan: {name} is {value}; must be above 0")


def _note(n: float, d: float, unique: float | None, anchored: bool) -> str:
    parts = []
    far = max(row.law.outside(n, d) for row in ensemble())
    near = min(row.law.outside(n, d) for row in ensemble())
    if near > FAR:
        parts.append(far_away(near, "of any public set"))
    elif far > FAR:
        parts.append(f"up to {far:.2g} times outside the range of some sets")
    if unique is not None:
        epochs = d / unique
        parts.append(f"{epochs:.2g} passes, repeats worth less by Muennighoff et al. 2023")
        if epochs > MOST_EPOCHS:
            parts.append(f"beyond the {MOST_EPOCHS} passes that were tried")
    if not anchored:
        parts.append("tokenizer and text shift it by 10 % or more: one run of your own narrows it")
    parts.append("dense models with a tuned recipe")
    return "; ".join(parts)


def far_away(times: float, what: str) -> str:
    return f"{times:.2g} times outside the range {what}: an extrapolation, no forecast"
