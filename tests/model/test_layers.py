"""Feed-forward and block are their formulas."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from pretrain.model.layers import ACTIVATIONS, FeedForward, norm
from pretrain.model.norms import RMSNorm
from pretrain.model.sizes import SIZES


@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_feed_forward(activation, gated):
    shape = replace(SIZES["1m"], activation=activation, gated=gated, biased=True)
    layer, x = FeedForward(shape, 32), torch.randn(3, shape.width)
    up = x @ layer.up.weight.T + layer.up.bias
    inside = layer.gate(x) if gated else up
    made = {
        "silu": inside * inside.sigmoid(), "relu": inside.clamp(min=0),
        "relu2": inside.clamp(min=0) ** 2, "gelu": F.gelu(inside),
        "gelu_tanh": F.gelu(inside, approximate="tanh"),
    }[activation]  # fmt: skip
    expected = layer.down(made * up if gated else made)
    assert torch.allclose(layer(x), expected, atol=1e-6)


def test_norms():
    plain = norm(replace(SIZES["1m"], norm="layer"))
    assert plain.bias is None
    assert norm(replace(SIZES["1m"], norm="layer", biased=True)).bias is not None
    assert isinstance(norm(SIZES["1m"]), RMSNorm)
