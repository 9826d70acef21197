"""The text of a page after it was read: ends trimmed, blocks in their places."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.collect import html_lines
from pretrain.collect.html_tree import BLOCK, HEADING

LONG = 10 * "A sentence of the text. "


def mark(number: int) -> str:
    return f"{BLOCK}{number}{BLOCK}"


def test_what_stands_before_the_heading_goes_if_it_is_little() -> None:
    assert html_lines.finish(f"Menu\n\n{HEADING}Title\n\n{LONG}.", []).startswith("Title\n")
    assert html_lines.finish(f"{LONG}\n{HEADING}Title\n{LONG}.", []).startswith("A sentence")


@pytest.mark.parametrize(
    "last", ["Share", "More in Milan", "Tags", "Posted by me\n\nReply", "12 comments\n   "]
)
def test_a_tail_that_is_no_text_goes(last: str) -> None:
    assert html_lines.finish(f"{LONG}End of it.\n\n{last}", []) == f"{LONG}End of it."


@pytest.mark.parametrize(
    "last",
    ["A last sentence.", "終わりました。だから。ほら。", "  • an item", "1. an item", "a\t\tb",
     30 * "word ", "where $x^2 = y$"],
)  # fmt: skip
def test_a_tail_that_is_text_stays(last: str) -> None:
    found = html_lines.finish(f"{LONG}End of it.\n\n{last}\n", [])
    assert found.split() == f"{LONG}End of it. {last}".replace("\t\t", " | ").split()


@given(st.text("ab.• \t\n", max_size=300))
def test_the_tail_is_at_most_a_tenth(text: str) -> None:
    kept = html_lines.without_tail(text)
    assert text.startswith(kept)
    dropped = text[len(kept) :]
    assert len(dropped.lstrip("\n \t")) <= 0.1 * len(text) + 1 or not dropped.strip()


def test_the_tail_of_many_lines_takes_no_time_for_each_of_all() -> None:
    html_lines.without_tail(LONG * 40_000 + "x\n" * 200_000)


def test_blocks_stand_at_the_margin_with_empty_lines_around() -> None:
    text = f"One.\n    {mark(0)}\nTwo. {LONG}\n\n{mark(1)}{mark(2)}"
    code = "```\nx\n```"
    found = html_lines.finish(text, [code, "a | b", code])
    assert found == f"One.\n\n{code}\n\nTwo. {LONG.rstrip()}\n\na | b\n\n{code}"


def test_a_block_that_is_the_document_has_no_fences() -> None:
    code = "```\n" + LONG + "\n  x\n```"
    assert html_lines.finish(f"T\n\n{mark(0)}", [code]) == f"T\n\n{LONG}\n  x"


def test_forged_marks_do_no_harm() -> None:
    text = f"{LONG}{mark(0)} {mark(0)} {mark(7)} {BLOCK}{BLOCK} {BLOCK}x {HEADING}y\x01. {LONG}"
    found = html_lines.finish(text, ["a | b"])
    assert found.count("a | b") == 1
    assert not set("\x01\x02\x03") & set(found)


def test_cells_left_to_the_extractor_are_divided_the_same_way() -> None:
    assert html_lines.finish("a\t\tb c\t\t\nd\t\t\t\te.", []) == "a | b c\nd | e."
