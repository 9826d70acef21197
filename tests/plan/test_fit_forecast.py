"""A fitted law asked at a run's size and tokens, and written beside it."""

import json
import math

import numpy as np
import pytest

from pretrain import cli, store
from pretrain.errors import DataError
from pretrain.plan import fit_forecast, fits
from pretrain.plan.runs import Runs


def loss(n, d):
    return 1.8 + 480 / n**0.35 + 2000 / d**0.37


def runs():
    n = np.repeat(np.geomspace(1e7, 1e9, 5), 3)
    d = n * np.tile([5.0, 20, 80], 5)
    return Runs(n, d, 6 * n * d, loss(n, d))


def test_the_law_is_asked_at_the_run():
    found = fits.fit_all(runs(), ["parametric", "floor"], draws=3)
    told = fit_forecast.forecast(found, 4e9, 8e10, 6 * 4e9 * 8e10)
    assert told["law"] == "parametric"
    assert told["loss"] == pytest.approx(loss(4e9, 8e10), rel=1e-3)
    assert told["low"] <= told["loss"] <= told["high"]
    assert told["times_outside"] == pytest.approx(4)  # of N; D is within
    inside = fit_forecast.forecast(found, 1e8, 1e9, 6e17)
    assert inside["times_outside"] == 1


@pytest.mark.parametrize("largest", [None, 0.01, -0.3])
def test_the_interval_is_the_larger_error(largest):
    found = {
        "parametric": {"refused": "x"},
        "power": {"constants": {"A": 100.0, "exponent of C": 0.1}, "variables": ["C"], "runs": 9,
                  "scatter_80": 0.02, "largest_left_out": largest, "fitted_from": [1e15],
                  "fitted_to": [1e18], "warnings": []},
    }  # fmt: skip
    told = fit_forecast.forecast(found, 1e8, 1e9, 6e17)
    value = 100 / 6e17**0.1
    half = max(0.02, abs(largest or 0))
    assert told["loss"] == pytest.approx(value)
    assert math.log(told["high"] / value) == pytest.approx(half)
    assert math.log(told["low"] / value) == pytest.approx(-half)
    # Another law, fitted to the same runs, says half as much again.
    found["floor"] = found["power"] | {
        "constants": {"E": 0.0, "A": 150.0, "exponent of C": 0.1}, "warnings": ["x"],
    }  # fmt: skip
    told = fit_forecast.forecast(found, 1e8, 1e9, 6e17)
    assert told["law"] == "power"
    wide = math.hypot(half, math.log(1.5) / 2)
    assert math.log(told["high"] / value) == pytest.approx(wide)


def test_a_law_that_its_runs_do_not_bear_stands_back():
    """At one ratio of tokens to size the terms of both cannot be told apart: compute alone can."""
    n = np.geomspace(1e7, 1e8, 6)
    one = Runs(n, 20 * n, 120 * n**2, loss(n, 20 * n))
    found = fits.fit_all(one, ["parametric", "tied", "floor", "power"], draws=2)
    assert found["parametric"]["warnings"]
    assert fit_forecast.forecast(found, 2e8, 4e9, 4.8e18)["law"] == "floor"


def test_no_law_of_loss_is_said():
    with pytest.raises(DataError, match="no law of loss was fitted"):
        fit_forecast.forecast({"rates": {"constants": {}}, "floor": {"refused": "x"}}, 1, 1, 6)


def test_the_command_writes_it_into_the_run(tmp_path, capsys):
    table, run = tmp_path / "runs.csv", tmp_path / "runs" / "mine"
    found = runs()
    rows = [f"{n},{d},{y}" for n, d, y in zip(found.n, found.d, found.loss, strict=True)]
    table.write_text("\n".join(["params,tokens,loss", *rows]))
    asked = [
        "plan",
        "fit",
        str(table),
        "--law",
        "parametric",
        "--bootstrap",
        "2",
        "--run",
        str(run),
    ]
    assert cli.command(asked) == 65
    assert "must be a run folder whose plan stage is done" in capsys.readouterr().err
    (run / "plan").mkdir(parents=True)
    (run / "plan" / "forecast.json").write_text(
        json.dumps({"parameters": 4e9, "tokens": 8e10, "flops": 2e21})
    )
    assert cli.command(asked) == 0
    told = store.read_json(run / "fit.json")
    assert told["flops"] == 6 * 4e9 * 8e10
    assert told["table"] == "runs.csv"
    assert told["loss"] == pytest.approx(loss(4e9, 8e10), rel=1e-3)
    table.write_text("\n".join(["params,tokens,flops,loss", *(
        f"{n},{d},{7 * n * d},{y}" for n, d, y in zip(found.n, found.d, found.loss, strict=True)
    )]))  # fmt: skip
    assert cli.command(asked) == 0
    assert store.read_json(run / "fit.json")["flops"] == 2e21  # as the table counts its own
