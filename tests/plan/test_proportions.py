"""A network of a size: near it, and one that can be trained and laid out."""

import pytest

from pretrain.errors import UsageError
from pretrain.model import count
from pretrain.plan import proportions


@pytest.mark.parametrize("n", [5e6, 3e7, 1.24e8, 1e9, 3e9, 8e9, 3e10, 7e10, 4.05e11, 2e12])
def test_sizes_are_met(n):
    shape = proportions.shape_of(n)
    assert count.n_parameters(shape) == pytest.approx(n, rel=0.08)
    assert shape.width % shape.heads == 0
    assert shape.heads % shape.kv_heads == 0
    assert shape.vocab_size * shape.width < 0.6 * n


@pytest.mark.parametrize("n", [0, 1e3, 1e14])
def test_others_are_refused(n):
    with pytest.raises(UsageError, match="2 million to 5 trillion"):
        proportions.shape_of(n)
