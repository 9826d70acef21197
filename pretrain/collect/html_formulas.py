"""The mathematics of a page as TeX in its text: `$…$` in a line, `$$…$$` on its own.

    <math>                        its TeX annotation, else its alttext (KaTeX, LaTeXML, Wikipedia)
    <script type="math/tex">      MathJax
    <img class="mwe-math-…">      Wikipedia's images; WordPress' class="latex"; the alt text

A formula that a page holds in several forms comes once: where a source was found, what a renderer
put beside it goes. Where none was found the page's own text stays, MathML's as the letters and
signs that it shows. Pages whose bytes name none of these pay for one scan of them.
"""

import re
from typing import Any

_SCRIPTS = 'script[type^="math/tex"]'
_IMAGES = "img[class*=mwe-math-fallback], img.latex"
_RENDERED = ".katex-html, .MathJax, .MathJax_Preview, .MathJax_Display, .MJX_Assistive_MathML"
_STYLE = re.compile(r"^\{\\(?:display|text)style\s*(.*)\}$", re.S)
_COMMENT = re.compile(r"(?<!\\)%[^\n]*\n")


def write(tree: Any, names: bytes) -> None:
    """Put TeX in the place of every formula; `names` is the page's source in lower case."""
    if b"math" not in names and b'class="latex' not in names:
        return
    document = tree.document
    n_written = 0
    for node in document.get_elements_by_tag_name("math").values():
        annotation = node.query_selector('annotation[encoding="application/x-tex"]')
        tex = annotation.text if annotation else node.getattr("alttext")
        n_written += _replace(tree, node, tex, node.getattr("display") == "block")
    for node in document.query_selector_all(_SCRIPTS).values() if b"math/tex" in names else ():
        n_written += _replace(tree, node, node.text, "display" in node.getattr("type"))
    for node in document.query_selector_all(_IMAGES).values() if b"<img" in names else ():
        element = node.closest(".mwe-math-element")
        if element and "$" in element.text:  # its MathML was there too
            node.remove()
        else:
            is_display = "display" in (node.class_name or "")
            n_written += _replace(tree, node, node.getattr("alt"), is_display)
    if n_written:
        for node in document.query_selector_all(_RENDERED).values():
            node.remove()


def _replace(tree: Any, node: Any, tex: str | None, is_display: bool) -> bool:
    """Whether there is TeX to put in the place of a node."""
    tex = _COMMENT.sub("", tex or "").strip()
    if not tex:
        return False
    styled = _STYLE.match(tex)
    if styled and _is_whole(styled[1]):
        tex = styled[1].strip()
    mark = "$$" if is_display else "$"
    holder = tree.create_element("span")
    holder.text = tex if tex.startswith("$") else f"{mark}{tex}{mark}"
    node.replace_with(holder)
    return True


def _is_whole(tex: str) -> bool:
    """Whether no brace closes that was not opened: the group around it was one group."""
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", tex):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            return False
    return depth == 0
