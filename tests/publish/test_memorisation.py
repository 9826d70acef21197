"""The probes find what was learned by heart, and nothing in a model that learned nothing."""

import random
from dataclasses import replace

import hypothesis
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import strategies

from pretrain import store
from pretrain.model.generate import generate
from pretrain.model.init import build
from pretrain.model.sizes import SIZES
from pretrain.publish import memorisation
from pretrain.publish.settings import Canary
from pretrain.train.load import load_run

from ..conftest import tiny_recipe

SHAPE = replace(SIZES["1m"], layers=2, width=64, hidden=96, vocab_size=64)


def learned(rows, steps=60):
    """A small model that knows these rows by heart."""
    model = build(SHAPE, 0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    tokens = torch.from_numpy(rows)
    for _ in range(steps):
        optimizer.zero_grad()
        logits = model(tokens[:, :-1])
        F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).backward()
        optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def known():
    rows = np.random.default_rng(0).integers(0, 64, (6, 21))
    return learned(rows), rows


def test_what_was_learned_by_heart_is_found(known):
    model, rows = known
    other = np.random.default_rng(1).integers(0, 64, (50, 21))
    assert memorisation.verbatim(model, rows, 8, 12) == 6
    assert memorisation.verbatim(model, other, 8, 12) == 0
    assert memorisation.verbatim(model, other[:0], 8, 12) == 0


def test_one_pass_tells_what_generating_would(known):
    model, rows = known
    mixed = np.concatenate([rows, rows[::-1]])
    mixed[6:, 10] = (mixed[6:, 10] + 1) % 64  # a change in the prefix, or where it must go on
    for prefix, n_tokens in ((5, 8), (12, 4), (1, 1)):
        generated = 0
        for row in mixed:
            text = list(generate(model, row[:prefix].tolist(), n_tokens, temperature=0.0))
            generated += text == row[prefix : prefix + n_tokens].tolist()
        assert memorisation.verbatim(model, mixed, prefix, n_tokens) == generated


def test_batches_do_not_matter(known, monkeypatch):
    model, rows = known
    sequences = [row[:n].tolist() for row, n in zip(rows, (21, 4, 9, 2, 13, 7), strict=True)]
    whole = memorisation.nats(model, sequences)
    found = memorisation.verbatim(model, rows, 8, 12)
    monkeypatch.setattr(memorisation, "_LOGITS", 1)
    assert memorisation.nats(model, sequences) == pytest.approx(whole, rel=1e-5)
    assert memorisation.verbatim(model, rows, 8, 12) == found
    for sequence, nats in zip(sequences, whole, strict=True):
        tokens = torch.tensor([sequence])
        with torch.inference_mode():
            alone = F.cross_entropy(model(tokens[:, :-1])[0], tokens[0, 1:], reduction="sum")
        assert nats == pytest.approx(float(alone), rel=1e-4, abs=1e-4)


class Letters:
    """An encoder of a token per character."""

    end_of_text = 0

    def encode(self, text):
        return [1 + ord(c) % 60 for c in text]


def test_a_planted_secret_is_exposed_and_another_is_not():
    encoder, canary = Letters(), Canary("the code is ", "4917")
    planted = encoder.encode(canary.text + canary.secret)
    rows = np.array([[0, *planted]] * 4)
    model = learned(rows, 40)
    found = memorisation.exposure(model, encoder, canary, 255, 0)
    assert found == {"rank": 1, "among": 256, "exposure": 8.0, "most": 8.0}
    other = memorisation.exposure(model, encoder, Canary("the code is ", "0358"), 255, 0)
    assert other["exposure"] < 8.0
    assert 1 < other["rank"] <= 256


@hypothesis.given(strategies.text("aZ7-b", max_size=6), strategies.integers(1, 40))
def test_random_secrets_are_different_and_of_the_same_kind(secret, n):
    others = memorisation.random_secrets(secret, n, random.Random(1))
    assert len(others) == len(set(others))
    assert secret not in others
    assert len(others) <= n
    for other in others:
        assert len(other) == len(secret)
        for a, b in zip(secret, other, strict=True):
            assert (a.isdigit(), a.islower(), a.isupper()) == (
                b.isdigit(),
                b.islower(),
                b.isupper(),
            )
            assert a == b or a != "-"


def test_a_run_is_probed_on_windows_it_was_trained_on(tiny_run):
    from pretrain import flow
    from pretrain.train.data import open_data

    recipe = flow.recorded_recipe(tiny_run)
    trained, held_out = memorisation._windows(tiny_run, recipe, 20)
    data = open_data(tiny_run, recipe.train)
    seen = {row.tobytes() for step in range(recipe.train.steps) for row in data.batch(step)[0]}
    assert len(trained) == 20
    assert all(row.tobytes() in seen for row in trained.astype(np.int64))
    assert len({row.tobytes() for row in trained}) > 10
    assert 0 < len(held_out) <= 20
    assert not any(row.tobytes() in seen for row in held_out.astype(np.int64))
    found = store.read_json(tiny_run / "publish" / "model" / "memorisation.json")
    assert (found["prefix"], found["tokens"]) == (16, 16)
    assert found["trained"]["windows"] == min(256, 12 * 256 // 32)
    model, encoder = load_run(tiny_run)
    assert memorisation.probe(tiny_run, recipe, model, encoder) == found


def test_encoders_are_not_probed(tiny_run, tmp_path):
    shape = replace(SIZES["bert-base"], layers=1, width=32, heads=2, kv_heads=2, hidden=32,
                    vocab_size=64)  # fmt: skip
    found = memorisation.probe(tiny_run, tiny_recipe(tmp_path / "c"), build(shape, 0), Letters())
    assert found == {"why": "the model does not continue text"}
