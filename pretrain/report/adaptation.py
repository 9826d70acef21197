"""Section 'What pre-training is worth': scores over numbers of labels, from the model and without.

It reads probe/label_efficiency.json, which `pretrain probe` writes; a run without has no such
section. Numbers of labels stand at equal distances, in their order:

    0.8 ┤          ,---+ pre-trained          bars: 95 % of the mean over seeds,
        ┤   +-----'  ,-+ from nothing         by Student's t
        ┤ . . +-----'. . majority
         32   128     all labels
"""

from typing import Any

from pretrain import store
from pretrain.report.axes import Scale, scale_of, spread, tick_labels, ticks
from pretrain.report.formats import count, significant
from pretrain.report.markup import Child, Markup, element, section
from pretrain.report.records import Records
from pretrain.report.tables import table

_HEIGHT = 170
_LINES = (("pretrained", "pre-trained", "s1"), ("nothing", "from nothing", "s2"))
# Student's t for 95 % by degrees of freedom; from 10 on the error is of no such few seeds.
_T = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)


def adaptation(records: Records) -> Markup:
    """The section, or nothing where nothing was probed."""
    found = store.read_json_or_none(records.folder / "probe" / "label_efficiency.json")
    if not isinstance(found, dict) or not found["tasks"]:
        return Markup("")
    lead = (
        "The model fine-tuned on so many labelled examples, beside the same shape fine-tuned from "
        "its initial weights, on the same draws by the same recipe. Means over seeds; bars are "
        "their 95 % intervals and tell of draws and fine-tuning only."
    )
    tasks = [(name, task) for name, task in found["tasks"].items() if task["points"]]
    return section(
        "adaptation", "What pre-training is worth", element("p", lead),
        [_chart(name, task) for name, task in tasks], _table(tasks),
    )  # fmt: skip


def half_interval(part: dict[str, Any]) -> float | None:
    """How far the 95 % interval of a mean over seeds reaches to each side."""
    if part["error"] is None:
        return None
    free = len(part["scores"]) - 1
    return float(part["error"] * (_T[free - 1] if free <= len(_T) else 1.96 + 2.5 / free))


def _chart(name: str, task: dict[str, Any]) -> Markup:
    points = task["points"]
    values = [point["majority"] for point in points]
    for point in points:
        for line, _, _ in _LINES:
            half = half_interval(point[line]) or 0.0
            values += [point[line]["mean"] - half, point[line]["mean"] + half]
    y = scale_of([max(-1.0, min(1.0, value)) for value in values])
    parts: list[Child] = []
    marks = ticks(y, 4)
    for mark, label in zip(marks, tick_labels(marks), strict=True):
        at = _y(y, mark)
        parts.append(element("line", x1=0, x2="100%", y1=at, y2=at, class_="grid"))
        parts.append(element("text", label, x=0, dx=-8, y=at, dy=4, text_anchor="end"))
    for i, point in enumerate(points):
        label = count(point["labels"])
        parts.append(element("text", label, x=_x(i, points), y=_HEIGHT + 17, text_anchor="middle"))
    parts.append(element("text", "labels", x=0, dx=-14, y=_HEIGHT + 17, text_anchor="end"))
    parts.append(_line("s0", [p["majority"] for p in points], y))
    for line, _, colour in _LINES:
        parts.append(_line(colour, [p[line]["mean"] for p in points], y))
        parts += [_point(point[line], i, points, y, colour) for i, point in enumerate(points)]
    ends = [points[-1][line]["mean"] for line, _, _ in _LINES]
    places = spread([_pixels(y, end) for end in ends], 15, 4, _HEIGHT - 4)
    for (_, title, colour), place in zip(_LINES, places, strict=True):
        parts.append(
            element("text", title, x="100%", dx=8, y=f"{place:.1f}", dy=4, class_=f"label {colour}")
        )
    spoken = f"{name}, {task['metric']}: " + "; ".join(_spoken(point) for point in points)
    plot = element("svg", parts, width="100%", height=_HEIGHT + 22, role="img", aria_label=spoken)
    return element(
        "figure",
        element(
            "figcaption",
            element("strong", name),
            element("span", f"{task['metric']}, grey: the commonest class", class_="unit"),
        ),
        element("div", plot, class_="plot", style="padding-right:96px"),
        class_="chart",
    )


def _line(colour: str, values: list[float], y: Scale) -> Markup:
    if len(values) == 1:
        values = values * 2
    step = 1000 / (len(values) - 1)
    d = " ".join(
        f"{'L' if i else 'M'}{_inset(i * step / 1000) * 1000:.1f} {_y(y, value)}"
        for i, value in enumerate(values)
    )
    path = element("path", d=d, class_=f"stroke line {colour}", vector_effect="non-scaling-stroke")
    return element(
        "svg", path, viewBox=f"0 0 1000 {_HEIGHT}", width="100%", height=_HEIGHT,
        preserveAspectRatio="none",
    )  # fmt: skip


def _point(part: dict[str, Any], i: int, points: list[Any], y: Scale, colour: str) -> list[Child]:
    where, half = _x(i, points), half_interval(part)
    title = element("title", _mean(part))
    parts: list[Child] = [
        element("circle", title, cx=where, cy=_y(y, part["mean"]), r=3.2, class_=f"fill {colour}")
    ]
    if half is not None:
        low, high = _y(y, part["mean"] - half), _y(y, part["mean"] + half)
        parts.append(
            element("line", x1=where, x2=where, y1=low, y2=high, class_=f"stroke {colour}")
        )
    return parts


def _table(tasks: list[tuple[str, dict[str, Any]]]) -> Markup:
    rows = [
        [
            name,
            task["metric"],
            count(point["labels"]),
            significant(point["majority"]),
            *(_mean(point[line]) for line in ("nothing", "pretrained", "difference")),
            str(len(point["nothing"]["scores"])),
            count(task["n_test"]),
        ]
        for name, task in tasks
        for point in task["points"]
    ]
    head = ["Task", "Metric", "Labels", "Commonest class", "From nothing", "Pre-trained",
            "Difference", "Seeds", "Test items"]  # fmt: skip
    return table("llrrrrrrr", head, rows, "Means over seeds ± standard error")


def _mean(part: dict[str, Any]) -> str:
    error = "" if part["error"] is None else f" ± {part['error']:.3f}"
    return f"{part['mean']:.3f}{error}"


def _spoken(point: dict[str, Any]) -> str:
    told = ", ".join(f"{title} {_mean(point[line])}" for line, title, _ in _LINES)
    return f"{point['labels']:,} labels: {told}"


def _inset(share: float) -> float:
    """Room for half a label at both ends."""
    return 0.04 + 0.92 * share


def _x(i: int, points: list[Any]) -> str:
    return f"{100 * _inset(i / max(1, len(points) - 1)):.2f}%"


def _pixels(y: Scale, value: float) -> float:
    return _HEIGHT * (1 - y.at(value))


def _y(y: Scale, value: float) -> str:
    return f"{_pixels(y, value):.1f}"
