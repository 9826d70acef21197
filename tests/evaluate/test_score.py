"""Losses in batches equal a loop over single tokens; every token of a document counts once."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.evaluate.score import Segment, document_segments, losses
from pretrain.model.sizes import SIZES

from ..model.test_transformer import randomised

SHAPE = replace(SIZES["1m"], layers=2, vocab_size=320, qk_norm=True)


@pytest.fixture(scope="module")
def model():
    return randomised(SHAPE)


@torch.inference_mode()
def naive(model, tokens, first=1):
    """The loss of each target of one row, one softmax at a time."""
    result = []
    for i in range(first, len(tokens)):
        logits = model(torch.from_numpy(tokens[:i])[None])[0, -1].double()
        result.append(float(torch.logsumexp(logits, 0) - logits[tokens[i]]))
    return result


def _segments():
    rng = np.random.default_rng(0)
    sizes = [(2, 1), (30, 1), (17, 9), (17, 16), (5, 2), (30, 29), (3, 1), (12, 4)]
    return [Segment(rng.integers(0, 320, n), first) for n, first in sizes]


@pytest.mark.parametrize("batch_tokens", [1, 31, 64, 10_000])
def test_losses_equal_a_naive_loop(model, batch_tokens):
    segments = _segments()
    found = losses(model, segments, batch_tokens)
    for segment, loss in zip(segments, found, strict=True):
        assert loss.dtype == np.float32
        assert len(loss) == len(segment.tokens) - segment.first
        assert loss == pytest.approx(naive(model, segment.tokens, segment.first), abs=2e-4)


def test_no_segments_give_no_losses(model):
    assert losses(model, [], 100) == []


@settings(max_examples=200, deadline=None)
@given(
    n_tokens=st.integers(0, 200),
    length=st.integers(2, 40),
    overlap=st.floats(0, 0.9),
)
def test_every_token_is_a_target_exactly_once(n_tokens, length, overlap):
    tokens = np.arange(1000, 1000 + n_tokens)
    stream = [7, *tokens.tolist()]
    targets = []
    for k, segment in enumerate(document_segments(tokens, 7, length, overlap)):
        row = segment.tokens.tolist()
        assert len(row) <= length + 1
        assert 1 <= segment.first < len(row)
        at = 0 if row[0] == 7 else row[0] - 1000 + 1
        assert row == stream[at : at + len(row)]  # a piece of the document, in order
        assert k > 0 or (at == 0 and segment.first == 1)
        targets += row[segment.first :]
    assert targets == tokens.tolist()


@settings(max_examples=100, deadline=None)
@given(n_tokens=st.integers(1, 300), length=st.integers(4, 40), overlap=st.floats(0, 0.9))
def test_later_windows_give_every_target_its_context(n_tokens, length, overlap):
    segments = document_segments(np.arange(n_tokens), 7, length, overlap)
    for segment in segments[1:]:
        assert segment.first == int(length * overlap) + 1
    for segment in segments[1:-1]:
        assert len(segment.tokens) == length + 1


def test_a_document_in_one_window_is_scored_as_a_whole(model):
    tokens = np.random.default_rng(1).integers(0, 320, 20)
    (segment,) = document_segments(tokens, 0, 32, 0.5)
    (loss,) = losses(model, [segment], 64)
    assert loss == pytest.approx(naive(model, np.array([0, *tokens])), abs=2e-4)


@pytest.mark.parametrize("n_tokens", [1, 15, 16, 17, 100])
def test_a_uniform_model_pays_the_log_of_its_vocabulary(n_tokens):
    model = randomised(SHAPE)
    with torch.no_grad():
        model.head.weight.zero_()
    tokens = np.random.default_rng(1).integers(0, 320, n_tokens)
    found = losses(model, document_segments(tokens, 0, 16, 0.5), 64)
    bits = sum(float(loss.sum(dtype=np.float64)) for loss in found) / math.log(2)
    assert bits / 77 == pytest.approx(math.log2(320) * n_tokens / 77, rel=1e-6)
