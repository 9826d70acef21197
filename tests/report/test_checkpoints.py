"""Scores over tokens: bars as long as the errors say, figures with their sources, no stale line."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pretrain.report.checkpoints import over_tokens, standing
from pretrain.report.evaluation import evaluation
from pretrain.report.markup import element
from tests.report.conftest import EVIL, Page, made, whole


def line(step: int, **changes: Any) -> dict[str, Any]:
    scores = {
        "blimp": [0.5 + step / 100, 0.05],
        "blimp/a": [0.6, 0.1],
        "blimp/b": [0.4, 0.1],
        "core/v1": [-0.01, 0.02],
    }
    return {
        "step": step,
        "tokens": 1000 * step,
        "asked": "q",
        "limit": 50,
        "scores": scores,
        "chance": {"blimp/a": 0.5, "blimp/b": 0.25},
        "items": {"blimp/a": 50, "blimp/b": 50},
        "suites": ["blimp", "core"],
        "without": {},
    } | changes


def drawn(lines: list[dict[str, Any]], published: dict[str, Any] | None = None) -> Page:
    recipe = {"evaluate": {"published": published or {}}}
    return whole(str(element("div", over_tokens(made(during=lines, recipe=recipe)))))


def charts(page: Page) -> dict[str, dict[str, Any]]:
    found = [a for t, a in page.tags if t == "figure" and "data-chart" in a]
    names = [a["aria-label"] or "" for _, a in page.tags if a.get("role") == "img"]
    told = [json.loads(a["data-chart"] or "") for a in found]
    return {n.partition(" (")[0]: t for n, t in zip(names, told, strict=True)}


def test_a_chart_per_suite_with_points_over_tokens() -> None:
    page = drawn([line(10), line(20), line(30)])
    found = charts(page)
    assert set(found) == {"blimp", "core/v1"}
    assert found["blimp"]["x"] == "tokens"
    (series,) = found["blimp"]["series"]
    assert series["x"] == [10_000, 20_000, 30_000]
    assert series["y"] == [0.6, 0.7, 0.8]
    assert "first 50 items" in page.text


def test_bars_are_as_long_as_errors_and_levels_lie_among_points() -> None:
    page = drawn([line(10), line(30)], {EVIL: {"blimp": 0.7, "source": "a paper"}})
    bars = [a for t, a in page.tags if t == "line" and "error" in (a["class"] or "")][:2]
    dots = [float(a["cy"] or 0) for t, a in page.tags if t == "circle"][:2]
    per_unit = (dots[0] - dots[1]) / (0.8 - 0.6)  # pixels
    for bar, dot in zip(bars, dots, strict=True):
        low, high = float(bar["y1"] or 0), float(bar["y2"] or 0)
        assert abs((low + high) / 2 - dot) < 0.2
        assert abs(low - high - 2 * 1.96 * 0.05 * per_unit) < 0.5
    levels = [float(a["y1"] or 0) for t, a in page.tags if a.get("class") == "level"]
    chance, figure = levels[:2]
    assert abs(figure - (dots[0] + dots[1]) / 2) < 0.2
    assert abs(chance - dots[0] - (0.6 - 0.375) * per_unit) < 0.5  # the mean of the tasks'
    assert ["blimp", "0.7", "a paper"] in [row[1:] for row in page.rows]


def test_a_task_with_a_published_figure_has_a_chart_of_its_own() -> None:
    page = drawn([line(10)], {"known": {"blimp/a": 0.9, "elsewhere": 0.1, "source": "s"}})
    assert set(charts(page)) == {"blimp", "core/v1", "blimp/a"}
    assert ["known", "blimp/a", "0.9", "s"] in page.rows


def test_first_and_last_by_task_and_what_has_no_score() -> None:
    later = line(30, without={"blimp/c": EVIL})
    later["scores"] = later["scores"] | {"blimp/a": [0.75, 0.09]}
    page = drawn([line(10), later])
    assert ["blimp/a", "0.600 ± 0.100", "0.750 ± 0.090", "0.500", "50"] in page.rows
    assert "Tasks without a score: 1" in page.text


@given(st.lists(st.tuples(st.integers(1, 9), st.sampled_from("ab"))))
def test_standing_lines(pairs: list[tuple[int, str]]) -> None:
    """Naive: a line stands unless a later one that asks alike has its step or an earlier one."""
    lines = [line(step, asked=asked) for step, asked in pairs]
    same = [row for row in lines if row["asked"] == lines[-1]["asked"]]
    naive = [
        row
        for i, row in enumerate(same)
        if not any(later["step"] <= row["step"] for later in same[i + 1 :])
    ]
    assert standing(lines) == naive


def test_it_is_shown_while_the_run_still_trains() -> None:
    page = whole(evaluation(made(during=[line(10)])))
    assert "Scores over tokens" in page.text
    assert "Not there yet: scores." in page.text
    assert over_tokens(made()) is None
