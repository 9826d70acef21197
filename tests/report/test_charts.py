import json

import pytest

from pretrain.report.charts import Series, line_chart
from tests.report.conftest import Page

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "points",
    [
        [(1, 2.0)],
        [(1, 2.0), (2, None), (3, NAN), (4, 5.0), (5, INF)],
        [(1, 0.0), (2, 0.0)],
        [(i, 1 / (i + 1)) for i in range(3000)],
        [(1, -1e9), (2, 1e-9)],
    ],
)
def test_lines_hold_any_values(points: list[tuple[float, float | None]]) -> None:
    series = [Series("<a>", "s1", points), Series("b", "s2", points, "dots")]
    made = line_chart("T <x>", series, "unit", marks=[1], below=str, last_x=10)
    page = Page(made)
    assert page.faults == []
    assert "nan" not in made.lower().replace("nanos", "")
    assert "inf" not in made.lower()
    assert len(made) < 80_000
    labels = [a["aria-label"] for t, a in page.tags if a.get("role") == "img"]
    assert len(labels) == 1
    assert labels[0]
    assert labels[0].startswith("T <x>")
    data = json.loads(next(a["data-chart"] for t, a in page.tags if t == "figure") or "")
    assert [s["name"] for s in data["series"]] == ["<a>", "b"]


@pytest.mark.parametrize("points", [[], [(1, None)], [(1, NAN), (2, INF)]])
def test_nothing_to_draw_is_said(points: list[tuple[float, float | None]]) -> None:
    made = line_chart("Loss", [Series("a", "s1", points)])
    assert "no finite value" in made
    assert "<svg" not in made


def test_a_line_breaks_where_a_value_is_missing() -> None:
    made = line_chart("T", [Series("a", "s1", [(0, 1.0), (1, 2.0), (2, None), (3, 3.0), (4, 2.0)])])
    path = next(a["d"] for t, a in Page(made).tags if t == "path" and "d" in a)
    assert path
    assert path.count("M") == 2
    assert path.count("L") == 2


def test_the_last_value_is_said_and_lies_where_it_should() -> None:
    made = line_chart("Loss", [Series("training", "s1", [(0, 8.0), (100, 2.0)], "dots")], "nats")
    assert "training from 8.00 at step 0 to 2.00 at step 100" in made
    circles = [a for t, a in Page(made).tags if t == "circle"]
    assert [c["cx"] for c in circles] == ["0.00%", "100.00%"]
    assert float(circles[0]["cy"] or 0) < float(circles[1]["cy"] or 0)


def test_intervals_are_a_band_behind_a_line_and_bars_through_dots() -> None:
    """Over a logarithmic axis equal factors are equally far; the read-out knows the ends."""
    points = [(1e18, 4.0), (1e20, 3.0), (1e22, 2.0)]
    ends = [(3.0, 5.0), (2.5, 4.0), (1.0, 3.0)]
    made = line_chart(
        "Loss",
        [
            Series("law", "s1", points, intervals=ends),
            Series("run", "s2", [(1e20, 3.5)], "dots", intervals=[(3.25, 3.75)]),
        ],
        x_name="FLOP",
        log_x=True,
    )
    page = Page(made)
    bands = [a for t, a in page.tags if t == "path" and a["class"] == "fill band s1"]
    assert len(bands) == 1
    corners = [tuple(map(float, c.split())) for c in (bands[0]["d"] or "")[1:-1].split(" L")]
    assert len(corners) == 6
    # Lower on the screen is more pixels: the low ends come first, then the high ones back.
    for low, high in zip(corners[:3], corners[:2:-1], strict=True):
        assert low[0] == high[0]
        assert low[1] > high[1]
    assert corners[1][0] - corners[0][0] == pytest.approx(corners[2][0] - corners[1][0], abs=0.2)
    (bar,) = (a for t, a in page.tags if t == "line" and "error" in (a.get("class") or ""))
    assert bar["x1"] == bar["x2"] == "50.00%"
    middle = (float(bar["y1"] or 0) + float(bar["y2"] or 0)) / 2
    circle = next(a for t, a in page.tags if t == "circle")
    assert float(circle["cy"] or 0) == pytest.approx(middle, abs=0.2)
    data = json.loads(next(a["data-chart"] for t, a in page.tags if t == "figure") or "")
    assert data["log"]
    assert data["series"][0]["ends"] == [list(pair) for pair in ends]


def test_one_compute_alone_can_be_drawn() -> None:
    made = line_chart("Loss", [Series("a", "s1", [(1e20, 3.0)])], x_name="FLOP", log_x=True)
    assert "50.00%" in made
