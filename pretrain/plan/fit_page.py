"""What `pretrain plan fit` found: a table for the terminal, at most 100 columns, and a page."""

import textwrap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretrain.plan.runs import Runs
from pretrain.report.charts import Series, line_chart
from pretrain.report.document import document
from pretrain.report.markup import Markup, element
from pretrain.report.tables import table

_FORMS = {
    "parametric": "E + A/N^a + B/D^b",
    "tied": "E + A/N^a + B/D^a",
    "floor": "E + A/C^a",
    "power": "A/C^a",
    "envelope": "N = G C^a, lowest curve",
    "isoflop": "N = G C^a, parabolas",
    "interpolation": "N = G C^a, interpolated",
    "repetition": "worth of repeats",
    "rates": "lr = factor N^a D^b",
    "mixture": "c + exp(t·r)",
    "linear-mixture": "w·r",
}
_COLOURS = ("s1", "s2", "s3", "s4", "s5", "s6")
_MOST_SIZES = 6  # lines of a chart


def render(runs: Runs, found: dict[str, dict[str, Any]]) -> str:
    """The table for the terminal."""
    columns = ", ".join(f"{what} from {name}" for what, name in runs.columns.items())
    lines = [f"{len(runs.loss)} runs ({columns})"[:100]]
    for line, why in runs.dropped[:5]:
        lines.append(f"  line {line} left out: {why}"[:100])
    if runs.dropped:
        lines.append(f"  {len(runs.dropped)} rows left out in all")
    for name, record in found.items():
        lines += ["", f"{name}: {_FORMS[name]}"]
        if "refused" in record:
            lines.append(f"  not fitted: {record['refused']}"[:100])
            continue
        for key, value in list(record["constants"].items())[:20]:
            error = record.get("standard_errors", {}).get(key)
            ends = record.get("interval_80", {}).get(key)
            more = f" ± {error:.3g}  80 % {ends[0]:.5g} to {ends[1]:.5g}" if ends else ""
            lines.append(f"  {key[-30:]:<30} {value:>14.6g}{more}")
        lines += ["  " + part for part in textwrap.wrap(", ".join(_trust(record)), 98)]
        lines += [f"  note: {text}"[:100] for text in record["warnings"][:6]]
    return "\n".join(lines)


def _trust(record: dict[str, Any]) -> list[str]:
    said = [f"{record['runs']} runs"]
    if "scatter_80" in record:
        said.append(f"80 % of left-out runs within {100 * record['scatter_80']:.2g} %")
    if record.get("largest_left_out") is not None:
        said.append(f"the largest, left out, off by {100 * record['largest_left_out']:+.2f} %")
    if "median_error" in record:
        said.append(f"median error {100 * record['median_error']:.2g} %")
    if "rank_correlation" in record:
        said.append(f"rank correlation on runs left out {record['rank_correlation']:.3f}")
    if record.get("far_off"):
        said.append(f"{record['far_off']} runs lie 8 times farther off than most: look at them")
    if "condition" in record:
        said.append(f"condition {record['condition']:.2g}")
    return said


def page(runs: Runs, found: dict[str, dict[str, Any]]) -> str:
    """One HTML file: loss over compute by size, the laws' tables."""
    rows = [
        (name, key, f"{value:.6g}", _or_dash(record.get("standard_errors", {}).get(key)))
        for name, record in found.items()
        for key, value in record.get("constants", {}).items()
    ]
    refused = [(name, r["refused"]) for name, r in found.items() if "refused" in r]
    parts: list[Markup] = [element("h1", "Scaling laws of these runs")]
    if not np.isnan(runs.flops).any():
        parts.append(_by_compute(runs, found))
    parts += _best_sizes(found)
    if rows:
        parts.append(table("llrr", ("law", "constant", "value", "standard error"), rows))
    if refused:
        parts.append(table("lw", ("not fitted", "why"), refused))
    return document("Scaling laws", element("main", parts))


def _or_dash(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _by_compute(runs: Runs, found: dict[str, dict[str, Any]]) -> Markup:
    """Runs of each size, and the laws over compute alone."""
    series = []
    sizes = np.unique(runs.n[~np.isnan(runs.n)])
    shown = sizes[np.linspace(0, len(sizes) - 1, min(len(sizes), _MOST_SIZES)).astype(int)]
    for colour, size in zip(_COLOURS, shown, strict=False):
        series.append(Series(f"{size:.2g}", colour, _points(runs, runs.n == size), "dots"))
    if not series:
        series.append(Series("runs", "s1", _points(runs, runs.loss > 0), "dots"))
    at = np.geomspace(runs.flops.min(), runs.flops.max(), 60)
    for name in ("floor", "power"):
        constants = found.get(name, {}).get("constants")
        if constants:
            losses = constants.get("E", 0.0) + constants["A"] * at ** -constants["exponent of C"]
            points = [(float(x), float(y)) for x, y in zip(at, losses, strict=True)]
            series.append(Series(name, "ink", points))
    return line_chart("Loss over compute, by size", series, x_name="FLOP", log_x=True, height=300)


def _points(runs: Runs, here: NDArray[np.bool_]) -> list[tuple[float, float | None]]:
    rows = np.flatnonzero(here)
    rows = rows[np.argsort(runs.flops[rows])]
    return [(float(runs.flops[i]), float(runs.loss[i])) for i in rows]


def _best_sizes(found: dict[str, dict[str, Any]]) -> list[Markup]:
    series = []
    for colour, name in zip(_COLOURS, ("envelope", "isoflop", "interpolation"), strict=False):
        record = found.get(name, {})
        if "points" in record:
            points = [(c, n) for c, n, _ in record["points"]]
            series.append(Series(name, colour, points, "dots"))
    if not series:
        return []
    return [line_chart("Best size over compute", series, "parameters", x_name="FLOP", log_x=True,
                       height=300)]  # fmt: skip
