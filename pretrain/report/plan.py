"""Pictures of a plan, for the page of `pretrain plan` and for a run's report.

    frontier      loss over compute by the law used, the run's point with its 80 % interval
    layouts       seconds of a step over memory of a device: chosen, fits, does not fit
    parts         a bar of dollars, seconds or bytes by part
    conventions   FLOP per token and MFU as each of four conventions counts them

All that is drawn is plain data, as plan/ writes it.
"""

from collections.abc import Callable
from typing import Any

from pretrain.report.charts import Series, line_chart
from pretrain.report.formats import count, percent, seconds, significant
from pretrain.report.markup import Child, Markup, element
from pretrain.report.scatter import Group, scatter
from pretrain.report.tables import bar, key, table

_UNIT = "nats per token over training FLOP"


def frontier(
    law: dict[str, Any], measured: float | None = None, ladder: dict[str, Any] | None = None
) -> Markup:
    """law: of plan/frontier.py. measured: the run's held-out loss. ladder: ladder.json's record."""
    title = "Loss over compute"
    series: list[Series] = []
    notes: list[str] = []
    if law["holds"]:
        points = law["frontier"]
        series += [
            Series("public laws, 80 %", "s1", [(p["flops"], p["loss"]) for p in points],
                   intervals=[(p["low"], p["high"]) for p in points]),
            _point("forecast", "s2", law["flops"], law),
        ]  # fmt: skip
        notes.append(f"Law: {law['law']}, the best size of each compute (6 N D); {law['note']}.")
    else:
        notes.append(f"The public laws are not drawn: {law['note']}.")
    if ladder:
        rungs = [(row["flops"], row["loss"]) for row in ladder["rungs"]]
        series += [
            Series("ladder's rungs", "s4", rungs, "dots"),
            _point("ladder's forecast", "s3", ladder["large"]["flops"], ladder["loss"]),
        ]
        beyond = significant(ladder["loss"]["times_beyond"])
        notes.append(f"Ladder: {beyond} times beyond its largest rung (80 %).")
    if measured is not None and series:
        at = ladder["large"]["flops"] if ladder else law["flops"]
        series.append(Series("this run, held-out", "ink", [(at, measured)], "dots"))
    note = " ".join(notes)
    if not series:
        return element("p", note, class_="note")
    return line_chart(title, series, _UNIT, 280, x_name="FLOP", log_x=True, note=note)


def _point(name: str, colour: str, flops: float, at: dict[str, Any]) -> Series:
    return Series(name, colour, [(flops, at["loss"])], "dots", intervals=[(at["low"], at["high"])])


def conventions(per_token: dict[str, float], used: float | None, own: str) -> Markup:
    """used: MFU by the convention `own`, one of per_token's; the others follow from it."""
    rows = [
        [name, significant(flops), percent(used and used * flops / per_token[own], 1),
         "this program's" if name == own else ""]
        for name, flops in per_token.items()
    ]  # fmt: skip
    return table("lrrl", ["Convention", "FLOP per token", "MFU", ""], rows, class_="small")


def layouts(
    chosen: list[dict[str, Any]], others: list[dict[str, Any]], limit_bytes: float
) -> Child:
    """Rows with said, seconds, bytes and, of others, fits; the first chosen is the fastest."""
    gib = 2**30

    def points(rows: list[dict[str, Any]]) -> list[tuple[float, float, str]]:
        return [
            (row["bytes"] / gib, row["seconds"],
             f"{row['said']}: {seconds(row['seconds'])} a step, {row['bytes'] / gib:.1f} GiB")
            for row in rows
        ]  # fmt: skip

    shown = [row["said"] for row in chosen]
    rest = [row for row in others if row["said"] not in shown]
    groups = [
        Group("does not fit", "outside", points([row for row in rest if not row["fits"]])),
        Group("fits", "s1", points([row for row in rest if row["fits"]])),
        Group("next fastest", "s3 chosen", points(chosen[1:])),
        Group("chosen", "s2 chosen", points(chosen[:1])),
    ]
    limit = (limit_bytes / gib, f"{limit_bytes / gib:.1f} GiB of a device may be used")
    return scatter(
        "Layouts", [g for g in groups if g.points],
        "seconds a step over GiB of a device; dashed: what may be used", "GiB", limit,
    )  # fmt: skip


def parts(title: str, values: dict[str, float], shown: Callable[[float], str], said: str) -> Markup:
    """A bar of parts, largest first, with its key; `shown` writes a value."""
    ranked = sorted(((n, v) for n, v in values.items() if v > 0), key=lambda part: -part[1])
    whole = sum(value for _, value in ranked)
    pieces = [
        (value, f"s{i % 7 + 1}", f"{name} {shown(value)} ({percent(value, whole)})")
        for i, (name, value) in enumerate(ranked)
    ]
    caption = element("strong", title), element("span", said, class_="unit")
    return element(
        "figure",
        element("figcaption", *caption),
        bar(pieces, whole),
        key((colour, words) for _, colour, words in pieces),
        class_="chart parts",
    )


def dollars(value: float) -> str:
    return f"${count(value)}" if value >= 1 else f"${value:.2f}"
