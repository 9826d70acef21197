"""`pretrain plan compare A B`: two plans side by side, and which input makes which difference.

    causes   A's question turned into B's, one input after another, answered anew each time: what
             each does to cost (to board-hours where one has no price), days and loss, as a factor
    rest     B as it was saved over B as it is told now: 1, unless the program or a recipe changed

The factors multiply to B over A. An input's share may hang on the order, which is that of the
list. Inputs that decide the run's size (recipe, limit, goal, parameters, tokens) count as one. A
saved answer holds its board: it is told again as then, whatever hardware files say by now.
"""

import argparse
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from pretrain import store
from pretrain.errors import PretrainError, UsageError
from pretrain.model import count
from pretrain.plan import answer, question
from pretrain.plan.facts import GIB, Board
from pretrain.plan.question import Question

Told = dict[str, Any]
_GOAL = (
    "recipe", "override", "budget_usd", "gpu_hours", "days", "target_loss", "parameters", "tokens",
)  # fmt: skip
_HARDWARE = ("hardware", "hardware_file", "this_machine")
_MEASURES = ("cost", "days", "loss")


def read(paths: Sequence[Path], given: argparse.Namespace) -> list[Told]:
    """Saved answers, or those of recipes on what the command line names, else on this machine."""
    found, board = [], None
    for path in paths:
        if path.suffix == ".toml":
            one = argparse.Namespace(**vars(given) | {"recipe": path, "override": []})
            one.this_machine = given.this_machine or not given.hardware
            asked = question.question_of(one)
            board = board or answer.board_of(asked)  # this machine is measured once for both
            found.append(answer.answer(asked, board).told)
        else:
            found.append(_saved(path))
    return found


def _saved(path: Path) -> Told:
    told = store.read_json_or_none(path)
    if not isinstance(told, dict) or not isinstance(told.get("asked"), dict):
        raise UsageError(
            f"plan compare: {path} is no answer of `pretrain plan … --json`; must be one, or a "
            "recipe (.toml)"
        )
    question.from_plain(told["asked"])
    return told


def compare(a: Told, b: Told) -> dict[str, Any]:
    """Both plans' rows, the inputs that differ, and what each of them does."""
    causes, told = [], a
    money = "cost" if a["cost"] and b["cost"] else "board-hours"
    for name, asked, board in _turned(a, b):
        row: dict[str, Any] = {"input": name, "a": _said(a, name), "b": _said(b, name)}
        try:
            now = answer.answer(asked, board).told
            row |= _factors(told, now, money)
            told = now
        except PretrainError as error:  # what comes after it may be possible again
            row["impossible"] = str(error)
        causes.append(row)
    return {
        "rows": _rows(a, b), "money": money, "causes": causes,
        "rest": _factors(told, b, money), "whole": _factors(a, b, money),
        "layouts": [[row["said"] for row in told["layouts"]] for told in (a, b)],
    }  # fmt: skip


def _board(told: Told) -> Board:
    """The board of a saved answer; an old one may lack what has a usual value."""
    hardware = told["hardware"]
    row = {f.name: hardware[f.name] for f in fields(Board) if f.name in hardware}
    return Board(**row | {"names": tuple(row["names"])})


def _turned(a: Told, b: Told) -> Iterator[tuple[str, Question, Board]]:
    """(input, question, board) on the way from A to B, an input that differs at a time."""
    asked, wanted = (question.from_plain(told["asked"]) for told in (a, b))
    board, other = _board(a), _board(b)
    groups: dict[str, tuple[str, ...]] = {"size and tokens": _GOAL}
    # A price comes before hardware whose own is not known, and goes after it.
    groups |= {"price": ("price",)} if wanted.price is not None else {}
    groups |= {"hardware": _HARDWARE}
    rest = [f.name for f in fields(Question) if f.name not in (*_GOAL, *_HARDWARE, *groups)]
    for name, keys in (groups | {name: (name,) for name in rest}).items():
        changed = replace(asked, **{key: getattr(wanted, key) for key in keys})
        moves = name == "hardware" and board != other
        if moves or changed != asked:
            asked, board = changed, other if moves else board
            yield name, asked, board


def _said(told: Told, name: str) -> str:
    asked = told["asked"]
    if name == "size and tokens":
        given = {n: asked[n] for n in _GOAL if asked[n]}
        return ", ".join(f"{n.replace('_', '-')} {_short(x)}" for n, x in given.items())
    if name == "hardware":
        row = told["hardware"]
        return str(row["name"]) + (", calibrated" if row["multipliers"] else "")
    return _short(asked[name])


def _short(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _factors(a: Told, b: Told, money: str) -> dict[str, float | None]:
    """B over A; None where one of them has no such number."""
    both = [(_measures(a, money)[m], _measures(b, money)[m]) for m in _MEASURES]
    return {m: y / x if x and y else None for m, (x, y) in zip(_MEASURES, both, strict=True)}


def _measures(told: Told, money: str) -> dict[str, Any]:
    cost = told["cost"] and told["cost"]["total"][1]
    return {
        "cost": cost if money == "cost" else told["board_hours"][1],
        "days": told["time"]["billed_hours"][1] / 24,
        "loss": told["loss"]["loss"],
    }


def _rows(a: Told, b: Told) -> list[dict[str, Any]]:
    """Numbers of both: name, a, b; where there are three, the middle one and its interval."""
    found = []
    for name, of in {
        "parameters": lambda t: t["parameters"],
        "tokens": lambda t: t["tokens"],
        "FLOP": lambda t: t["flops"],
        "tokens a step": lambda t: t["tokens"] / t["steps"],
        "loss": lambda t: [t["loss"][k] for k in ("low", "loss", "high")],
        "boards": lambda t: t["hardware"]["count"],
        "step, s": lambda t: [t["step_interval"][0], t["layouts"][0]["seconds"],
                              t["step_interval"][1]],
        "MFU, %": lambda t: 100 * t["mfu"][count.NAME],
        "memory, GiB": lambda t: t["layouts"][0]["bytes"] / GIB,
        "days": lambda t: [hours / 24 for hours in t["time"]["billed_hours"]],
        "board-hours": lambda t: t["board_hours"],
        "cost, $": lambda t: t["cost"] and t["cost"]["total"],
        "energy, MWh": lambda t: t["energy"]["kwh"] / 1000,
        "carbon, t": lambda t: t["energy"]["kg_co2"] / 1000,
    }.items():  # fmt: skip
        found.append({"name": name, "a": of(a), "b": of(b)})
    return found


def render(found: dict[str, Any]) -> str:
    """At most 100 columns."""
    lines = [f"{'':<15}{'A':>34}{'B':>34}{'B over A':>12}"]
    for row in found["rows"]:
        x, y = (_middle(row[k]) for k in "ab")
        over = f"{y / x:.3f}" if x and y else "-"
        lines.append(f"{row['name']:<15}{_number(row['a']):>34}{_number(row['b']):>34}{over:>12}")
    for name, layouts in zip("AB", found["layouts"], strict=True):
        lines += ["", *(f"layout {i} of {name}: {said}"[:100] for i, said in enumerate(layouts, 1))]
    lines += [
        "",
        f"{'input changed, A to B':<58}{found['money'] + ' x':>14}{'days x':>14}{'loss x':>14}",
    ]
    for row in found["causes"]:
        said = f"{row['input'].replace('_', ' ')}: {row['a']} to {row['b']}"
        lines.append(f"{said if len(said) <= 57 else said[:56] + '…':<58}{_three(row)}".rstrip())
        if "impossible" in row:
            lines += textwrap.wrap(f"impossible so far: {row['impossible']}", 96,
                                   initial_indent="  ", subsequent_indent="  ")  # fmt: skip
    if not found["causes"]:
        lines.append("none: the same was asked")
    lines.append(f"{'saved, over told again':<58}{_three(found['rest'])}")
    return "\n".join([*lines, f"{'in all':<58}{_three(found['whole'])}"])


def _middle(value: Any) -> float | None:
    return value[1] if isinstance(value, list) else value


def _number(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        low, middle, high = map(_number, value)
        return f"{middle} ({low} to {high})"
    for by, unit in ((1e12, "t"), (1e9, "b"), (1e6, "m")):  # as options are given: 7b, 2t
        if by <= value < 1e15:
            return f"{value / by:.3g}{unit}"
    return f"{value:,.0f}" if 1e3 <= value < 1e6 else f"{value:.4g}"


def _three(row: dict[str, Any]) -> str:
    return "".join(f"{row[m]:>14.3f}" if row.get(m) else f"{'-':>14}" for m in _MEASURES)
