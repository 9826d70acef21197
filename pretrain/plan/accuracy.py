"""How far told step times are from published ones, beside what others tell of the same rows.

    uncalibrated    every row told with multipliers of other rows: of other networks, as one's own
                    will be; and of other boards, as of a board that nobody has published on
    calibrated      a row told after one or two other rows of its software, board, precision and
                    network: the nearest release first, then the nearest sizes
    rules           40 % of the board's bf16 peak; 450 TFLOP/s
    Calculon        its own recorded tells, of the nine rows that it was run for

The structure's constants were chosen with these rows in sight; multipliers never see the row told.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pretrain.plan import calibrate, published
from pretrain.plan.calibrate import Array, Belief
from pretrain.plan.published import Case
from pretrain.plan.steptime import Costs, Multipliers, costs, seconds

_KINDS = {"llm-foundry": "eager", "torchtitan eager": "eager", "torchtitan compile": "compiled"}


def software(case: Case) -> str:
    """Blocks as they are written, compiled ones, or hand-written kernels and hidden messages."""
    return _KINDS.get(case.source, "megatron")


def costs_of(case: Case) -> Costs:
    return costs(case.network, case.board, case.length, case.layouts, case.precision)


def groups(cases: Sequence[Case], by: Callable[[Case], Any]) -> dict[Any, list[int]]:
    found: dict[Any, list[int]] = defaultdict(list)
    for i, case in enumerate(cases):
        found[by(case)].append(i)
    return dict(found)


def uncalibrated(cases: Sequence[Case], found: Sequence[Costs], by: Callable[[Case], Any]) -> Array:
    """Log of told over published, each with multipliers of the rows that differ in `by`.

    All software's rows of the others are pooled; those of a row's own kind count once more.
    """
    errors = np.zeros(len(cases))
    for left_out, own in groups(cases, by).items():
        others = [i for i, case in enumerate(cases) if by(case) != left_out]
        pool = pooled(cases, found, others)
        for kind in sorted({software(cases[i]) for i in own}):
            same = [i for i in others if software(cases[i]) == kind]
            belief = told_by(pool, cases, found, same)
            for i in own:
                if software(cases[i]) == kind:
                    errors[i] = _log_error(cases[i], found[i], belief)
    return errors


def told_by(
    pool: Belief, cases: Sequence[Case], found: Sequence[Costs], which: Sequence[int]
) -> Belief:
    """A pool's belief after rows of one kind of software, which are worth nine together."""
    if which and software(cases[which[0]]) == "compiled":
        # Passes are counted of fused kernels: so believed where a compiler fuses them.
        mean = pool.mean.copy()
        mean[Multipliers._fields.index("kernels")] = 0.0
        pool = Belief(mean, pool.covariance)
    if not which:
        return pool
    noise = 0.08 * max(1.0, len(which) ** 0.5 / 3)
    measured = [cases[i].seconds for i in which]
    told = calibrate.shrink(pool, calibrate.together([found[i] for i in which]), measured, noise)
    return Belief(told.mean, pool.covariance)


def pooled(cases: Sequence[Case], found: Sequence[Costs], which: Sequence[int]) -> Belief:
    settings: dict[Any, list[int]] = defaultdict(list)
    for i in which:
        settings[cases[i].setting].append(i)
    return calibrate.pool([
        (calibrate.together([found[i] for i in ix]), [cases[i].seconds for i in ix])
        for ix in settings.values()
    ])  # fmt: skip


def calibrated(
    cases: Sequence[Case], found: Sequence[Costs], n_runs: int
) -> tuple[Array, list[int]]:
    """(log of told over published, which rows): those with a neighbour to calibrate by."""
    errors, which = [], []
    for own in groups(cases, lambda c: c.family).values():
        for i in own:
            others = sorted((j for j in own if j != i), key=lambda j: _distance(cases[i], cases[j]))
            if others:
                nearest = others[:n_runs]
                belief = calibrate.shrink(
                    calibrate.believed(software(cases[i])),
                    calibrate.together([found[j] for j in nearest]),
                    [cases[j].seconds for j in nearest],
                )
                errors.append(_log_error(cases[i], found[i], belief))
                which.append(i)
    return np.array(errors), which


def rule_errors(cases: Sequence[Case], rate: Callable[[Case], float]) -> Array:
    """Log of told over published of a rule: FLOP/s of a board."""
    logs = []
    for case in cases:
        at = case.layouts
        tokens = at.data * at.micro_rows * at.n_micro * case.length / at.ranks
        told = tokens * case.network.flops_per_token(case.length) / rate(case)
        logs.append(np.log(told / case.seconds))
    return np.array(logs)


def calculon_errors(folder: Path) -> Array:
    """Its recorded tells: without recomputing where it finds room, else with the least."""
    logs = []
    for row in published.rows(folder, "calculon_out_of_sample_h100"):
        told = [row[key] for key in ("none_roofline", "none", "attn_only", "full")]
        first = next(float(t) for t in told if not t.startswith("ERR"))
        logs.append(np.log(first / float(row["actual_s"])))
    return np.array(logs)


def table(folder: Path) -> list[dict[str, Any]]:
    """A row for each way to tell: rows, median and 90th percentile of the error."""
    cases = published.cases(folder)
    found = [costs_of(case) for case in cases]
    ways = {
        "uncalibrated, network left out": uncalibrated(cases, found, lambda c: c.name),
        "uncalibrated, board left out": uncalibrated(cases, found, _chip),
    }
    for n in (1, 2):
        ways[f"calibrated by {n} {'row' if n == 1 else 'rows'}"] = calibrated(cases, found, n)[0]
    ways["40 % of bf16 peak"] = rule_errors(cases, lambda c: 0.4 * c.board.peak("bf16"))
    ways["450 TFLOP/s"] = rule_errors(cases, lambda c: 450e12)
    ways["450 TFLOP/s, H100 bf16 alone"] = rule_errors(
        [c for c in cases if c.board.name == "H100 SXM" and c.precision == "bf16"],
        lambda c: 450e12,
    )  # fmt: skip
    ways["Calculon (recorded)"] = calculon_errors(folder)
    return [{"way": way, **_summary(logs)} for way, logs in ways.items() if len(logs)]


def _summary(logs: Array) -> dict[str, Any]:
    errors = np.abs(np.expm1(logs))
    return {
        "rows": len(logs),
        "median": float(np.median(errors)),
        "p90": float(np.percentile(errors, 90)),
        "low": float(np.percentile(logs, 10)),
        "high": float(np.percentile(logs, 90)),
    }


def _log_error(case: Case, found: Costs, belief: Belief) -> float:
    return float(np.log(seconds(found, belief.multipliers) / case.seconds))


def _chip(case: Case) -> str:
    """The board; those that differ in memory alone (A100 with 40 and 80 GB) are one."""
    return case.board.name.split()[0]


def _distance(a: Case, b: Case) -> tuple[Any, ...]:
    def sizes(case: Case) -> Array:
        at = case.layouts
        told = (case.length, at.ranks, at.micro_rows, at.tensor, at.pipeline, at.context)
        return np.log(np.array(told, dtype=float))

    apart = abs(_release(a) - _release(b))
    return apart, float(np.abs(sizes(a) - sizes(b)).sum())


def _release(case: Case) -> float:
    """Years and months of a release such as 26.04.01, as one number."""
    year, month, patch = (*re.findall(r"\d+", case.release), 0, 0, 0)[:3]
    return 12 * int(year) + int(month) + int(patch) / 10
