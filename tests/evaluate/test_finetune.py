"""Fine-tuning is a function of its seed, learns, and leaves the model as it was."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pretrain.evaluate.classification import accuracy, inputs, predict
from pretrain.evaluate.finetune import Tuning, _batch, choose_rate, finetune
from pretrain.evaluate.glue import Example

from .test_rows import encoder_in, small

TUNING = Tuning(rates=(3e-3,), batch=8, least_steps=25)
EXAMPLES = [
    Example((f"{'river' if i % 2 else 'stones'} {i}",), (i % 2,)) for i in range(24)
]  # a word tells the class


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return encoder_in(tmp_path_factory.mktemp("tune"))


@given(st.integers(1, 40), st.integers(1, 70), st.integers(0, 5))
def test_batches_go_through_all_examples_again_and_again(n_examples, size, seed):
    n_steps = -(-3 * n_examples // size)
    stream = [i for step in range(n_steps) for i in _batch(n_examples, size, step, seed)]
    assert len(stream) == n_steps * size
    for begin in range(0, len(stream) - n_examples + 1, n_examples):
        assert sorted(stream[begin : begin + n_examples]) == list(range(n_examples))


@pytest.mark.parametrize("size", ["bert-base", "1m", "t5-small"])
def test_what_a_word_tells_is_learned_and_the_model_stays(encoder, size):
    model = small(size, encoder.vocab_size)
    before = copy.deepcopy(model.state_dict())
    chosen = inputs(encoder, EXAMPLES, False, model.shape.causal, 32)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    classifier = finetune(model, chosen, 2, TUNING, 3e-3, seed=0)
    assert torch.equal(torch.get_rng_state(), state)
    found_N, true_N, loss = predict(classifier, chosen)
    assert accuracy(found_N, true_N) == 1
    assert loss < 0.2
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    moved = {n for n, p in classifier.model.named_parameters() if not torch.equal(p, before[n])}
    unused = {n for n in before if n.startswith(("head", "transform"))}
    if model.shape.encoder_layers:
        unused |= {n for n in before if n.startswith(("blocks", "norm", "relative"))}
    assert unused.isdisjoint(moved)
    assert any("blocks.0" in name for name in moved)


def test_a_seed_says_it_all(encoder):
    model = small("modernbert-base", encoder.vocab_size)
    chosen = inputs(encoder, EXAMPLES, False, False, 32)
    tuning = Tuning(rates=(1e-3,), batch=8, least_steps=5)
    one, same, other = (finetune(model, chosen, 2, tuning, 1e-3, seed) for seed in (1, 1, 2))
    weights = [c.state_dict() for c in (one, same, other)]
    assert all(torch.equal(weights[0][n], weights[1][n]) for n in weights[0])
    assert not torch.equal(weights[0]["classes.weight"], weights[2]["classes.weight"])


def test_the_rate_is_the_one_that_does_best_on_what_was_left_out(encoder):
    model = small("modernbert-base", encoder.vocab_size)
    chosen = inputs(encoder, EXAMPLES, False, False, 32)
    tuning = Tuning(rates=(1e-9, 3e-3), batch=8, least_steps=20)
    assert choose_rate(model, chosen, 2, tuning, 0) == 3e-3
    assert choose_rate(model, chosen, 2, Tuning(rates=(0.5,)), 0) == 0.5


def test_steps_and_pools():
    assert Tuning().steps(32) == 100
    assert Tuning().steps(20_000) == 1875
    assert Tuning(pool="first").pool_of(small("1m", 64)) == "first"
    assert [Tuning().pool_of(small(s, 64)) for s in ("1m", "bert-base")] == ["last", "mean"]
