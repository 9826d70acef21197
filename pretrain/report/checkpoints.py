"""Scores over tokens: what score/during.jsonl tells of the checkpoints, beside published figures.

Of lines that asked alike, a later one replaces those from its step on: the training went back.
"""

from typing import Any

from pretrain.report.charts import Series, line_chart
from pretrain.report.formats import count, some
from pretrain.report.markup import Child, details, element
from pretrain.report.records import Records
from pretrain.report.tables import table

_CHARTS = 6  # where no suite makes a score of the tasks
Line = dict[str, Any]


def over_tokens(records: Records) -> Child:
    """Charts and tables, or nothing where no checkpoint was scored during training."""
    rows = standing(records.during)
    if not rows:
        return None
    published = records.recipe.get("evaluate", {}).get("published", {})
    names = _charted(rows[-1], published)
    last_tokens = max([row["tokens"] for row in rows] + [s["tokens"] for s in records.steps[-1:]])
    limit = rows[-1].get("limit")
    lead = (
        f"{some(len(rows), 'checkpoint')}, scored while the model trained"
        + (f", on the first {some(limit, 'item')} of each file" if limit else "")
        + ". Bars: 95 % intervals. Dashed: chance, and published figures of other models."
    )
    charts = [_chart(name, rows, published, last_tokens) for name in names]
    return [
        element("h3", "Scores over tokens"),
        element("p", lead),
        element("div", charts, class_="multiples"),
        _sources(names, published),
        details("Every checkpoint", _by_checkpoint(names, rows)),
        details("First and last checkpoint by task", _by_task(rows)),
        _without(rows[-1]),
    ]


def standing(lines: list[Line]) -> list[Line]:
    """The lines that ask what the last one asks, without those of steps that were done again."""
    kept: list[Line] = []
    for line in lines:
        if line["asked"] == lines[-1]["asked"]:
            kept = [k for k in kept if k["step"] < line["step"]] + [line]
    return kept


def _charted(line: Line, published: dict[str, Any]) -> list[str]:
    """Scores of suites, and of tasks that somebody published figures of."""
    scores, chance = line["scores"], line["chance"]
    suites = [n for n in scores if n not in chance or n in line["suites"]]
    known = {what for figures in published.values() for what in figures}
    tasks = [n for n in scores if n not in suites and (n in known or not suites)]
    return suites + tasks[: None if suites else _CHARTS]


def _chart(name: str, rows: list[Line], published: dict[str, Any], last_tokens: int) -> Child:
    found = [(row["tokens"], *row["scores"][name]) for row in rows if name in row["scores"]]
    line = Series(
        "this model",
        "s1",
        [(tokens, value) for tokens, value, _ in found],
        "dots",
        intervals=[(value - 1.96 * error, value + 1.96 * error) for _, value, error in found],
    )
    levels = [
        (model, figures[name], f"{model} {figures[name]:g} ({figures['source']})")
        for model, figures in published.items()
        if name in figures
    ]
    chance = _chance(name, rows[-1])
    if chance is not None:
        levels.insert(0, ("chance", chance, f"chance {chance:.3f}"))
    unit = "centred accuracy" if _is_centred(name, rows[-1]) else "accuracy"
    return line_chart(name, [line], unit, x_name="tokens", last_x=last_tokens, levels=levels)


def _is_centred(name: str, line: Line) -> bool:
    """Whether it is a suite's score by version of the baselines, in which chance is 0."""
    return name not in line["chance"] and name not in line["suites"]


def _chance(name: str, line: Line) -> float | None:
    if name in line["chance"]:
        return float(line["chance"][name])
    if _is_centred(name, line):
        return 0.0
    own = [value for task, value in line["chance"].items() if task.startswith(f"{name}/")]
    return sum(own) / len(own) if own else None


def _sources(names: list[str], published: dict[str, Any]) -> Child:
    shown = {m: f for m, f in published.items() if any(n in f for n in names)}
    rows = [
        [model, name, f"{figures[name]:g}", figures["source"]]
        for model, figures in shown.items()
        for name in names
        if name in figures
    ]
    head = ["Published figure of", "Score", "Value", "Source"]
    return table("llrw", head, rows) if rows else None


def _by_checkpoint(names: list[str], rows: list[Line]) -> Child:
    cells = [
        [count(row["step"]), count(row["tokens"]), *(_score(row["scores"].get(n)) for n in names)]
        for row in rows
    ]
    return table("rr" + "r" * len(names), ["Step", "Tokens", *names], cells,
                 "Scores ± standard error")  # fmt: skip


def _by_task(rows: list[Line]) -> Child:
    first, last = rows[0], rows[-1]
    cells = [
        [
            name,
            _score(first["scores"].get(name)),
            _score(last["scores"].get(name)),
            f"{chance:.3f}",
            count(last["items"][name]),
        ]
        for name, chance in sorted(last["chance"].items())
    ]
    head = ["Task", f"{first['tokens']:,} tokens", f"{last['tokens']:,} tokens", "Chance", "Items"]
    return table("lrrrr", head, cells)


def _without(line: Line) -> Child:
    rows = [element("li", element("strong", n), f": {why}") for n, why in line["without"].items()]
    return details(f"Tasks without a score: {len(rows):,}", element("ul", rows)) if rows else None


def _score(score: list[float] | None) -> str:
    return f"{score[0]:.3f} ± {score[1]:.3f}" if score else ""
