"""Scatter charts: points of two values, and a limit that some of them do not keep.

    8 ┤  o    o   ┆ ·                  o fits   ● chosen   · beyond the limit
    4 ┤    o   o  ┆     ·
    2 ┤      ●    ┆
      20    40    60   80

Each point tells what it is on hover, as those of the other charts do.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pretrain.report.axes import across, down, finite, scale_of
from pretrain.report.charts import grid
from pretrain.report.markup import Markup, element
from pretrain.report.tables import key


@dataclass(frozen=True)
class Group:
    """Points of one kind, (x, y, meaning); `look` is the class of their shape and colour."""

    name: str
    look: str
    points: Sequence[tuple[float, float, str]]


def scatter(
    title: str,
    groups: Sequence[Group],
    unit: str,
    x_name: str,
    limit: tuple[float, str] | None = None,
    height: int = 260,
) -> Markup:
    """Later groups lie above earlier ones. limit: a value across, and what it is."""
    points = [point for group in groups for point in group.points]
    if not finite(y for _, y, _ in points):
        return element("p", f"{title}: nothing to draw.", class_="missing")
    x = scale_of([x for x, _, _ in points] + ([limit[0]] if limit else []), log_from=10)
    y = scale_of([y for _, y, _ in points], log_from=10)
    bound = None
    if limit:
        at = across(x, limit[0])
        bound = element("line", element("title", limit[1]), x1=at, x2=at, y1=0, y2=height,
                        class_="level")  # fmt: skip
    drawn = [
        element(
            "circle", element("title", meaning), cx=across(x, a), cy=f"{down(y, b, height):.1f}",
            r=5.5 if "chosen" in group.look else 4, class_=f"point {group.look}",
        )
        for group in groups
        for a, b, meaning in group.points
    ]  # fmt: skip
    plot = element("svg", grid(x, y, height, None, "", x_name), bound, drawn, width="100%",
                   height=height + 22, role="img", aria_label=_spoken(title, groups))  # fmt: skip
    scales = [name for name, scale in (("across", x), ("upwards", y)) if scale.log]
    subtitle = unit + (f", log scale {' and '.join(scales)}" if scales else "")
    caption = element("strong", title), element("span", subtitle, class_="unit")
    named = [(f"round {group.look}", f"{group.name} ({len(group.points):,})") for group in groups]
    return element(
        "figure", element("figcaption", *caption), element("div", plot, class_="plot"), key(named),
        class_="chart scatter",
    )  # fmt: skip


def _spoken(title: str, groups: Sequence[Group]) -> str:
    words = [f"{group.name}: {len(group.points):,} points" for group in groups]
    words += [meaning for g in groups if len(g.points) == 1 for _, _, meaning in g.points]
    return f"{title}: " + "; ".join(words)
