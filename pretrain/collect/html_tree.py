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

# Where publishing systems put the text: classes, by a part of their names that most pages lack.
_CLASSES: dict[bytes, tuple[str, ...]] = {
    b"-content": ("entry-content", "post-content", "article-content"),
    b"-body": ("article-body", "post-body", "story-body"),
    b"article__body": ("article__body",),
    b"articlebody": ("articleBody",),
}
# What a main element must hold: a share of the page's paragraphs, and so many or so much text.
_LEAST_SHARE, _LEAST_PARAGRAPHS, _LEAST_CHARS = 0.4, 3, 250
_DEPTH = 3  # lists nearer to the root than this are navigation to the extractor
_LINKS_PER_ITEM = 0.5
_CELL_CHARS = 600  # a longer cell is a layout, not data
# What a renderer put beside the source of a formula.
_RENDERED = ".katex-html, .MathJax, .MathJax_Preview, .MathJax_Display, .MJX_Assistive_MathML"
_IMAGES = "img[class*=mwe-math-fallback], img.latex, img.tex"
_TEX_IMAGES = (b"mwe-math-fallback", b'class="latex"', b'class="tex"')
_STYLE = re.compile(r"^\{\\(?:display|text)style\s*(.*)\}$", re.S)
_COMMENT = re.compile(r"(?<!\\)%[^\n]*\n")
_ROW, _CELL = re.compile(r"<tr[ >]"), re.compile(r"<t[dh](?=[ >])[^>]*>")
_CAPTION = re.compile(r"<caption(?=[ >])[^>]*>(.*?)</caption>", re.S)
_TAG = re.compile(r"<(script|style)(?=[ >]).*?</\1>|<!--.*?-->|<[^>]*>", re.S)
_GUTTER = re.compile(r"\s*\d+(?:\s+\d+)+\s*")  # line numbers beside a listing


def edit(tree: Any, names: bytes) -> list[str]:
    """Make the tree ready for the extractor; the blocks that its marks stand for.

    `names` is the page's source in lower case: a search of the tree takes three times as long as
    one of the bytes, so what they do not name is not searched for.
    """
    body = tree.body
    if body is None:
        return []
    if not cut_to_main(tree, body, names):
        spare_lists(tree, body, names)
    for tag in ("nav", "footer", "rt", "rp"):
        for node in _all(body, tag, names):
            node.remove()
    write_formulas(tree, names)
    blocks: list[str] = []
    mark_code(tree, body, blocks, names)
    mark_tables(tree, body, blocks, names)
    if headings := _all(body, "h1", names):
        headings[0].prepend(tree.create_text_node(HEADING))
    return blocks


def _all(node: Any, tag: str, names: bytes) -> Any:
    return node.get_elements_by_tag_name(tag).values() if b"<" + tag.encode() in names else []


def cut_to_main(tree: Any, body: Any, names: bytes) -> bool:
    """Leave the one element that holds the page's text, if there is one; whether there is."""
    for found in _candidates(body, names):
        if len(found) != 1:
            continue  # several: previews of other pages are among them
        main = found[0]
        n_own = len(main.get_elements_by_tag_name("p"))
        if n_own >= _LEAST_SHARE * (names.count(b"<p>") + names.count(b"<p ")) and (
            n_own >= _LEAST_PARAGRAPHS or len(main.text or "") >= _LEAST_CHARS
        ):
            body.replace_children(_nested(tree, main))
            return True
    return False


def _candidates(body: Any, names: bytes) -> Any:
    if b"articlebody" in names:
        yield body.get_elements_by_attr("itemprop", "articleBody")
    for part, classes in _CLASSES.items():
        if part in names:
            for name in classes:
                yield body.get_elements_by_class_name(name)
    for tag in ("article", "main"):
        if b"<" + tag.encode() in names:
            yield body.get_elements_by_tag_name(tag)
    if b'role="main"' in names:
        yield body.get_elements_by_attr("role", "main")


def spare_lists(tree: Any, body: Any, names: bytes) -> None:
    """Put lists that are text too deep for the rule that takes them for navigation."""
    for node in _all(body, "ul", names):
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


def mark_code(tree: Any, body: Any, blocks: list[str], names: bytes) -> None:
    """Take the text of every <pre> out, into fences and without line numbers."""
    for node in _all(body, "pre", names):
        if b"lineno" in names:
            for name in ("linenos", "lineno"):
                for number in node.get_elements_by_class_name(name).values():
                    number.remove()
        for line_break in _all(node, "br", names):
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


def mark_tables(tree: Any, body: Any, blocks: list[str], names: bytes) -> None:
    """Take every table of data out: a line for a row, ` | ` between cells, the head row first."""
    for node in _all(body, "table", names):
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


def write_formulas(tree: Any, names: bytes) -> None:
    """Put TeX in the place of every formula, once where a page holds it in several forms."""
    if b"math" not in names and not any(name in names for name in _TEX_IMAGES):
        return
    document = tree.document
    n_written = 0
    for node in document.query_selector_all("math").values() if b"<math" in names else ():
        annotation = node.query_selector('annotation[encoding="application/x-tex"]')
        tex = annotation.text if annotation else node.getattr("alttext")
        n_written += _replace(tree, node, tex, node.getattr("display") == "block")
    if b"math/tex" in names:
        for node in document.query_selector_all('script[type^="math/tex"]').values():
            n_written += _replace(tree, node, node.text, "display" in node.getattr("type"))
    if any(name in names for name in _TEX_IMAGES):
        for node in document.query_selector_all(_IMAGES).values():
            element = node.closest(".mwe-math-element")
            if element and "$" in element.text:  # its MathML was there too
                node.remove()
            else:
                is_display = "display" in (node.class_name or "")
                n_written += _replace(tree, node, node.getattr("alt"), is_display)
    if n_written and (b"katex-html" in names or b"mathjax" in names):
        for node in document.query_selector_all(_RENDERED).values():
            node.remove()


def _replace(tree: Any, node: Any, tex: str | None, is_display: bool) -> bool:
    """Whether there is TeX to put in the place of a node."""
    tex = _COMMENT.sub("", tex or "").strip()
    if not tex:
        return False
    inner = _STYLE.match(tex)
    if inner and inner[1].count("{") == inner[1].count("}"):
        tex = inner[1].strip()
    mark = "$$" if is_display else "$"
    holder = tree.create_element("span")
    holder.text = f"{mark}{tex}{mark}"
    node.replace_with(holder)
    return True
