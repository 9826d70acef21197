"""Dot charts: rows of dots on one axis, joined by a thin line.

held-out   ├──o────────●──         o model   ● baseline
code       ├────o──●──
           0     1     2
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pretrain.report.axes import Scale, across, finite, scale_of, tick_labels, ticks
from pretrain.report.markup import Child, Markup, element

_NARROW, _WIDE = 15, 30  # letters of a row's name


@dataclass(frozen=True)
class Dots:
    """One row of a dot chart: (value, shape class, meaning) and an optional interval."""

    name: str
    dots: Sequence[tuple[float | None, str, str]]
    interval: tuple[float, float] | None = None


def dot_chart(title: str, rows: Sequence[Dots], unit: str, high: float | None = None) -> Markup:
    """Rows of dots on one axis from 0, joined by a thin line; shapes are told by a key beside."""
    values = finite(v for row in rows for v, _, _ in row.dots)
    if not values:
        return element("p", f"{title}: nothing was measured.", class_="missing")
    values += [end for row in rows for end in row.interval or ()]
    scale = Scale(0.0, high) if high else scale_of(values, zero=True)
    pitch = 34
    height = pitch * len(rows)
    marks = ticks(scale)
    places = [across(scale, mark) for mark in marks]
    parts: list[Child] = [
        (
            element("line", x1=at, x2=at, y1=0, y2=height, class_="grid"),
            element("text", label, x=at, y=height + 16, text_anchor="middle"),
        )
        for at, label in zip(places, tick_labels(marks), strict=True)
    ]
    for i, row in enumerate(rows):
        middle = pitch * i + pitch / 2
        parts.append(_dot_row(row, scale, middle))
    spoken = f"{title}: " + "; ".join(_spoken_row(row) for row in rows)
    plot = element("svg", parts, width="100%", height=height + 22, role="img", aria_label=spoken)
    caption = element("strong", title), element("span", unit, class_="unit")
    wide = any(len(row.name) > _NARROW for row in rows)
    body = element("div", plot, class_="plot names wide" if wide else "plot names")
    return element("figure", element("figcaption", *caption), body, class_="chart dots")


def _short(name: str, most: int) -> str:
    """A name cut in its middle: names that begin alike stay apart."""
    return name if len(name) <= most else f"{name[: most // 2 - 1]}…{name[-(most // 2) :]}"


def _dot_row(row: Dots, scale: Scale, middle: float) -> list[Child]:
    found = [(v, c, m) for v, c, m in row.dots if v is not None and math.isfinite(v)]
    label = _short(row.name, _WIDE)
    title = element("title", row.name)
    parts: list[Child] = [
        element("text", title, label, x=0, dx=-10, y=f"{middle + 4:g}", text_anchor="end",
                class_="row"),
    ]  # fmt: skip
    ends = row.interval or (min((v for v, _, _ in found), default=0.0),
                            max((v for v, _, _ in found), default=0.0))  # fmt: skip
    parts.append(
        element("line", x1=across(scale, ends[0]), x2=across(scale, ends[1]), y1=f"{middle:g}",
                y2=f"{middle:g}", class_="interval" if row.interval else "joint")
    )  # fmt: skip
    for value, colour, meaning in found:
        where, title = across(scale, value), element("title", meaning)
        if colour == "chance":
            parts.append(element("line", title, x1=where, x2=where, y1=f"{middle - 9:g}",
                                 y2=f"{middle + 9:g}", class_="chance"))  # fmt: skip
        else:
            parts.append(element("circle", title, cx=where, cy=f"{middle:g}", r=5.5, class_=colour))
    return parts


def _spoken_row(row: Dots) -> str:
    return f"{row.name}: " + ", ".join(meaning for _, _, meaning in row.dots)
