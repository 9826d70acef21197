"""What a question asks for becomes a run: batches divide, limits and passes are kept."""

from dataclasses import replace

import pytest

from pretrain.errors import UsageError
from pretrain.model import count
from pretrain.plan import calibrate, facts, laws, size
from pretrain.plan.question import Question

BY = calibrate.believed().multipliers
BOARD = facts.board("H100 SXM")
ASKED = Question(hardware="H100 SXM", count=48, parameters=1e9, tokens=2e10)


def test_a_size_with_tokens_is_kept_and_its_batch_divides_the_boards():
    run = size.run_of(ASKED, BOARD, BY)
    assert count.n_parameters(run.shape) == pytest.approx(1e9, rel=0.05)
    assert run.tokens == 2e10
    assert run.batch_rows % 48 == 0


def test_serving_makes_the_network_of_a_loss_smaller():
    goal = replace(ASKED, parameters=None, tokens=None, target_loss=2.4)
    plain, served = (
        size.run_of(replace(goal, served_tokens=n), BOARD, BY) for n in (0.0, 1e13)
    )  # fmt: skip
    assert count.n_parameters(served.shape) < count.n_parameters(plain.shape)
    assert served.tokens > plain.tokens


@pytest.mark.parametrize(("key", "value"), [("parameters", 1e9), ("tokens", 2e10)])
def test_one_of_size_and_tokens_leaves_the_other_to_the_budget(key, value):
    asked = replace(ASKED, **{"parameters": None, "tokens": None, "gpu_hours": 500.0, key: value})
    run = size.run_of(asked, BOARD, BY)
    found = {"parameters": count.n_parameters(run.shape), "tokens": run.tokens}
    assert found[key] == pytest.approx(value, rel=0.05)
    flops = 6 * found["parameters"] * found["tokens"]
    assert 0.15 < flops / (500 * 3600 * BOARD.bf16 * 1e12) < 0.7


@pytest.mark.parametrize(("key", "value"), [("parameters", 1e9), ("tokens", 2e10), ("days", None)])
def test_a_loss_is_reached_with_the_size_or_the_tokens_that_are_told(key, value):
    goal = replace(ASKED, **{"parameters": None, "tokens": None, "target_loss": 2.6, key: value})
    run = size.run_of(goal, BOARD, BY)
    found = {"parameters": count.n_parameters(run.shape), "tokens": run.tokens}
    assert found.get(key) == (value and pytest.approx(value, rel=0.05))
    assert laws.predict(found["parameters"], run.tokens).loss == pytest.approx(2.6, rel=0.01)


def test_a_size_that_never_reaches_a_loss_is_refused_with_one_that_does():
    goal = replace(ASKED, parameters=1e7, tokens=None, target_loss=2.4)
    with pytest.raises(UsageError, match="take more than"):
        size.run_of(goal, BOARD, BY)


def test_too_many_passes_are_refused_with_what_would_do():
    with pytest.raises(UsageError, match="more --epochs"):
        size.run_of(replace(ASKED, unique_tokens=1e9), BOARD, BY)
