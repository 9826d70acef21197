"""Scales and ticks: where a value lies on an axis, and which values the axis names."""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pretrain.report.formats import significant

Point = tuple[float, float | None]


@dataclass(frozen=True)
class Scale:
    low: float
    high: float
    log: bool = False

    def at(self, value: float) -> float:
        """0 at the low end, 1 at the high end; values outside are held at the ends."""
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(max(value, self.low))
        return min(1.0, max(0.0, (value - low) / (high - low)))


def across(scale: Scale, value: float) -> str:
    """Where a value lies on an axis across, in percent of the plot."""
    return f"{100 * scale.at(value):.2f}%"


def down(scale: Scale, value: float, height: int) -> float:
    """Where it lies on an axis upwards, in pixels from the top."""
    return height * (1 - scale.at(value))


def finite(values: Iterable[float | None]) -> list[float]:
    return [v for v in values if v is not None and math.isfinite(v)]


def scale_of(values: Iterable[float | None], zero: bool = False, log_from: float = 20) -> Scale:
    """A scale that holds all finite values; logarithmic where they span `log_from` times or more.

    `zero` makes the scale begin at 0, and is always linear.
    """
    found = finite(values)
    low, high = (min(found), max(found)) if found else (0.0, 1.0)
    if zero:
        return _rounded(min(0.0, low), high if high > min(0.0, low) else 1.0)
    if low > 0 and high / low >= log_from:
        return Scale(low / 1.1, high * 1.1, log=True)
    if high - low <= 1e-9 * max(abs(high), 1e-9):
        spread = abs(high) / 10 or 1.0
        return Scale(low - spread, high + spread)
    margin = 0.05 * (high - low)
    return _rounded(max(0.0, low - margin) if low >= 0 else low - margin, high + margin)


def ticks(scale: Scale, most: int = 5) -> list[float]:
    """Round values inside the scale: about `most` of them, but three at least if it is linear."""
    if scale.log:
        found: list[float] = []
        for factors in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0)):
            first, last = math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high))
            marks = [f * 10.0**e for e in range(first, last + 1) for f in factors]
            inside = [m for m in marks if scale.low <= m <= scale.high]
            if found and len(inside) > most:
                break
            found = inside
        return found[:: max(1, math.ceil(len(found) / most))]
    for fewest in range(most, 4 * most):
        step = _step(scale.high - scale.low, fewest)
        first = math.ceil(scale.low / step - 1e-9)
        last = math.floor(scale.high / step + 1e-9)
        if last - first >= 2:
            break
    return [round(i * step, 12) for i in range(first, last + 1)]


def tick_labels(values: Sequence[float]) -> list[str]:
    """Labels with as many decimals as their distance needs."""
    if len(values) < 2:
        return [significant(v) for v in values]
    step = min(abs(b - a) for a, b in itertools.pairwise(values))
    top = max(abs(v) for v in values)
    if top >= 1e15:
        return ["0" if v == 0 else significant(v, 1).removeprefix("1×") for v in values]
    for unit, name in ((1e12, " T"), (1e9, " B"), (1e6, " M"), (1e3, " k")):
        if top >= 10 * unit or (top >= unit > 1e3):
            return ["0" if v == 0 else f"{v / unit:.10g}{name}" for v in values]
    if top < 1e-3:
        return [significant(v, 2) for v in values]
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    if any(abs(v - round(v, decimals)) > 1e-9 for v in values):
        decimals += 1
    return [f"{v:,.{decimals}f}" for v in values]


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """The places moved apart until they are `gap` from each other, in order, within the bounds."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = [min(max(places[i], low), high) for i in order]
    for i in range(1, len(moved)):
        moved[i] = max(moved[i], moved[i - 1] + gap)
    if moved and moved[-1] > high:
        moved[-1] = high
        for i in range(len(moved) - 2, -1, -1):
            moved[i] = min(moved[i], moved[i + 1] - gap)
    result = list(places)
    for place, i in zip(moved, order, strict=True):
        result[i] = place
    return result


def decimate(points: Sequence[Point], most: int = 400) -> list[Point]:
    """At most about `most` points: of each stretch the lowest and the highest, in order."""
    if len(points) <= most:
        return list(points)
    n_stretches = most // 2
    kept: list[Point] = []
    for i in range(n_stretches):
        stretch = points[i * len(points) // n_stretches : (i + 1) * len(points) // n_stretches]
        known = [p for p in stretch if p[1] is not None and math.isfinite(p[1])]
        if known:
            both = {min(known, key=lambda p: p[1]), max(known, key=lambda p: p[1])}  # type: ignore
            kept += sorted(both)
    ends = [p for p in (points[0], points[-1]) if p not in kept]
    return sorted(kept + ends, key=lambda p: p[0])


def smooth(points: Sequence[Point], n_points: int) -> list[Point]:
    """Mean over `n_points` points around each; towards the ends over as many as there are.

    At the start it looks no further forward than back, so that a steep fall is not drawn too low.
    """
    known = [(x, y) for x, y in points if y is not None and math.isfinite(y)]
    sums = [0.0, *itertools.accumulate(y for _, y in known)]
    half = max(0, n_points // 2)
    result: list[Point] = []
    for i, (x, _) in enumerate(known):
        low, high = max(0, i - half), min(len(known), i + min(half, i) + 1)
        result.append((x, (sums[high] - sums[low]) / (high - low)))
    return result


def _step(span: float, most: int) -> float:
    power = 10.0 ** math.floor(math.log10(span / most))
    for factor in (1, 2, 5, 10):
        if span / (factor * power) <= most:
            return factor * power
    return 10 * power


def _rounded(low: float, high: float) -> Scale:
    """Ends moved outwards to fifths of a tick's step, so that ticks come close to them."""
    part = _step(high - low, 5) / 5
    return Scale(math.floor(low / part + 1e-9) * part, math.ceil(high / part - 1e-9) * part)
