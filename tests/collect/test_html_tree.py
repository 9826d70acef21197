"""The tree before its text is read: main element, lists, code, tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.collect import html, html_tree
from pretrain.collect.html_tree import BLOCK, HEADING

WORDS = 30 * "Some words of the text. "


def edited(body: str) -> tuple[str, list[str]]:
    """Source of the edited body, and its blocks."""
    tree, names = html.parsed(f"<body>{body}</body>".encode())
    blocks = html_tree.edit(tree, names)
    return tree.body.html, blocks


@pytest.mark.parametrize(
    "main",
    ["<article>{}</article>", "<main>{}</main>", "<div role=\"main\">{}</div>",
     "<div class='x entry-content'>{}</div>", "<div itemprop=articleBody>{}</div>"],
)  # fmt: skip
def test_one_main_element_is_left_alone(main: str) -> None:
    inner = f"<p>{WORDS}</p>"
    source, _ = edited("<div>Before</div>" + main.format(inner) + "<div>After</div>")
    assert "Some words" in source
    assert "Before" not in source
    assert "After" not in source


@pytest.mark.parametrize(
    "body",
    [
        f"Before <article><p>{WORDS}</article><article><p>{WORDS}</article>",  # previews
        f"Before <article>short</article> {WORDS}",
        f"Before <article><p>{WORDS}</p></article>" + 3 * f"<p>{WORDS}</p>",  # a small share
    ],
)
def test_what_is_not_clearly_the_main_element_is_not_taken_for_it(body: str) -> None:
    assert "Before" in edited(body)[0]


def test_lists_that_are_text_are_no_navigation() -> None:
    listed = "<ul><li>one of the items</li><li>two <a href=x>link</a></li></ul>"
    menu = "<ul><li><a href=x>Home</a></li><li><a href=y>About us</a></li></ul>"
    for place in (
        "<body>{}",
        "<body><div>{}</div>",
        "<main>{}</main>",
        "<article><div>{}</div></article>",
    ):
        inside = place.format(f"<p>{WORDS}</p>{listed}<p>{WORDS}</p>{menu}<p>{WORDS}")
        text = html.extract(inside.encode())["text"]
        assert "  • one of the items\n  • two link\n" in text
        assert "Home" not in text


def test_the_body_is_put_deeper_and_no_source_is_spoilt() -> None:
    deep = "<div><div><div><div>"
    assert (
        html_tree.deepened("<html><body class=x>a</body>") == f"<html><body class=x>{deep}a</body>"
    )
    assert html_tree.deepened("<BODY>a") == f"<BODY>{deep}a"
    for source in ("<p>a", "<body", "", "<body <p"):
        assert html_tree.deepened(source) == source


def test_parts_that_are_never_text_go_and_the_heading_is_marked() -> None:
    parts = "<nav>N</nav><footer>F</footer><aside>A</aside><h1>One</h1><h1>Two</h1>"
    source, _ = edited(parts)
    assert not set("NFA") & set(source)
    source, _ = edited(f"<main><p>{WORDS}</p>{parts}</main>")
    assert "A" in source  # a note beside the text
    assert f"{HEADING}One" in source
    assert f"{HEADING}Two" not in source


@pytest.mark.parametrize(
    ("pre", "code"),
    [
        ("<pre>\na\n  b\n\n</pre>", "a\n  b"),
        ("<pre>a<br>&nbsp; b<br/>c</pre>", "a\n  b\nc"),
        ("<pre><div>a</div><div>  b</div></pre>", "a\n  b"),
        ("<pre><code><span>a</span>  \n\t&lt;b&gt;</code></pre>", "a\n\t<b>"),
        ("<pre><span class=linenos>1</span>a\n<span class=linenos>2</span>b</pre>", "a\nb"),
        ("<table><tr><td><pre>1\n2\n</pre><td><pre>a\nb</pre></table>", "a\nb"),
    ],
)
def test_code_keeps_its_lines_and_indentation(pre: str, code: str) -> None:
    source, blocks = edited(pre)
    assert blocks == [f"```\n{code}\n```"]
    assert f"{BLOCK}0{BLOCK}" in source
    assert "<span" not in source


@given(st.text("`a\n ", max_size=40))
def test_a_fence_is_longer_than_all_in_the_code(code: str) -> None:
    first, *lines, last = html_tree.fenced(code).split("\n")
    assert first == last
    assert set(first) == {"`"}
    assert len(first) >= 3
    assert not any(first in line for line in lines)
    assert "\n".join(lines).strip() == "\n".join(x.rstrip() for x in code.split("\n")).strip()


ROWS = "<tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2<p>3</p></td></tr>"


def test_tables_of_data_are_lines_of_cells() -> None:
    table = f"<table><caption>T &amp; <i>U</i></caption><thead>{ROWS}</thead></table>"
    assert edited(table)[1] == ["T & U\na | b\n1 | 2 3"]
    assert edited("<table><tr><td data-x='1>2'>x</td><td></td></tr><tr></tr>" + ROWS)[1] == [
        "x | \na | b\n1 | 2 3"
    ]
    script = "<tr><td><script>if (a < b) c()</script>x</td><td>y</td></tr>"
    assert edited(f"<table>{ROWS}{script}</table>")[1] == ["a | b\n1 | 2 3\nx | y"]


@pytest.mark.parametrize(
    "table",
    [
        f"<table><tr><td>{WORDS}</td><td>{WORDS}</td></tr><tr><td>1</td><td>2</td></tr></table>",
        "<table><tr><td>one</td></tr><tr><td>column</td></tr></table>",
        "<table><tr><td>one</td><td>row</td></tr></table>",
        f"<table><tr><td><table><tr><td>x</td></tr></table></td></tr>{ROWS}</table>",
    ],
)
def test_layouts_are_left_to_the_extractor(table: str) -> None:
    assert edited(table)[1] == []


def test_a_page_without_a_body_is_no_error() -> None:
    assert html.extract(b"<frameset><frame src=a></frameset>")["text"] == ""
