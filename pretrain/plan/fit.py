"""Laws of loss, fitted: a floor and a sum of falling powers.

    L(x) = E + Σ_k A_k / x_k^α_k            x = (N, D), or (C)

Chinchilla's third approach (Hoffmann et al. 2022, 2203.15556, section 3.3): log L is the
log-sum-exp of e and a_k - α_k log x_k; its residuals go through a Huber loss with threshold 1e-3,
summed. Averaging instead stops the optimiser early and gave the paper its constants (Besiroglu et
al. 2024, 2404.10102). Starts: for each of a grid of exponents the floor and the factors follow by
least squares. log x is centred while fitting, else factors and exponents are hard to tell apart.

Uncertainty: bootstrap over runs, the error on the largest run when it is left out, the condition
number of the fit, and warnings where the runs span too little to tell the terms apart.
"""

import itertools
import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pretrain.errors import DataError
from pretrain.plan.minimise import Array, Function, minimise

DELTA = 1e-3  # Huber threshold on log loss (Hoffmann et al. 2022)
_EXPONENTS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9, 1.2, 1.6)


@dataclass(frozen=True)
class Form:
    """What is fitted. names: of the variables x_k; on: 'log' residuals, or of the 'loss' itself."""

    names: tuple[str, ...] = ("N", "D")
    floor: bool = True
    tied: bool = False  # one exponent for all variables
    on: str = "log"
    delta: float = DELTA  # infinite: least squares

    @property
    def n_free(self) -> int:
        return self.floor + len(self.names) + (1 if self.tied else len(self.names))


@dataclass(frozen=True)
class Law:
    """A fitted law; its floor is 0 where the form has none. `unit` says what N counts."""

    form: Form
    floor: float
    factors: tuple[float, ...]
    exponents: tuple[float, ...]
    spread: float = 0.0  # root mean square of log residuals
    low: tuple[float, ...] = ()  # range of each x fitted
    high: tuple[float, ...] = ()
    n_runs: int = 0
    unit: str = ""
    condition: float = math.nan
    warnings: tuple[str, ...] = field(default=())

    def __call__(self, *x: float | Array) -> Array:
        """Loss at values of the variables."""
        total = np.asarray(self.floor, dtype=np.float64)
        for value, factor, exponent in zip(x, self.factors, self.exponents, strict=True):
            total = total + factor * np.asarray(value, dtype=np.float64) ** -exponent
        return total

    def outside(self, *x: float) -> float:
        """How many times beyond the fitted range the farthest variable lies; 1 inside."""
        ends = zip(x, self.low, self.high, strict=True) if self.low else ()
        return max((max(1.0, a / v, v / b) for v, a, b in ends), default=1.0)


def fit(x: Array, loss: Array, form: Form = Form(), unit: str = "") -> Law:
    """The law of these runs.

    Shapes: x (runs, variables), loss (runs,).
    Raises: DataError where there are fewer runs than constants, or fewer than three sizes.
    """
    x = np.asarray(x, dtype=np.float64).reshape(len(loss), len(form.names))
    loss = np.asarray(loss, dtype=np.float64)
    _check(x, loss, form)
    centre = np.log(x).mean(axis=0)
    starts = _starts(x, loss, form, centre)
    theta, value = minimise(
        _objective(x, loss, form, centre, np.ones((len(starts), len(loss)))), starts
    )
    best = theta[np.nanargmin(value)]
    floor, factors, exponents = (constant[0] for constant in _constants(best[None], form, centre))
    residual = np.log((floor + (factors * x**-exponents).sum(axis=1)) / loss)
    return Law(
        form, float(floor), tuple(map(float, factors)), tuple(map(float, exponents)),
        spread=float(np.sqrt(np.sum(residual**2) / max(1, len(loss) - form.n_free))),
        low=tuple(map(float, x.min(axis=0))), high=tuple(map(float, x.max(axis=0))),
        n_runs=len(loss), unit=unit, condition=_condition(best, x, form, centre),
        warnings=tuple(warnings(x, form)),
    )  # fmt: skip


def bootstrap(
    x: Array, loss: Array, form: Form, law: Law, n: int = 200, seed: int = 0
) -> dict[str, Array]:
    """Constants refitted to n samples of the runs, drawn with replacement.

    Shapes: floor (n,), factors and exponents (n, variables). Each starts from the law of all runs.
    """
    x = np.asarray(x, dtype=np.float64).reshape(len(loss), len(form.names))
    loss = np.asarray(loss, dtype=np.float64)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(loss), np.full(len(loss), 1 / len(loss)), n).astype(np.float64)
    centre = np.log(x).mean(axis=0)
    start = np.repeat(_theta(law, centre)[None], n, axis=0)
    theta, _ = minimise(_objective(x, loss, form, centre, weights), start, n_steps=80, gain=1e-6)
    floor, factors, exponents = _constants(theta, form, centre)
    return {"floor": floor, "factors": factors, "exponents": exponents}


def left_out(x: Array, loss: Array, form: Form, law: Law) -> Array:
    """Log of each run's loss over what the law of all other runs says of it (runs,)."""
    x = np.asarray(x, dtype=np.float64).reshape(len(loss), len(form.names))
    centre = np.log(x).mean(axis=0)
    weights = 1 - np.eye(len(loss))
    start = np.repeat(_theta(law, centre)[None], len(loss), axis=0)
    theta, _ = minimise(_objective(x, loss, form, centre, weights), start, n_steps=80, gain=1e-6)
    floor, factors, exponents = _constants(theta, form, centre)
    return np.asarray(np.log(loss / (floor + (factors * x**-exponents).sum(axis=1))))


def largest_left_out(x: Array, loss: Array, form: Form) -> float:
    """Relative error on the run with the largest product of its variables, fitted without it."""
    x = np.asarray(x, dtype=np.float64).reshape(len(loss), len(form.names))
    last = int(np.argmax(np.log(x).sum(axis=1)))
    rest = np.arange(len(loss)) != last
    law = fit(x[rest], np.asarray(loss)[rest], form)
    return float(law(*x[last]) / loss[last] - 1)


def warnings(x: Array, form: Form) -> list[str]:
    """What these runs cannot tell, in plain words."""
    found = []
    for name, column in zip(form.names, x.T, strict=True):
        n_sizes = len(np.unique(np.round(np.log(column), 2)))
        if n_sizes < 3:
            found.append(f"only {n_sizes} different {name}: its exponent is a guess")
        if (span := column.max() / column.min()) < 4:
            found.append(f"{name} spans {span:.2g} times, less than 4: its term is not known")
    if len(form.names) == 2:
        ratios = x[:, 1] / x[:, 0]
        if (span := ratios.max() / ratios.min()) < 4:
            found.append(
                f"D/N spans {span:.2g} times, less than 4: E and the two terms cannot be told "
                "apart; add runs of one size with four times the tokens, or fit loss over C"
            )
    return found


def _check(x: Array, loss: Array, form: Form) -> None:
    if not (
        np.isfinite(x).all() and np.isfinite(loss).all() and (x > 0).all() and (loss > 0).all()
    ):
        raise DataError("plan fit: sizes, tokens and losses must be finite and above 0")
    if len(loss) < form.n_free:
        raise DataError(
            f"plan fit: {len(loss)} runs for {form.n_free} constants; must be at least "
            f"{form.n_free} (add runs, or choose a law with fewer: --law power)"
        )
    n_sizes = len(np.unique(np.round(np.log(x[:, 0]), 2)))
    if n_sizes < 3:
        raise DataError(
            f"plan fit: the runs have {n_sizes} different {form.names[0]}; must be at least 3 "
            "to say how loss falls with it"
        )


def _starts(x: Array, loss: Array, form: Form, centre: Array) -> Array:
    """The best of a grid of exponents, floor and factors by least squares on relative error."""
    n_x = len(form.names)
    grid = (
        [(a,) * n_x for a in _EXPONENTS] if form.tied else itertools.product(_EXPONENTS, repeat=n_x)
    )
    found = []
    for exponents in grid:
        powers = np.exp(-np.asarray(exponents) * (np.log(x) - centre))
        columns = np.hstack([np.ones((len(x), int(form.floor))), powers]) / loss[:, None]
        factors = np.linalg.lstsq(columns, np.ones(len(x)), rcond=None)[0]
        factors = np.maximum(factors, 0.02 * loss.min())
        error = np.abs(np.log(columns @ factors)).sum()
        shared = exponents[:1] if form.tied else exponents
        found.append((float(error), [*np.log(factors), *np.log(shared)]))
    found.sort(key=lambda pair: pair[0])
    return np.array([theta for _, theta in found[: 4 * n_x]])


def _objective(x: Array, loss: Array, form: Form, centre: Array, weights: Array) -> Function:
    """Summed Huber loss over its threshold, and its gradient; a start has a row of weights."""
    log_x, log_loss = np.log(x) - centre, np.log(loss)
    delta = form.delta

    def function(theta: Array, rows: NDArray[np.int64]) -> tuple[Array, Array]:
        terms, slopes = _terms(theta, log_x, form)
        top = terms.max(axis=-1)
        parts = np.exp(terms - top[..., None])
        if form.on == "log":
            whole = parts.sum(axis=-1)
            residual = top + np.log(whole) - log_loss
            parts /= whole[..., None]
        else:
            parts *= np.exp(top)[..., None]
            residual = parts.sum(axis=-1) - loss
        if math.isinf(delta):
            value, pull = residual**2 / 2, residual
        else:
            pull = np.clip(residual / delta, -1, 1)
            value = np.abs(residual) - delta / 2
            value = np.where(np.abs(residual) < delta, residual**2 / (2 * delta), value)
        w = weights[rows]
        pulled = (w * pull)[..., None] * parts
        by_factor = pulled.sum(axis=1)
        by_exponent = (pulled[..., form.floor :] * slopes).sum(axis=1)
        if form.tied:
            by_exponent = by_exponent.sum(axis=1, keepdims=True)
        return (w * value).sum(axis=1), np.hstack([by_factor, by_exponent])

    return function


def _terms(theta: Array, log_x: Array, form: Form) -> tuple[Array, Array]:
    """Logs of the floor and the powers (starts, runs, terms); their slopes by log exponent."""
    n_x = log_x.shape[1]
    n_factors = form.floor + n_x
    exponents = np.exp(theta[:, n_factors:])  # (starts, 1 or variables)
    slopes = -exponents[:, None, :] * log_x
    powers = theta[:, None, form.floor : n_factors] + slopes
    if not form.floor:
        return powers, slopes
    floor = np.broadcast_to(theta[:, None, :1], (*powers.shape[:2], 1))
    return np.concatenate([floor, powers], axis=-1), slopes


def _constants(theta: Array, form: Form, centre: Array) -> tuple[Array, Array, Array]:
    """(floor, factors, exponents) for values that are not centred."""
    n_factors = form.floor + len(form.names)
    exponents = np.broadcast_to(np.exp(theta[:, n_factors:]), (len(theta), len(form.names)))
    factors = np.exp(theta[:, form.floor : n_factors] + exponents * centre)
    return np.exp(theta[:, 0]) if form.floor else np.zeros(len(theta)), factors, exponents


def _theta(law: Law, centre: Array) -> Array:
    exponents = np.array(law.exponents)
    factors = np.log(law.factors) - exponents * centre
    shared = exponents[:1] if law.form.tied else exponents
    floor = [math.log(max(law.floor, 1e-12))] if law.form.floor else []
    return np.array([*floor, *factors, *np.log(shared)])


def _condition(theta: Array, x: Array, form: Form, centre: Array) -> float:
    """Condition number of the slopes of log loss by the log of each constant, at the fit."""
    terms, slopes = _terms(theta[None], np.log(x) - centre, form)
    shares = np.exp(terms - terms.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    by_exponent = shares[..., form.floor :] * slopes
    if form.tied:
        by_exponent = by_exponent.sum(axis=-1, keepdims=True)
    return float(np.linalg.cond(np.concatenate([shares, by_exponent], axis=-1)[0]))
