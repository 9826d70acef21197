"""The section draws what was probed, each mean at its place, and is absent where nothing was."""

from pathlib import Path
from typing import Any

import pytest

from pretrain.report.adaptation import adaptation, half_interval
from pretrain.report.page import render
from tests.report.conftest import EVIL, made, whole, write


def part(mean: float, error: float | None, n: int = 3) -> dict[str, Any]:
    return {"mean": mean, "error": error, "scores": [mean] * n}


def point(labels: int, nothing: float, pretrained: float) -> dict[str, Any]:
    return {"labels": labels, "majority": 0.2, "nothing": part(nothing, 0.01),
            "pretrained": part(pretrained, 0.02),
            "difference": {"mean": pretrained - nothing, "error": 0.03}}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    points = [point(32, 0.3, 0.5), point(128, 0.4, 0.7), point(9999, 0.6, 0.8)]
    tasks = {EVIL: {"metric": "mcc", "points": points, "n_test": 1234},
             "one": {"metric": "f1", "points": points[:1], "n_test": 5},
             "none": {"metric": "f1", "points": [], "n_test": 5}}  # fmt: skip
    write(tmp_path / "probe" / "label_efficiency.json", {"tasks": tasks})
    return tmp_path


def test_means_are_drawn_where_they_lie(folder: Path) -> None:
    page = whole(adaptation(made(folder=folder)))
    circles = [a for tag, a in page.tags if tag == "circle"]
    assert len(circles) == 2 * (3 + 1)
    assert [c["cx"] for c in circles[:3]] == ["4.00%", "50.00%", "96.00%"]
    heights = [float(str(c["cy"])) for c in circles[:6]]
    values = [0.5, 0.7, 0.8, 0.3, 0.4, 0.6]
    slope = (heights[0] - heights[3]) / (values[0] - values[3])
    assert slope < 0
    for height, value in zip(heights, values, strict=True):
        assert height == pytest.approx(heights[0] + slope * (value - values[0]), abs=0.2)
    bars = [a for tag, a in page.tags if tag == "line" and "stroke" in (a.get("class") or "")]
    reach = abs(float(str(bars[0]["y1"])) - float(str(bars[0]["y2"])))
    assert reach == pytest.approx(2 * 0.02 * 4.30 * abs(slope), abs=0.3)
    row = ["one", "f1", "32", "0.200", "0.300 ± 0.010", "0.500 ± 0.020", "0.200 ± 0.030", "3", "5"]
    assert row in page.rows
    assert not any("none" in cells for cells in page.rows)
    assert "9,999" in page.text


def test_a_run_that_was_not_probed_has_no_section(tmp_path: Path, folder: Path) -> None:
    assert adaptation(made(folder=tmp_path / "other")) == ""
    assert "adaptation" not in render(made(folder=tmp_path / "other"))
    assert 'href="#adaptation"' in render(made(folder=folder))
    write(folder / "probe" / "label_efficiency.json", {"tasks": {"a": 3}})
    assert "This section cannot be drawn" in render(made(folder=folder))


def test_intervals_are_students() -> None:
    assert half_interval(part(0.5, None, 1)) is None
    assert half_interval(part(0.5, 0.1, 2)) == pytest.approx(1.271)
    assert half_interval(part(0.5, 0.1, 3)) == pytest.approx(0.430)
    assert half_interval(part(0.5, 0.1, 31)) == pytest.approx(0.2042, rel=0.01)
