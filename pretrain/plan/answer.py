"""A question answered: size, loss, layouts, time, money, energy, and what they hang on.

size and tokens    size.py
loss               laws.predict: an interval, and what it rests on
layouts            search.best, three of them
time, money, energy    goodput.py, bill.py
sensitivities      one input at a time to its low and high, effect on the billed cost (hours)
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

from pretrain.errors import UsageError
from pretrain.model import count
from pretrain.plan import (
    bill,
    calibrate,
    choices,
    divisions,
    facts,
    goodput,
    here,
    laws,
    rates,
    search,
    size,
    steptime,
)  # fmt: skip
from pretrain.plan.calibrate import Belief
from pretrain.plan.facts import Board
from pretrain.plan.question import Question
from pretrain.plan.search import Found
from pretrain.plan.settings import Settings as Plan
from pretrain.plan.size import Run
from pretrain.plan.steptime import Costs


@dataclass(frozen=True)
class Answer:
    """All of it; `told` is plain data. task, belief: what the layouts were searched by."""

    question: Question
    board: Board
    run: Run
    layouts: list[Found]
    told: dict[str, Any]
    task: search.Task
    belief: Belief


def answer(question: Question, board: Board | None = None) -> Answer:
    """board: in place of the one that the question names.

    Raises: UsageError where what is asked is impossible, with what would be possible.
    """
    board = board or board_of(question)
    _check(question, board)
    belief = calibrate.believed(question.software, board)
    run = size.run_of(question, board, belief.multipliers)
    task = size.task_of(question, board, run)
    found, tried = search.best(task, belief.multipliers)
    if question.measured_step is not None:
        costs = search.costs(task, found[0].at)
        belief = calibrate.shrink(belief, costs, question.measured_step)
        found, tried = search.best(task, belief.multipliers)
    costs = search.costs(task, found[0].at)
    low, high = calibrate.interval(belief, costs)
    steps = math.ceil(run.tokens / (run.batch_rows * run.length))
    ideal = steps * found[0].seconds / 3600
    state = sum(found[0].bytes_by_part[k] for k in ("parameters", "moments"))
    good = goodput.goodput(ideal, question.count, state, low, high)
    n = count.n_parameters(run.shape)
    money = _money(question, board, good, run.tokens, 12.0 * n)
    energy = bill.energy(
        board, ideal * question.count, good.billed_hours[1] * question.count, question.grid,
        question.pue,
    )  # fmt: skip
    by_convention = count.conventions(run.shape, run.length)
    flops = by_convention[count.NAME]
    rate = run.batch_rows * run.length * flops / found[0].seconds / question.count
    told = {
        "parameters": n,
        "shape": asdict(run.shape),
        "tokens": run.tokens,
        "flops": run.tokens * flops,
        "convention": count.CONVENTION,
        "conventions": by_convention,
        "loss": asdict(laws.predict(n, run.tokens, question.unique_tokens)),
        "instead": _instead(n, run.tokens, question.served_tokens),
        "rates": {k: f(n, run.tokens) for k, f in rates.LAWS.items()},
        "asked": question.plain(),
        "hardware": asdict(board) | {"count": question.count},
        "layouts": [_told(one, found[0]) for one in found],
        "tried": tried,
        "not_tried": divisions.limits(task),
        "mfu": {
            name: rate / flops * per / board.peak(question.precision)
            for name, per in by_convention.items()
        },
        "steps": steps,
        "step_interval": [found[0].seconds * low, found[0].seconds * high],
        "is_calibrated": belief.n_steps > 0,
        "time": asdict(good),
        "board_hours": [question.count * hours for hours in good.billed_hours],
        "cost": money,
        "energy": asdict(energy),
        "sensitivities": _sensitivities(question, board, good, money, low, high),
        "calibration": _calibration(question, board, belief, costs),
    }
    return Answer(question, board, run, found, told, task, belief)


def _check(question: Question, board: Board) -> None:
    board.peak(question.precision)
    if question.count > board.boards and not board.outside_gb:
        raise UsageError(
            f"plan: {question.count:,} x {board.name}, of which no link joins more than "
            f"{board.boards:,}; must be fewer (--count), or a board with a network: outside_gb in "
            "a hardware file (--hardware FILE.toml)"
        )


def board_of(question: Question) -> Board:
    if question.this_machine:
        return here.board(Plan().watts_per_core)
    return facts.board(question.hardware or "", question.hardware_file)


def _money(
    question: Question, board: Board, good: goodput.Goodput, tokens: float, state: float
) -> dict[str, Any] | None:
    """None on this machine without a price. UsageError where hardware has none."""
    if question.this_machine and question.price is None:
        return None
    try:
        usd, source = bill.price(board, question.price)
    except UsageError:
        if question.budget_usd is not None:
            raise
        return None
    ratio = goodput.research_ratio(question.research)
    parts = [
        bill.cost(question.count * hours, usd, ratio, tokens, state, hours / 24 / 30)
        for hours in good.billed_hours
    ]
    return {
        "usd_per_hour": usd, "price_source": source, "research_ratio": ratio,
        "parts": parts[1], "total": [sum(part.values()) for part in parts],
    }  # fmt: skip


def _instead(n: float, tokens: float, served: float) -> dict[str, dict[str, float]]:
    """Other sizes: twice and eight times the tokens a parameter, and cheap to serve."""
    law = laws.reference(n, tokens)
    flops = 6 * n * tokens
    found = {
        f"over-trained {k} x": choices.over_trained(law, flops, k * tokens / n) for k in (2, 8)
    }
    if served:
        loss = float(law(n, tokens))
        found["same loss, cheapest with serving"] = choices.cheapest(law, loss, served)
    return {
        name: {"parameters": c.n, "tokens": c.d, "loss": c.loss, "flops": c.training}
        for name, c in found.items()
    }


def _sensitivities(
    question: Question, board: Board, good: goodput.Goodput, money: dict[str, Any] | None,
    low: float, high: float,
) -> list[dict[str, Any]]:  # fmt: skip
    """The five inputs that move billed cost (or board-hours) most, as factors of it."""
    failure = facts.table("failures")
    rated = sorted(row["per_1000_board_days"] for row in failure["rate"].values())
    ratios = sorted(row["ratio"] for row in failure["billed"].values())
    billed = good.billed_hours[1] / good.ideal_hours
    lost = [
        goodput.lost(good.checkpoint_seconds, good.interval_seconds,
                     3600 * goodput.hours_between_failures(rate, question.count), 600)
        for rate in rated
    ]  # fmt: skip
    found = {
        "step time (products, kernels, messages)": (low, high),
        "billed over ideal time": (ratios[0] / billed, ratios[-1] / billed),
        "failures a board-day": tuple((1 - good.lost) / (1 - share) for share in lost),
        "tokens, 10 % fewer and more": (0.9, 1.1),
    }
    if money:
        research = sorted(row["ratio"] for row in failure["research"].values())
        own = money["research_ratio"] + bill.EVALUATION
        found["research over the final run"] = (
            (research[0] + bill.EVALUATION) / own, (research[-1] + bill.EVALUATION) / own
        )  # fmt: skip
        row = facts.table("prices").get(board.name)
        if row and question.price is None:
            found["price of a board-hour"] = (
                row["low"] / row["median"], row["high"] / row["median"]
            )  # fmt: skip
    ranked = sorted(found.items(), key=lambda item: -abs(math.log(item[1][1] / item[1][0])))
    return [{"input": name, "low": a, "high": b} for name, (a, b) in ranked[:5]]


def _calibration(question: Question, board: Board, belief: Belief, costs: Costs) -> str:
    """What would narrow the interval most, as it is typed, and by how much."""
    before = calibrate.interval(belief, costs)
    if belief.n_steps:
        return (
            f"{belief.n_steps} measured step{'s' * (belief.n_steps > 1)}; steps of other layouts "
            "and sizes narrow it further (pretrain plan calibrate)"
        )
    told = steptime.seconds(costs, belief.multipliers)
    after = calibrate.interval(calibrate.shrink(belief, costs, told), costs)
    how = "pretrain plan calibrate --out FILE.toml, then --hardware FILE.toml"
    if not question.this_machine:
        how = (
            f"ten minutes of this layout on {question.count:,} boards, then --measured-step "
            f'SECONDS; or pretrain plan calibrate --run RUN --hardware "{board.name}" --out '
            "FILE.toml, then --hardware FILE.toml"
        )
    return (
        f"{how}: the interval of a step narrows from {before[0]:.2f} to {before[1]:.2f} to "
        f"{after[0]:.2f} to {after[1]:.2f} times"
    )


def _told(one: Found, winner: Found) -> dict[str, Any]:
    return {
        "layout": asdict(one.layout), "said": one.said, "replicate": one.replicate,
        "micro_rows": one.micro_rows, "n_micro": one.n_micro, "seconds": one.seconds,
        "seconds_by_part": one.seconds_by_part, "bytes": one.n_bytes,
        "bytes_by_part": one.bytes_by_part,
        "why": "the fastest that fits" if one is winner else search.why(winner, one),
    }  # fmt: skip
