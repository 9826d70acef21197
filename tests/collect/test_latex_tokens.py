import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.collect.latex_tokens import Tokens, is_break

LATEX = st.lists(
    st.sampled_from(
        [
            *("\\", "{", "}", "[", "]", "$", "$$", "%", "#1", "&", "~", "\n", "\n\n", " ", "a b"),
            *(
                "\\cmd",
                "\\newcommand",
                "\\def",
                "\\x",
                "\\begin",
                "\\end",
                "{equation}",
                "é",
                "\\\\",
            ),
        ]
    )
).map("".join)


def rest(tokens: Tokens) -> str:
    found = []
    while token := tokens.next():
        found.append(token)
    return "".join(found)


def expanded(source: str) -> str:
    tokens = Tokens(source)
    found = []
    while token := tokens.next():
        if token[1:] in ("newcommand", "def", "let", "DeclareMathOperator"):
            tokens.define(token[1:])
        elif token[0] == "\\" and token[1:] in tokens.macros:
            tokens.expand(token[1:])
        else:
            found.append(token)
    return "".join(found)


@given(LATEX)
def test_the_tokens_are_the_source_without_its_comments(source: str) -> None:
    source = source.replace("%", "")
    assert rest(Tokens(source)) == source


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a% comment\n  b", "ab"),
        ("a % comment\n\nb", "a \n\nb"),  # the blank line stays a break
        ("50\\% of % it\nb", "50\\% of b"),
        ("% all", ""),
    ],
)
def test_comments(source: str, expected: str) -> None:
    assert rest(Tokens(source)) == expected


def test_arguments() -> None:
    tokens = Tokens(" {a{b}c} x\\y[o] {open \n\n next")
    assert "".join(tokens.argument()) == "a{b}c"
    assert tokens.argument() == ["x"]
    assert tokens.argument() == ["\\y"]
    assert tokens.optional() == ["o"]
    assert tokens.optional() is None
    assert "".join(tokens.argument()) == "open "  # it ends at the blank line
    assert is_break(tokens.next())
    assert Tokens("}").argument() == []
    assert Tokens("").argument() == []
    assert "".join(Tokens("{a\n\nb}c").argument(long=True)) == "a\n\nb"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("\\newcommand{\\R}{\\mathbb{R}}$\\R^n$", "$\\mathbb{R}^n$"),
        ("\\newcommand\\pair[2]{(#1, #2)}\\pair{a}{b}", "(a, b)"),
        ("\\newcommand{\\p}[2][x]{#1#2}\\p{a} \\p[y]{b}", "xa yb"),
        ("\\def\\q#1#2{#2#1}\\q ab", "ba"),
        ("\\def\\q#1.{<#1>}\\q", "\\q"),  # delimited: not read
        ("\\let\\old=\\em\\old", "\\em"),
        ("\\DeclareMathOperator{\\rank}{rank}\\rank A", "\\operatorname{rank} A"),
        ("\\newcommand{\\a}{\\b\\b}\\newcommand{\\b}{x}\\a", "xx"),
        ("\\newcommand{\\a}{#1}\\a", "#1"),  # no such argument
    ],
)
def test_macros(source: str, expected: str) -> None:
    assert expanded(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        "\\def\\a{\\a}\\a",
        "\\def\\a{\\a\\a}\\a",
        "\\def\\a{x\\b}\\def\\b{y\\a}\\a",
        "\\def\\a#1{\\a{#1#1}}\\a{x}",
        "".join(f"\\def\\{c}{{\\{n}\\{n}\\{n}}}" for c, n in itertools.pairwise("abcdefghijklmn"))
        + "\\def\\n{word}\\a",
    ],
)
def test_work_is_bounded(source: str) -> None:
    tokens_of = Tokens(source)
    assert len(expanded(source)) <= tokens_of.budget


def test_some_commands_cannot_be_defined_anew() -> None:
    tokens = Tokens("{\\section}{x}", frozenset({"section"}))
    tokens.define("newcommand")
    assert not tokens.macros


@given(LATEX)
def test_no_source_makes_it_fail(source: str) -> None:
    expanded(source)
    expanded("\\def\\x#1{[#1\\cmd]}\\newcommand{\\cmd}[1][d]{#1}" + source)
