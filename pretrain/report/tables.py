"""Tables, with bars in their cells where lengths are to be compared.

Columns are given by letters: l text, r number, b bar, w text that may wrap. On a narrow page a
table scrolls sideways inside its own region; one with bars and few numbers folds the bar under its
row instead.
"""

from collections.abc import Iterable, Sequence

from pretrain.report.markup import Child, Markup, element

_CLASSES = {"l": None, "r": "number", "b": "bar", "w": "wrap"}


def table(
    kinds: str,
    head: Sequence[Child],
    rows: Iterable[Sequence[Child]],
    caption: Child = None,
    class_: str | None = None,
) -> Markup:
    """A table whose first column names the row."""
    classes = [_CLASSES[kind] for kind in kinds]
    cells = zip(head, classes, strict=True)
    header = [element("th", h, class_=c, scope="col", role="columnheader") for h, c in cells]
    body = []
    for row in rows:
        first, *rest = zip(row, classes, strict=True)
        body.append(
            element(
                "tr",
                element("th", first[0], class_=first[1], scope="row", role="rowheader"),
                [element("td", cell, class_=c, role="cell") for cell, c in rest],
                role="row",
            )
        )
    n_numbers = kinds.count("r")
    folds = "folds" if "b" in kinds and n_numbers <= 3 else None
    names = " ".join(n for n in (class_, folds) if n) or None
    # Roles are said again because the folded layout takes a table's own ones away.
    markup = element(
        "table",
        element("caption", caption) if caption else None,
        element("thead", element("tr", header, role="row"), role="rowgroup"),
        element("tbody", body, role="rowgroup"),
        class_=names,
        style=f"--numbers:{n_numbers}" if folds else None,
        role="table",
    )
    return element("div", markup, class_="scroll", tabindex=0, role="group")


def bar(parts: Sequence[tuple[float, str, str]], whole: float) -> Markup:
    """A bar of parts (value, class of the colour, meaning), its full width being `whole`."""
    drawn, at = [], 0.0
    for value, colour, meaning in parts:
        share = 100 * value / whole if whole > 0 else 0.0
        if share > 0:
            title = element("title", meaning)
            drawn.append(
                element("rect", title, x=f"{at:.3f}%", y=0, width=f"{share:.3f}%", height=12,
                        class_=f"fill {colour}")
            )  # fmt: skip
            at += share
    label = ", ".join(meaning for _, _, meaning in parts)
    return element("svg", drawn, class_="bars", width="100%", height=12, role="img",
                   aria_label=label)  # fmt: skip


def key(entries: Iterable[tuple[str, str]]) -> Markup:
    """What the colours of bars mean: (class, name)."""
    items = [
        element("li", element("span", class_=f"swatch {colour}"), name) for colour, name in entries
    ]
    return element("ul", items, class_="key", aria_label="colours")
