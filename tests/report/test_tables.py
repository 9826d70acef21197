import pytest

from pretrain.report.tables import bar, key, table
from tests.report.conftest import Page


def test_a_table_names_rows_and_columns() -> None:
    made = table("lbr", ["Step", "", "N"], [["<raw>", bar([(1, "s1", "one")], 2), "1,234"]], "<c>")
    page = Page(made)
    assert page.faults == []
    scopes = [a["scope"] for t, a in page.tags if t == "th"]
    assert scopes == ["col", "col", "col", "row"]
    assert {"<raw>", "1,234", "<c>"} <= set(page.words)


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        table("lr", ["a", "b"], [["x"]])


def test_bars_add_up() -> None:
    page = Page(bar([(25, "s1", "a"), (0, "s2", "b"), (75, "s3", "c")], 200))
    rects = [a for t, a in page.tags if t == "rect"]
    assert [(r["x"], r["width"]) for r in rects] == [("0.000%", "12.500%"), ("12.500%", "37.500%")]
    assert page.tags[0][1]["aria-label"] == "a, b, c"
    assert Page(bar([(1, "s1", "a")], 0)).faults == []
    assert "<b>" in Page(key([("s1", "<b>")])).words
