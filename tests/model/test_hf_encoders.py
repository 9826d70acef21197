"""Each shape has the one class that computes it, and what no class computes has none."""

from dataclasses import replace

import pytest

from pretrain.errors import DataError
from pretrain.model import hf, hf_encoders
from pretrain.model.sizes import SIZES

KINDS = [("bert-large", "bert"), ("modernbert-base", "modernbert")]


@pytest.mark.parametrize(("size", "kind"), KINDS)
def test_the_class_of_a_size(size, kind):
    assert hf_encoders.kind_of(SIZES[size]) == kind


@pytest.mark.parametrize("size", [size for size, _ in KINDS])
@pytest.mark.parametrize("change", [{"activation": "relu"}, {"norm_place": "after", "norm": "rms"}])
def test_what_no_class_computes_is_refused(size, change):
    with pytest.raises(DataError, match="no class of transformers computes this shape"):
        hf.kind_of(replace(SIZES[size], **change))
