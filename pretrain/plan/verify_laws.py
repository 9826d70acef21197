"""Published fits, done again: cases V11 to V15, and how often 80 % intervals hold.

Each case reads public runs from a folder of tables and gives rows (case, what, expected, found,
error, tolerance, holds). Errors are relative unless `what` says otherwise.
"""

import csv
import math
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np

from pretrain.errors import DataError
from pretrain.plan import fit, isoflop, ladder, laws, repetition
from pretrain.plan.fit import Form
from pretrain.plan.minimise import Array
from pretrain.plan.rates import Rates, steplaw

Row = tuple[str, str, float, float, float, float, bool]


def read(path: Path, **wanted: str) -> list[dict[str, str]]:
    """Rows of a table whose columns have the wanted values."""
    try:
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise DataError(f"plan verify: cannot read {path}: {error.strerror}") from error
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def columns(rows: list[dict[str, str]], *names: str) -> list[Array]:
    return [np.array([float(row[name]) for row in rows]) for name in names]


def chinchilla(folder: Path) -> list[Row]:
    """V11: Besiroglu et al. 2024, the parametric fit of 240 runs and its bootstrap."""
    rows = read(folder / "chinchilla_runs_epoch_extracted.csv", excluded_by_besiroglu="False")
    n, d, loss = columns(rows, "params", "tokens", "loss")
    x = np.stack([n, d], axis=1)
    law = fit.fit(x, loss, Form())
    draws = fit.bootstrap(x, loss, Form(), law, 400)
    found = [*law.factors, law.floor, *law.exponents]
    published = {"A": 477.84, "B": 2143.86, "E": 1.81724, "alpha": 0.34731, "beta": 0.36718}
    fitted = [
        _row("V11", f"Besiroglu 2024, {name}", value, at, 0.002)
        for (name, value), at in zip(published.items(), found, strict=True)
    ]
    errors = draws["exponents"].std(axis=0, ddof=1)
    return fitted + [
        _row("V11", f"standard error of {name}", value, at, 0.15)
        for name, value, at in zip(("alpha", "beta"), (0.015, 0.021), errors, strict=True)
    ]


def gadre(folder: Path) -> list[Row]:
    """V12: Gadre et al. 2024, five small RedPajama runs forecast two large ones; percent."""
    rows = read(folder / "gadre_overtraining_104_runs.csv", train_dataset="rpj")
    n, d, ratio, loss = columns(rows, "params", "tokens", "token_multiplier", "loss_c4_val")
    small = (ratio == 20) & (n < 1e9) | (ratio == 320) & (n == n.min())
    x = np.stack([n, d], axis=1)
    law = fit.fit(x[small], loss[small], Form(tied=True, on="loss", delta=math.inf))
    found = []
    for name, size, times, published in (("7B, M = 20", 6e9, 20, 0.732),
                                         ("1.4B, M = 640", 1e9, 640, 0.710)):  # fmt: skip
        at = np.flatnonzero((n > size) & (ratio == times))
        if len(at) != 1:
            raise DataError(f"plan verify: {len(at)} RedPajama runs are {name}; must be 1")
        error = 100 * abs(float(law(n[at[0]], d[at[0]])) / loss[at[0]] - 1)
        away = abs(error - published)
        what = f"Gadre 2024, error in % on {name}, points off"
        found.append(("V12", what, published, error, away, 0.02, away <= 0.02))
    return found


def porian(folder: Path) -> list[Row]:
    """V13: Porian et al. 2024, exponents of the best size over compute, five ways; absolute."""
    rows = read(folder / "porian_optimal_pairs.csv", dataset="rw")
    found = []
    for name, recipe, published in (
        ("as Kaplan", ("base", "long", "kaplan", "kaplan"), 0.834),
        ("counting the head", ("base", "long", "kaplan", "standard"), 0.701),
        ("short warm-up", ("base", "short", "kaplan", "standard"), 0.604),
        ("cosine to each end", ("base", "short", "chinchilla", "standard"), 0.571),
        ("tuned", ("tuned", "short", "const", "standard"), 0.497),
    ):
        keys = ("hparams", "warmup", "decay", "param_count")
        chosen = [row for row in rows if tuple(row[key] for key in keys) == recipe]
        flops, n = columns([row for row in chosen if row["n"] not in ("", "nan")], "flops", "n")
        exponent, _ = isoflop.line(flops, n)
        away = abs(exponent - published)
        what = f"Porian 2024, exponent {name}, off by"
        found.append(("V13", what, published, exponent, away, 0.002, away <= 0.002))
    return found


def muennighoff(folder: Path) -> list[Row]:
    """V14: Muennighoff et al. 2023, the published law at two published points."""
    law, decay = repetition.published()
    found = []
    for n, d, unique, published in (
        (6.34e9, 242e9, 25e9, 2.2256440889984477),
        (8.67e9, 178e9, 25e9, 2.226963),
    ):
        at = decay.effective(np.array(n), np.array(d), np.array(unique), law)
        what = f"Muennighoff 2023, {n:.3g} on {d:.3g} of {unique:.2g}"
        found.append(_row("V14", what, published, float(law(*at)), 1e-6))
    return found


def step_law(folder: Path) -> list[Row]:
    """V15: StepLaw, the shipped constants against medians of the published bootstraps."""
    rows = read(folder / "steplaw_1004_fitted_lr_bs_scaling_model_parameters.csv")
    table = columns(rows, "lr_intercept", "lr_coefN", "lr_coefD", "bs_intercept", "bs_coefD")
    medians = [float(np.median(column)) for column in table]
    found = [math.exp(medians[0]), *medians[1:3], math.exp(medians[3]), medians[4]]
    names = ("lr factor", "lr by size", "lr by tokens", "batch factor", "batch by tokens")
    shipped = [getattr(steplaw(), field.name) for field in fields(Rates)]
    published = (1.782, -0.712, 0.307, 0.573, 0.571)
    return [
        _row("V15", f"StepLaw, {name}{what}", expected, at, 0.005)
        for what, ends in (("", zip(published, found, strict=True)),
                           (", as shipped", zip(found, shipped, strict=True)))
        for name, (expected, at) in zip(names, ends, strict=True)
    ]  # fmt: skip


def public_sets(folder: Path) -> dict[str, list[tuple[Array, Array]]]:
    """Family -> sets of runs (x, loss) that the ensemble's laws were fitted to."""
    dropped = {"excluded_by_besiroglu": "False"}
    sets = {
        "chinchilla": [_runs(read(folder / "chinchilla_runs_epoch_extracted.csv", **dropped))],
        "gadre": [
            _runs(read(folder / "gadre_overtraining_104_runs.csv", train_dataset=name),
                  loss="loss_c4_val")
            for name in ("rpj", "c4_original", "rw_original")
        ],
        "gemstones": [_runs(read(folder / "gemstones_cool_end.csv"),
                            n="params_active_precise", loss="final_loss")],
    }  # fmt: skip
    rows = read(folder / "datablations_runs.csv")
    once = [row for row in rows if float(row["epochs"]) <= 1.01]
    sets["datablations"] = [_runs(once, loss="c4_val_loss")]
    sizes = {"190M": "190e6", "370M": "370e6", "760M": "760e6", "1B": "1.28e9", "3B": "3.2e9"}
    rows = read(folder / "olmo_ladder_final_points.csv")
    rows = [row | {"params": sizes[row["run"].split("-")[0]]} for row in rows]
    loss = "c4_en-validation/CrossEntropyLoss"
    sets["olmo"] = [_runs(rows, d="total_tokens", loss=loss)]
    best: dict[tuple[str, str], dict[str, str]] = {}
    for row in read(folder / "steplaw_dense_lr_bs_loss.csv"):
        key = (row["N"], row["D"])
        if key not in best or float(row["smooth loss"]) < float(best[key]["smooth loss"]):
            best[key] = row
    sets["steplaw"] = [_runs(list(best.values()), n="N", d="D", loss="smooth loss")]
    return sets


def coverage(folder: Path) -> list[Row]:
    """How often an 80 % interval holds the loss of runs of a family that its laws never saw."""
    held, sets = [], public_sets(folder)
    rows = read(folder / "porian_optimal_pairs.csv", dataset="rw", hparams="tuned",
                param_count="standard")  # fmt: skip
    for family, runs in (*sets.items(), ("porian", [_runs(rows, n="n", d="t")])):
        inside = []
        for x, loss in runs:
            for (n, d), y in zip(x, loss, strict=True):
                told = laws.predict(float(n), float(d), without=(family,))
                inside.append(told.low <= y <= told.high)
        held.append(float(np.mean(inside)))
    share = float(np.mean(held))
    what = f"runs of {len(held)} families held, each family left out, share"
    away = abs(share - 0.8)
    return [("interval", what, 0.8, share, away, 0.05, away <= 0.05)]


def ladders(folder: Path) -> list[Row]:
    """Four rungs forecast a run of 6 to 40 times the largest's compute: error and coverage."""
    sets = []
    for name in ("rpj", "c4_original", "rw_original"):
        rows = read(folder / "gadre_overtraining_104_runs.csv", train_dataset=name)
        n, d, ratio, loss = columns(rows, "params", "tokens", "token_multiplier", "loss_c4_val")
        sets += [((6 * n * d)[ratio == m], loss[ratio == m]) for m in np.unique(ratio)]
    for name in ("rw", "owt2"):
        rows = read(folder / "porian_optimal_pairs.csv", dataset=name, hparams="tuned",
                    param_count="standard")  # fmt: skip
        flops, loss = columns(rows, "flops", "loss")
        sets.append((flops, loss))
    rows = read(folder / "marin_delphi_isoflop_winners.csv")
    flops, loss = columns(rows, "flops_band", "paloma_c4_en_bpb")
    sets.append((flops, loss))
    errors, inside = [], []
    for flops, loss in sets:
        order = np.argsort(flops)
        c, y = flops[order], loss[order]
        for first in range(len(c) - 4):
            last = first + 4
            for j in np.flatnonzero((c > 6 * c[last - 1]) & (c < 40 * c[last - 1])):
                told = ladder.forecast(list(c[first:last]), list(y[first:last]), float(c[j]))
                errors.append(abs(told["loss"] / y[j] - 1))
                inside.append(told["low"] <= y[j] <= told["high"])
    mean, share = float(np.mean(errors)), float(np.mean(inside))
    what = f"{len(errors)} ladders of public runs"
    return [
        ("ladder", f"{what}, mean error, absolute", 0.0, mean, mean, 0.02, mean <= 0.02),
        ("ladder", f"{what}, share held", 0.8, share, abs(share - 0.8), 0.05,
         abs(share - 0.8) <= 0.05),
    ]  # fmt: skip


CASES: dict[str, Callable[[Path], list[Row]]] = {
    "V11": chinchilla,
    "V12": gadre,
    "V13": porian,
    "V14": muennighoff,
    "V15": step_law,
    "interval": coverage,
    "ladder": ladders,
}


def _runs(
    rows: list[dict[str, str]], n: str = "params", d: str = "tokens", loss: str = "loss"
) -> tuple[Array, Array]:
    sizes, tokens, losses = columns(rows, n, d, loss)
    return np.stack([sizes, tokens], axis=1), losses


def _row(case: str, what: str, expected: float, found: float, tolerance: float) -> Row:
    error = abs(found / expected - 1)
    return case, what, expected, float(found), float(error), tolerance, bool(error <= tolerance)
