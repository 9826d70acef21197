"""Text as it grows: whole characters, and the same from the run and from what was published."""

import shutil

import pytest

from pretrain.errors import DataError
from pretrain.model import generate as tokens_module
from pretrain.publish import generate as module
from pretrain.publish.generate import generate, load_published
from pretrain.train.load import load_run

PROMPT = "The river déjà 河"


def test_run_and_published_folder_give_the_same_text(tiny_run):
    published = tiny_run / "publish" / "model"
    n_new = 0
    for prompt in (PROMPT, "def f(", "The river runs over old", "Winter l"):
        for temperature in (0.0, 0.8):
            texts = [
                "".join(generate(folder, prompt, 20, temperature, 50, 3))
                for folder in (tiny_run, published)
            ]
            assert texts[0] == texts[1]
            assert texts[0].startswith(prompt)
            n_new += len(texts[0]) - len(prompt)
    assert n_new > 20


def test_the_text_is_what_the_model_says(tiny_run):
    model, encoder = load_run(tiny_run)
    ids = [encoder.end_of_text, *encoder.encode(PROMPT)]
    tokens = list(tokens_module.generate(model, ids, 30, 0.9, 0, 5, [encoder.end_of_text]))
    pieces = list(generate(tiny_run, PROMPT, 30, 0.9, 0, 5))
    assert pieces[0] == PROMPT
    assert "".join(pieces[1:]) == encoder.decode(tokens)


def _stream(monkeypatch, tiny_run, parts):
    """What `generate` yields after the prompt when the model's tokens are these bytes."""
    model, encoder = load_run(tiny_run)
    monkeypatch.setattr(encoder, "token_bytes", lambda i: parts[i])
    monkeypatch.setattr(module, "load_run", lambda folder: (model, encoder))
    monkeypatch.setattr(module, "generate_tokens", lambda *_: iter(range(len(parts))))
    return list(generate(tiny_run, "", 1, 0, 0, 0))[1:]


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
        list(generate(tmp_path, "x", 1, 0, 0, 0))
    shutil.copy(tiny_run / "publish" / "model" / "config.json", tmp_path)
    with pytest.raises(DataError, match=r"model\.safetensors"):
        list(generate(tmp_path, "x", 1, 0, 0, 0))
