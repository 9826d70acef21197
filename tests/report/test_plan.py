"""Pictures of a plan: the law with the run on it, layouts, bars on one scale, four conventions."""

import json
from typing import Any

import pytest

from pretrain.report import plan
from pretrain.report.formats import significant
from tests.report.conftest import EVIL, Page, whole

LAW: dict[str, Any] = {
    "flops": 1e21, "loss": 2.5, "low": 2.0, "high": 3.0, "law": "6 families", "note": EVIL,
    "holds": True,
    "frontier": [{"flops": c, "loss": a, "low": a - 0.5, "high": a + 0.5,
                  "extrapolated": False}
                 for c, a in ((1e20, 3.0), (1e21, 2.4), (1e22, 2.0))],
}  # fmt: skip
LADDER: dict[str, Any] = {
    "rungs": [{"flops": 10.0**e, "loss": 24.0 - e} for e in (17, 18, 19)],
    "large": {"flops": 1.1e21, "steps": 100},
    "loss": {
        "loss": 2.6,
        "low": 2.5,
        "high": 2.7,
        "times_beyond": 110.0,
        "floor": 1.0,
        "factor": 1000.0,
        "exponent": 0.13,
    },
}


def series(page: Page) -> dict[str, dict[str, Any]]:
    data = next(a["data-chart"] for t, a in page.tags if t == "figure") or ""
    return {one["name"]: one for one in json.loads(data)["series"]}


def test_the_run_lies_on_the_frontier_of_the_law() -> None:
    found = series(whole(plan.frontier(LAW)))
    assert list(found) == ["public laws, 80 %", "forecast"]
    assert found["forecast"] | {"name": ""} == {
        "name": "", "x": [10**21], "y": [2.5], "ends": [[2.0, 3.0]]
    }  # fmt: skip
    found = series(whole(plan.frontier(LAW, measured=(1.1e21, 2.55))))
    assert found["this run"]["y"] == [2.55]
    assert found["this run"]["x"] == [int(1.1e21)]


@pytest.mark.parametrize(
    ("n_near", "names"),
    [
        (3, ["public laws, 80 %"]),
        (2, ["public laws, 80 %", "extrapolated"]),
        (1, ["extrapolated"]),
        (0, ["extrapolated"]),
    ],
)
def test_what_is_far_beyond_the_public_runs_is_dashed(n_near: int, names: list[str]) -> None:
    points = [row | {"extrapolated": i >= n_near} for i, row in enumerate(LAW["frontier"])]
    page = whole(plan.frontier(LAW | {"frontier": points}))
    found = series(page)
    assert list(found) == [*names, "forecast"]
    dashed = [a for t, a in page.tags if t == "path" and "dashed" in (a["class"] or "")]
    assert len(dashed) == ("extrapolated" in names)
    drawn = {x for name in names for x in found[name]["x"]}
    assert drawn == {row["flops"] for row in LAW["frontier"]}  # without a gap


def test_a_ladder_is_drawn_beside_it() -> None:
    found = series(whole(plan.frontier(LAW, LADDER, measured=(1.1e21, 2.55))))
    assert found["ladder's rungs"]["y"] == [7.0, 6.0, 5.0]
    law = found["ladder's law"]
    assert law["y"] == [float(f"{1 + 1000 * c**-0.13:.4g}") for c in law["x"]]
    assert [law["x"][0], law["x"][-1]] == pytest.approx([1e17, 1.1e21])
    assert found["ladder's forecast"]["ends"] == [[2.5, 2.7]]
    assert found["this run"]["x"] == found["ladder's forecast"]["x"]


def test_a_fit_is_drawn_beside_it() -> None:
    fit = {"law": "parametric", "runs": 9, "table": EVIL, "flops": 1e21, "loss": 2.7, "low": 2.6,
           "high": 2.8, "times_outside": 3.0}  # fmt: skip
    page = whole(plan.frontier(LAW, fit=fit))
    assert series(page)["fit's forecast"]["ends"] == [[2.6, 2.8]]
    assert "3.00 times outside their range (80 %)." in page.text
    assert "within their range" in whole(plan.frontier(LAW, fit=fit | {"times_outside": 1})).text
    assert list(series(whole(plan.frontier(None, None, fit)))) == ["fit's forecast"]


def test_where_the_laws_do_not_reach_they_are_not_drawn() -> None:
    far = LAW | {"holds": False, "note": "90 times outside", "frontier": []}
    page = whole(plan.frontier(far, measured=(1.1e21, 5.0)))
    assert "The public laws are not drawn: 90 times outside." in page.text
    assert not [t for t, _ in page.tags if t == "svg"]
    assert list(series(whole(plan.frontier(far, LADDER, measured=(1.1e21, 5.0))))) == [
        "ladder's rungs", "ladder's law", "ladder's forecast", "this run"
    ]  # fmt: skip


def test_each_convention_has_its_mfu() -> None:
    page = whole(plan.conventions({"own": 8e9, "6N": 6e9}, 0.4, "own"))
    assert page.rows[1:] == [
        ["6N", significant(6e9), "30.0 %", ""],
        ["own", significant(8e9), "40.0 %", "this program's"],
    ]
    page = whole(plan.conventions({"own": 8e9}, None, "own"))
    assert page.rows[1][2] == "–"


def test_layouts_are_told_apart() -> None:
    def row(name: str, at: float, fits: bool = True) -> dict[str, Any]:
        return {"said": name, "seconds": at, "bytes": at * 2**30, "fits": fits}

    chosen = [row("a", 1), row(EVIL, 2)]
    page = whole(plan.layouts(chosen, [*chosen, row("c", 3), row("d", 9, False)], 5 * 2**30))
    looks = [a["class"] for t, a in page.tags if t == "circle"]
    assert looks == ["point outside", "point s1", "point s3 chosen", "point s2 chosen"]
    for word in ("does not fit (1)", "fits (1)", "chosen (1)", "a: 1.0 s a step, 1.0 GiB"):
        assert word in page.text


def test_bars_have_one_scale_and_one_key() -> None:
    rows = {"one": {"x": 3.0, "y": 1.0, "none": 0.0}, "two": {"y": 6.0, "x": 2.0}}
    page = whole(plan.parts("Steps", rows, str))
    assert "none" not in page.text
    widths = [(a["class"], a["width"]) for t, a in page.tags if t == "rect"]
    assert widths == [
        ("fill s1", "12.500%"), ("fill s2", "37.500%"), ("fill s1", "75.000%"),
        ("fill s2", "25.000%"),
    ]  # fmt: skip
    assert page.rows[1:] == [["one", "", "4.0"], ["two", "", "8.0"]]


def test_the_key_knows_what_only_a_later_row_has() -> None:
    later = {f"part {i}": 100.0 - i for i in range(9)}
    page = whole(plan.parts("Bytes", {"one": {"part 0": 1.0}, "two": later}, str))
    assert "all others" in page.text


def test_small_parts_are_drawn_as_one() -> None:
    row = {f"part {i}": 100.0 - i for i in range(9)}
    page = whole(plan.parts("Bytes", {"all": row}, lambda v: f"{v:g}", "of a device"))
    looks = [a["class"] for t, a in page.tags if t == "rect"]
    assert looks == [f"fill s{i}" for i in range(1, 8)] + ["fill s0"]
    assert "all others 185" in page.text
    assert page.rows[1][2] == f"{sum(row.values()):g}"


@pytest.mark.parametrize(("value", "text"), [(0.5, "$0.50"), (1234.6, "$1,235")])
def test_dollars(value: float, text: str) -> None:
    assert plan.dollars(value) == text
