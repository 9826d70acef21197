"""The cost is the naive one, and ranks texts as zlib does."""

import zlib

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.curate import compressibility
from tests.curate import reference


def cost(raw):
    data = np.frombuffer(raw + bytes(8), np.uint8)
    return compressibility.cost(data, 0, len(raw), np.empty(compressibility.N_PLACES, np.int32))


@settings(deadline=None)
@given(st.one_of(st.binary(max_size=300), st.text("ab ", max_size=300).map(str.encode)))
def test_the_cost_is_that_of_the_reference(raw):
    assert cost(raw) == reference.compressed(raw)


def test_only_the_first_bytes_count():
    raw = b"abcd" * 30_000
    assert cost(raw) == cost(raw[: compressibility.MOST_BYTES])


def test_more_repetition_costs_less_as_with_zlib():
    rng = np.random.default_rng(1)
    words = [bytes(rng.integers(97, 123, rng.integers(2, 9)).astype(np.uint8)) for _ in range(4000)]
    texts = [b" ".join(words[i] for i in rng.integers(0, n, 700)) for n in (5, 40, 300, 4000)]
    shares = [(cost(t) / len(t), len(zlib.compress(t)) / len(t)) for t in texts]
    assert sorted(shares) == shares == sorted(shares, key=lambda pair: pair[1])
