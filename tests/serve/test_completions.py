"""What a body asks for; what is wrong with one is tested over HTTP in test_app.py."""

import pytest

from pretrain.model.sampling import Sampling
from pretrain.serve.completions import Refused, asked, log_probabilities

from .conftest import NAME


def test_the_defaults_are_openais(writer):
    found = asked({}, writer, NAME, 128)
    assert (found.limit, found.n, found.stream, found.stop) == (16, 1, False, ())
    assert found.prompts == [writer.ids("")]
    assert (found.sampling.temperature, found.sampling.top_p) == (1.0, 1.0)
    assert asked({}, writer, NAME, 128).sampling.seed != found.sampling.seed
    assert asked({}, writer, NAME, 5).limit == 5


def test_every_key_is_taken(writer):
    body = {"prompt": ["a", [1, 2]], "temperature": 0, "top_p": 1, "top_k": 3, "min_p": 0.1,
            "repetition_penalty": 2, "seed": -1, "stop": "x", "n": 2, "logprobs": 0,
            "user": "me", "frequency_penalty": 0, "best_of": 2, "max_tokens": None}  # fmt: skip
    found = asked(body, writer, NAME, 128)
    assert found.sampling == Sampling(0.0, 3, 1.0, 0.1, 2.0, 2**64 - 1)
    assert found.prompts == [writer.ids("a"), [1, 2]]
    assert (found.stop, found.n, found.n_likeliest) == (("x",), 2, 0)


def test_a_refusal_names_its_key(writer):
    with pytest.raises(Refused) as caught:
        asked({"min_p": 2}, writer, NAME, 128)
    assert (caught.value.status, caught.value.param) == (400, "min_p")


def test_offsets_are_where_the_tokens_begin_in_the_text(writer):
    tokens = writer.encoder.encode("the é")
    table = log_probabilities(writer, tokens, [(-1.0, {116: -0.5})] * len(tokens))
    assert table["text_offset"] == [0, 2, 3, 4, 4]  # th e ' ' and two bytes of é
    assert table["tokens"] == ["th", "e", " ", r"bytes:\xc3", r"bytes:\xa9"]
    assert table["top_logprobs"][0] == {"t": -0.5}
