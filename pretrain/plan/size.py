"""The run that a question asks for: network, tokens and batch.

a recipe, or a size and tokens    as told
a loss                            the least compute, training and serving, that reaches it
money, hours or days              board-hours; the rate that the best layout reaches gives
                                  FLOPs, the laws of loss give size and tokens, and the new
                                  size another rate; three rounds
"""

import math
from dataclasses import dataclass

from pretrain.errors import UsageError
from pretrain.model import count
from pretrain.model.settings import Shape
from pretrain.plan import bill, choices, goodput, laws, network, proportions, rates, search
from pretrain.plan.choices import Choice
from pretrain.plan.facts import Board, fact
from pretrain.plan.question import Question
from pretrain.plan.search import Task
from pretrain.plan.steptime import Multipliers

_ROUNDS = 3


@dataclass(frozen=True)
class Run:
    """A network, its tokens and its batch. stretches, is_exact: as a layout's Task."""

    shape: Shape
    tokens: float
    batch_rows: int
    length: int
    stretches: tuple[tuple[int, int], ...] = ()
    is_exact: bool = False


def run_of(question: Question, board: Board, by: Multipliers) -> Run:
    """UsageError where what is asked is impossible, with what would be possible."""
    if question.recipe is not None:
        from pretrain import recipe

        loaded = recipe.load(question.recipe, question.override)
        length = loaded.mix.sequence_length
        shape = loaded.model.shape(loaded.tokenize.vocab_size)
        train = loaded.train
        rows = train.batch_tokens // length
        batches = {(s.windows * (length // s.length), s.length) for s in train.stretches(length)}
        others = tuple(sorted(batches - {(rows, length)}))
        tokens = train.n_samples(length) * length
        return Run(shape, tokens, rows, length, others, train.sums == "exact")
    if question.parameters is not None and question.tokens is not None:
        _enough(question, question.tokens)
        return _sized(question, question.parameters, question.tokens)
    if question.target_loss is not None:
        best = _reaching(question, question.target_loss)
        _enough(question, best.d)
        return _sized(question, best.n, best.d)
    return _affordable(question, board, by)


def _reaching(question: Question, loss: float) -> Choice:
    """What reaches a loss: with the size or the tokens that are told, else the cheapest."""
    n, d = question.parameters or 1e10, question.tokens or 2e11
    for _ in range(3):
        law = laws.reference(n, d)
        if question.parameters is not None:
            d = choices.tokens_for(law, n, loss)
        elif question.tokens is not None:
            n = choices.size_for(law, d, loss)
        else:
            best = choices.cheapest(law, loss, question.served_tokens)
            n, d = best.n, best.d
    return choices.choice(law, n, d)


def _affordable(question: Question, board: Board, by: Multipliers) -> Run:
    before = fact("calibration", "uncalibrated")
    rate, extra = 0.4 * board.peak(question.precision), 1.0
    for _ in range(_ROUNDS):
        hours = _final_hours(question, board, extra)
        run = _spent(question, 3600 * hours * rate)
        found = search.best(task_of(question, board, run), by, n=1)[0][0]
        per_token = 6 * count.n_parameters(run.shape)
        rate = run.batch_rows * run.length * per_token / found.seconds / question.count
        good = goodput.goodput(1.0, question.count, 0, before["low"], before["high"])
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
    ratio = goodput.research_ratio(question.research) + bill.EVALUATION
    return (question.budget_usd or 0.0) / usd / ratio / extra


def task_of(question: Question, board: Board, run: Run) -> Task:
    net = network.of(run.shape)
    return Task(
        net, board, question.count, run.length, run.batch_rows, question.precision, run.stretches,
        run.is_exact,
    )  # fmt: skip
