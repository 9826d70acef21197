"""Sections 'Training' and 'Samples': the run's curves, and what the model wrote on the way."""

import statistics
from collections.abc import Callable
from typing import Any, TypeVar

from pretrain.report.axes import Point, finite, smooth
from pretrain.report.charts import Series, line_chart
from pretrain.report.formats import count, n_bytes, percent, seconds, short, significant, some
from pretrain.report.markup import Child, Markup, element, join, missing, section
from pretrain.report.records import Records
from pretrain.report.tables import table

T = TypeVar("T")
_SPACES = str.maketrans("._", "  ")
_SHOWN_SAMPLES = 10  # per prompt
_SHOWN_CHARS = 700


def training(records: Records) -> Markup:
    if not records.steps:
        return section("training", "Training", missing("the curves", "train"))
    skipped = [row["step"] for row in records.steps if row.get("skipped")]
    last_step = records.recipe.get("train", {}).get("steps")
    show = {"marks": skipped, "last_x": last_step}
    charts = [
        _held_out(records, show),
        _by_source(records, show),
        line_chart(
            "Gradient norm",
            _raw_and_smooth(_points(records.steps, "grad_norm"), "smoothed"),
            "before clipping",
            **show,
        ),
        line_chart(
            "Learning rate",
            [Series("factor", "s1", _points(records.steps, "lr_factor"))],
            "as a factor of the recipe's",
            zero=True,
            **show,
        ),
        line_chart(
            "Speed",
            _raw_and_smooth(_points(records.speed, "tokens_per_second"), "smoothed"),
            "tokens per second",
            zero=True,
            **show,
        )
        if records.speed
        else None,
        line_chart(
            "Waiting for data",
            _raw_and_smooth(_waits(records), "smoothed"),
            "% of the step",
            zero=True,
            **show,
        )
        if records.speed
        else None,
        _by_position(records, show),
        _by_group(records, show, "gradient", "Gradient norm by part", "before clipping"),
        _by_group(records, show, "relative", "Update by part", "norm over that of the weights"),
    ]
    return section(
        "training",
        "Training",
        element("p", _story(records, skipped, last_step)),
        _loss(records, show),
        element("div", charts, class_="multiples"),
    )


def samples(records: Records) -> Markup:
    rows = records.samples
    title = "Samples on the way"
    if not rows and "train" in records.manifests:
        none = "None: the recipe has no prompts, or the model does not continue text."
        return section("samples", title, element("p", none))
    if not rows:
        return section("samples", title, missing("samples", "train"))
    prompts: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        prompts.setdefault(row["prompt"], []).append(row)
    loss = {row["step"]: row["held_out_loss"] for row in records.looks}
    blocks = []
    for prompt, found in prompts.items():
        chosen = _evenly(found, _SHOWN_SAMPLES)
        cells = []
        for row in chosen:
            text, cut = row["text"][:_SHOWN_CHARS], len(row["text"]) > _SHOWN_CHARS
            words = element("span", prompt, class_="prompt"), text, "…" if cut else None
            held = loss.get(row["step"])
            cells.append(
                [
                    count(row["step"]),
                    "" if held is None else significant(held),
                    element("pre", *words, class_="sample", dir="auto"),
                ]
            )
        note = f"{len(chosen)} of {len(found)} steps shown" if len(chosen) < len(found) else None
        blocks.append(
            element("div", element("h3", "Prompt ", element("code", prompt.strip() or prompt)),
                    element("p", note, class_="note") if note else None,
                    table("rrw", ["Step", "Held-out loss", "Text"], cells, class_="samples"))
        )  # fmt: skip
    lead = "From the same prompts with the same seed, oldest first; the prompt is in grey."
    return section("samples", title, element("p", lead), blocks)


def _story(records: Records, skipped: list[int], last_step: int | None) -> Markup:
    """What the curves show, in two or three sentences."""
    last = records.steps[-1]
    of = f" of {last_step:,}" if last_step and last_step != last["step"] else ""
    parts: list[Child] = [f"{last['step']:,}{of} steps, {last['tokens']:,} tokens."]
    speeds = finite(row.get("tokens_per_second") for row in records.speed)
    if speeds:
        peak = max((row.get("peak_bytes") or 0 for row in records.speed), default=0)
        parts.append(
            f" The median step ran at {count(statistics.median(speeds))} tokens per second"
            + (f"; memory peaked at {n_bytes(peak)}." if peak else ".")
        )
    waits = [(row.get("data_seconds"), row.get("seconds")) for row in records.speed]
    total = sum(b for _, b in waits if b)
    if total:
        waited = sum(a for a, _ in waits if a)
        parts.append(
            f" Of {seconds(total)} in steps, {seconds(waited)} ({percent(waited, total)}) went "
            "into waiting for data."
        )
    used, machine = finite(row.get("mfu") for row in records.speed), records.machine
    if used and machine:
        peak_rate = significant(machine["peak_flops_per_second"] / 1e12)
        parts.append(
            f" The median MFU is {percent(statistics.median(used), 1)} of {peak_rate} TFLOP/s "
            f"({machine['peak_source']}), counting {machine['convention']}."
        )
    if skipped:
        which = ", ".join(f"{s:,}" for s in skipped[:8]) + (" …" if len(skipped) > 8 else "")
        were = f" {some(len(skipped), 'step')} {'was' if len(skipped) == 1 else 'were'} skipped"
        text = f"{were} for a spike, or a loss or gradient that was not finite (step {which})."
        parts.append(element("strong", text, class_="warning"))
    else:
        parts.append(" No step was skipped.")
    return join(parts)


def _loss(records: Records, show: dict[str, Any]) -> Markup:
    held = [(row["step"], row.get("held_out_loss")) for row in records.looks]
    lines = _raw_and_smooth(_points(records.steps, "loss"), "training")
    if finite(y for _, y in held):
        lines.append(Series("held-out", "s2", held, "dots"))
    return line_chart(
        "Loss", lines, "nats per token", 300, below=_tokens_at(records), below_name="tokens", **show
    )


def _tokens_at(records: Records) -> Callable[[float], str] | None:
    """The tokens of a step, for the second row of the axis."""
    last = records.steps[-1]
    if not last.get("tokens") or not last.get("step"):
        return None
    per_step = last["tokens"] / last["step"]
    return lambda step: "0" if step == 0 else short(step * per_step)


def _held_out(records: Records, show: dict[str, Any]) -> Markup | None:
    if not records.looks:
        return None
    lines = []
    for source in records.sources:
        points = [(r["step"], r["bits_per_byte_by_source"].get(source)) for r in records.looks]
        if finite(y for _, y in points):
            lines.append(Series(source, records.colour(source), points, "dots"))
    if len(lines) != 1:
        overall: list[Point] = [(r["step"], r["bits_per_byte"]) for r in records.looks]
        lines.append(Series("all", "ink", overall, "dots"))
    return line_chart("Held-out bits per byte", lines, "of a sample; less is better", **show)


def _by_source(records: Records, show: dict[str, Any]) -> Markup:
    lines = []
    for source in records.sources:
        points = [(r["step"], r.get("loss_by_source", {}).get(source)) for r in records.steps]
        if finite(y for _, y in points):
            lines.append(Series(source, records.colour(source), smooth(points, _width(points))))
    return line_chart("Training loss by source", lines, "nats per token, smoothed", **show)


def _by_position(records: Records, show: dict[str, Any]) -> Markup | None:
    """Of a few groups of positions, from the row's first to its last."""
    firsts = sorted({int(p) for row in records.steps for p in row.get("loss_by_position", {})})
    if len(firsts) < 2:
        return None
    lines = []
    for rank, first in enumerate(_evenly(firsts, 4)):
        points = [(r["step"], r.get("loss_by_position", {}).get(str(first))) for r in records.steps]
        name = f"from {first:,}" if rank else "first"
        lines.append(Series(name, f"s{rank + 1}", smooth(points, _width(points))))
    return line_chart("Loss by position in the row", lines, "nats per token, smoothed", **show)


def _by_group(
    records: Records, show: dict[str, Any], what: str, title: str, unit: str
) -> Markup | None:
    """A norm of embedding, head, and the first, middle and last block."""
    rows = [row for row in records.steps if row.get("norms")]
    if not rows:
        return None
    groups = list(rows[-1]["norms"])
    inner = [g for g in groups if "blocks." in g]
    chosen = [g for g in groups if g in ("embedding", "head")]
    chosen += _evenly(inner, 5)
    lines = [
        Series(group.replace("blocks.", "").translate(_SPACES), f"s{rank + 1}",
               [(row["step"], row["norms"].get(group, {}).get(what)) for row in rows])
        for rank, group in enumerate(chosen)
    ]  # fmt: skip
    return line_chart(title, lines, unit, **show)


def _waits(records: Records) -> list[Point]:
    return [
        (row["step"], 100 * row["data_seconds"] / row["seconds"])
        for row in records.speed
        if row.get("seconds") and row.get("data_seconds") is not None
    ]


def _raw_and_smooth(points: list[Point], name: str) -> list[Series]:
    if len(points) < 8:
        return [Series(name, "s1", points)]
    return [
        Series("each step", "s1", points, "thin", labelled=False),
        Series(name, "s1", smooth(points, _width(points))),
    ]


def _width(points: list[Point]) -> int:
    """Points that the smoothing takes together: a thirtieth of the run, at least 5."""
    return max(5, len(points) // 30)


def _points(rows: list[dict[str, Any]], key: str) -> list[Point]:
    return [(row["step"], row.get(key)) for row in rows]


def _evenly(rows: list[T], most: int) -> list[T]:
    """The first, the last and others at equal distances."""
    if len(rows) <= most:
        return rows
    return [rows[round(i * (len(rows) - 1) / (most - 1))] for i in range(most)]
