import itertools
import math
import random

import pytest

from pretrain.report import axes
from pretrain.report.axes import Scale


@pytest.mark.parametrize(
    "values",
    [
        [], [0.0], [5.0], [-3.0, 2.0], [1e-9, 2e-9], [1.0, 1.0 + 1e-12], [1e-4, 1e4], [0.0, 1e12],
        [2.5, float("nan"), None, float("inf")], [999.0, 1001.0], [0.61, 1.33],
    ],
)  # fmt: skip
@pytest.mark.parametrize("zero", [False, True])
def test_scales_hold_their_values_and_ticks(values: list[float | None], zero: bool) -> None:
    scale = axes.scale_of(values, zero)
    assert scale.low < scale.high
    for value in axes.finite(values):
        assert 0 <= scale.at(value) <= 1
        assert scale.low <= value <= scale.high or math.isclose(value, scale.high)
    marks = axes.ticks(scale)
    assert 2 <= len(marks) <= 12
    assert all(scale.low - 1e-9 <= m <= scale.high * (1 + 1e-9) + 1e-12 for m in marks)
    labels = axes.tick_labels(marks)
    assert len(set(labels)) == len(labels), labels


def test_a_wide_span_is_logarithmic() -> None:
    assert axes.scale_of([0.01, 10.0]).log
    assert not axes.scale_of([3.0, 8.0]).log
    assert not axes.scale_of([0.0, 1000.0]).log
    assert Scale(1, 100, log=True).at(10) == pytest.approx(0.5)


def test_labels_are_moved_apart_in_order() -> None:
    rng = random.Random(3)
    for n in range(1, 9):
        places = [rng.uniform(0, 180) for _ in range(n)]
        moved = axes.spread(places, 15, 4, 176)
        order = sorted(range(n), key=lambda i: places[i])
        gaps = [moved[b] - moved[a] for a, b in itertools.pairwise(order)]
        assert all(gap >= 15 - 1e-9 for gap in gaps)
        assert max(moved) <= 176 + 1e-9


def test_decimation_keeps_ends_and_extremes() -> None:
    points = [(float(i), math.sin(i)) for i in range(10_000)]
    points[5432] = (5432.0, 99.0)
    points[77] = (77.0, float("nan"))
    kept = axes.decimate(points)
    assert len(kept) <= 404
    assert kept[0] == points[0]
    assert kept[-1] == points[-1]
    assert (5432.0, 99.0) in kept
    assert [x for x, _ in kept] == sorted({x for x, _ in kept})
    assert axes.decimate([]) == []


def test_smoothing_is_a_mean_and_does_not_lag() -> None:
    line = [(float(i), 10.0 - i) for i in range(50)]
    smoothed = axes.smooth(line, 7)
    assert [y for _, y in smoothed[:47]] == pytest.approx([y for _, y in line[:47]])
    assert axes.smooth([(1, None), (2, float("inf")), (3, 4.0)], 5) == [(3, 4.0)]
    assert axes.smooth([], 5) == []


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([1e20, 1e21, 1e22], ["10²⁰", "10²¹", "10²²"]),
        ([1e21, 3e21], ["10²¹", "3×10²¹"]),
        ([0, 1e13, 2e13], ["0", "10 T", "20 T"]),
        ([0, 5e9, 1e10], ["0", "5 B", "10 B"]),
    ],
)
def test_labels_of_large_values(values: list[float], labels: list[str]) -> None:
    assert axes.tick_labels(values) == labels
