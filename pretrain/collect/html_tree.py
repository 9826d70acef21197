"""What is done to the tree of a page before its text is read, so that the text keeps its worth.

    <article>, <main>, a known class …   alone is left, where it holds the page's paragraphs
    <nav> <footer> <rt>                  go, and each <aside> where no main element was found
    <pre>, tables of data                become a mark here and a block of exact text in a list
    formulas                             become TeX                              html_formulas.py

The extractor drops every list within three levels of the root as navigation, though it judges
lists by their links as well; it breaks table rows at each <br> or <p> of a cell, and indents code
that stands in a list. So all is put some levels deeper, and code and tables are marked. Price:
0.3 ms a page, half of it won back, since what is cut or marked needs no walk any more. Looking up a
tag or a class is one quick walk; a selector takes ten times as long.
"""

import re
from collections.abc import Iterator
from html import unescape
from typing import Any

from pretrain.collect import html_formulas

DEPTH = 4  # how much deeper all is put
BLOCK, HEADING = "\x02", "\x03"  # around the number of a block; before the first <h1>

# Where publishing systems put the text: classes, by a part of their names that most pages lack.
_CLASSES: dict[bytes, tuple[str, ...]] = {
    b"-content": ("entry-content", "post-content", "article-content"),
    b"-body": ("article-body", "post-body", "story-body"),
    b"article": ("article__body", "articleBody"),
}
_BOILERPLATE = ("nav", "footer", "rt", "rp")  # the last two are readings above characters
# What a main element must hold: a share of the page's paragraphs, and so many or so much text.
_LEAST_SHARE, _LEAST_PARAGRAPHS, _LEAST_CHARS = 0.4, 3, 250
_CELL_CHARS = 600  # a longer cell is a layout, not data
_ROW, _CELL = re.compile(r"<tr[ >]"), re.compile(r"<t[dh](?=[ >])[^>]*>")
_CAPTION = re.compile(r"<caption(?=[ >])[^>]*>(.*?)</caption>", re.S)
_TAG = re.compile(r"<(script|style)(?=[ >]).*?</\1>|<[^>]*>", re.S)
_GUTTER = re.compile(r"\s*\d+(?:\s+\d+)+\s*")  # line numbers beside a listing


def edit(tree: Any, names: bytes) -> list[str]:
    """Make the tree ready for the extractor; the blocks that its marks stand for.

    `names` is the page's source in lower case: what it does not name is not searched for.
    """
    body = tree.body
    if body is None:
        return []
    main = main_element(body, names)
    boilerplate = _BOILERPLATE if main else (*_BOILERPLATE, "aside")
    if main:
        for _ in range(DEPTH):
            outer = tree.create_element("div")
            outer.append(main)
            main = outer
        body.replace_children(main)
    for tag in boilerplate:
        for node in body.get_elements_by_tag_name(tag).values():
            node.remove()
    html_formulas.write(tree, names)
    blocks: list[str] = []
    mark_code(tree, body, blocks, b"lineno" in names)
    mark_tables(tree, body, blocks)
    headings = body.get_elements_by_tag_name("h1")
    if len(headings):
        headings[0].prepend(tree.create_text_node(HEADING))
    return blocks


def deepened(source: str) -> str:
    """The source of a page with all of its body deeper in the tree."""
    start = max(source.find("<body"), source.find("<BODY"))
    end = source.find(">", start) + 1
    return f"{source[:end]}{DEPTH * '<div>'}{source[end:]}" if start >= 0 and end else source


def main_element(body: Any, names: bytes) -> Any:
    """The one element that holds the page's text, or None."""
    for found in _candidates(body, names):
        if len(found) != 1:
            continue  # several: previews of other pages are among them
        main = found[0]
        n_own = len(main.get_elements_by_tag_name("p"))
        if n_own >= _LEAST_SHARE * len(body.get_elements_by_tag_name("p")) and (
            n_own >= _LEAST_PARAGRAPHS or len(main.text or "") >= _LEAST_CHARS
        ):
            return main
    return None


def _candidates(body: Any, names: bytes) -> Iterator[Any]:
    yield body.get_elements_by_attr("itemprop", "articleBody")
    for part, classes in _CLASSES.items():
        if part in names:
            yield from map(body.get_elements_by_class_name, classes)
    yield body.get_elements_by_tag_name("article")
    yield body.get_elements_by_tag_name("main")
    yield body.get_elements_by_attr("role", "main")


def mark_code(tree: Any, body: Any, blocks: list[str], has_gutters: bool) -> None:
    """Take the text of every <pre> out, into fences and without line numbers."""
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
    runs = re.findall("`{3,}", code) if "```" in code else []
    fence = "`" * (max(map(len, runs), default=2) + 1)
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
        rows = [[_plain(cell) for cell in _CELL.split(row)[1:]] for row in _ROW.split(source)[1:]]
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


def _plain(source: str) -> str:
    return " ".join(unescape(_TAG.sub(" ", source)).split())
