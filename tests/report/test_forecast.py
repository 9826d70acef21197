"""The fact beside the forecast, of the steps done, and the ratio of one to the other."""

import pytest

from pretrain.report.forecast import forecast, measured, time_line
from tests.report.conftest import EVIL, made, whole

PLAN = {
    "machine": EVIL,
    "device": "cpu",
    "precision": "float32",
    "parameters": 1000,
    "tokens": 6400,
    "flops": 5.0e9,
    "step_seconds": {"feed_forward": 0.75, "optimizer": 0.25},
    "seconds": 100.0,
    "tokens_per_second": 64.0,
    "bytes_by_part": {"weights": 4000, "activations": 12_000},
    "bytes": 16_000,
    "kwh": 0.5,
}
SPEED = [
    {
        "seconds": 3.0,
        "data_seconds": 1.0,
        "look_seconds": 0.5,
        "save_seconds": 0,
        "peak_bytes": n,
        "joules": 63_000,
    }
    for n in (20_000, 24_000)
]
RECIPE = {"train": {"steps": 100}}


def test_facts_are_means_and_totals() -> None:
    fact = measured(made(speed=SPEED, seconds={"collect": 4.0, "train": 7.0}))
    expected = {"steps": 2, "step": 3, "data": 1, "look": 0.5, "save": 0, "seconds": 6}
    expected |= {"training": 7, "stages": 11, "bytes": 24_000, "kwh": 0.035}
    assert fact == pytest.approx(expected)
    on_gpu = [row | {"device_peak_bytes": 5} for row in SPEED]
    assert measured(made(speed=on_gpu))["bytes"] == 5  # what the forecast is of
    assert measured(made()) == {}


def test_the_ratio_is_of_the_part_that_is_done() -> None:
    page = whole(forecast(made(forecast=PLAN, speed=SPEED, recipe=RECIPE)))
    rows = {row[0]: row[1:] for row in page.rows}
    assert rows["Seconds per step"] == ["1.00", "3.00", "3.00 ×"]
    assert rows["Tokens per second"] == ["64", "21", "0.333 ×"]
    part = " (of the 2.0 % done)"
    assert rows["Time in steps" + part] == ["2.0 s", "6.0 s", "3.00 ×"]
    assert rows["Time of training, with looks and saves" + part] == ["2.0 s", "7.0 s", "3.50 ×"]
    assert rows["Energy of training, kWh" + part] == ["0.0100", "0.0350", "3.50 ×"]
    assert rows["Peak memory"] == ["16.0 kB", "24.0 kB", "1.50 ×"]
    assert rows["activations"][1:] == ["12.0 kB", "75.0 %"]
    assert rows["forecast"][1] == "1.0 s"
    assert rows["fact, mean"][1] == "3.5 s"
    assert "<script>" in page.text  # the machine's name, as text
    # What is twice as much, or half, is set in bold; the memory is not.
    marked = [page.words[i] for i in range(len(page.words)) if page.words[i].endswith(" ×")]
    strong = sum(t == "strong" for t, _ in page.tags)
    assert (len(marked), strong) == (6, 5)


def test_what_is_not_there_yet() -> None:
    assert "Not there yet: the forecast." in whole(forecast(made(speed=SPEED))).text
    page = whole(forecast(made(forecast=PLAN, recipe=RECIPE)))
    assert "Not there yet: the facts." in page.text
    assert ["Time in steps", "1 min 40 s", "–", "–"] in page.rows
    assert time_line(made(forecast=PLAN)) is None


def test_one_line_for_the_terminal() -> None:
    assert time_line(made(speed=SPEED)) == "training 7.0 s; all stages 0 ms"
    line = time_line(made(speed=SPEED, forecast=PLAN, recipe=RECIPE, seconds={"train": 7.0}))
    assert line == "training 7.0 s (forecast 2.0 s, 3.00 × in steps); all stages 7.0 s"


def test_the_law_the_ladder_and_the_conventions_are_shown() -> None:
    """Each is there where it was recorded; the final loss lies where the forecast does."""
    law = {"flops": 5e9, "loss": 3.0, "low": 2.5, "high": 3.5, "law": "laws", "note": EVIL,
           "holds": True,
           "frontier": [{"flops": c, "loss": 3.0, "low": 2.5, "high": 3.5, "extrapolated": False}
                        for c in (1e9, 1e10)],
           }  # fmt: skip
    ladder = {"rungs": [{"flops": 1e8, "loss": 4.0}], "large": {"flops": 5.0e9, "steps": 100},
              "loss": {"loss": 3.1, "low": 3.0, "high": 3.2, "times_beyond": 50.0, "floor": 2.0,
                       "factor": 100.0, "exponent": 0.2},
              "curve": []}  # fmt: skip
    plan = PLAN | {"law": law, "convention_name": "own", "conventions": {"6N": 6e6, "own": 8e6}}
    speed = [row | {"mfu": mfu} for row, mfu in zip(SPEED, (0.2, None), strict=True)]
    scores = {"held_out": {"all": {"loss": 3.3}}}
    page = whole(
        forecast(made(forecast=plan, speed=speed, recipe=RECIPE, ladder=ladder, scores=scores))
    )
    label = next(a["aria-label"] or "" for _, a in page.tags if a.get("role") == "img")
    assert "this run from 3.30 at FLOP 5,000,000,000" in label
    assert "ladder's forecast from 3.10" in label
    assert ["by the ladder", "3.100", "3.000 to 3.200", "3.300", "above"] in page.rows
    assert "3.300, above the forecast of 3.100 (3.000 to 3.200, 80 %), +6.5 %" in page.text
    rows = {row[0]: row[1:] for row in page.rows}
    assert rows["own"][1:] == ["20.0 %", "this program's"]
    assert rows["6N"][1:] == ["15.0 %", ""]
    fit = law | {"runs": 9, "table": "t.csv", "times_outside": 1}
    page = whole(forecast(made(forecast=plan, recipe=RECIPE, fit=fit, scores=scores)))
    rows = [row for row in page.rows if row[0].startswith("by the ")]
    interval = ["3.000", "2.500 to 3.500", "3.300", "inside"]
    assert rows == [["by the public laws", *interval], ["by the fit", *interval]]
    # A run in training has no last loss yet.
    looks = [{"step": 2, "held_out_loss": 5.0}]
    page = whole(forecast(made(forecast=plan, looks=looks, recipe=RECIPE)))
    label = next(a["aria-label"] or "" for _, a in page.tags if a.get("role") == "img")
    assert "this run" not in label
    assert {row[0]: row[2] for row in page.rows if row[0] == "own"} == {"own": "–"}
