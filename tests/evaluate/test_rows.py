"""Padding changes nothing, batches hold every row once, pairs are told apart."""

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pretrain.errors import DataError
from pretrain.evaluate.rows import by_length, documents_of, marks, mask_of, padded, states
from pretrain.model.sizes import SIZES
from pretrain.tokenize import bpe
from pretrain.tokenize.encode import Encoder

from ..model.test_transformer import randomised

SMALL = {"layers": 2, "width": 32, "heads": 2, "kv_heads": 2, "hidden": 48, "max_length": 0}
TEXTS = ["the river runs over old stones", "people of the town walk home", "a river", "ströme, 1 x"]


def encoder_in(folder, specials=()):
    """A small byte-level encoder; `specials` are added to its own."""
    content = bpe.tokenizer_json(bpe.learn(TEXTS * 9, 40, "llama3"), "llama3", 16)
    top = 1 + max(t["id"] for t in content["added_tokens"])
    extra = [
        dict(content["added_tokens"][0], content=s, id=top + i) for i, s in enumerate(specials)
    ]
    content["added_tokens"] += extra
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(content))
    return Encoder(path)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return encoder_in(tmp_path_factory.mktemp("rows"))


def small(size, vocab_size):
    """A random small network of a family."""
    shape = replace(SIZES[size], **SMALL, vocab_size=vocab_size, head_dim=16)
    if shape.positions == "learned":
        shape = replace(shape, max_length=64)
    if shape.encoder_layers:
        shape = replace(shape, encoder_layers=2)
    return randomised(shape).eval()


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 200))
def test_batches_hold_every_row_once_within_their_bound(lengths, batch_tokens):
    batches = list(by_length(lengths, batch_tokens))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert batch
        longest = max(lengths[i] for i in batch)
        assert len(batch) == 1 or len(batch) * longest <= batch_tokens


@pytest.mark.parametrize("size", ["bert-base", "modernbert-base", "t5-small", "gpt2-124m", "1m"])
@torch.inference_mode()
def test_states_of_padded_rows_are_those_of_each_row_alone(size):
    model = small(size, 100)
    rows = [[5, 6, 7, 8, 9, 10, 11], [50, 51], [9, 8, 7, 6]]
    tokens_BT, seen_BT = padded(rows)
    assert seen_BT.sum(dim=1).tolist() == [7, 2, 4]
    together = states(model, tokens_BT, seen_BT)
    for i, row in enumerate(rows):
        alone = states(model, *padded([row]))[0]
        torch.testing.assert_close(together[i, : len(row)], alone, atol=2e-5, rtol=1e-4)


@torch.inference_mode()
def test_only_a_network_with_segments_tells_them_apart():
    for size, differs in (("bert-base", True), ("modernbert-base", False)):
        model = small(size, 100)
        tokens_BT, seen_BT = padded([[1, 2, 3, 4]])
        plain = states(model, tokens_BT, seen_BT)
        assert torch.equal(plain, states(model, tokens_BT, seen_BT, torch.zeros_like(tokens_BT)))
        second = states(model, tokens_BT, seen_BT, torch.tensor([[0, 0, 1, 1]]))
        assert (not torch.equal(plain, second)) == differs


def test_documents_are_needed_for_padding_only():
    assert documents_of(padded([[1, 2], [3, 4]])[1]) is None
    assert documents_of(padded([[1, 2], [3]])[1]).tolist() == [[1, 1], [1, 0]]


def test_marks_are_those_of_the_tokenizer(encoder, tmp_path):
    assert marks(encoder) == (encoder.end_of_text, encoder.end_of_text)
    assert mask_of(encoder) == encoder.specials["<|mask|>"]
    berts = encoder_in(tmp_path, ["[CLS]", "[SEP]", "[MASK]"])
    assert marks(berts) == (berts.specials["[CLS]"], berts.specials["[SEP]"])
    for name in ("<|mask|>", "[MASK]"):
        assert mask_of(berts) == berts.specials.pop(name)
    with pytest.raises(DataError, match="no token to hide text with"):
        mask_of(berts)
