"""Rungs that are the recipe in small, and forecasts that made ladders obey."""

import numpy as np
import pytest

from pretrain.errors import DataError, RecipeError
from pretrain.model import count
from pretrain.plan import ladder

from ..conftest import tiny_recipe

WIDE = ("model.width=256", "model.heads=16", "model.kv_heads=8", "model.layers=8",
        "model.hidden=512", "train.steps=20000")  # fmt: skip


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return tiny_recipe(tmp_path_factory.mktemp("ladder"), *WIDE)


def test_rungs_keep_the_shape_the_ratio_and_the_share(recipe):
    whole = ladder.large(recipe)
    for share in (0.02, 0.1, 0.5):
        rungs = ladder.rungs(recipe, share)
        assert [r.name for r in rungs] == ["rung-1", "rung-2", "rung-3", "rung-4"]
        assert sum(r.flops for r in rungs) <= share * whole.flops
        for rung in rungs:
            shape = rung.recipe.model.shape(512)
            assert shape.width / shape.layers == pytest.approx(32, rel=0.5)
            assert shape.head_width == 16
            assert rung.tokens / rung.n == pytest.approx(whole.tokens / whole.n, rel=0.05)
            assert rung.recipe.mix == recipe.mix
            assert rung.recipe.tokenize == recipe.tokenize
        steps = np.diff(np.log([r.flops for r in rungs]))
        assert (steps > 0).all()
        assert steps.max() < np.log(ladder._STEP) + 1.2


def test_flops_are_those_of_the_counting_module(recipe):
    whole = ladder.large(recipe)
    shape = recipe.model.shape(512)
    assert whole.tokens == 20000 * 256
    assert whole.flops == whole.tokens // 32 * count.flops_per_row(shape, 32)
    assert whole.n == count.matmul_parameters(shape)


def test_a_recipe_without_room_below_is_refused(tmp_path):
    narrow = tiny_recipe(tmp_path, "train.steps=20000")  # four heads: three smaller networks
    with pytest.raises(RecipeError, match="has 3 sizes"):
        ladder.rungs(narrow, 0.5)
    short = tiny_recipe(tmp_path, *WIDE)
    with pytest.raises(RecipeError, match="a share of at least"):
        ladder.rungs(short, 1e-9)


@pytest.mark.parametrize(("exponent", "off"), [(0.1, 1e-6), (0.15, 1e-2), (0.07, 1e-2)])
@pytest.mark.parametrize("n", [3, 4, 6])
def test_a_made_ladder_is_forecast(n, exponent, off):
    """Exactly where its exponent is the one that is believed, nearly where it is another."""
    flops = np.array([1e15, 8e15, 6e16, 5e17, 4e18, 3e19])[-n:]
    factor = 2 * 1e16**exponent
    found = ladder.forecast(list(flops), list(1.7 + factor * flops**-exponent), 6e20)
    assert found["loss"] == pytest.approx(1.7 + factor * 6e20**-exponent, rel=off)
    assert found["low"] < found["loss"] < found["high"]
    assert found["without_floor"] < found["loss"]
    assert found["times_beyond"] == pytest.approx(20)


def test_losses_below_any_floor_have_none():
    flops = np.array([1e15, 1e16, 1e17, 1e18])
    found = ladder.forecast(list(flops), list(30 * flops**-0.2), 1e19)
    assert found["floor"] < 0.01


def test_small_rungs_say_less():
    flops = np.array([1e12, 4e12, 16e12, 64e12])
    small, large = (
        ladder.forecast(list(c), list(1.7 + 300 * flops**-0.15), 20 * c[-1])
        for c in (flops, 1000 * flops)
    )
    assert small["high"] / small["low"] > large["high"] / large["low"] > 1
    assert (len(small["warnings"]), len(large["warnings"])) == (1, 0)


def test_two_rungs_are_too_few():
    with pytest.raises(DataError, match="at least 3"):
        ladder.forecast([1e15, 1e16], [3.0, 2.9], 1e17)


def test_seconds_follow_what_the_largest_rungs_took():
    found = ladder.seconds([10, 20, 40, 80], [30, 30, 48, 96], 1000)
    assert found["seconds"] == pytest.approx(1200)
    assert found["low"] < 1000  # the small rungs disagree
    exact = ladder.seconds([10, 20, 40, 80], [12, 24, 48, 96], 1000)
    assert exact["high"] / exact["seconds"] == pytest.approx(np.exp(0.05))
