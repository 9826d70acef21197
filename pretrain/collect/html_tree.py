"""What is done to the tree of a page before its text is read, so that the text keeps its worth.

    <article>, <main>, a known class …   alone is left, where it holds the page's paragraphs
    <nav> <footer> <rt>                  go; a bullet list with few links near the root stays
    <pre>, tables of data                become a mark here and a block of exact text in a list
    formulas in five forms               become TeX, `$…$` in a line and `$$…$$` on their own

The extractor drops every list within three levels of the root as navigation, breaks table rows at
each <br> or <p> of a cell, and indents code that stands in a list. Marks and deeper nesting get
round all three. Price: 0.2 to 0.3 ms a page, most of it won back, since what is cut or marked needs
no walk any more.
"""

import re
from html import unescape
from typing import Any

BLOCK, HEADING = "\x02", "\x03"  # around the number of a block; before the first <h1>

# Where publishing systems put the text, and the parts of these names that most pages lack.
_CLASSES = (
    "entry-content", "post-content", "post-body", "article-body", "article-content",
    "article__body", "article_body", "articleBody", "article-text", "story-body",
)  # fmt: skip
_PARTS = (b"-content", b"-body", b"_body", b"articleBody", b"article-text")
# What a main element must hold: a share of the page's paragraphs, and so many or so much text.
_LEAST_SHARE, _LEAST_PARAGRAPHS, _LEAST_CHARS = 0.4, 3, 250
_DEPTH = 3  # lists nearer to the root than this are navigation to the extractor
_LINKS_PER_ITEM = 0.5
_CELL_CHARS = 600  # a longer cell is a layout, not data
# What a renderer put beside the source of a formula.
_RENDERED = ".katex-html, .MathJax, .MathJax_Preview, .MathJax_Display, .MJX_Assistive_MathML"
_STYLE = re.compile(r"^\{\\(?:display|text)style\s*(.*)\}$", re.S)
_COMMENT = re.compile(r"(?<!\\)%[^\n]*\n")
_ROW, _CELL = re.compile(r"<tr[ >]"), re.compile(r"<t[dh](?=[ >])[^>]*>")
_CAPTION = re.compile(r"<caption(?=[ >])[^>]*>(.*?)</caption>", re.S)
_TAG = re.compile(r"<(script|style)(?=[ >]).*?</\1>|<!--.*?-->|<[^>]*>", re.S)
_GUTTER = re.compile(r"\s*\d+(?:\s+\d+)+\s*")  # line numbers beside a listing


def edit(tree: Any, data: bytes) -> list[str]:
    """Make the tree ready for the extractor; the blocks that its marks stand for.

    `data` are the page's bytes: what they do not name is not searched for in the tree.
    """
    body = tree.body
    if body is None:
        return []
    if not cut_to_main(tree, body, data):
        spare_lists(tree, body)
    for tag in ("nav", "footer", "rt", "rp"):
        for node in body.get_elements_by_tag_name(tag).values():
            node.remove()
    if has_formulas(data):
        write_formulas(tree)
    blocks: list[str] = []
    mark_code(tree, body, blocks, b"lineno" in data)
    mark_tables(tree, body, blocks)
    headings = body.get_elements_by_tag_name("h1")
    if len(headings):
        headings[0].prepend(tree.create_text_node(HEADING))
    return blocks


def cut_to_main(tree: Any, body: Any, data: bytes) -> bool:
    """Leave the one element that holds the page's text, if there is one; whether there is."""
    n_paragraphs = -1
    for found in _candidates(body, data):
        if len(found) != 1:
            continue  # several: previews of other pages are among them
        main = found[0]
        n_own = len(main.get_elements_by_tag_name("p"))
        if n_paragraphs < 0:
            n_paragraphs = len(body.get_elements_by_tag_name("p"))
        if n_own >= _LEAST_SHARE * n_paragraphs and (
            n_own >= _LEAST_PARAGRAPHS or len(main.text or "") >= _LEAST_CHARS
        ):
            body.replace_children(_nested(tree, main))
            return True
    return False


def _candidates(body: Any, data: bytes) -> Any:
    if any(part in data for part in _PARTS):
        yield body.get_elements_by_attr("itemprop", "articleBody")
        yield from (body.get_elements_by_class_name(n) for n in _CLASSES if n.encode() in data)
    yield body.get_elements_by_tag_name("article")
    yield body.get_elements_by_tag_name("main")
    yield body.get_elements_by_attr("role", "main")


def spare_lists(tree: Any, body: Any) -> None:
    """Put lists that are text too deep for the rule that takes them for navigation."""
    for node in body.get_elements_by_tag_name("ul").values():
        n_items = len(node.get_elements_by_tag_name("li"))
        n_links = len(node.get_elements_by_tag_name("a"))
        if n_links <= _LINKS_PER_ITEM * n_items and _is_shallow(node, body):
            place = tree.create_text_node("")
            node.replace_with(place)
            place.replace_with(_nested(tree, node))


def _is_shallow(node: Any, body: Any) -> bool:
    for _ in range(_DEPTH):
        node = node.parent
        if node is None or node == body:
            return True
    return False


def _nested(tree: Any, node: Any) -> Any:
    for _ in range(_DEPTH):
        outer = tree.create_element("div")
        outer.append(node)
        node = outer
    return node


def mark_code(tree: Any, body: Any, blocks: list[str], has_gutters: bool) -> None:
    """Take every <pre> out: its text in fences, without line numbers."""
    for node in body.get_elements_by_tag_name("pre").values():
        if has_gutters:
            for name in ("linenos", "lineno"):
                for number in node.get_elements_by_class_name(name).values():
                    number.remove()
        for line_break in node.get_elements_by_tag_name("br").values():
            line_break.replace_with(tree.create_text_node("\n"))
        text = node.text or ""
        if "\n" not in text:  # one element a line
            for tag in ("div", "li", "p"):
                for line in node.get_elements_by_tag_name(tag).values():
                    line.append(tree.create_text_node("\n"))
            text = node.text or ""
        if _GUTTER.fullmatch(text) or not text.strip():
            node.remove()
        else:
            node.text = f"{BLOCK}{len(blocks)}{BLOCK}"
            blocks.append(fenced(text.replace("\xa0", " ")))


def fenced(code: str) -> str:
    """Code between lines of back quotes, more of them than it has in a row itself."""
    fence = "```"
    while fence in code:
        fence += "`"
    lines = [line.rstrip() for line in code.split("\n")]
    while lines and not lines[0]:
        lines.pop(0)
    while lines and not lines[-1]:
        lines.pop()
    return "\n".join([fence, *lines, fence])


def mark_tables(tree: Any, body: Any, blocks: list[str]) -> None:
    """Take every table of data out: a line for a row, ` | ` between cells, the head row first."""
    for node in body.get_elements_by_tag_name("table").values():
        source = node.inner_html
        if "<table" in source or BLOCK in source:
            continue  # a layout around other tables or code
        rows = [_cells(row) for row in _ROW.split(source)[1:]]
        rows = [row for row in rows if any(row)]
        if sum(len(row) > 1 for row in rows) < 2:
            continue
        if max(len(cell) for row in rows for cell in row) > _CELL_CHARS:
            continue
        caption = _CAPTION.search(source)
        lines = [_plain(caption[1])] if caption else []
        holder = tree.create_element("p")
        holder.text = f"{BLOCK}{len(blocks)}{BLOCK}"
        blocks.append("\n".join([*lines, *(" | ".join(row) for row in rows)]))
        node.replace_with(holder)


def _cells(row: str) -> list[str]:
    return [_plain(cell) for cell in _CELL.split(row)[1:]]


def _plain(source: str) -> str:
    return " ".join(unescape(_TAG.sub(" ", source)).split())


def has_formulas(data: bytes) -> bool:
    """Whether any form of formulas is named: <math, math/tex, mwe-math; class="latex"."""
    return b"math" in data or b"latex" in data


def write_formulas(tree: Any) -> None:
    """Put TeX in the place of every formula, once where a page holds it in several forms."""
    document = tree.document
    for node in document.query_selector_all("math").values():
        annotation = node.query_selector('annotation[encoding="application/x-tex"]')
        tex = annotation.text if annotation else node.getattr("alttext") or ""
        if tex.strip():
            _replace(tree, node, tex, node.getattr("display") == "block")
    for node in document.query_selector_all('script[type^="math/tex"]').values():
        _replace(tree, node, node.text, "display" in (node.getattr("type") or ""))
    images = "img[class*=mwe-math-fallback], img.latex, img.tex"
    for node in document.query_selector_all(images).values():
        element = node.closest(".mwe-math-element")
        if element and "$" in element.text:  # its MathML was there too
            node.remove()
        elif node.getattr("alt"):
            _replace(tree, node, node.getattr("alt"), "display" in (node.class_name or ""))
    for node in document.query_selector_all(_RENDERED).values():
        node.remove()


def _replace(tree: Any, node: Any, tex: str, is_display: bool) -> None:
    tex = _COMMENT.sub("", tex).strip()
    inner = _STYLE.match(tex)
    if inner and inner[1].count("{") == inner[1].count("}"):
        tex = inner[1].strip()
    mark = "$$" if is_display else "$"
    holder = tree.create_element("span")
    holder.text = f"{mark}{tex}{mark}"
    node.replace_with(holder)
