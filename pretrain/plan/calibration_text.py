"""What was measured, beside what would have been assumed: at most 100 columns."""

import math
from collections.abc import Sequence
from typing import Any

_BUSY = 0.5  # processes a core, at which other work is felt
_HEAD = f"{'':<44}{'assumed':>16}{'measured':>16}"


def render(record: dict[str, Any]) -> str:
    lines = [_HEAD]
    if "products" in record:
        lines += [*_products(record), *_rates(record)]
        if record["load"] > _BUSY:
            lines.append(
                f"{record['load']:.1f} processes a core ran before: measure again when idle"
            )
    for step in record["steps"]:
        before, after = step["before"], step["after"]
        lines += [
            f"step   {step['said']}"[:100],
            _row("  seconds", f"{before['seconds']:.4g}", f"{step['seconds']:.4g}"),
            f"  was told as {before['low']:.4g} to {before['high']:.4g} s (80 %), is now told as "
            f"{after['seconds']:.4g} s ({after['low']:.4g} to {after['high']:.4g})",
        ]
    if record["left"]:
        error = 100 * math.expm1(record["left"])
        lines.append(f"each step told by the others is {error:.1f} % off (root mean square)")
    lines += ["", f"{'multipliers of step time':<44}{'before (80 %)':>26}{'after (80 %)':>26}"]
    for name, row in record["multipliers"].items():
        lines.append(f"  {name:<42}{_range(row['before']):>26}{_range(row['after']):>26}")
    return "\n".join(lines)


def _products(record: dict[str, Any]) -> list[str]:
    assumed = record["assumed"] or {}
    reached = {"bfloat16": assumed.get("reached"), "float8_e4m3fn": assumed.get("reached_fp8")}
    widest = max(row["inner"] for row in record["products"])
    return [
        _row(
            f"product {row['precision']} {row['inner']:,} x {row['columns']:,}",
            _flops(1e12 * (reached.get(row["precision"]) or 0) if row["inner"] == widest else 0),
            _flops(row["flops_per_second"]),
        )
        for row in record["products"]
    ]


def _rates(record: dict[str, Any]) -> list[str]:
    assumed, board = record["assumed"] or {}, record["board"]
    lines = [
        _row("memory, read and written", _bytes(1e12 * assumed.get("bandwidth_tb", 0)),
             _bytes(1e12 * board["bandwidth_tb"])),
    ]  # fmt: skip
    if isinstance(record["links"], str):
        lines.append(f"links  {record['links']}"[:100])
    else:
        lines += [
            _row(f"{row['kind']} of {row['n_bytes'] >> 10:,} KiB, {row['n_ranks']} ranks",
                 _bytes(1e9 * assumed.get("inside_gb", 0)), _bytes(row["bytes_per_second"]))
            for row in record["links"]
        ]  # fmt: skip
    disk = record["disk"]
    return [*lines, *(_row(f"disk, {way}", "-", _bytes(rate)) for way, rate in disk.items())]


def _row(name: str, assumed: str, measured: str) -> str:
    return f"{name:<44}{assumed:>16}{measured:>16}"


def _flops(rate: float) -> str:
    return _of(rate, "FLOP/s")


def _bytes(rate: float) -> str:
    return _of(rate, "B/s")


def _of(rate: float, unit: str) -> str:
    """`1.23 TB/s`; nothing was assumed of 0."""
    if not rate:
        return "-"
    for by, name in ((1e12, "T"), (1e9, "G")):
        if rate >= by:
            return f"{rate / by:.3g} {name}{unit}"
    return f"{rate / 1e6:.3g} M{unit}"


def _range(quantiles: Sequence[float]) -> str:
    low, middle, high = quantiles
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"
