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
from pretrain.report.records import N_COLOURS
from pretrain.report.scatter import Group, scatter
from pretrain.report.tables import bar, key, table


def frontier(
    law: dict[str, Any] | None,
    ladder: dict[str, Any] | None = None,
    fit: dict[str, Any] | None = None,
    measured: tuple[float, float] | None = None,
) -> Markup:
    """law: of plan/frontier.py. ladder, fit: their records. measured: the run's FLOP and loss."""
    told = [
        draw(found)
        for draw, found in ((_by_laws, law), (_by_ladder, ladder), (_by_fit, fit))
        if found
    ]
    series = [one for found, _ in told for one in found]
    note = " ".join(said for _, said in told)
    if not series:
        return element("p", note, class_="note")
    if measured:
        series.append(Series("this run", "ink", [measured], "dots"))
    title, unit = "Loss over compute", "nats per token over training FLOP"
    return line_chart(title, series, unit, 280, x_name="FLOP", log_x=True, note=note)


def _by_laws(law: dict[str, Any]) -> tuple[list[Series], str]:
    if not law["holds"]:
        return [], f"The public laws are not drawn: {law['note'].partition('; ')[0]}."
    points = law["frontier"]
    n_near = sum(not point["extrapolated"] for point in points)
    pieces = [
        ("public laws, 80 %", "line", points[:n_near]),
        ("extrapolated", "dashed", points[max(0, n_near - 1) :]),
    ]
    lines = [
        Series(name, "s1", [(p["flops"], p["loss"]) for p in some], shape,
               intervals=[(p["low"], p["high"]) for p in some])
        for name, shape, some in pieces if len(some) > 1
    ]  # fmt: skip
    said = f"Law: {law['law']}, the best size of each compute (6 N D); {law['note']}."
    return [*lines, _point("forecast", "s2", law["flops"], law)], said


def _by_ladder(ladder: dict[str, Any]) -> tuple[list[Series], str]:
    rungs = [(row["flops"], row["loss"]) for row in ladder["rungs"]]
    series = [
        Series("ladder's rungs", "s4", rungs, "points"),
        Series("ladder's law", "s4", _line(ladder), labelled=False),
        _point("ladder's forecast", "s3", ladder["large"]["flops"], ladder["loss"]),
    ]
    beyond = significant(ladder["loss"]["times_beyond"])
    return series, f"Ladder: {beyond} times beyond its largest rung (80 %)."


def _by_fit(fit: dict[str, Any]) -> tuple[list[Series], str]:
    times = fit["times_outside"]
    where = f"{significant(times)} times outside" if times > 1 else "within"
    said = f"Fit: {fit['law']}, {fit['runs']} runs of {fit['table']}, {where} their range (80 %)."
    return [_point("fit's forecast", "s5", fit["flops"], fit)], said


def _line(ladder: dict[str, Any]) -> list[tuple[float, float]]:
    """The ladder's law E + A / C^α from its smallest rung to the large run."""
    law, low = ladder["loss"], ladder["rungs"][0]["flops"]
    times = ladder["large"]["flops"] / low
    at = [low * times ** (i / 40) for i in range(41)]
    return [(c, law["floor"] + law["factor"] * c ** -law["exponent"]) for c in at]


def _point(name: str, colour: str, flops: float, at: dict[str, Any]) -> Series:
    return Series(name, colour, [(flops, at["loss"])], "dots", intervals=[(at["low"], at["high"])])


def conventions(per_token: dict[str, float], used: float | None, own: str) -> Markup:
    """used: MFU by the convention `own`, one of per_token's; the others follow from it."""
    ranked = sorted(per_token.items(), key=lambda item: item[0] == own)  # it comes last
    rows = [
        [name, significant(flops), percent(used and used * flops / per_token[own], 1),
         "this program's" if name == own else ""]
        for name, flops in ranked
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
        "Step time and memory", [g for g in groups if g.points],
        "seconds a step over GiB of a device; dashed: what may be used", "GiB", limit,
    )  # fmt: skip


def parts(
    title: str, rows: dict[str, dict[str, float]], shown: Callable[[float], str], said: str = ""
) -> Markup:
    """Bars of parts on one scale, one a row, with one key; `shown` writes a value.

    Colours go by a part's largest value; those beyond the palette share a grey.
    """
    names = sorted(
        {n for row in rows.values() for n, v in row.items() if v}, key=lambda n: _largest(rows, n)
    )
    kept = names[::-1][:N_COLOURS]
    colours = {name: f"s{i + 1}" for i, name in enumerate(kept)}
    drawn = [_without_small(row, kept) for row in rows.values()]
    whole = max(sum(row.values()) for row in drawn)
    cells = [
        [name, bar([(v, colours.get(n, "s0"), f"{n} {shown(v)}") for n, v in row.items()], whole),
         shown(sum(row.values()))]
        for name, row in zip(rows, drawn, strict=True)
    ]  # fmt: skip
    words = {n: f" {shown(v)}" for n, v in drawn[0].items()} if len(rows) == 1 else {}
    named = {name: None for row in drawn for name in row}
    entries = [(colours.get(n, "s0"), n + words.get(n, "")) for n in named]
    caption = element("strong", title), element("span", said, class_="unit") if said else None
    return element(
        "figure", element("figcaption", *caption),
        table("lbr", ["", "", ""], cells, class_="parts"), key(entries), class_="chart",
    )  # fmt: skip


def _largest(rows: dict[str, dict[str, float]], name: str) -> float:
    return max(row.get(name, 0.0) for row in rows.values())


def _without_small(row: dict[str, float], kept: list[str]) -> dict[str, float]:
    """The kept parts in their order, and all others as one."""
    found = {name: row.get(name, 0.0) for name in kept}
    rest = sum(value for name, value in row.items() if name not in found)
    return found | ({"all others": rest} if rest else {})


def dollars(value: float) -> str:
    return f"${count(value)}" if value >= 1 else f"${value:.2f}"
