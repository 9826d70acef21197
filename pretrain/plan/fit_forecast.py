"""What a fitted law says of a run to come: RUN/fit.json, which the run's report draws and checks.

    pretrain plan fit runs.csv --run runs/NAME        after the run's plan stage, before its end

The table's runs must have the run's text and tokenizer. The first of _LAWS that the table allowed,
at the run's parameters (all of them), tokens and 6 N D. The interval is the larger of two errors:
of 80 % of the runs left out, and of the largest left out.
"""

from pathlib import Path
from typing import Any

from pretrain import store
from pretrain.errors import DataError

_LAWS = ("parametric", "tied", "floor", "power")


def write(run_folder: Path, table: Path, found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Write and return the forecast.

    Raises: DataError where the run has no plan yet, or the table allowed no law of loss.
    """
    planned = store.read_json_or_none(run_folder / "plan" / "forecast.json")
    if not planned:
        raise DataError(
            f"plan fit: {run_folder} has no plan/forecast.json; must be a run folder whose plan "
            "stage is done (pretrain plan RECIPE)"
        )
    told = forecast(found, planned["parameters"], planned["tokens"]) | {"table": table.name}
    store.write_json(run_folder / "fit.json", told, sort=False)
    return told


def forecast(found: dict[str, dict[str, Any]], n: float, tokens: float) -> dict[str, Any]:
    """Loss with low and high (80 %), and times outside the fitted range. found: of fits.fit_all."""
    name = next((k for k in _LAWS if "constants" in found.get(k, {})), None)
    if name is None:
        raise DataError(f"plan fit: no law of loss was fitted; must be one of {', '.join(_LAWS)}")
    record, at = found[name], {"N": n, "D": tokens, "C": 6.0 * n * tokens}
    constants, variables = record["constants"], record["variables"]
    loss = constants.get("E", 0.0) + sum(
        constants[letter] / at[x] ** constants[f"exponent of {x}"]
        for letter, x in zip("AB", variables, strict=False)
    )
    half = max(record["scatter_80"], abs(record["largest_left_out"] or 0.0))
    ends = zip(variables, record["fitted_from"], record["fitted_to"], strict=True)
    return {
        "law": name, "runs": record["runs"], "flops": at["C"], "loss": loss,
        "low": loss * (1 - half), "high": loss * (1 + half),
        "times_outside": max(max(at[x] / high, low / at[x], 1.0) for x, low, high in ends),
    }  # fmt: skip
