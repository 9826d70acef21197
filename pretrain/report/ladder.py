"""A run beside the forecast of its ladder (`pretrain plan ladder`), as it goes and at its end."""

from itertools import pairwise
from typing import Any

from pretrain.report.charts import Series, line_chart
from pretrain.report.formats import significant, some
from pretrain.report.markup import Child, element
from pretrain.report.records import Records


def fitting(records: Records, flops: float) -> dict[str, Any] | None:
    """The ladder's record if it was trained for a run of so much compute."""
    found = records.ladder
    return found if found and found["large"]["flops"] == flops else None


def against(records: Records, flops: float) -> list[Child]:
    """Held-out loss so far on the forecast curve, and what lies inside of it."""
    if not records.ladder:
        return []
    found, heading = fitting(records, flops), element("h3", "Loss against the ladder's forecast")
    if not found:
        other = significant(records.ladder["large"]["flops"])
        text = f"There is a ladder of a run of {other} FLOP; this one has {significant(flops)}."
        return [heading, element("p", text, class_="warning")]
    n_steps = found["large"]["steps"]
    curve = [(round(row["share"] * n_steps), row) for row in found.get("curve", [])]
    held = [(row["step"], row["held_out_loss"]) for row in records.looks
            if row.get("held_out_loss") is not None]  # fmt: skip
    drawn: list[Child] = [heading, element("p", _verdict(records, found, curve, held))]
    if len(curve) > 1:
        forecast = Series("forecast, 80 %", "s3", [(step, row["loss"]) for step, row in curve],
                          intervals=[(row["low"], row["high"]) for _, row in curve])  # fmt: skip
        late = [(step, loss) for step, loss in held if step >= curve[0][0] / 2]
        lines = [forecast, Series("held-out", "s2", late or held, "dots")]
        note = "Forecast: the largest rung's curve, ended where the rungs' law of this sample does."
        drawn.append(
            line_chart(
                "Held-out loss of a sample", lines, "nats per token", 240, last_x=n_steps, note=note
            )
        )
    return drawn


def at(curve: list[tuple[int, dict[str, Any]]], step: float) -> dict[str, float] | None:
    """The forecast of a step, between those of the curve; None before it begins."""
    for (a, before), (b, after) in pairwise(curve):
        if a <= step <= b:
            part = (step - a) / (b - a)
            return {k: before[k] + part * (after[k] - before[k]) for k in ("loss", "low", "high")}
    return None


def _verdict(
    records: Records, found: dict[str, Any], curve: list[tuple[int, dict[str, Any]]],
    held: list[tuple[int, float]],
) -> str:  # fmt: skip
    scores = (records.scores or {}).get("held_out", {}).get("all") or {}
    texts = []
    told = [(step, loss, row) for step, loss in held if (row := at(curve, step))]
    if told:
        step, loss, row = told[-1]
        inside = sum(r["low"] <= value <= r["high"] for _, value, r in told)
        texts.append(
            f"At step {step:,} the loss of a sample of held-out text is {significant(loss, 4)}, "
            f"{_beside(loss, row)}. "
            f"{inside} of {some(len(told), 'look')} lie in the interval."
        )
    if "loss" in scores:
        texts.append(
            f"At the end, on all held-out text, it is {significant(scores['loss'], 4)}, "
            f"{_beside(scores['loss'], found['loss'])}."
        )
    else:
        end = found["loss"]
        texts.append(
            f"Forecast of the end, on all held-out text: {significant(end['loss'], 4)} "
            f"({_ends(end)})."
        )
    return " ".join(texts)


def place(loss: float, row: dict[str, float]) -> str:
    """Where a loss lies to a forecast with low and high."""
    return "below" if loss < row["low"] else "above" if loss > row["high"] else "inside"


def _beside(loss: float, row: dict[str, float]) -> str:
    off, told = 100 * (loss / row["loss"] - 1), significant(row["loss"], 4)
    return f"{place(loss, row)} the forecast of {told} ({_ends(row)}), {off:+.1f} %"


def _ends(row: dict[str, float]) -> str:
    return f"{significant(row['low'], 4)} to {significant(row['high'], 4)}, 80 %"
