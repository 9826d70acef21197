"""pass@k is unbiased; a task's own metric goes before its format's. Judging: test_scoring.py."""

import itertools

import pytest

from pretrain.evaluate import formats
from pretrain.evaluate.prompts import Item
from pretrain.evaluate.settings import Task


@pytest.mark.parametrize("n", [1, 2, 5])
def test_pass_at_k_is_the_share_of_draws_with_a_right_one(n):
    for right in range(n + 1):
        programs = [i < right for i in range(n)]
        for k in range(1, n + 1):
            draws = list(itertools.combinations(programs, k))
            share = sum(any(draw) for draw in draws) / len(draws)
            assert formats.pass_at(k, n, right) == pytest.approx(share)


@pytest.mark.parametrize(
    ("task", "metric"),
    [
        (Task(path="x", format="multiple_choice"), "acc"),
        (Task(path="x", format="multiple_choice", metric="acc_norm"), "acc_norm"),
        (Task(path="x", format="cloze"), "bits_per_byte"),
        (Task(path="x", format="code", program="x", samples=3, pass_at=(2, 1)), "pass@2"),
    ],
)
def test_the_score_that_counts(task, metric):
    assert formats.metric_of(task) == metric


def test_chance_is_one_choice_of_all():
    task = Task(path="x", format="multiple_choice")
    assert formats.chance(Item(choices=("a", "b", "c", "d")), task) == 0.25
    assert formats.chance(Item(answers=("a",)), task) == 0
