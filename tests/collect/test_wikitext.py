import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("mwparserfromhell", reason="the extra 'wikipedia' is not installed")
from pretrain.collect.wikitext import extract

LINKS = ["category", "datei", "file", "image", "kategorie"]
MARKUP = st.lists(
    st.sampled_from(
        [
            *("{{", "}}", "[[", "]]", "|", "''", "'''", "==", "\n", "\n==A==\n", "* x\n", "# y\n"),
            *(
                "{|",
                "|-",
                "|}",
                "!!",
                "<ref>",
                "</ref>",
                "<math>x</math>",
                "<br>",
                "&amp;",
                "&#x0;",
            ),
            *(
                "&#xD800;",
                "&#99999999999;",
                "<!--",
                "-->",
                "word ",
                "[http://a b]",
                "<nowiki>",
                "é",
            ),
        ]
    )
).map("".join)


def text(source: str) -> str:
    answer = extract(orjson.dumps({"title": "T", "text": source, "links": LINKS}))
    assert not answer["reason"]
    return answer["text"].removeprefix("T\n\n").removesuffix("\n")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("'''Bonn''' is a [[city|town]] in [[Germany]].", "Bonn is a town in Germany."),
        ("A<ref>note</ref> b<ref name=x /> c.", "A b c."),
        ("X {{Infobox|a=b}} y {{nowrap|10 km}}.", "X y 10 km."),
        ("Paris ({{lang-fr|x}}) is", "Paris is"),
        ("He said {{lang|de|ja}}, {{convert|5|km|mi}}.", "He said ja, 5 km."),
        ("a [[File:x.jpg|thumb|A [[nested]] caption]] b", "a b"),
        ("a [[Kategorie:Stadt]][[de:Bonn]]b [[:Category:X|X]]", "a b X"),
        ("see [http://a.b the page], [http://c.d] or http://e.f", "see the page, or http://e.f"),
        ("* one\n* two", "- one\n- two"),
        ("Mass <math>E=mc^2</math> here", "Mass $E=mc^2$ here"),
        ("<math display='block'>a</math>", "$$a$$"),
        ("a <!-- hidden --> b __NOTOC__", "a b"),
        ("5&nbsp;km &lt; 6 &eacute;", "5 km < 6 é"),
        ("<syntaxhighlight lang='c'>\nint  x;\n</syntaxhighlight>", "int  x;"),
        ("<nowiki>[[raw]]</nowiki> and <code>a  b</code>", "[[raw]] and a  b"),
        ("Intro.\n== Life ==\nText.\n== References ==\n<references/>", "Intro.\n\nLife\n\nText."),
        ("a\n== B ==\n=== C ===\nd\n=== E ===\n", "a\n\nB\n\nC\n\nd"),
        ("{{Infobox|x}}", ""),
        ("", ""),
    ],
)
def test_markup(source: str, expected: str) -> None:
    assert text(source) == expected


def test_tables_become_rows() -> None:
    source = (
        '{| class="wikitable"\n|+ Towns\n! Name !! People\n|-\n| [[Bonn]] || 330,000\n'
        "|-\n| Köln<ref>x</ref> || 1,000,000\n|}\nEnd."
    )
    assert text(source) == "Towns\nName | People\nBonn | 330,000\nKöln | 1,000,000\n\nEnd."


def test_formulas_and_code_in_headings_and_cells() -> None:
    source = "== On <math>x</math> ==\n{|\n| <code>a</code> || b\n|}\nend <math>y</math>"
    assert text(source) == "On $x$\n\na | b\n\nend $y$"


def test_a_page_has_its_title() -> None:
    answer = extract(orjson.dumps({"title": "Bonn", "text": "A city.", "links": LINKS}))
    assert answer["text"] == "Bonn\n\nA city.\n"


@pytest.mark.parametrize(
    "source", ["{{" * 300, "[[" * 300, "{|\n" * 200, "<div>" * 300, "''" * 2000]
)
def test_nesting_ends(source: str) -> None:
    text(source)


@settings(max_examples=80)
@given(MARKUP)
def test_no_markup_makes_it_fail(source: str) -> None:
    assert "\1" not in text(source)
