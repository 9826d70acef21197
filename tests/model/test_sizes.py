"""Rows of the table that were published have their published sizes."""

from dataclasses import replace

import pytest

from pretrain.model import count
from pretrain.model.settings import Settings
from pretrain.model.sizes import SIZES

PUBLISHED = {
    "gpt2-124m": (50_257, 124_439_808),
    "bert-base": (30_522, 109_514_298),
    "t5-small": (32_128, 60_506_624),
    "llama-1-7b": (32_000, 6_738_415_616),
    "mistral-7b": (32_000, 7_241_732_096),
    "mixtral-8x7b": (32_000, 46_702_792_704),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_real_shapes_have_their_published_sizes(name):
    vocabulary, n = PUBLISHED[name]
    assert count.n_parameters(replace(SIZES[name], vocab_size=vocabulary)) == n


@pytest.mark.parametrize("name", SIZES)
def test_heads_fit(name):
    shape = SIZES[name]
    assert shape.heads % shape.kv_heads == 0
    assert shape.head_dim or shape.width % shape.heads == 0
    assert shape.head_width % 2 == 0
    assert Settings(size=name).shape(7).vocab_size == 7
