"""A run's losses on the curve that its ladder forecasts: inside, above, below, not begun."""

from typing import Any

import pytest

from pretrain.report.ladder import against, at, fitting
from pretrain.report.markup import join
from tests.report.conftest import Page, made, whole

CURVE = [{"share": s, "loss": v, "low": v - 0.1, "high": v + 0.1}
         for s, v in ((0.2, 6.0), (0.6, 5.0), (1.0, 4.0))]  # fmt: skip
LADDER: dict[str, Any] = {
    "large": {"flops": 1e12, "steps": 100}, "curve": CURVE,
    "loss": {"loss": 4.0, "low": 3.9, "high": 4.1},
}  # fmt: skip


def drawn(**records: Any) -> Page:
    return whole(join(against(made(**records), 1e12)))


def looks(*pairs: tuple[int, float]) -> list[dict[str, Any]]:
    return [{"step": step, "held_out_loss": loss} for step, loss in pairs]


def test_between_its_points_the_curve_is_straight() -> None:
    curve = [(round(100 * row["share"]), row) for row in CURVE]
    assert at(curve, 10) is None
    assert at(curve, 40) == pytest.approx({"loss": 5.5, "low": 5.4, "high": 5.6})
    assert at(curve, 100) == pytest.approx({"loss": 4.0, "low": 3.9, "high": 4.1})


def test_losses_so_far_are_checked() -> None:
    page = drawn(ladder=LADDER, looks=looks((10, 9.0), (20, 6.05), (40, 5.7)))
    said = "At step 40 the loss of a sample of held-out text is 5.700, above the forecast of 5.500"
    assert f"{said} (5.400 to 5.600, " in page.text
    assert "80 %), +3.6 %. 1 of 2 looks lie in the interval." in page.text
    assert "Forecast of the end, on all held-out text: 4.000 (3.900 to 4.100, 80 %)." in page.text
    assert [t for t, _ in page.tags].count("circle") == 3


def test_the_end_is_checked_on_all_text() -> None:
    scores = {"held_out": {"all": {"loss": 3.8}}}
    page = drawn(ladder=LADDER, looks=looks((100, 4.05)), scores=scores)
    assert "held-out text is 4.050, inside the forecast" in page.text
    assert "on all held-out text, it is 3.800, below the forecast of 4.000" in page.text


def test_before_training_the_forecast_stands_alone() -> None:
    page = drawn(ladder=LADDER)
    assert "Forecast of the end, on all held-out text: 4.000" in page.text
    assert [t for t, _ in page.tags].count("path") == 2  # a band and its line
    page = drawn(ladder=LADDER | {"curve": []}, looks=looks((10, 9.0)))
    assert [t for t, _ in page.tags].count("svg") == 0


def test_the_ladder_of_another_run_is_not_its_own() -> None:
    records = made(ladder=LADDER, looks=looks((20, 6.0)))
    assert fitting(records, 1e12) is LADDER
    assert fitting(records, 2e12) is None
    page = whole(join(against(records, 2e12)))
    assert "There is a ladder of a run of 1.00×10¹² FLOP; this one has 2.00×10¹²." in page.text
    assert against(made(), 1e12) == []
