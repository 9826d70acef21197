"""Escaping is what happens when nothing is said."""

import pytest

from pretrain.report.markup import Markup, details, element, escape, join, visible
from tests.report.conftest import Page

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style></title></textarea>",
    "a & b &lt; c",
    "\x1b[31mred\x1b[0m\x07\x00",
    "\u202egnirts\u2066\u2069\ufeff",
    "\ud800 lone surrogate",
    "'single' `back`",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_text_and_attributes_come_back_as_text(text: str) -> None:
    page = Page(element("p", element("b", text, title=text), text))
    assert page.faults == []
    assert [tag for tag, _ in page.tags] == ["p", "b"]
    assert "".join(page.words) == 2 * visible(text)
    assert page.tags[1][1]["title"] == visible(text)
    element("p", text).encode()  # no surrogate is left


def test_what_does_not_show_is_named() -> None:
    assert visible("a\x1b\x00\u202e\ud800\tb\nc\r\n") == "a␛␀⟨U+202E⟩⟨U+D800⟩\tb\nc\n"
    assert visible("नमस्ते עברית 👩‍👩‍👧") == "नमस्ते עברית 👩‍👩‍👧"


def test_markup_is_not_escaped_again() -> None:
    assert element("p", element("i", "<")) == "<p><i>&lt;</i></p>"
    assert join(["<", None, [Markup("<br>"), 3]]) == "&lt;<br>3"
    assert escape(escape("<")) == "&amp;lt;"


def test_attributes() -> None:
    made = element("a", class_="x", aria_label="y", open=True, title=None, hidden=False)
    assert made == '<a class="x" aria-label="y" open></a>'
    with pytest.raises(ValueError, match="attribute name"):
        element("a", **{"x onload": "1"})
    assert details("s", "t") == "<details><summary>s</summary>t</details>"
