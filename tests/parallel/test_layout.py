"""A layout divides a world, and says what does not fit before anything starts."""

from dataclasses import replace

import pytest

from pretrain import settings
from pretrain.errors import RecipeError
from pretrain.model.sizes import SIZES
from pretrain.parallel.layout import Layout


def test_copies_are_what_the_other_axes_leave():
    layout = Layout(shard=4, tensor=2, pipeline=3)
    assert layout.sizes(96) == {
        "pipeline": 3, "replicate": 4, "shard": 4, "context": 1, "tensor": 2
    }  # fmt: skip
    assert Layout(shard=0, tensor=8).sizes(16384)["shard"] == 2048
    assert Layout().sizes(4)["replicate"] == 4


@pytest.mark.parametrize(
    ("layout", "world"),
    [(Layout(shard=3, tensor=2), 32), (Layout(tensor=5), 4), (Layout(shard=0, expert=3), 4)],
)
def test_a_world_that_does_not_divide_is_refused_with_those_that_do(layout, world):
    with pytest.raises(RecipeError, match=r"do not divide a world of .*a world of .*train\.layout"):
        layout.sizes(world)


@pytest.mark.parametrize(("table", "key"), [
    ({"shard": 4, "expert": 3}, "expert"),
    ({"virtual": 2}, "virtual"),
    ({"pipeline": 2, "virtual": 2}, "virtual"),
    ({"pipeline": 2, "schedule": "interleaved_1f1b"}, "virtual"),
    ({"pipeline": 2, "schedule": "dualpipev"}, "virtual"),
])  # fmt: skip
def test_sizes_that_contradict_each_other_are_refused(table, key):
    with pytest.raises(RecipeError, match=rf"train\.layout\.{key}"):
        settings.parse(Layout, table, "train.layout")


@pytest.mark.parametrize(("layout", "size", "key"), [
    (Layout(tensor=3), "1m", "tensor"),
    (Layout(tensor=16), "8b", "tensor"),  # eight key and value heads
    (Layout(tensor=128), "qwen3-30b-a3b", "tensor"),
    (Layout(context=2), "t5-small", "context"),
    (Layout(expert=2, shard=2), "1m", "expert"),
    (Layout(expert=3, shard=3), "mixtral-8x7b", "expert"),
    (Layout(pipeline=2), "t5-small", "pipeline"),
    (Layout(pipeline=64), "1m", "pipeline"),
    (Layout(pipeline=2, virtual=2, schedule="dualpipev", shard=2), "gpt2-124m", "schedule"),
])  # fmt: skip
def test_a_network_that_cannot_be_divided_so_is_told(layout, size, key):
    assert layout.misfit(SIZES[size])[0] == key
    assert Layout().misfit(SIZES[size]) is None


@pytest.mark.parametrize("axis", ["pipeline", "context"])
def test_what_divides_a_row_does_not_look_ahead(axis):
    assert Layout(**{axis: 2}).misfit(replace(SIZES["1m"], ahead=1))[0] == axis


@pytest.mark.parametrize("width", ["expert_hidden", "shared_hidden"])
def test_experts_are_divided_whole(width):
    layout, shape = Layout(tensor=16), SIZES["dots1-142b"]
    assert layout.misfit(shape) is None
    found = layout.misfit(replace(shape, **{width: getattr(shape, width) + 8}))
    assert found[0] == "tensor"
    assert f"model.{width}" in found[2]
    biased = layout.misfit(replace(shape, biased=True))
    assert "biases" in biased[1]
