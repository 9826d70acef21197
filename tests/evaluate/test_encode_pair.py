"""A pair as tokens: the context's own, and what the whole has behind as many."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.evaluate.encode_pair import encode_pair
from pretrain.tokenize.encode import Encoder


@pytest.fixture(scope="module")
def encoder(tiny_run) -> Encoder:
    return Encoder(tiny_run / "tokenize" / "tokenizer.json")


text = st.text(alphabet="the rivx. \n", max_size=20)


@settings(max_examples=60)
@given(context=text, continuation=text.filter(bool), prefixed=st.booleans())
def test_the_continuation_is_what_the_whole_adds(encoder, context, continuation, prefixed):
    request, n_cut = encode_pair(encoder, context, continuation, 1000, prefixed)
    whole, own = encoder.encode(context + continuation), encoder.encode(context.rstrip())
    if len(own) >= len(whole):
        own = whole[:-1]
    assert n_cut == 0
    prefix = [encoder.end_of_text] if prefixed or not own else []
    assert list(request.context) == [*prefix, *own]
    assert list(request.continuation) == whole[len(own) :]


def test_space_at_the_end_of_a_context_begins_the_continuation(encoder):
    for context, rest in (("The river ", "runs"), ("The river  ", "runs"), ("The river\n", "runs")):
        request, _ = encode_pair(encoder, context, rest, 100)
        assert list(request.context) == [encoder.end_of_text, *encoder.encode("The river")]
        assert encoder.decode(request.continuation) == (context + rest)[len("The river") :]


def test_an_empty_context_is_the_separator(encoder):
    request, _ = encode_pair(encoder, "", "The river", 100, prefixed=False)
    assert request.context == (encoder.end_of_text,)
    assert list(request.continuation) == encoder.encode("The river")


@given(window=st.integers(1, 40))
def test_what_is_too_long_loses_its_beginning(encoder, window):
    whole, _ = encode_pair(encoder, "over old stones " * 4, " runs home", 1000)
    request, n_cut = encode_pair(encoder, "over old stones " * 4, " runs home", window)
    everything = whole.context + whole.continuation
    row = request.context + request.continuation
    assert row == everything[n_cut:]
    assert n_cut == max(0, len(everything) - (window + 1))
    assert len(request.context) >= 1
    expected = whole.continuation[-window:]  # a continuation longer than the window is cut too
    assert request.continuation == expected


def test_nothing_to_predict_is_an_error(encoder):
    with pytest.raises(ValueError, match="without any token"):
        encode_pair(encoder, "", "", 10)
