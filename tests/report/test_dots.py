from pretrain.report.dots import Dots, dot_chart
from tests.report.conftest import Page

NAN = float("nan")


def test_dots() -> None:
    rows = [
        Dots(
            "a very long name of a source <b>",
            [(1.5, "dot model", "model 1.5"), (None, "dot", "x")],
        ),
        Dots("task", [(0.5, "chance", "chance 0.5"), (NAN, "dot", "y")], (0.2, 0.9)),
        Dots("none", []),
    ]
    page = Page(dot_chart("Bits", rows, "less"))
    assert page.faults == []
    assert len([t for t, _ in page.tags if t == "circle"]) == 1
    assert "nothing was measured" in dot_chart("Bits", [], "less")


def test_long_names_of_rows_stay_apart():
    names = ["core/bigbench_qa_wikidata", "core/bigbench_language_identification_and_more"]
    page = dot_chart("Accuracy", [Dots(name, [(0.5, "dot model", "half")]) for name in names], "")
    assert ">core/bigbench_qa_wikidata<" in page
    assert ">core/bigbench_…cation_and_more<" in page
