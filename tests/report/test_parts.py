"""Groups of held-out text are drawn with their figures; a group of one is not."""

from typing import Any

from pretrain.report.evaluation import evaluation
from pretrain.report.markup import element
from pretrain.report.parts import parts
from tests.report.conftest import EVIL, Page, made, whole

FIGURES = {"bits_per_byte": 1.25, "loss": 2.5, "n_tokens": 4321, "n_bytes": 9876, "documents": 12}


def drawn(found: dict[str, Any]) -> Page:
    return whole(str(element("div", parts(found))))


def dots(page: Page) -> int:
    return sum(tag == "circle" for tag, _ in page.tags)


def test_by_language_and_domain() -> None:
    rows = [{"name": EVIL, **FIGURES}, {"name": None, **FIGURES, "bits_per_byte": 2.0}]
    page = drawn({"language": rows, "domain": rows[:1], "position": []})
    assert page.rows[1][1:] == ["1.250", "2.500", "4,321", "9,876", "12"]
    assert page.rows[-1][:2] == ["all others", "2.000"]
    assert "By domain" not in page.text
    assert dots(page) == 2


def test_a_chart_shows_some_and_the_table_all() -> None:
    page = drawn({"domain": [{"name": f"host{i}", **FIGURES} for i in range(40)]})
    assert dots(page) == 12
    assert "12 of 40" in page.text
    assert len(page.rows) == 41


def test_by_place() -> None:
    rows = [{"first": 2**i - 1, "last": 2 ** (i + 1) - 2, "loss": 5.0 - i, "n_tokens": 7 * 2**i}
            for i in range(3)]  # fmt: skip
    page = drawn({"position": rows})
    assert page.rows[1:] == [["0", "5.000", "7"], ["1–2", "4.000", "14"], ["3–6", "3.000", "28"]]
    assert dots(page) == 3


def test_nothing_of_nothing() -> None:
    assert parts({}) == []
    whole(evaluation(made(scores={"held_out": {}, "tasks": {}})))
