"""A plan for the terminal, at most 100 columns."""

import textwrap
from typing import Any

from pretrain.plan.answer import Answer
from pretrain.plan.facts import GIB


def render(found: Answer) -> str:
    told = found.told
    loss, time = told["loss"], told["time"]
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
    text = _lines(rows)
    for i, layout in enumerate(told["layouts"], 1):
        text += ["", *_layout(i, layout)]
    quantiles = [
        ("ideal", [time["ideal_hours"]] * 3), ("goodput", time["goodput_hours"]),
        ("billed", time["billed_hours"]),
    ]  # fmt: skip
    text += ["", f"{'days':>11}{'P10':>12}{'P50':>12}{'P90':>12}"]
    text += [
        f"{name:>11}" + "".join(f"{hours / 24:>12.3g}" for hours in h) for name, h in quantiles
    ]
    return "\n".join([*text, "", *_lines(_after(found))])


def _layout(number: int, layout: dict[str, Any]) -> list[str]:
    seconds = {k: s for k, s in layout["seconds_by_part"].items() if s >= 0.001 * layout["seconds"]}
    gib = {k: b / GIB for k, b in layout["bytes_by_part"].items() if b >= 0.05 * GIB}
    rows = [
        (f"layout {number}", f"{layout['said']}; micro-batches: {layout['n_micro']} of "
                             f"{layout['micro_rows']} rows"),
        ("", layout["why"]),
        ("step", f"{layout['seconds']:.3g} s: "
                 + ", ".join(f"{k} {s:.3g}" for k, s in seconds.items())),
        ("memory", f"{layout['bytes'] / GIB:.1f} GiB: "
                   + ", ".join(f"{k} {b:.1f}" for k, b in gib.items())),
    ]  # fmt: skip
    return _lines(rows)


def _after(found: Answer) -> list[tuple[str, str]]:
    told = found.told
    time, energy = told["time"], told["energy"]
    low, high = told["step_interval"]
    mfu = ", ".join(f"{100 * share:.1f} % ({name})" for name, share in told["mfu"].items())
    rows = [
        ("MFU", mfu),
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
