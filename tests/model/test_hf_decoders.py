"""Each shape has the one class that computes it, and what no class computes has none."""

from dataclasses import replace

import pytest

from pretrain.errors import DataError
from pretrain.model import hf, hf_decoders
from pretrain.model.sizes import SIZES

KINDS = [
    ("8b", "llama"),
    ("mistral-7b", "mistral"),
    ("qwen3-8b", "qwen3"),
    ("mixtral-8x7b", "mixtral"),
    ("qwen3-30b-a3b", "qwen3_moe"),
    ("dots1-142b", "dots1"),
    ("gpt2-1558m", "gpt2"),
]


@pytest.mark.parametrize(("size", "kind"), KINDS)
def test_the_class_of_a_size(size, kind):
    assert hf_decoders.kind_of(SIZES[size]) == kind


@pytest.mark.parametrize("size", [size for size, _ in KINDS])
@pytest.mark.parametrize(
    "change", [{"activation": "relu2"}, {"logit_cap": 30.0}, {"input_norm": True}]
)
def test_what_no_class_computes_is_refused(size, change):
    with pytest.raises(DataError, match="no class of transformers computes this shape"):
        hf.kind_of(replace(SIZES[size], **change))
