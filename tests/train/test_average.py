"""Averages equal their textbook formulas; trained weights never see them; a resume keeps them."""

import pytest
import torch

from pretrain.errors import RecipeError
from pretrain.train import average
from pretrain.train.settings import Settings
from tests.conftest import tiny_recipe


def path(n_steps):
    """The weights after every step of a made-up training."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(3, 5, generator=generator).double() for _ in range(n_steps)]


def averaged(weights, settings):
    parameter = torch.full((3, 5), 7.0, dtype=torch.double)
    state, first = average.start({"w": parameter}, settings), None
    for step, weight in enumerate(weights):
        parameter.copy_(weight)
        first = average.first_step(first, step, settings)
        average.update(state, {"w": parameter}, step, first, settings)
        assert torch.equal(parameter, weight)
    return state["average.w"]


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("n_steps", [1, 2, 30])
def test_ema_is_the_bias_corrected_one(decay, n_steps):
    plain = torch.zeros(3, 5).double()
    for weight in path(n_steps):
        plain = decay * plain + (1 - decay) * weight
    result = averaged(path(n_steps), Settings(average="ema", ema_decay=decay))
    assert torch.allclose(result, plain / (1 - decay**n_steps), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("tail", "n_tail"), [(1.0, 30), (0.2, 6), (0.01, 1)])
def test_tail_is_the_mean_of_the_last_steps(tail, n_tail):
    settings = Settings(average="tail", tail=tail, steps=30)
    mean = torch.stack(path(30)[-n_tail:]).mean(dim=0)
    assert torch.allclose(averaged(path(30), settings), mean, rtol=0, atol=1e-12)


def test_none_keeps_nothing():
    assert average.start({"w": torch.ones(2)}, Settings()) == {}
    assert average.first_step(None, 5, Settings()) is None
    average.update({}, {"w": torch.ones(2)}, 5, None, Settings())


def tail(steps, share=0.2):
    return Settings(average="tail", steps=steps, tail=share)


@pytest.mark.parametrize(
    ("before", "after", "at", "first"),
    [
        (tail(100), tail(60), 50, 50),  # its begin, step 48, is past
        (tail(100), tail(100, 0.9), 50, 50),
        (tail(100), tail(70), 50, 56),
        (tail(100), tail(200), 90, 160),  # what was averaged is the tail's no more
        (tail(100), tail(104), 90, 90),  # a part of it is
        (tail(100), tail(100, 0.5), 90, 80),
    ],
)
def test_a_tail_that_is_moved_is_the_mean_of_its_own_weights_alone(before, after, at, first):
    weights = path(after.steps)
    parameter = torch.full((3, 5), 7.0, dtype=torch.double)
    state, begun = average.start({"w": parameter}, before), None
    for step, weight in enumerate(weights):
        settings = before if step < at else after
        parameter.copy_(weight)
        begun = average.first_step(begun, step, settings)
        average.update(state, {"w": parameter}, step, begun, settings)
    assert begun == first
    mean = torch.stack(weights[first:]).mean(dim=0)
    assert torch.allclose(state["average.w"], mean, rtol=0, atol=1e-12)


def test_used_lends_the_average_and_gives_the_weights_back():
    weight = torch.nn.Parameter(torch.ones(2))
    state = {"average.w": torch.zeros(2)}
    places = weight.data_ptr(), state["average.w"].data_ptr()

    def lend():
        with average.used(state, {"w": weight}):
            assert weight.tolist() == [0, 0]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lend()
    assert weight.tolist() == [1, 1]
    assert state["average.w"].tolist() == [0, 0]
    assert (weight.data_ptr(), state["average.w"].data_ptr()) == places


def test_publishing_an_average_that_is_not_kept_is_refused_before_any_work(tmp_path):
    with pytest.raises(RecipeError, match=r"publish\.weights"):
        tiny_recipe(tmp_path, "publish.weights=average")
    tiny_recipe(tmp_path, "publish.weights=average", "train.average=tail")
