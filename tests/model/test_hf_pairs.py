"""Each shape has the one class that computes it, and what no class computes has none."""

from dataclasses import replace

import pytest

from pretrain.errors import DataError
from pretrain.model import hf, hf_pairs
from pretrain.model.sizes import SIZES

KINDS = [("t5-small", "t5"), ("t5-v1.1-base", "t5"), ("transformer-big", "marian")]


@pytest.mark.parametrize(("size", "kind"), KINDS)
def test_the_class_of_a_size(size, kind):
    assert hf_pairs.kind_of(SIZES[size]) == kind


@pytest.mark.parametrize("size", [size for size, _ in KINDS])
@pytest.mark.parametrize("change", [{"activation": "silu"}, {"qk_norm": True}])
def test_what_no_class_computes_is_refused(size, change):
    with pytest.raises(DataError, match="no class of transformers computes this shape"):
        hf.kind_of(replace(SIZES[size], **change))
