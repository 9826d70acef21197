import pytest
from hypothesis import given

from pretrain.collect.latex_formulas import formula_source, shown_formula
from pretrain.collect.latex_tokens import Macro, Tokens
from tests.collect.test_latex_tokens import LATEX, rest


@pytest.mark.parametrize(
    ("source", "closer", "name", "expected", "left"),
    [
        ("a$ b", "$", "", "a", " b"),
        ("a$$b$", "$", "", "a", "$b$"),
        ("\\text{if $b$}$ c", "$", "", "\\text{if $b$}", " c"),
        ("a\\]b", "\\]", "", "a", "b"),
        ("a\\label{x}\\nonumber\\end{align}b", "", "align", "a", "b"),
        ("\\begin{c}\\end{c}\\end{align}b", "", "align", "\\begin{c}\\end{c}", "b"),
        ("\\R^n$", "$", "", "\\mathbb R^n", ""),
    ],
)
def test_up_to_the_end(source: str, closer: str, name: str, expected: str, left: str) -> None:
    tokens = Tokens(source)
    tokens.macros["R"] = Macro(0, None, ["\\mathbb", " R"])
    assert formula_source(tokens, closer, name) == (expected, True)
    assert rest(tokens) == left


@pytest.mark.parametrize("source", ["a b", "a b\n\nc$", "a b}c$"])
def test_what_has_no_end(source: str) -> None:
    tokens = Tokens(source)
    assert formula_source(tokens, "$") == ("a b", False)
    assert rest(tokens) == source[3:]


def test_how_it_is_shown() -> None:
    assert shown_formula(" a\n b ", "$") == "$a b$"
    assert shown_formula("a", "\\]") == "$$a$$"
    assert shown_formula("a\nb", "", "equation") == "$$\na\nb\n$$"
    assert shown_formula("a", "", "align*") == "$$\n\\begin{align*}\na\n\\end{align*}\n$$"


@given(LATEX)
def test_no_source_makes_it_fail(source: str) -> None:
    for closer, name in (("$", ""), ("$$", ""), ("", "equation")):
        formula_source(Tokens(source), closer, name)
