"""One's own law with all that says how far to trust it.

    80 %:  log L ± √(scatter² + (1.28 · deviation of the bootstrap's forecasts)²)

scatter: what 80 % of runs lie within when each is left out and forecast by the others. On public
sets of runs such intervals hold 77 to 86 % of runs that were left out (tests/plan/test_study).
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from pretrain.plan import fit
from pretrain.plan.fit import Form, Law
from pretrain.plan.laws import FAR, Prediction, far_away
from pretrain.plan.minimise import Array

_Z90 = 1.2816  # of the normal distribution, 90 % to one side


@dataclass(frozen=True)
class Study:
    """A law, its bootstrap, errors of runs left out (log), and that of the largest run."""

    law: Law
    draws: dict[str, Array]
    left_out: Array
    largest: float

    @property
    def scatter(self) -> float:
        return float(np.quantile(np.abs(self.left_out), 0.8))

    @property
    def far_off(self) -> int:
        """Runs farther off than eight times the median: diverged, misread or of another kind."""
        off = np.abs(self.left_out)
        return int((off > 8 * np.median(off)).sum())

    @property
    def deviations(self) -> dict[str, Any]:
        """Standard errors of the constants."""
        return {name: draw.std(axis=0, ddof=1).tolist() for name, draw in self.draws.items()}

    def interval(self, name: str, share: float = 0.8) -> Array:
        """Ends of the middle share of a constant's bootstrap: (2,) or (2, variables)."""
        tail = (1 - share) / 2
        return np.asarray(np.quantile(self.draws[name], [tail, 1 - tail], axis=0))


def study(
    x: Array, loss: Array, form: Form, unit: str = "", draws: int = 200, seed: int = 0
) -> Study:
    """Fit, bootstrap and leave out. Raises: DataError, as `fit.fit` does."""
    law = fit.fit(x, loss, form, unit)
    try:
        largest = fit.largest_left_out(x, loss, form)
    except fit.DataError:  # one run fewer is too few
        largest = math.nan
    return Study(
        law, fit.bootstrap(x, loss, form, law, draws, seed), fit.left_out(x, loss, form, law),
        largest,
    )  # fmt: skip


def predict_own(found: Study, *x: float) -> Prediction:
    """Loss by one's own law, with the fit's uncertainty and the scatter of single runs."""
    law, draws = found.law, found.draws
    at = np.asarray(x, dtype=np.float64)
    losses = draws["floor"] + (draws["factors"] * at ** -draws["exponents"]).sum(axis=1)
    deviation = float(np.log(losses).std())
    loss = float(law(*x))
    half = math.hypot(found.scatter, _Z90 * deviation)
    far = law.outside(*x)
    notes = [*law.warnings, *([far_away(far, "of these runs")] if far > FAR else [])]
    low, high = loss * math.exp(-half), loss * math.exp(half)
    return Prediction(loss, low, high, f"own law of {law.n_runs} runs", "; ".join(notes))
