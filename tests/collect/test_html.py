import gzip
import json
from pathlib import Path

import pytest

from pretrain.collect import html
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


MATHML = "<math {more}><mi>x</mi><annotation encoding='application/x-tex'>{tex}</annotation></math>"


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (MATHML.format(more="", tex="x^2"), "$x^2$"),
        (MATHML.format(more="display=block", tex="\\sum_i i"), "$$\\sum_i i$$"),
        ("<math alttext='{\\displaystyle a_{1}}'><mi>a</mi></math>", "$a_{1}$"),
        ("<script type='math/tex'>y_1 < 2</script>", "$y_1 < 2$"),
        ("<script type='math/tex; mode=display'>y</script>", "$$y$$"),
        ("<span class=katex><span>" + MATHML.format(more="", tex="k") + "</span>"
         "<span class=katex-html>kk</span></span>", "$k$"),
        ("<img class='mwe-math-fallback-image-inline' alt='{\\displaystyle z}'>", "$z$"),
        ("<span class=mwe-math-element>" + MATHML.format(more="", tex="w") +
         "<img class='mwe-math-fallback-image-inline' alt='w'></span>", "$w$"),
        ("\\(a+b\\)", "\\(a+b\\)"),
    ],
)  # fmt: skip
def test_mathematics_is_tex_in_the_text_once(form: str, expected: str) -> None:
    text = page(f"<main><p>{9 * 'Some words. '}So {form} holds.</p></main>".encode())["text"]
    assert f"So {expected} holds." in " ".join(text.split())


def test_pages_without_formulas_are_not_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "write_maths", None)
    assert "First paragraph" in page(PAGE.format(lang="en").encode())["text"]


def test_tables_keep_their_cells_apart() -> None:
    table = "<table><tr><th>name</th><th>size</th></tr><tr><td>a</td><td>12</td></tr></table>"
    text = page(f"<main><p>{9 * 'Some words. '}</p>{table}</main>".encode())["text"]
    assert [line.split() for line in text.splitlines()[-2:]] == [["name", "size"], ["a", "12"]]
