"""Held-out text by language, by domain and by place in the window; a group of one is left out."""

from typing import Any

from pretrain.report.dots import Dots, dot_chart
from pretrain.report.formats import count, significant
from pretrain.report.markup import Child, details, element
from pretrain.report.tables import table

_SHOWN = 12  # rows of a chart; the table has all
_REST = "all others"


def parts(found: dict[str, Any]) -> list[Child]:
    """What `held_out_by` of scores.json says."""
    drawn: list[Child] = []
    for key, title in (("language", "By language"), ("domain", "By domain")):
        rows = found.get(key, [])
        if len(rows) > 1:
            drawn.append(_by_name(title, rows))
    if len(found.get("position", [])) > 1:
        drawn.append(_by_place(found["position"]))
    return [element("div", drawn, class_="multiples")] if drawn else []


def _by_name(title: str, rows: list[dict[str, Any]]) -> Child:
    dots = [
        Dots(
            row["name"] or _REST,
            [
                (
                    row["bits_per_byte"],
                    "dot model",
                    f"{significant(row['bits_per_byte'], 4)} bits per byte",
                )
            ],
        )
        for row in rows[:_SHOWN]
    ]
    cells = [
        [
            row["name"] or _REST,
            significant(row["bits_per_byte"], 4),
            significant(row["loss"], 4),
            count(row["n_tokens"]),
            count(row["n_bytes"]),
            count(row["documents"]),
        ]
        for row in rows
    ]
    head = ["", "Bits per byte", "Loss, nats", "Tokens", "Bytes", "Documents"]
    unit = "bits per byte, less is better"
    if len(rows) > _SHOWN:
        unit += f"; {_SHOWN} of {len(rows)}"
    chart = dot_chart(title, dots, unit)
    return element("div", chart, details(f"{title}: figures", table("lrrrrr", head, cells)))


def _by_place(rows: list[dict[str, Any]]) -> Child:
    names = [
        f"{r['first']:,}" if r["first"] == r["last"] else f"{r['first']:,}–{r['last']:,}"
        for r in rows
    ]
    dots = [
        Dots(name, [(row["loss"], "dot model", f"{significant(row['loss'], 4)} nats per token")])
        for name, row in zip(names, rows, strict=True)
    ]
    cells = [
        [name, significant(row["loss"], 4), count(row["n_tokens"])]
        for name, row in zip(names, rows, strict=True)
    ]
    chart = dot_chart("By tokens before, in the window", dots, "nats per token, less is better")
    figures = table("lrr", ["Tokens before", "Loss, nats", "Tokens"], cells)
    return element("div", chart, details("By tokens before: figures", figures))
