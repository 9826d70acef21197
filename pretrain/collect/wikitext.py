"""MediaWiki's markup to readable text; called in the watched process.

    '''Bonn''' is a [[city]]{{Infobox|...}}.<ref>...</ref>   ─▶   Bonn is a city.

    request:  JSON {"title", "text", "links": prefixes in lower case whose links are no text}

mwparserfromhell takes the markup apart. Headings are lines of their own, and gone where nothing
stands below them (references, after they were dropped); list items begin with `- `; table cells are
joined by ` | `; <math> becomes `$...$`; code stays verbatim. Templates vanish, save the few whose
argument is the text a reader sees (TEMPLATES); so do files, categories, comments and references.
"""

import re
from collections.abc import Iterator
from typing import Any

import orjson

# What is seen of a template: its n-th argument, or several with blanks between them.
TEMPLATES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("lang", "langx", "transl", "transliteration", "color", "abbr"), ("2",)),
    **dict.fromkeys(
        ("nowrap", "nobold", "small", "big", "math", "mvar", "var", "em", "strong", "code"), ("1",)
    ),
    **dict.fromkeys(("quote", "blockquote", "cquote", "quotation", "poem", "verse"), ("text", "1")),
    **dict.fromkeys(("convert", "cvt"), ("1", "2")),
    **dict.fromkeys(("ipa", "sc", "smallcaps", "tt", "kbd", "as written", "sic"), ("1",)),
}
ALL_ARGUMENTS = ("convert", "cvt")
GONE = frozenset(
    (
        *("ref", "references", "gallery", "timeline", "imagemap", "score", "mapframe", "maplink"),
        *("graph", "hiero", "templatestyles", "style", "script", "indicator", "section"),
        *("categorytree",),
    )
)
CODE = frozenset(("syntaxhighlight", "source", "pre", "code", "tt", "nowiki", "samp"))
BLOCKS = frozenset(("p", "div", "blockquote", "center", "poem", "h2", "h3", "dl", "ul", "ol"))
_MARK = "\1"  # around the number of a piece that must not be touched
_HELD = re.compile("\1([0-9]+)\1")
_MAGIC = re.compile(r"__[A-Z]{3,30}__")
_EMPTY = re.compile(r" \([,;:\s]{0,9}\)")
_INTERWIKI = re.compile(r"[a-z]{2,3}(?:-[a-z]{2,9})?:(?! )", re.I)


def extract(data: bytes) -> dict[str, Any]:
    """The text of one page: its title, then its sections."""
    import mwparserfromhell

    request = orjson.loads(data)
    source = request["text"].replace("\0", "").replace(_MARK, "")
    page = _Page(tuple(request["links"]))
    page.write(mwparserfromhell.parse(source, skip_style_tags=False))
    text = page.text()
    if text.strip():
        text = f"{request['title']}\n\n{text}"
    return {"text": text, "language": None, "date": None, "reason": "", "detail": ""}


class _Page:
    def __init__(self, links: tuple[str, ...]) -> None:
        self.links = links
        self.sections: list[tuple[int, str, list[str]]] = [(0, "", [])]  # level, heading, text
        self.held: list[str] = []

    @property
    def out(self) -> list[str]:
        return self.sections[-1][2]

    def hold(self, text: str) -> None:
        """Write a piece whose blanks and lines are not touched."""
        self.held.append(text)
        self.out.append(f"{_MARK}{len(self.held) - 1}{_MARK}")

    def restored(self, text: str) -> str:
        return _HELD.sub(lambda found: self.held[int(found[1])], text)

    def text(self) -> str:
        """All sections that have text, or one below them that has."""
        pieces: list[str] = []
        deepest = 0  # sections above this level have text below them
        bodies = [self._clean("".join(body)) for _, _, body in self.sections]
        for (level, heading, _), body in reversed(list(zip(self.sections, bodies, strict=True))):
            if body:
                pieces.append(body)
            elif level >= deepest:
                continue
            deepest = level
            if heading:
                pieces.append(heading)
        return "\n\n".join(reversed(pieces)) + ("\n" if pieces else "")

    def _clean(self, text: str) -> str:
        text = _EMPTY.sub("", _MAGIC.sub("", text))
        text = re.sub(r"[ \t\xa0]+", " ", text)
        text = re.sub(r" ?\n ?", "\n", text)
        text = re.sub(r"\n{3,}", "\n\n", text).strip()
        return self.restored(text).strip("\n")

    def write(self, code: Any) -> None:
        """Write every node of a piece of markup."""
        for node in getattr(code, "nodes", ()):
            WRITERS.get(type(node).__name__, _nothing)(self, node)

    def inner(self, code: Any) -> str:
        """The text of a piece of markup on one line."""
        start = len(self.out)
        self.write(code)
        text = "".join(self.out[start:])
        del self.out[start:]
        return " ".join(text.split())


def _nothing(page: _Page, node: Any) -> None:
    """A comment, or an argument that only a template has."""


def _text(page: _Page, node: Any) -> None:
    page.out.append(str(node.value))


def _entity(page: _Page, node: Any) -> None:
    try:
        character = node.normalize()
        character.encode()
    except (ValueError, OverflowError):  # no such character
        character = ""
    page.out.append(character.replace(_MARK, "").replace("\0", ""))


def _heading(page: _Page, node: Any) -> None:
    heading = page.inner(node.title)
    page.sections.append((node.level, page.restored(heading), []))


def _wikilink(page: _Page, node: Any) -> None:
    target = str(node.title).strip()
    prefix, colon, _ = target.partition(":")
    if colon and prefix.strip().lower() in page.links:
        return
    if _INTERWIKI.match(target) and node.text is None:
        return  # the same page in another language
    if node.text is None:
        page.out.append(target.lstrip(":"))
    else:
        page.write(node.text)


def _external(page: _Page, node: Any) -> None:
    if node.title is not None:
        page.write(node.title)
    elif not node.brackets:
        page.out.append(str(node.url))


def _template(page: _Page, node: Any) -> None:
    name = str(node.name).strip().lower().replace("_", " ")
    wanted = TEMPLATES.get(name, ())
    for key in wanted:
        if node.has(key):
            page.write(node.get(key).value)
            if name not in ALL_ARGUMENTS:
                break
            page.out.append(" " if key != wanted[-1] else "")


def _tag(page: _Page, node: Any) -> None:
    name = str(node.tag).strip().lower()
    if name in GONE:
        return
    if name == "table":
        _table(page, node)
    elif name == "math":
        source = str(node.contents or "").strip()
        block = any(str(a.value) == "block" for a in node.attributes if str(a.name) == "display")
        if source:
            page.hold(f"\n\n$${source}$$\n\n" if block else f"${source}$")
    elif name in CODE and node.contents is not None:
        text = str(node.contents)
        page.hold(f"\n\n{text.strip(chr(10))}\n\n" if "\n" in text else text)
    elif name in ("li", "dd", "dt") and node.self_closing:
        page.out.append("- " if name == "li" else "")
    elif name in ("br", "hr"):
        page.out.append("\n")
    else:
        around = "\n\n" if name in BLOCKS else ""
        page.out.append(around)
        page.write(node.contents)
        page.out.append(around)


def _table(page: _Page, node: Any) -> None:
    page.out.append("\n\n")
    for row in _rows(page, node):
        line = " | ".join(row)
        page.out.append(f"{line}\n" if line.strip(" |") else "")
    page.out.append("\n")


def _rows(page: _Page, node: Any) -> Iterator[list[str]]:
    """The cells of each row; those before the first mark of a row are a row too."""
    loose: list[str] = []
    tags = [n for n in getattr(node.contents, "nodes", ()) if type(n).__name__ == "Tag"]
    for tag in tags:
        name = str(tag.tag).strip().lower()
        is_caption = name == "caption" or str(tag)[:2] == "|+"
        if name in ("td", "th") and not is_caption:
            loose.append(page.inner(tag.contents))
            continue
        if loose:
            yield loose
            loose = []
        if is_caption:
            yield [page.inner(tag.contents).removeprefix("+").strip()]
        elif name in ("tr", "tbody", "thead", "tfoot"):
            yield from _rows(page, tag)
    if loose:
        yield loose


WRITERS = {
    "Text": _text,
    "HTMLEntity": _entity,
    "Heading": _heading,
    "Wikilink": _wikilink,
    "ExternalLink": _external,
    "Template": _template,
    "Tag": _tag,
}
