"""Section 'Forecast and fact': what the plan said beside what the clock says."""

import statistics
from typing import Any

from pretrain.report.formats import count, n_bytes, percent, ratio, seconds, short, significant
from pretrain.report.ladder import against, fitting, place
from pretrain.report.markup import Child, Markup, element, missing, section
from pretrain.report.plan import conventions, frontier
from pretrain.report.records import Records
from pretrain.report.tables import bar, key, table


def forecast(records: Records) -> Markup:
    title = "Forecast and fact"
    plan = records.forecast
    if not plan:
        return section("forecast", title, missing("the forecast", "plan"))
    fact = measured(records)
    return section(
        "forecast",
        title,
        element("p", f"Forecast on {plan['machine']} ({plan['device']}, {plan['precision']}) from "
                "rates measured there before the run."),
        _comparison(records, plan, fact),
        _loss(records, plan),
        against(records, plan["flops"]),
        _conventions(records, plan),
        _steps(plan, fact),
        _memory(plan),
        None if fact else missing("the facts", "train"),
    )  # fmt: skip


def measured(records: Records) -> dict[str, float]:
    """Means and totals of training so far, from speed.jsonl; empty where there is none."""
    rows = records.speed
    if not rows:
        return {}
    total = {
        part: sum(float(row.get(f"{part}seconds") or 0) for row in rows)
        for part in ("", "data_", "look_", "save_")
    }
    n_steps, stages = len(rows), sum(records.seconds.values())
    fact = {
        "steps": n_steps,
        "step": total[""] / n_steps,
        "data": total["data_"] / n_steps,
        "look": total["look_"] / n_steps,
        "save": total["save_"] / n_steps,
        "seconds": total[""],
        "training": total[""] + total["look_"] + total["save_"],
        "stages": stages,
        # The forecast is of the device.
        "bytes": max(
            float(row.get("device_peak_bytes") or row.get("peak_bytes") or 0) for row in rows
        ),
        "kwh": sum(float(row.get("joules") or 0) for row in rows) / 3.6e6,
    }
    return fact


def time_line(records: Records) -> str | None:
    """One line: time of training beside its forecast; None before training began."""
    fact, plan = measured(records), records.forecast
    if not fact:
        return None
    text = f"training {seconds(fact['training'])}"
    if plan:
        n_steps = max(1, records.recipe.get("train", {}).get("steps") or fact["steps"])
        planned = plan["seconds"] * fact["steps"] / n_steps
        text += f" (forecast {seconds(planned)}, {ratio(fact['seconds'], planned)} in steps)"
    return text + f"; all stages {seconds(fact['stages'])}"


def _comparison(records: Records, plan: dict[str, Any], fact: dict[str, float]) -> Markup:
    n_steps = records.recipe.get("train", {}).get("steps") or 0
    done = fact.get("steps", 0) / n_steps if n_steps and fact else 1.0
    trained = records.counts("train")
    step = sum(plan["step_seconds"].values())
    part = "" if done >= 1 or not fact else f" (of the {percent(done, 1)} done)"
    watts = records.recipe.get("plan", {}).get("watts_per_core")
    rows = [
        _row("Parameters", plan["parameters"], trained.get("parameters"), count),
        _row("Tokens", plan["tokens"], trained.get("tokens"), count),
        _row("Compute, FLOP", plan["flops"], trained.get("flops"), significant),
        _row("Seconds per step", step, fact.get("step"), significant),
        _row("Tokens per second", plan["tokens_per_second"],
             plan["tokens"] / n_steps / fact["step"] if fact and n_steps else None, count),
        _row(f"Time in steps{part}", plan["seconds"] * done, fact.get("seconds"), seconds),
        _row(f"Time of training, with looks and saves{part}", plan["seconds"] * done,
             fact.get("training"), seconds),
        _row("Peak memory", plan["bytes"], fact.get("bytes"), n_bytes),
        _row(f"Energy of training, kWh{f', at {watts:g} W per core' if watts else ''}{part}",
             plan["kwh"] * done, fact.get("kwh") or None, significant),
    ]  # fmt: skip
    head = ["", "Forecast", "Fact", "Fact / forecast"]
    note = (
        "Memory: the forecast counts weights, gradients, optimizer state, activations and, on a "
        "processor, the copy that checkpoints are written from; the fact is the peak of the whole "
        "process, Python and libraries included, or of the GPU. Energy of the fact, looks and "
        f"saves included: {records.machine.get('energy_source', 'not recorded')}."
    )
    return element("div", table("lrrr", head, rows), element("p", note, class_="note"))


def _row(name: str, planned: float, fact: float | None, shown: Any) -> list[Child]:
    far = fact is not None and planned > 0 and not 0.5 <= fact / planned <= 2
    return [name, shown(planned), shown(fact),
            element("strong" if far else "span", ratio(fact, planned))]  # fmt: skip


def _loss(records: Records, plan: dict[str, Any]) -> Child:
    """The run on the laws' frontier (those that apply), its ladder's and its fit's forecast."""
    law, ladder, fit = plan.get("law"), fitting(records, plan["flops"]), records.fit
    if not (law or ladder or fit):
        return None
    scores = (records.scores or {}).get("held_out", {}).get("all") or {}
    measured = scores.get("loss")
    told = {
        "public laws": law if law and law["holds"] else None,
        "ladder": ladder and ladder["loss"],
        "fit": fit,
    }
    rows = [
        [f"by the {name}", significant(row["loss"], 4),
         f"{significant(row['low'], 4)} to {significant(row['high'], 4)}",
         significant(measured, 4), place(measured, row) if measured else ""]
        for name, row in told.items() if row
    ]  # fmt: skip
    head = ["Held-out loss at the end", "Forecast", "80 %", "Fact", ""]
    drawn = frontier(law, ladder, fit, (plan["flops"], measured) if measured else None)
    return drawn, table("lrrrl", head, rows, class_="small") if rows else None


def _conventions(records: Records, plan: dict[str, Any]) -> list[Child]:
    if not plan.get("conventions"):
        return []
    used = [row["mfu"] for row in records.speed if row.get("mfu") is not None]
    return [
        element("h3", "FLOP per token and MFU by convention"),
        conventions(plan["conventions"], statistics.median(used) if used else None,
                    plan["convention_name"]),
        element("p", "N: all parameters that a token uses, L layers, d heads times their width, S "
                "tokens of a row. MFU: median of the steps.", class_="note"),
    ]  # fmt: skip


def _steps(plan: dict[str, Any], fact: dict[str, float]) -> list[Child]:
    parts = sorted(plan["step_seconds"].items(), key=lambda p: -p[1])
    step = sum(plan["step_seconds"].values())
    colours = {name: f"s{i % 7 + 1}" for i, (name, _) in enumerate(parts)}
    names = {name: name.replace("_", " ") for name, _ in parts}
    whole = max(step, fact["step"] + fact["look"] + fact["save"] if fact else 0.0)
    planned = [(v, colours[n], f"{names[n]} {seconds(v)}") for n, v in parts]
    rows: list[list[Child]] = [["forecast", bar(planned, whole), seconds(step)]]
    shown = [(colours[n], f"{names[n]} {percent(v, step)}") for n, v in parts]
    if fact:
        computed = fact["step"] - fact["data"]
        real = [
            (computed, "ink", f"computing {seconds(computed)}"),
            (fact["data"], "ink mid", f"waiting for data {seconds(fact['data'])}"),
            (fact["look"], "ink light", f"held-out loss and samples {seconds(fact['look'])}"),
            (fact["save"], "ink faint", f"checkpoints {seconds(fact['save'])}"),
        ]
        rows.append(["fact, mean", bar(real, whole), seconds(sum(v for v, _, _ in real))])
    children: list[Child] = [
        element("h3", "Where the time of a step goes"),
        table("lbr", ["", "", "Per step"], rows, class_="steps"),
        element("p", "Forecast by part:", class_="note"),
        key(shown),
    ]
    if fact:
        children += [
            element("p", "Fact, mean of all steps:", class_="note"),
            key((colour, meaning) for _, colour, meaning in real),
        ]
    return children


def _memory(plan: dict[str, Any]) -> list[Child]:
    parts = sorted(plan["bytes_by_part"].items(), key=lambda p: -p[1])
    rows = [
        [name, bar([(value, "s1", n_bytes(value))], plan["bytes"]), n_bytes(value),
         percent(value, plan["bytes"])]
        for name, value in parts
    ]  # fmt: skip
    by_part = {n: v for n, v in plan.get("parameters_by_part", {}).items() if v}
    words = ", ".join(f"{n.replace('_', ' ')} {short(v)}" for n, v in by_part.items())
    return [
        element("h3", "Forecast of memory"),
        table("lbrr", ["", "", "Bytes", "Share"], rows, class_="small"),
        element("p", f"Parameters by part: {words}.", class_="note") if words else None,
    ]
