"""Charts as inline SVG that keep their text size at every width.

Across, everything is placed in percent of the plot; down, in pixels. Lines lie in a nested SVG that
is stretched, with strokes that are not. Labels of axes hang into the padding around the plot:

    title                       read-out on hover
    8 ┤·.                                            lines are named at their ends, moved apart
    6 ┤  `·--.____                  training
    4 ┤           `----·····        held-out
  step 0       100      200

Values that are missing, infinite or no number are left out, and a line breaks there.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pretrain.report.axes import (
    Point,
    Scale,
    across,
    decimate,
    down,
    finite,
    scale_of,
    spread,
    tick_labels,
    ticks,
)
from pretrain.report.formats import significant
from pretrain.report.markup import Child, Markup, element

_GAP = 15  # pixels between labels
_CHAR = 6.6  # pixels of a label's character, a little more than it takes


@dataclass(frozen=True)
class Series:
    """One line: `shape` is line, dashed, thin (raw values behind a line), dots (points joined) or
    points (not joined).

    intervals: (low, high) of each point, a band behind a line and bars through dots.
    """

    name: str
    colour: str
    points: Sequence[Point]
    shape: str = "line"
    labelled: bool = True
    intervals: Sequence[tuple[float, float]] = ()


def line_chart(
    title: str,
    series: Sequence[Series],
    unit: str = "",
    height: int = 180,
    zero: bool = False,
    marks: Sequence[float] = (),
    below: Callable[[float], str] | None = None,
    below_name: str = "",
    last_x: float | None = None,
    note: Child = None,
    x_name: str = "step",
    levels: Sequence[tuple[str, float, str]] = (),
    log_x: bool = False,
) -> Markup:
    """Series over steps or tokens, or over what `x_name` says, whose axis need not begin at 0.

    `levels` are values across the whole width: (name, value, meaning). `marks`
    are steps to point at (skipped ones); `below` gives a second row of labels to the axis;
    `last_x` is where the axis ends if the series end before.
    """
    drawn = [s for s in series if finite(y for _, y in s.points)]
    if not drawn:
        return element("p", f"{title}: no finite value was recorded.", class_="missing")
    xs = [x for s in drawn for x, _ in s.points]
    high = max(xs) if last_x is None else max(max(xs), last_x)
    low = min(0.0, *xs) if x_name in ("step", "tokens") else min(xs)
    x = Scale(low / 1.1, high * 1.1, log=True) if log_x else Scale(low, max(high, 1.0))
    reached = [v for s in drawn for _, v in s.points] + [v for _, v, _ in levels]
    reached += [end for s in drawn for ends in s.intervals for end in ends]
    y = scale_of(reached, zero)
    named = [s for s in drawn if s.labelled]
    named = named if len(named) > 1 or levels else []
    names = [s.name for s in named] + [name for name, _, _ in levels]
    room = 12 + _CHAR * max(map(len, names), default=3)
    plot = element(
        "svg",
        grid(x, y, height, below, below_name, x_name),
        [_level(value, meaning, y, height) for _, value, meaning in levels],
        [_series(s, x, y, height) for s in drawn],
        _end_labels(named, levels, y, height),
        [_mark(x.at(m), height) for m in marks],
        element("line", y1=0, y2=height, class_="cursor"),
        width="100%",
        height=height + (38 if below else 22),
        role="img",
        aria_label=_spoken(title, drawn, unit, x_name),
    )
    subtitle = ", ".join(p for p in (unit, "log scale" if y.log else "") if p)
    return element(
        "figure",
        element(
            "figcaption",
            element("strong", title),
            element("span", subtitle, class_="unit") if subtitle else None,
            element("output", class_="readout", aria_hidden="true"),
        ),
        element("div", plot, class_="plot", style=f"padding-right:{min(room, 130):.0f}px"),
        element("p", note, class_="note") if note else None,
        class_="chart",
        data_chart=_data(drawn, x, x_name),
    )


def grid(
    x: Scale,
    y: Scale,
    height: int,
    below: Callable[[float], str] | None,
    below_name: str,
    x_name: str,
) -> list[Child]:
    parts: list[Child] = []
    marks = ticks(y, max(3, height // 45))
    for mark, label in zip(marks, tick_labels(marks), strict=True):
        at = f"{down(y, mark, height):.1f}"
        parts.append(element("line", x1=0, x2="100%", y1=at, y2=at, class_="grid"))
        parts.append(element("text", label, x=0, dx=-8, y=at, dy=4, text_anchor="end"))
    marks = ticks(x, 5)
    for mark, label in zip(marks, tick_labels(marks), strict=True):
        where = across(x, mark)
        parts.append(element("line", x1=where, x2=where, y1=height, y2=height + 4, class_="tick"))
        parts.append(element("text", label, x=where, y=height + 17, text_anchor="middle"))
        if below:
            parts.append(element("text", below(mark), x=where, y=height + 33, text_anchor="middle"))
    parts.append(element("line", x1=0, x2="100%", y1=height, y2=height, class_="axis"))
    # The axis is named in the margin, where no label can stand.
    parts.append(element("text", x_name, x=0, dx=-14, y=height + 17, text_anchor="end"))
    if below:
        parts.append(element("text", below_name, x=0, dx=-14, y=height + 33, text_anchor="end"))
    return parts


def _series(s: Series, x: Scale, y: Scale, height: int) -> Markup:
    points = decimate(s.points)
    d, pen = [], False
    for at, value in points:
        if value is None or not math.isfinite(value):
            pen = False
            continue
        d.append(f"{'L' if pen else 'M'}{1000 * x.at(at):.1f} {down(y, value, height):.1f}")
        pen = True
    path = element("path", d=" ".join(d), class_=f"stroke {s.shape} {s.colour}",
                   vector_effect="non-scaling-stroke")  # fmt: skip
    path = Markup("") if s.shape == "points" else path
    is_band = bool(s.intervals) and s.shape in ("line", "dashed")  # else bars
    band = _band(s, x, y, height) if is_band else None
    parts: list[Child] = [
        element("svg", band, path, viewBox=f"0 0 1000 {height}", width="100%", height=height,
                preserveAspectRatio="none")
    ]  # fmt: skip
    known = [(a, v) for a, v in points if v is not None and math.isfinite(v)]
    if (s.shape in ("dots", "points") and len(known) <= 40) or len(known) == 1:
        parts += [
            element("circle", cx=f"{100 * x.at(a):.2f}%", cy=f"{down(y, v, height):.1f}", r=3.2,
                    class_=f"fill {s.colour}")
            for a, v in known
        ]  # fmt: skip
    if s.intervals and not is_band:
        parts += _bars(s, x, y, height)
    return element("g", parts)


def _band(s: Series, x: Scale, y: Scale, height: int) -> Child:
    """The area between the ends of a line's intervals."""
    ends = [(at, pair) for (at, _), pair in zip(s.points, s.intervals, strict=True)]
    edge = [(at, low) for at, (low, _) in ends] + [(at, high) for at, (_, high) in reversed(ends)]
    d = " L".join(f"{1000 * x.at(at):.1f} {down(y, v, height):.1f}" for at, v in edge)
    return element("path", d=f"M{d}Z", class_=f"fill band {s.colour}")


def _bars(s: Series, x: Scale, y: Scale, height: int) -> list[Child]:
    return [
        element("line", x1=across(x, at), x2=across(x, at), y1=f"{down(y, low, height):.1f}",
                y2=f"{down(y, high, height):.1f}", class_=f"stroke {s.colour} error")
        for (at, _), (low, high) in zip(s.points, s.intervals, strict=True)
        if math.isfinite(low + high)
    ]  # fmt: skip


def _level(value: float, meaning: str, y: Scale, height: int) -> Markup:
    at = f"{down(y, value, height):.1f}"
    return element("line", element("title", meaning), x1=0, x2="100%", y1=at, y2=at, class_="level")


def _end_labels(
    series: Sequence[Series], levels: Sequence[tuple[str, float, str]], y: Scale, height: int
) -> list[Child]:
    # Named at the margin even where it ends early: the eye goes straight across.
    ends = [(s.name, finite(v for _, v in s.points)[-1], s.colour, s.name) for s in series]
    ends += [(name, value, "s0", meaning) for name, value, meaning in levels]
    places = spread([down(y, value, height) for _, value, _, _ in ends], _GAP, 4, height - 4)
    labels: list[Child] = []
    for (full, _, colour, meaning), place in zip(ends, places, strict=True):
        name = full if len(full) <= 17 else full[:16] + "…"
        labels.append(
            element("text", element("title", meaning), name, x="100%", dx=8, y=f"{place:.1f}", dy=4,
                    class_=f"label {colour}")
        )  # fmt: skip
    return labels


def _mark(at: float, height: int) -> Markup:
    where = f"{100 * at:.2f}%"
    return element("line", element("title", "skipped step"), x1=where, x2=where, y1=height - 12,
                   y2=height, class_="skipped")  # fmt: skip


def _spoken(title: str, series: Sequence[Series], unit: str, x_name: str) -> str:
    """What a screen reader says of a chart: each line's first and last value."""
    parts = []
    for s in series:
        if s.shape == "thin":
            continue
        known = [(a, v) for a, v in s.points if v is not None and math.isfinite(v)]
        (a, first), (b, last) = known[0], known[-1]
        parts.append(
            f"{s.name} from {significant(first)} at {x_name} {_at(a)} to {significant(last)} at "
            f"{x_name} {_at(b)}"
        )
    return f"{title}{f' ({unit})' if unit else ''}: " + "; ".join(parts)


def _at(x: float) -> str:
    return f"{x:,.0f}" if x == int(x) else f"{x:.4g}"


def _data(series: Sequence[Series], x: Scale, x_name: str) -> str:
    """What the read-out needs; the same points as are drawn."""
    lines = []
    for s in series:
        points = [p for p in decimate(s.points) if p[1] is not None and math.isfinite(p[1])]
        xs = [int(a) if a == int(a) else a for a, _ in points]
        line: dict[str, Any] = {
            "name": s.name,
            "x": xs,
            "y": [float(f"{v:.4g}") for _, v in points],
        }
        if s.intervals and len(points) == len(s.intervals):
            line["ends"] = [[float(f"{v:.4g}") for v in ends] for ends in s.intervals]
        lines.append(line)
    data = {"low": x.low, "high": x.high, "log": x.log, "x": x_name, "series": lines}
    return json.dumps(data, separators=(",", ":"))
