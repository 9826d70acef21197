"""The laws that `pretrain plan fit` can fit, by name, each to what a table of runs has.

Each takes runs and gives a record: constants with standard errors, how far to trust them, lines for
the terminal. A law whose columns or runs are missing says which, and the others go on.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from pretrain.errors import DataError
from pretrain.plan import isoflop, mixtures, rates, repetition
from pretrain.plan.fit import Form
from pretrain.plan.minimise import Array
from pretrain.plan.runs import Runs
from pretrain.plan.study import Study, study

Record = dict[str, Any]
_PASS = 1.01  # tokens over unique tokens up to which a run counts as one pass


def parametric(runs: Runs, draws: int) -> Record:
    """E + A/N^α + B/D^β (Hoffmann et al. 2022, approach 3)."""
    return _studied(_once(runs), Form(), draws)


def tied(runs: Runs, draws: int) -> Record:
    """E + A/N^α + B/D^α, one exponent (Gadre et al. 2024)."""
    return _studied(_once(runs), Form(tied=True), draws)


def floor(runs: Runs, draws: int) -> Record:
    """E + A/C^α, for runs at one ratio of tokens to size."""
    return _studied(_once(runs), Form(("C",)), draws)


def power(runs: Runs, draws: int) -> Record:
    """A/C^α, without a floor."""
    return _studied(_once(runs), Form(("C",), floor=False), draws)


def envelope(runs: Runs, draws: int) -> Record:
    """N = G C^a through the lowest of training curves (approach 1)."""
    return _sizes(isoflop.envelope(runs.n, runs.flops, runs.loss))


def parabola(runs: Runs, draws: int) -> Record:
    """N = G C^a through minima at equal compute (approach 2)."""
    return _sizes(isoflop.isoflop(runs.n, runs.flops, runs.loss))


def interpolation(runs: Runs, draws: int) -> Record:
    """N = G C^a through interpolated minima (Porian et al. 2024)."""
    return _sizes(isoflop.isoflop(runs.n, runs.flops, runs.loss, "interpolation"))


def repeated(runs: Runs, draws: int) -> Record:
    """Worth of repeated tokens (Muennighoff et al. 2023), the law fitted to runs of one pass."""
    if runs.unique is None:
        raise DataError("plan fit: repetition needs a column of unique tokens (unique_tokens)")
    again = runs.d > _PASS * runs.unique
    if again.sum() < 3:
        raise DataError(f"plan fit: {again.sum()} runs repeat their tokens; must be at least 3")
    law = study(np.stack([runs.n, runs.d], axis=1)[~again], runs.loss[~again], Form(), draws=2).law
    n, d, unique, loss = runs.n[again], runs.d[again], runs.unique[again], runs.loss[again]
    decay = repetition.fit_decay(np.stack([n, d], axis=1), unique, loss, law)
    error = np.abs(np.log(law(*decay.effective(n, d, unique, law)) / loss))
    return {
        "constants": {"R_D*": decay.data, "R_N*": decay.parameters},
        "median_error": float(np.median(error)),
        "runs": int(again.sum()),
        "warnings": [],
    }


def rate(runs: Runs, draws: int) -> Record:
    """Learning rate and batch by size and tokens (Li et al. 2025), through the best of searches."""
    if runs.lr is None or runs.batch is None:
        raise DataError("plan fit: rates need columns lr and batch_tokens")
    best = rates.best_of_search(runs.n, runs.d, runs.lr, runs.batch, runs.loss)
    found = rates.fit_rates(best)
    error = np.abs(np.log([found.lr(n, d) for n, d, _, _ in best]) - np.log(best[:, 2]))
    return {
        "constants": dict(vars(found)),
        "median_error": float(np.median(error)),
        "runs": len(best),
        "warnings": [],
    }


def mixture(runs: Runs, draws: int, kind: str = "exponential") -> Record:
    """Loss by shares of sources; every fifth run is left out to rank."""
    if runs.shares is None:
        raise DataError("plan fit: mixtures need columns of shares (--shares PREFIX)")
    held = np.arange(len(runs.loss)) % 5 == 4
    if held.sum() < 3:
        raise DataError(f"plan fit: {len(runs.loss)} mixtures; must be at least 15 to rank some")
    law = mixtures.fit_mixture(runs.shares[~held], runs.loss[~held], kind)
    told = law(runs.shares[held])
    return {
        "constants": {"floor": law.floor} | dict(zip(runs.sources, map(float, law.weights),
                                                 strict=True)),
        "rank_correlation": mixtures.rank_correlation(told, runs.loss[held]),
        "median_error": float(np.median(np.abs(np.log(told / runs.loss[held])))),
        "runs": int((~held).sum()),
        "warnings": [],
    }  # fmt: skip


def linear_mixture(runs: Runs, draws: int) -> Record:
    """Loss linear in shares of sources (Liu et al. 2024)."""
    return mixture(runs, draws, "linear")


LAWS: dict[str, Callable[[Runs, int], Record]] = {
    "parametric": parametric,
    "tied": tied,
    "floor": floor,
    "power": power,
    "envelope": envelope,
    "isoflop": parabola,
    "interpolation": interpolation,
    "repetition": repeated,
    "rates": rate,
    "mixture": mixture,
    "linear-mixture": linear_mixture,
}


def fit_all(runs: Runs, names: list[str], draws: int = 200) -> dict[str, Record]:
    """Records by name; a law that these runs do not allow has `refused` with the reason."""
    found = {}
    for name in names:
        try:
            found[name] = LAWS[name](runs, draws)
        except DataError as error:
            found[name] = {"refused": str(error).removeprefix("plan fit: ")}
    return found


def _once(runs: Runs) -> Runs:
    """The runs that see each token once: repeats have a law of their own."""
    if runs.unique is None:
        return runs
    keep = runs.d <= _PASS * runs.unique
    return Runs(runs.n[keep], runs.d[keep], runs.flops[keep], runs.loss[keep],
                columns=runs.columns)  # fmt: skip


def _studied(runs: Runs, form: Form, draws: int) -> Record:
    if np.isnan(runs.flops).any():
        raise DataError("plan fit: needs size, tokens or compute of every run")
    by_name: dict[str, Array] = {"N": runs.n, "D": runs.d, "C": runs.flops}
    x = np.stack([by_name[name] for name in form.names], axis=1)
    found = study(x, runs.loss, form, draws=draws)
    return _record(found) | {"warnings": list(found.law.warnings)}


def _record(found: Study) -> Record:
    law, letters = found.law, ("A", "B")
    constants, errors, intervals = {}, {}, {}
    ends = {name: found.interval(name) for name in found.draws}
    if law.form.floor:
        constants["E"] = law.floor
        errors["E"] = found.deviations["floor"]
        intervals["E"] = [float(v) for v in ends["floor"]]
    for i, name in enumerate(law.form.names):
        rows = (letters[i], law.factors, "factors"), (f"exponent of {name}", law.exponents,
                                                      "exponents")  # fmt: skip
        for label, values, key in rows:
            constants[label] = values[i]
            errors[label] = found.deviations[key][i]
            intervals[label] = [float(v) for v in ends[key][:, i]]
    return {
        "constants": constants,
        "standard_errors": errors,
        "interval_80": intervals,
        "spread": law.spread,
        "scatter_80": found.scatter,
        "largest_left_out": None if math.isnan(found.largest) else found.largest,
        "far_off": found.far_off,
        "condition": law.condition,
        "runs": law.n_runs,
        "fitted_from": list(law.low),
        "fitted_to": list(law.high),
        "variables": list(law.form.names),
    }


def _sizes(found: isoflop.Optimum) -> Record:
    return {
        "constants": {"a": found.exponent, "G": found.factor},
        "points": found.points.tolist(),
        "runs": len(found.points),
        "warnings": list(found.left_out),
    }
