"""What a fitted law says of a run to come: RUN/fit.json, which the run's report draws and checks.

    pretrain plan fit runs.csv --run runs/NAME        after the run's plan stage, before its end

The table's runs must have the run's text and tokenizer. Of _LAWS the first that was fitted without
a warning, else with the fewest, at the run's parameters (all of them), tokens and compute: the
plan's where the table has a column of it, else 6 N D.

    interval    the larger error of two (of 80 % of the runs left out, of the largest left out), and
                half of what another law, fitted to the same runs, says otherwise
"""

import math
from pathlib import Path
from typing import Any

from pretrain import store
from pretrain.errors import DataError
from pretrain.plan.runs import Runs

_LAWS = ("parametric", "tied", "floor", "power")


def write(
    run_folder: Path, table: Path, runs: Runs, found: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Write and return the forecast.

    Raises: DataError where the run has no plan yet, or the table allowed no law of loss.
    """
    planned = store.read_json_or_none(run_folder / "plan" / "forecast.json")
    if not planned:
        raise DataError(
            f"plan fit: {run_folder} has no plan/forecast.json; must be a run folder whose plan "
            "stage is done (pretrain plan RECIPE)"
        )
    n, tokens = planned["parameters"], planned["tokens"]
    flops = planned["flops"] if "flops" in runs.columns else 6.0 * n * tokens
    told = forecast(found, n, tokens, flops) | {"table": table.name}
    store.write_json(run_folder / "fit.json", told, sort=False)
    return told


def forecast(
    found: dict[str, dict[str, Any]], n: float, tokens: float, flops: float
) -> dict[str, Any]:
    """Loss with low and high (80 %), and times outside the fitted range. found: of fits.fit_all."""
    names = [name for name in _LAWS if "constants" in found.get(name, {})]
    if not names:
        raise DataError(f"plan fit: no law of loss was fitted; must be one of {', '.join(_LAWS)}")
    name = min(names, key=lambda name: len(found[name]["warnings"]))
    record, at = found[name], {"N": n, "D": tokens, "C": flops}
    loss = _loss(record, at)
    apart = max(abs(math.log(loss / _loss(found[other], at))) for other in names) / 2
    half = math.hypot(max(record["scatter_80"], abs(record["largest_left_out"] or 0.0)), apart)
    ends = zip(record["variables"], record["fitted_from"], record["fitted_to"], strict=True)
    return {
        "law": name, "runs": record["runs"], "flops": flops, "loss": loss,
        "low": loss * math.exp(-half), "high": loss * math.exp(half),
        "times_outside": max(max(at[x] / high, low / at[x], 1.0) for x, low, high in ends),
    }  # fmt: skip


def _loss(record: dict[str, Any], at: dict[str, float]) -> float:
    constants = record["constants"]
    terms = [
        constants[letter] / at[x] ** constants[f"exponent of {x}"]
        for letter, x in zip("AB", record["variables"], strict=False)
    ]
    return float(constants.get("E", 0.0) + sum(terms))
