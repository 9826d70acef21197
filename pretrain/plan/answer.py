"""A question answered: size, loss, layouts, time, money, energy, and what they hang on.

size and tokens    of the recipe or as told; else of a compute budget: the rate that the best
                   layout reaches gives FLOPs, the laws of loss give size and tokens, and the
                   new size another rate; three rounds
loss               laws.predict: an interval, and what it rests on
layouts            search.best, three of them
time, money, energy    goodput.py, bill.py
sensitivities      one input at a time to its low and high, effect on the billed cost (hours)
"""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from pretrain.errors import UsageError
from pretrain.model import count
from pretrain.model.settings import Shape
from pretrain.plan import (
    bill,
    calibrate,
    choices,
    facts,
    goodput,
    here,
    laws,
    network,
    proportions,
    rates,
    search,
)  # fmt: skip
from pretrain.plan.calibrate import Belief
from pretrain.plan.facts import Board
from pretrain.plan.question import Question
from pretrain.plan.search import Found, Task
from pretrain.plan.settings import Settings as Plan

_EVALUATION = 0.02
_ROUNDS = 3


@dataclass(frozen=True)
class Run:
    """A network, its tokens and its batch."""

    shape: Shape
    tokens: float
    batch_rows: int
    length: int


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


def answer(question: Question) -> Answer:
    """UsageError where what is asked is impossible, with what would be possible."""
    board = here.board(Plan().watts_per_core) if question.this_machine else facts.board(
        question.hardware or "", question.hardware_file
    )  # fmt: skip
    board.peak(question.precision)
    belief = calibrate.believed(question.software)
    run = _run(question, board, belief)
    task = _task(question, board, run)
    found, tried = search.best(task, belief.multipliers)
    is_calibrated = question.measured_step is not None
    if is_calibrated:
        belief = calibrate.shrink(belief, _costs(task, found[0]), question.measured_step)
        found, tried = search.best(task, belief.multipliers)
    low, high = calibrate.interval(1.0, is_calibrated)
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
        "hardware": {"name": board.name, "count": question.count, "source": board.source},
        "layouts": [_told(one, found[0]) for one in found],
        "tried": tried,
        "mfu": {
            name: rate / flops * per / board.peak(question.precision)
            for name, per in by_convention.items()
        },
        "steps": steps,
        "step_interval": [found[0].seconds * low, found[0].seconds * high],
        "is_calibrated": is_calibrated,
        "time": asdict(good),
        "board_hours": [question.count * hours for hours in good.billed_hours],
        "cost": money,
        "energy": asdict(energy),
        "sensitivities": _sensitivities(question, board, good, money, low, high),
        "calibration": _calibration(found[0], is_calibrated),
    }
    return Answer(question, board, run, found, told, task, belief)


def _run(question: Question, board: Board, belief: Belief) -> Run:
    if question.recipe is not None:
        from pretrain import recipe

        loaded = recipe.load(question.recipe, question.override)
        length = loaded.mix.sequence_length
        shape = loaded.model.shape(loaded.tokenize.vocab_size)
        tokens = loaded.train.n_samples(length) * length
        return Run(shape, tokens, loaded.train.batch_tokens // length, length)
    if question.parameters is not None and question.tokens is not None:
        _enough(question, question.tokens)
        return _sized(question, question.parameters, question.tokens)
    if question.target_loss is not None:
        law = laws.reference(1e10, 2e11)
        for _ in range(2):
            best = choices.cheapest(law, question.target_loss, question.served_tokens)
            law = laws.reference(best.n, best.d)
        _enough(question, best.d)
        return _sized(question, best.n, best.d)
    rate, extra = 0.4 * board.peak(question.precision), 1.0
    for _ in range(_ROUNDS):
        hours = _final_hours(question, board, extra)
        run = _spent(question, 3600 * hours * rate)
        task = _task(question, board, run)
        found = search.best(task, belief.multipliers, n=1)[0][0]
        per_token = 6 * count.n_parameters(run.shape)
        rate = run.batch_rows * run.length * per_token / found.seconds / question.count
        good = goodput.goodput(1.0, question.count, 0, *calibrate.interval(1.0, False))
        extra = good.billed_hours[1]
    return run


def _spent(question: Question, flops: float) -> Run:
    """The run of a compute budget: 6 N D."""
    if question.parameters is not None:
        n = question.parameters
        tokens = flops / 6 / n
    elif question.tokens is not None:
        tokens = question.tokens
        n = flops / 6 / tokens
    else:
        n, tokens = laws.optimum(flops)
    most = question.unique_tokens and question.unique_tokens * question.epochs
    if most and tokens > most:
        # Text is short: the size that suits it, and not all of the compute.
        for _ in range(8 if question.parameters is None else 0):
            flops *= (most / tokens) ** 2
            n, tokens = laws.optimum(flops)
        tokens = most
    return _sized(question, n, tokens)


def _sized(question: Question, n: float, tokens: float) -> Run:
    shape = proportions.shape_of(n)
    _, batch = rates.LAWS["StepLaw"](n, tokens)
    odd = question.count
    while odd % 2 == 0:
        odd //= 2
    rows = odd * 2 ** max(0, round(math.log2(max(1.0, batch / question.length / odd))))
    if rows < question.count and tokens / question.length > question.count:
        rows = question.count  # a row a board at least, beyond the law where there are many
    return Run(shape, max(tokens, rows * question.length), rows, question.length)


def _enough(question: Question, tokens: float) -> None:
    most = question.unique_tokens and question.unique_tokens * question.epochs
    if most and tokens > most:
        raise UsageError(
            f"{tokens:.3g} tokens of {question.unique_tokens:.3g} unique ones are "
            f"{tokens / (question.unique_tokens or 1):.1f} passes; {question.epochs:g} are allowed "
            "(more --epochs, more --unique-tokens, or fewer tokens)"
        )


def _final_hours(question: Question, board: Board, extra: float) -> float:
    """Ideal board-hours of the final run within the limit."""
    if question.days is not None:
        return question.days * 24 * question.count / extra
    if question.gpu_hours is not None:
        return question.gpu_hours / extra
    usd, _ = bill.price(board, question.price)
    ratio = goodput.research_ratio(question.research) + _EVALUATION
    return (question.budget_usd or 0.0) / usd / ratio / extra


def _task(question: Question, board: Board, run: Run) -> Task:
    net = network.of(run.shape)
    return Task(net, board, question.count, run.length, run.batch_rows, question.precision)


def _costs(task: Task, found: Found) -> Any:
    one = found.layout
    at = search.Layouts(
        found.data, found.layout.shard * one.context if one.shard > 1 else 1, one.tensor,
        one.pipeline, one.virtual, one.context, one.expert, found.micro_rows, found.n_micro,
        float(one.recompute == "full"), float(one.recompute != "none"),
        regather=int(one.pipeline == 1),
    )  # fmt: skip
    return search.costs(task, at)


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
        own = money["research_ratio"] + _EVALUATION
        found["research over the final run"] = (
            (research[0] + _EVALUATION) / own, (research[-1] + _EVALUATION) / own
        )  # fmt: skip
        row = facts.table("prices").get(board.name)
        if row and question.price is None:
            found["price of a board-hour"] = (
                row["low"] / row["median"], row["high"] / row["median"]
            )  # fmt: skip
    ranked = sorted(found.items(), key=lambda item: -abs(math.log(item[1][1] / item[1][0])))
    return [{"input": name, "low": a, "high": b} for name, (a, b) in ranked[:5]]


def _calibration(best: Found, is_calibrated: bool) -> str:
    after = calibrate.interval(1.0, True)
    if is_calibrated:
        return "calibrated by one step; more runs of other layouts would narrow it further"
    before = calibrate.interval(1.0, False)
    return (
        f"ten minutes of this layout, then --measured-step SECONDS: the interval of a step narrows "
        f"from {before[0]:.2f} to {before[1]:.2f} to {after[0]:.2f} to {after[1]:.2f} times"
    )


def _told(one: Found, winner: Found) -> dict[str, Any]:
    return {
        "layout": asdict(replace(one.layout)), "said": one.said, "replicate": one.replicate,
        "micro_rows": one.micro_rows, "n_micro": one.n_micro, "seconds": one.seconds,
        "seconds_by_part": one.seconds_by_part, "bytes": one.n_bytes,
        "bytes_by_part": one.bytes_by_part,
        "why": "the fastest that fits" if one is winner else search.why(winner, one),
    }  # fmt: skip
