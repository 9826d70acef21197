"""Text as it grows: whole characters, and the same from the run and from what was published."""

import shutil
from dataclasses import replace

import pytest

from pretrain.errors import DataError
from pretrain.model import generate as tokens_module
from pretrain.model.sampling import Sampling
from pretrain.publish import generate as module
from pretrain.publish.generate import Text, generate, open_writer, texts
from pretrain.train.load import load_published, load_run

PROMPT = "The river déjà 河"


def test_run_and_published_folder_give_the_same_text(tiny_run):
    writers = [open_writer(tiny_run), open_writer(tiny_run / "publish" / "model")]
    assert {(writer.window, writer.ends) for writer in writers} == {(32, writers[0].ends)}
    n_new = 0
    for prompt in (PROMPT, "def f(", "The river runs over old", "Winter l"):
        for temperature in (0.0, 0.8):
            texts = [
                "".join(generate(writer, prompt, 20, Sampling(temperature, 50, seed=3)))
                for writer in writers
            ]
            assert texts[0] == texts[1]
            assert texts[0].startswith(prompt)
            n_new += len(texts[0]) - len(prompt)
    assert n_new > 20


def test_the_text_is_what_the_model_says(tiny_run):
    model, encoder = load_run(tiny_run)
    ids = [encoder.end_of_text, *encoder.encode(PROMPT)]
    room = 32 - len(ids)
    tokens = list(tokens_module.generate(model, ids, room, 0.9, 0, 5, [encoder.end_of_text]))
    for n_tokens in (room, room + 5):  # the window ends it
        pieces = list(generate(open_writer(tiny_run), PROMPT, n_tokens, Sampling(0.9, seed=5)))
        assert pieces[0] == PROMPT
        assert "".join(pieces[1:]) == encoder.decode(tokens)
    with pytest.raises(DataError, match="fewer than the 32 of the model's window"):
        next(generate(open_writer(tiny_run), PROMPT * 3, 1, Sampling()))


def test_many_prompts_at_once_are_each_alone(tiny_run):
    writer = open_writer(tiny_run)
    prompts = ["", "The river", "def f(", PROMPT, "Winter l", "The river"]
    found = texts(writer, prompts, 25, Sampling(), stop=["e "], rows=3)
    for prompt, text in zip(prompts, found, strict=True):
        assert "".join(generate(writer, prompt, 25, Sampling(), ["e "])) == prompt + text.text
        assert text.finish in ("stop", "length")
        room = writer.room(writer.ids(prompt))
        assert text.n_tokens == min(25, room) if text.finish == "length" else "e " not in text.text
    drawn = texts(writer, prompts, 9, Sampling(1.0, seed=2))
    assert drawn == texts(writer, prompts, 9, Sampling(1.0, seed=2), rows=1)
    assert drawn[0].text == "".join(generate(writer, "", 9, Sampling(1.0, seed=2)))
    assert drawn[1] != drawn[5]  # the same prompt, another draw
    assert texts(writer, [], 9, Sampling()) == []


def test_a_token_or_string_that_ends_a_text_is_told_from_its_length(tiny_run, monkeypatch):
    writer = replace(open_writer(tiny_run), ends=frozenset())
    whole = texts(writer, ["The river"], 12, Sampling())[0]
    assert whole.finish == "length"
    ids = writer.ids("The river")
    tokens = list(tokens_module.generate(writer.model, ids, 12, 0.0))
    ends = replace(writer, ends=frozenset([tokens[4]]))
    n = tokens.index(tokens[4])
    cut = writer.encoder.decode(tokens[:n])
    assert texts(ends, ["The river"], 12, Sampling())[0] == Text(cut, n, "stop")
    stop = whole.text[3:6]
    cut = texts(writer, ["The river"], 12, Sampling(), [stop])[0]
    assert (cut.text, cut.finish) == (whole.text[: whole.text.index(stop)], "stop")


def _stream(monkeypatch, tiny_run, parts):
    """What `generate` yields after the prompt when the model's tokens are these bytes."""
    model, encoder = load_run(tiny_run)
    monkeypatch.setattr(encoder, "token_bytes", lambda i: parts[i])
    monkeypatch.setattr(module, "load", lambda folder: (model, encoder))
    monkeypatch.setattr(module, "generate_tokens", lambda *_, **__: iter(range(len(parts))))
    return list(generate(open_writer(tiny_run), "", 1, Sampling()))[1:]


@pytest.mark.parametrize("text", ["aé河😀b", "👩‍👩‍👧", "e\u0301x"])
def test_characters_are_never_split(tiny_run, monkeypatch, text):
    pieces = _stream(monkeypatch, tiny_run, [bytes([b]) for b in text.encode()])
    assert pieces == list(text)


@pytest.mark.parametrize(
    ("parts", "pieces"),
    [
        ([b"a", b"\xff", b"b"], ["a", "\ufffd", "b"]),  # no character begins so
        ([b"a\xe6", b"b"], ["a", "\ufffdb"]),  # a character left unfinished
        ([b"\xff\xe6", b"\xb2\xb3"], ["\ufffd", "河"]),  # rubbish before one that is finished
        ([b"x", b"\xf0\x9f"], ["x", "\ufffd"]),  # the end within a character
    ],
)
def test_bytes_that_are_no_text_become_replacement_characters(tiny_run, monkeypatch, parts, pieces):
    assert _stream(monkeypatch, tiny_run, parts) == pieces


def test_the_published_model_is_the_trained_one(tiny_run):
    import torch

    ours, encoder = load_run(tiny_run)
    published, theirs = load_published(tiny_run / "publish" / "model")
    tokens = torch.arange(60)[None]
    with torch.inference_mode():
        assert torch.equal(ours(tokens), published(tokens))
    assert encoder.encode(PROMPT) == theirs.encode(PROMPT)
    assert encoder.end_of_text == theirs.end_of_text


def test_an_incomplete_folder_is_a_data_error(tiny_run, tmp_path):
    with pytest.raises(DataError):
        open_writer(tmp_path)
    shutil.copy(tiny_run / "publish" / "model" / "config.json", tmp_path)
    with pytest.raises(DataError, match=r"model\.safetensors"):
        open_writer(tmp_path)
