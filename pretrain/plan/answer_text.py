"""A plan for the terminal, at most 100 columns."""

import textwrap
from typing import Any

from pretrain.plan.answer import Answer
from pretrain.plan.facts import GIB


def render(found: Answer) -> str:
    text = _lines(network(found))
    for i, one in enumerate(found.told["layouts"], 1):
        text += ["", *_lines(layout(i, one))]
    if limits := found.told["not_tried"]:
        text += ["", *_lines([("not tried", "training refuses " + "; ".join(limits))])]
    text += ["", f"{'days':>11}{'P10':>12}{'P50':>12}{'P90':>12}"]
    text += [
        f"{name:>11}" + "".join(f"{d:>12.3g}" for d in days) for name, *days in quantiles(found)
    ]
    text += ["", f"{'':>11}  {'convention':<26}{'FLOP a token':>14}{'MFU':>10}"]
    text += [
        f"{'':>11}  {name:<26}{found.told['conventions'][name]:>14.4g}{100 * share:>8.1f} %"
        for name, share in found.told["mfu"].items()
    ]
    return "\n".join([*text, "", *_lines(after(found))])


def network(found: Answer) -> list[tuple[str, str]]:
    """What is trained: size, tokens, loss, other sizes, rates."""
    told = found.told
    loss = told["loss"]
    rows: list[tuple[str, str]] = [
        ("network", f"{told['parameters']:,} parameters: {found.run.shape.layers} layers of "
                    f"{found.run.shape.width}, {found.run.shape.heads} heads"),
        ("tokens", f"{told['tokens']:.4g} ({told['tokens'] / told['parameters']:.1f} a parameter), "
                   f"{told['flops']:.3g} FLOP ({told['convention']})"),
        ("loss", f"{loss['loss']:.3f} ({loss['low']:.3f} to {loss['high']:.3f}, 80 %) by "
                 f"{loss['law']}; {loss['note']}"),
        ("downstream", "not predictable from this; a ladder of one's own is needed"),
    ]  # fmt: skip
    rows += [
        ("instead" if i == 0 else "", f"{name}: {c['parameters']:.3g} parameters, "
                                      f"{c['tokens']:.3g} tokens, loss {c['loss']:.3f}")
        for i, (name, c) in enumerate(told["instead"].items())
    ]  # fmt: skip
    rows += [
        ("batch, lr" if i == 0 else "", f"{name}: {batch:,.0f} tokens a step, lr {lr:.2g}")
        for i, (name, (lr, batch)) in enumerate(told["rates"].items())
    ]
    rows.append(("hardware", f"{told['hardware']['count']:,} x {told['hardware']['name']}"))
    return rows


def quantiles(found: Answer) -> list[tuple[str, float, float, float]]:
    """Days: P10, P50, P90."""
    time = found.told["time"]
    rows = {"ideal": "steps_hours", "goodput": "goodput_hours", "billed": "billed_hours"}
    return [(name, *(hours / 24 for hours in time[key])) for name, key in rows.items()]


def layout(number: int, layout: dict[str, Any]) -> list[tuple[str, str]]:
    seconds = {k: s for k, s in layout["seconds_by_part"].items() if s >= 0.001 * layout["seconds"]}
    gib = {k: b / GIB for k, b in layout["bytes_by_part"].items() if b >= 0.05 * GIB}
    return [
        (f"layout {number}", f"{layout['said']}; micro-batches: {layout['n_micro']} of "
                             f"{layout['micro_rows']} rows"),
        ("", layout["why"]),
        ("step", f"{layout['seconds']:.3g} s: "
                 + ", ".join(f"{k} {s:.3g}" for k, s in seconds.items())),
        ("memory", f"{layout['bytes'] / GIB:.1f} GiB: "
                   + ", ".join(f"{k} {b:.1f}" for k, b in gib.items())),
    ]  # fmt: skip


def after(found: Answer) -> list[tuple[str, str]]:
    """What it takes: time, money, energy, and what they hang on."""
    told = found.told
    time, energy = told["time"], told["energy"]
    low, high = told["step_interval"]
    rows = [
        ("interval", f"a step takes {low:.3g} to {high:.3g} s (80 %)"
                     + ("" if told["is_calibrated"] else ", nothing was measured")),
        ("failures", f"{time['failures']:.3g} expected, one in "
                     f"{time['hours_between_failures']:.3g} h; best checkpoint every "
                     f"{time['interval_seconds']:.0f} s ({time['checkpoint_seconds']:.1f} s each); "
                     f"{100 * time['lost']:.1f} % lost"),
        ("billed", "{:,.0f} to {:,.0f} board-hours (P10, P90), {:,.0f} (P50)".format(
            told["board_hours"][0], told["board_hours"][2], told["board_hours"][1])),
    ]  # fmt: skip
    if money := told["cost"]:
        parts = ", ".join(f"{k} ${usd:,.0f}" for k, usd in money["parts"].items())
        rows += [
            ("cost", "${:,.0f} (${:,.0f} to ${:,.0f}): ".format(
                money["total"][1], money["total"][0], money["total"][2]) + parts),
            ("", f"${money['usd_per_hour']:.2f} an hour ({money['price_source']}); research "
                 f"{money['research_ratio']:g} x the final run in all"),
        ]  # fmt: skip
    else:
        rows.append(("cost", "no price is known; give --price USD_PER_HOUR"))
    assumed = ", ".join(f"{k} {v:g}" for k, v in energy["assumed"].items())
    rows += [
        ("energy", f"{energy['kwh'] / 1000:,.3g} MWh, {energy['kg_co2'] / 1000:,.3g} t CO2"),
        ("", f"assumed: {assumed}"),
    ]
    rows += [
        ("hangs on" if i == 0 else "", f"{row['input']}: {row['low']:.2f} to {row['high']:.2f} x")
        for i, row in enumerate(told["sensitivities"])
    ]
    return [*rows, ("calibrate", told["calibration"])]


def _lines(rows: list[tuple[str, str]]) -> list[str]:
    lines = []
    for name, text in rows:
        first, *rest = textwrap.wrap(text, 87) or [""]
        lines += [f"{name:>11}  {first}", *(f"{'':>11}  {line}" for line in rest)]
    return lines
