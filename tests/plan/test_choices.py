"""Choices that no neighbour beats, inversions that invert, floors that are refused."""

import numpy as np
import pytest

from pretrain.errors import UsageError
from pretrain.plan import choices
from pretrain.plan.fit import Form, Law
from pretrain.plan.laws import optimum

LAW = Law(Form(), 1.8, (480.0, 2000.0), (0.35, 0.37))


def test_tokens_and_size_for_a_loss_invert_the_law():
    for n, d in ((1e8, 2e9), (7e9, 1e12)):
        loss = float(LAW(n, d))
        assert choices.tokens_for(LAW, n, loss) == pytest.approx(d, rel=1e-6)
        assert choices.size_for(LAW, d, loss) == pytest.approx(n, rel=1e-6)


def test_the_cheapest_training_is_the_compute_optimum():
    found = choices.cheapest(LAW, 2.3)
    assert found.loss == pytest.approx(2.3, rel=1e-9)
    n, d = optimum(float(found.training), LAW)
    assert found.n == pytest.approx(n, rel=0.03)
    assert float(LAW(n, d)) == pytest.approx(2.3, rel=1e-5)


def test_serving_makes_the_model_smaller_and_the_whole_cheaper():
    """Against every other size that reaches the loss, on a fine grid."""
    served = 5e12
    found = choices.cheapest(LAW, 2.3, served)
    plain = choices.cheapest(LAW, 2.3)
    assert found.n < plain.n
    assert found.d > plain.d
    for n in plain.n * np.geomspace(0.05, 2, 60):
        if n > 1.02 * choices.size_for(LAW, 1e40, 2.3):
            other = choices.choice(LAW, n, choices.tokens_for(LAW, n, 2.3), served)
            assert found.total <= other.total * 1.0005


def test_over_training_keeps_compute_and_ratio():
    found = choices.over_trained(LAW, 1e21, 320)
    assert found.d / found.n == pytest.approx(320)
    assert found.training == pytest.approx(1e21)
    assert found.loss > float(LAW(*optimum(1e21, LAW)))


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: choices.cheapest(LAW, 1.8), "floor of 1.8000"),
        (lambda: choices.cheapest(LAW, -1), "no size and no number of tokens"),
        (lambda: choices.cheapest(LAW, 1.8 + 1e-9), "whose floor is"),
        (lambda: choices.tokens_for(LAW, 1e7, 2.2), "take more than"),
        (lambda: choices.size_for(LAW, 1e8, 2.2), "take more than"),
        (lambda: choices.tokens_for(LAW, 1e7, 1.7), "floor"),
        (lambda: choices.cheapest(LAW, 2.3, -5), "0 or more"),
        (lambda: choices.over_trained(LAW, 0, 20), "above 0"),
    ],
)
def test_what_cannot_be_is_refused_with_what_could(ask, says):
    with pytest.raises(UsageError, match=says):
        ask()


def test_what_is_said_would_make_it_possible():
    with pytest.raises(UsageError) as error:
        choices.tokens_for(LAW, 1e7, 2.2)
    size = float(str(error.value).split("more than ")[1].split()[0])
    assert choices.tokens_for(LAW, 1.02 * size, 2.2) > 0
