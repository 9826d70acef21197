"""A planner's network counts what the model's own counts say."""

from dataclasses import replace

import pytest

from pretrain.model import count
from pretrain.model.sizes import SIZES
from pretrain.plan import network

PLAIN = [name for name, shape in SIZES.items() if not shape.encoder_layers]


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("length", [512, 8192])
def test_flops_are_the_models_own(name, length):
    shape = replace(SIZES[name], vocab_size=50_000, head_transform=False)
    net = network.of(shape)
    assert net.flops_per_token(length) == pytest.approx(
        count.flops_per_token(shape, length), rel=1e-9
    )
    assert net.total == count.n_parameters(shape)
    assert net.depth == shape.layers


def test_parameters_of_products_are_nearly_all():
    shape = replace(SIZES["qwen3-30b-a3b"], vocab_size=151_936)
    net = network.of(shape)
    blocks = sum(n * (x.dense_parameters + x.expert_parameters) for x, n in net.layers)
    whole = blocks + 2 * net.width * net.vocabulary
    assert whole == pytest.approx(count.n_parameters(shape), rel=1e-3)
