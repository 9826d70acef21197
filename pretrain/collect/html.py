"""HTML to text: the main content with its code, tables and mathematics.

    resiliparse   the default: lists, tables and code keep their shape
    trafilatura   by choice, an optional extra: stricter, and 15 to 20 times slower

    bytes ─▶ tree ─▶ html_tree.edit ─▶ extractor ─▶ html_lines.finish ─▶ text

Code stands in fences (```), so that its beginning and end can still be told when all markup is
gone; a page that is nothing but one <pre> has none. A table is a line for each row, ` | ` between
its cells. Mathematics is TeX in `$…$` and `$$…$$`; what stands between `\\(` and `\\)` stays so.

The extractor takes a lone character of three UTF-8 bytes for an icon (`<b>子</b>`, `<td>男</td>`)
and drops it with its element: such characters get an invisible neighbour before and lose it after.
"""

import re
from typing import Any

from pretrain.collect import html_formulas, html_lines, html_tree

# A text node of one character between U+0800 and U+FFFF, private use apart.
_LONE = re.compile(r">\s*+(?:[\u0800-\ud7ff\uf900-\uffef]|&#\w{1,8};)(?=\s*<)")
_LONE_FILLED = rf"\g<0>{html_lines.FILLER}"
_LANGUAGE = re.compile(rb"""<html\b[^>]*?[\s:]lang\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]+))""")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_HEAD_BYTES = 4096
_DATE_CHARS = 40
_DATES = ('meta[property="article:published_time"]', 'meta[itemprop="datePublished"]')


def extract(data: bytes) -> dict[str, Any]:
    """Main text, language and date of a page, by resiliparse."""
    from resiliparse.extract.html2text import extract_plain_text

    tree, names = parsed(data)
    answer = {"language": language(names), "date": date(tree, names)}
    blocks = html_tree.edit(tree, names)
    text = extract_plain_text(
        tree, preserve_formatting=True, main_content=True, list_bullets=True, alt_texts=False,
        comments=False, post_meta=False,
    )  # fmt: skip
    return {**answer, "text": html_lines.finish(text, blocks)}


def extract_strictly(data: bytes) -> dict[str, Any]:
    """The same by trafilatura, with precision before recall."""
    import trafilatura

    tree, names = parsed(data)
    html_formulas.write(tree, names)
    html = tree.document.html.replace(html_lines.FILLER, "")
    text = trafilatura.extract(html, favor_precision=True, include_comments=False) or ""
    return {"text": text, "language": language(names), "date": date(tree, names)}


def parsed(data: bytes) -> tuple[Any, bytes]:
    """The tree of a page, and its source in lower case, to see what it names."""
    from resiliparse.parse.html import HTMLTree

    source = decoded(data)
    if not source.isascii() or "&#" in source:
        source = _LONE.sub(_LONE_FILLED, source)
    names = source.encode() if b"\0" in data else data  # UTF-16
    return HTMLTree.parse(html_tree.deepened(source)), names.lower()


def decoded(data: bytes) -> str:
    """A page's source by its own declaration, else by what its bytes look like.

    Of UTF-8 with some bytes that are not, the rest is kept; where these are the most of what is
    not ASCII, the declaration is wrong.
    """
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding

    encoding = detect_encoding(data, from_html_meta=True) or "utf-8"
    if encoding.lower() == "utf-8":
        source = data.decode("utf-8", "replace").removeprefix("\ufeff")
        n_bad = source.count("\ufffd")
        if not n_bad or n_bad < len(_NOT_ASCII.findall(source)) - n_bad:
            return source
        encoding = detect_encoding(data) or "cp1252"
    return bytes_to_str(data, encoding)


def language(names: bytes) -> str | None:
    """ISO 639-1 code that the page states: `de` of `<html lang="de-AT">`."""
    found = _LANGUAGE.search(names, 0, _HEAD_BYTES)
    stated = next(filter(None, found.groups()), b"") if found else b""
    code = stated.strip().replace(b"_", b"-").partition(b"-")[0].decode("ascii", "replace")
    return code if code.isascii() and code.isalpha() and 2 <= len(code) <= 3 else None


def date(tree: Any, names: bytes) -> str | None:
    """The date of publication that the page states, as it states it."""
    root = tree.document
    found = [root.query_selector(each) for each in _DATES] if b"published" in names else []
    times = root.get_elements_by_tag_name("time")
    for node in [*found, times[0] if len(times) else None]:
        value = (node.getattr("content") or node.getattr("datetime") or "").strip() if node else ""
        if value[:4].isdigit() and len(value) <= _DATE_CHARS:
            return value
    return None
