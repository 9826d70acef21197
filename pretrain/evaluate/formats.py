"""How each format judges what the model answered: replies of one item in, its scores out.

    multiple_choice, schema    acc the most log-probability; acc_norm per character, acc_bytes per
                               byte (lm-eval's names), acc_tokens per token (llm-foundry, CORE)
    minimal_pairs              acc: the good sentence has more
    language_modeling, cloze   acc: every token of the answer is the likeliest one
    generation                 acc: the extracted answer is right; f1 where match is squad
    code                       pass@k: a program passes its tests

Where there is a right answer to ask for, gold_bits and gold_bytes are its cost and size: their
quotient is smooth where accuracies are not yet. Every score is of one item; means come later.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pretrain.evaluate import extract
from pretrain.evaluate.prompts import Item, pairs
from pretrain.evaluate.settings import Task

Scores = dict[str, float]
# The score that counts where the task does not say, of those formats where it is not acc.
_COUNTS = {"cloze": "bits_per_byte"}


@dataclass(frozen=True)
class Reply:
    """To one (context, continuation): nats, whether each token was the likeliest, their number."""

    log_probability: float
    greedy: bool | None  # None: not asked
    n_tokens: int


def metric_of(task: Task) -> str:
    """The name of the score that counts."""
    if task.metric:
        return task.metric
    if task.format == "code":
        return f"pass@{task.pass_at[0]}"
    return _COUNTS.get(task.format or "", "acc")


def generates(task: Task) -> bool:
    return task.format in ("generation", "code")


def judge(item: Item, replies: Sequence[Reply], task: Task) -> Scores:
    """Scores of an item that was asked for log-probabilities, replies in the order of `pairs`."""
    assert task.format is not None
    return _JUDGES[task.format](item, replies, task)


def judge_texts(
    item: Item, texts: Sequence[str], task: Task, passes: Callable[[Item, str, Task], bool]
) -> Scores:
    """Scores of an item whose continuations were asked for; `passes` runs a program."""
    if task.format == "code":
        right = sum(passes(item, extract.cut(text, task.stop), task) for text in texts)
        return {f"pass@{k}": pass_at(k, len(texts), right) for k in task.pass_at}
    return extract.judge(texts[0], item.answers, task)


def pass_at(k: int, n: int, right: int) -> float:
    """The chance that one of k programs is right, unbiased, from n of which `right` are.

    1 - C(n - right, k) / C(n, k): Chen et al., arXiv 2107.03374, equation 1.
    """
    return 1 - math.comb(n - right, k) / math.comb(n, k)


def chance(item: Item, task: Task) -> float:
    """The score of choosing blindly."""
    return 1 / len(item.choices) if item.choices else 0.0


def _choice(item: Item, replies: Sequence[Reply], task: Task) -> Scores:
    nats = np.array([r.log_probability for r in replies])
    n_tokens = np.array([max(1, r.n_tokens) for r in replies])
    n_characters = np.array([max(1, len(c)) for c in item.choices])
    n_bytes = np.array([max(1, len(c.encode())) for c in item.choices])

    def right(scores: np.ndarray) -> float:
        return float(int(scores.argmax()) == item.gold)

    found = {"acc": right(nats), "acc_tokens": right(nats / n_tokens)}
    if task.format == "multiple_choice":
        found |= {"acc_norm": right(nats / n_characters), "acc_bytes": right(nats / n_bytes)}
    return found | _gold(item, replies[item.gold], task)


def _pair(item: Item, replies: Sequence[Reply], task: Task) -> Scores:
    good, bad = replies
    return {"acc": float(good.log_probability > bad.log_probability)} | _gold(item, good, task)


def _greedy(item: Item, replies: Sequence[Reply], task: Task) -> Scores:
    assert replies[0].greedy is not None
    return {"acc": float(replies[0].greedy)} | _gold(item, replies[0], task)


def _gold(item: Item, reply: Reply, task: Task) -> Scores:
    continuation = pairs(item, "", task)[item.gold][1]
    return {
        "gold_bits": -reply.log_probability / math.log(2),
        "gold_bytes": float(len(continuation.encode())),
    }


_JUDGES: dict[str, Callable[[Item, Sequence[Reply], Task], Scores]] = {
    "multiple_choice": _choice,
    "schema": _choice,
    "minimal_pairs": _pair,
    "language_modeling": _greedy,
    "cloze": _greedy,
}
