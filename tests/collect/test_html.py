import gzip
import json
from pathlib import Path

import pytest

from pretrain.collect.extract import answer_to

PAGE = """<!doctype html><html lang="{lang}"><head><title>t</title>
<meta property="article:published_time" content="2021-03-04T05:06:07Z">
<script>var hidden = 1</script></head><body><nav><a href=/>Home</a></nav><main><h1>Heading</h1>
<p>First paragraph of the text, which is long enough to count as content.</p>
<div><div><ul><li>one</li><li>two</li></ul></div></div><pre>def f():
    return 1</pre><table><tr><td>a</td><td>b</td></tr></table></main></body></html>"""


def page(data: bytes) -> dict:
    return answer_to("html", data)


def test_main_text_keeps_lists_and_code_and_leaves_navigation_out() -> None:
    answer = page(PAGE.format(lang="en").encode())
    text = answer["text"]
    assert answer["reason"] == ""
    assert "Heading" in text
    assert "First paragraph" in text
    assert "• one" in text
    assert "def f():\n    return 1" in text
    assert "Home" not in text
    assert "hidden" not in text


def test_language_and_date_are_what_the_page_states() -> None:
    answer = page(PAGE.format(lang="pt-BR").encode())
    assert (answer["language"], answer["date"]) == ("pt", "2021-03-04T05:06:07Z")
    assert page(PAGE.format(lang="not a code").encode())["language"] is None
    answer = page(b"<p>Posted on <time datetime='2019-01-02'>then</time></p>")
    assert (answer["language"], answer["date"]) == (None, "2019-01-02")
    assert page(b"<p>Posted <time datetime='yesterday'>then</time></p>")["date"] is None


@pytest.mark.parametrize(
    ("encoding", "declared"),
    [("utf-8", "utf-8"), ("iso-8859-1", "iso-8859-1"), ("shift_jis", "Shift_JIS")],
)
def test_declared_encodings(encoding: str, declared: str) -> None:
    word = "日本語のページです" if encoding == "shift_jis" else "Käse für alle"
    html = f'<html><head><meta charset="{declared}"></head><body><p>{word}</p></body></html>'
    assert word in page(html.encode(encoding))["text"]


@pytest.mark.parametrize("data", [b"\xff\xfe", b"<" * 1000, b"</p>" * 100, b"&#xd800;", b"\0<p>\0"])
def test_odd_bytes_give_text_that_can_be_written(data: bytes) -> None:
    page(data)["text"].encode()


def test_articles_are_found_in_real_pages(data: Path) -> None:
    """At least four fifths of the reference's words, over 20 real pages."""
    folders = sorted(p.parent for p in (data / "web/readability").glob("*/source.html.gz"))
    if not folders:
        pytest.skip("no real pages there")
    shares = []
    for folder in folders:
        expected = page(gzip.decompress((folder / "expected.html.gz").read_bytes()))["text"]
        found = page(gzip.decompress((folder / "source.html.gz").read_bytes()))["text"]
        words = set(expected.split())
        shares.append(len(words & set(found.split())) / max(1, len(words)))
    assert sum(shares) / len(shares) > 0.8, json.dumps(shares)


def test_lone_characters_are_no_icons() -> None:
    """The extractor drops an element or text node that is one character of three bytes."""
    line = "<p>あ<b>子</b>い<span> 山 </span>う<a href=q>가</a>€<i>\u2211</i></p>"
    cells = "<table><tr><td>男<td>&#22899;<tr><td>中<td>x</table><h2>序</h2>"
    text = page(f"<meta charset=utf-8><main><p>{40 * '文。'}</p>{line}{cells}<p>終。".encode())[
        "text"
    ]
    assert "あ子い 山 う가€\u2211" in text
    assert "男 | 女\n中 | x" in text
    assert "序" in text.splitlines()
    assert "\x01" not in text


def test_readings_above_characters_do_not_cut_the_words() -> None:
    ruby = "<ruby>漢<rp>(</rp><rt>かん</rt><rp>)</rp></ruby><ruby>字<rt>じ</rt></ruby>を読む。"
    assert page(f"<meta charset=utf-8><p>{ruby}".encode())["text"] == "漢字を読む。"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("<meta charset=utf-8>Käse für ".encode() + b"K\xe4se", "Käse für K\ufffdse"),
        ("<meta charset=utf-8>Käse für alle".encode("latin-1"), "Käse für alle"),
        ("\ufeff<p>Käse".encode(), "Käse"),
        ("\ufeff<html lang=de><p>Käse".encode("utf-16-le"), "Käse"),
        (b"<p>&#xd800;&#xdfff;&#x1f600; &#0;x", "\ufffd\ufffd\U0001f600 \ufffdx"),
    ],
)
def test_what_is_not_in_the_declared_encoding(data: bytes, expected: str) -> None:
    assert page(data)["text"] == expected


def test_the_whole_way_of_code_tables_and_formulas() -> None:
    body = f"""<nav><ul><li><a href=/>Home</a></li></ul></nav><main><h1>Title</h1>
    <p>{9 * "Some words of text. "}</p>
    <ul><li>Do this:<pre><code>if x:
    <span class=k>return</span>   `y`</code></pre></li></ul>
    <table><tr><th>name<th>size</tr><tr><td>a<br>b<td><p>12</p></tr></table>
    <p>So <math alttext="x^2"><mi>x</mi></math> holds.</p></main>"""
    code = "```\nif x:\n    return   `y`\n```"
    lines = ["Title", 8 * "Some words of text. " + "Some words of text."]
    lines += ["  • Do this:", code, "name | size\na b | 12", "So $x^2$ holds."]
    assert page(body.encode())["text"].split("\n\n") == lines


def test_trafilatura_gets_the_same_formulas() -> None:
    pytest.importorskip("trafilatura", reason="the optional package trafilatura is not installed")
    body = f"<html><body><article><p>{20 * 'Some words. '}So <math alttext='x^2'></math> holds."
    answer = answer_to("html-strict", body.encode())
    assert answer["reason"] == ""
    assert "So $x^2$ holds." in answer["text"]
