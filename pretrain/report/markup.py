"""HTML and SVG as values: whatever is not already Markup is escaped.

    element("td", "<b>")  →  <td>&lt;b&gt;</td>

Text of documents is hostile: it may hold tags, ANSI escapes, or marks that turn the direction of
everything after them. `escape` therefore also shows control and direction characters as what they
are (␛, ⟨U+202E⟩), so nothing on the page can pretend to be something else.
"""

import html
import re
from collections.abc import Iterable
from typing import Any


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = Markup | str | int | float | None | Iterable[Any]

_VOID = {"meta", "br", "hr", "col"}
# Controls but tab and newline; direction marks, overrides and isolates; lone surrogates.
_STRANGE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufffe\uffff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]*")


def escape(text: object) -> Markup:
    """Text as HTML, with characters that would not show made visible."""
    return Markup(html.escape(visible(str(text))))


def visible(text: str) -> str:
    """Text whose control and direction characters are shown as what they are."""
    return _STRANGE.sub(_shown, text)


def element(tag: str, *children: Child, **attributes: Any) -> Markup:
    """One element. An attribute `class_` is class, `aria_label` aria-label; None leaves it out."""
    head = "".join(_attribute(name, value) for name, value in attributes.items())
    if tag in _VOID:
        return Markup(f"<{tag}{head}>")
    return Markup(f"<{tag}{head}>{join(children)}</{tag}>")


def join(children: Iterable[Any]) -> Markup:
    """Children one after another: Markup as it is, None as nothing, all else escaped."""
    parts: list[str] = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, Markup):
            parts.append(child)
        elif isinstance(child, str | int | float):
            parts.append(escape(child))
        else:
            parts.append(join(child))
    return Markup("".join(parts))


def section(anchor: str, title: str, *children: Child) -> Markup:
    heading = element("h2", title, id=f"{anchor}-title")
    return element("section", heading, *children, id=anchor, aria_labelledby=f"{anchor}-title")


def missing(what: str, command: str) -> Markup:
    """The one line where data are not there."""
    code = element("code", f"pretrain {command}")
    return element("p", f"Not there yet: {what}. ", code, " writes it.", class_="missing")


def details(summary: Child, *children: Child, open: bool = False) -> Markup:
    return element("details", element("summary", summary), *children, open=open or None)


def excerpt(text: str, most: int = 600) -> Markup:
    """A piece of a document, in its own direction, kept apart from the page's."""
    return element("blockquote", text[:most] + ("…" if len(text) > most else ""), dir="auto")


def _attribute(name: str, value: Any) -> str:
    if value is None or value is False:
        return ""
    name = name.rstrip("_").replace("_", "-")
    if not _NAME.fullmatch(name):
        raise ValueError(f"report: {name!r} is no attribute name")
    return f" {name}" if value is True else f' {name}="{escape(value)}"'


def _shown(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code == 0x0D:
        return ""  # of a line end
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"⟨U+{code:04X}⟩"
