"""Bits per byte equal those of a byte model known in closed form, however text is cut."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from pretrain.evaluate.loss import by, host_of, text_loss, together
from pretrain.model.init import build
from pretrain.model.sizes import SIZES
from pretrain.tokenize import bpe
from pretrain.tokenize.encode import Encoder

TEXTS = ["the river", "ströme über steine, " * 20, "x", "", "a" * 200 + "\n"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    path = tmp_path_factory.mktemp("bytes") / "tokenizer.json"
    path.write_bytes(bpe.dumps(bpe.tokenizer_json([], "llama3", 16)))
    return Encoder(path)


@pytest.fixture(scope="module")
def bigram(encoder):
    """(a network of one block that does nothing, the log2 p of each byte after each it computes)

    Embeddings are axes, the norm makes each √width long, and the head holds the table.
    """
    n = encoder.vocab_size
    shape = replace(
        SIZES["1m"], layers=1, width=n, heads=4, kv_heads=4, hidden=8, vocab_size=n,
        norm_epsilon=0.0,
    )  # fmt: skip
    model = build(shape, seed=0)  # o and down are zero
    logits = torch.randn(n, n, generator=torch.Generator().manual_seed(3)) * 2
    with torch.no_grad():
        model.embed.weight.copy_(torch.eye(n))
        model.head.weight.copy_(logits.T / math.sqrt(n))
    return model.eval(), (logits.double().log_softmax(-1) / math.log(2)).numpy()


def known_bits(table, encoder, text):
    stream = [encoder.end_of_text, *text.encode()]
    return -sum(table[a, b] for a, b in itertools.pairwise(stream))


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.9])
@pytest.mark.parametrize(("length", "batch_tokens"), [(16, 100), (1000, 4000)])
def test_bits_are_those_of_a_byte_model_known_in_closed_form(
    bigram, encoder, overlap, length, batch_tokens
):
    model, table = bigram
    told: list[int] = []
    found = text_loss(model, encoder, TEXTS, length, overlap, batch_tokens, told.append)
    for text, cost in zip(TEXTS, found, strict=True):
        bits = known_bits(table, encoder, text)
        assert cost.nats / math.log(2) == pytest.approx(bits, rel=1e-5)
        assert cost.n_bytes == cost.n_tokens == len(text.encode())
        assert cost.bits_per_byte == pytest.approx(bits / max(1, cost.n_bytes), rel=1e-5)
        assert cost.places_2P.sum(axis=1) == pytest.approx([cost.nats, cost.n_tokens])
    assert told == [len(TEXTS)]


def test_places_are_counted_from_the_start_of_the_window(bigram, encoder):
    model, table = bigram
    text = "abcdefghij" * 2
    (cost,) = text_loss(model, encoder, [text], 8, 0.5, 100)
    # 20 bytes: places 0 to 7, then 4 … 7 three times, of windows that begin with 4 of context.
    rows = {(row["first"], row["last"]): row for row in cost.by_place()}
    counts = {group: row["n_tokens"] for group, row in rows.items()}
    assert counts == {(0, 0): 1, (1, 2): 2, (3, 6): 4 + 3 * 3, (7, 14): 1 + 3}
    first = rows[0, 0]["loss"] / math.log(2)
    assert first == pytest.approx(-table[encoder.end_of_text, ord("a")], rel=1e-5)
    nats = sum(row["loss"] * row["n_tokens"] for row in rows.values())
    assert nats == pytest.approx(cost.nats)


def test_groups_add_up_and_the_small_ones_are_summed(bigram, encoder):
    costs = text_loss(bigram[0], encoder, TEXTS, 16, 0.5, 100)
    keys = ["a", "b", "c", None, "a"]
    groups = by(costs, keys)
    assert list(groups) == ["b", "a", "c", None]
    assert groups["a"].nats == costs[0].nats + costs[4].nats
    assert groups["a"].n_texts == 2
    few = by(costs, keys, most=1)
    assert list(few) == ["b", None]
    for found in (groups, few):
        whole, parts = together(costs), together(list(found.values()))
        assert (parts.n_tokens, parts.n_bytes, parts.n_texts) == (
            whole.n_tokens, whole.n_bytes, len(TEXTS),
        )  # fmt: skip
        assert parts.nats == pytest.approx(whole.nats)
        np.testing.assert_allclose(parts.places_2P, whole.places_2P)
    assert together([]).bits_per_byte == together([]).loss == 0


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://www.a.example/b?c", "a.example"),
        ("http://A.example:80", "a.example"),
        ("no url", None),
        ("http://[", None),
        ("", None),
        (None, None),
    ],
)
def test_hosts(url, host):
    assert host_of(url) == host
