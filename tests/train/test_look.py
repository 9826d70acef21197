"""Held-out figures are those of a plain computation; samples come from decoders alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pretrain import flow, store
from pretrain.model.init import build
from pretrain.model.sizes import SIZES
from pretrain.tokenize.encode import Encoder
from pretrain.train import look
from pretrain.train.data import held_out_windows
from pretrain.train.load import load_run
from pretrain.train.settings import Objective

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def run(tiny_run):
    model, encoder = load_run(tiny_run)
    return tiny_run, flow.recorded_recipe(tiny_run), model, encoder


def held_out(run, **objective):
    folder, recipe, _, encoder = run
    asked = replace(look.asked_of(recipe, encoder), settings=Objective(**objective))
    return look.open_held_out(folder, 512, encoder, asked, CPU)


@pytest.mark.parametrize("kind", ["next_token", "fill_in"])
def test_a_decoder_is_scored_on_the_plain_next_token(run, kind):
    folder, _, model, encoder = run
    found = look.scores(model, held_out(run, kind=kind), torch.float32, 3)
    for source, rows in held_out_windows(folder, 512).items():
        tokens = torch.from_numpy(rows)
        with torch.no_grad():
            logits = model(tokens[:, :-1])
        targets = tokens[:, 1:]
        nats = F.cross_entropy(logits.mT, targets, reduction="sum")
        plain = targets[targets != encoder.end_of_text].tolist()
        score = found[source]
        assert score.nats == pytest.approx(float(nats), rel=1e-5)
        is_text = targets != encoder.end_of_text
        assert score.n_right == int((logits.argmax(-1) == targets)[is_text].sum())
        assert score.n_text == len(plain)
        assert score.n_bytes == sum(len(encoder.token_bytes(t)) for t in plain)
        assert score.n_targets == targets.numel()


def test_masks_are_the_same_at_every_look_and_whatever_training_hides(run):
    one, other = (held_out(run, kind="masked", share=share) for share in (0.15, 0.4))
    for source, rows in one.rows.items():
        assert torch.equal(rows.inputs_RL, other.rows[source].inputs_RL)
        assert np.array_equal(rows.places_N, other.rows[source].places_N)
        share = len(rows.places_N) / rows.inputs_RL.numel()
        assert share == pytest.approx(0.15, abs=0.03)


def test_a_line_adds_up_over_sources_and_says_the_average_too(run):
    _, _, model, _ = run
    rows = held_out(run)
    zeros = {f"average.{n}": torch.zeros_like(p) for n, p in model.named_parameters()}
    parameters = dict(model.named_parameters())
    line = look.look(lambda: look.scores(model, rows, torch.float32, 4), parameters, zeros)
    found = look.scores(model, rows, torch.float32, 4)
    total = sum(found.values(), look.Score())
    assert line["held_out_loss"] == total.loss
    assert line["bits_per_byte_by_source"].keys() == found.keys()
    assert line["average_held_out_loss"] == pytest.approx(np.log(512), rel=1e-4)
    assert line["held_out_loss"] != line["average_held_out_loss"]


def test_a_model_that_does_not_continue_text_has_no_samples(run, tmp_path):
    _, recipe, model, encoder = run
    look.sample(model, encoder, recipe, tmp_path / "samples.jsonl", 3)
    assert len((tmp_path / "samples.jsonl").read_text().splitlines()) == 2
    small = {"layers": 1, "width": 32, "heads": 2, "kv_heads": 2, "hidden": 32, "vocab_size": 512}
    bert = build(replace(SIZES["bert-base"], **small), 0)
    look.sample(bert, encoder, recipe, tmp_path / "none.jsonl", 3)
    assert not (tmp_path / "none.jsonl").exists()


def test_samples_end_where_the_positions_of_a_model_do(run, tmp_path):
    """Recipes ask for 8 tokens; of the prompts one leaves room for 3, the other for none."""
    _, recipe, _, encoder = run
    small = {"layers": 1, "width": 32, "heads": 2, "kv_heads": 2, "hidden": 32, "vocab_size": 512}
    prompts = tuple(encoder.decode([300] * n) for n in (7, 40))
    assert [len(encoder.encode(prompt)) for prompt in prompts] == [7, 40]
    gpt2 = build(replace(SIZES["gpt2-124m"], max_length=10, **small), 0)
    recipe = replace(recipe, train=replace(recipe.train, prompts=prompts))
    look.sample(gpt2, encoder, recipe, tmp_path / "samples.jsonl", 3, together=True)
    first, second = store.read_lines(tmp_path / "samples.jsonl")
    assert first["text"]
    assert len(encoder.encode(first["text"])) <= 3
    assert second["text"] == ""


def test_ranks_that_compute_together_make_equally_many_passes(run, tmp_path, monkeypatch):
    _, recipe, model, encoder = run
    n_passes = []
    real = type(model).hidden
    monkeypatch.setattr(type(model), "hidden", lambda *a, **k: n_passes.append(1) or real(*a, **k))
    passes = {}
    for together in (False, True):
        for path in (tmp_path / f"{together}.jsonl", None):
            n_passes.clear()
            look.sample(model, encoder, recipe, path, 3, together)
            passes[together, path is None] = len(n_passes)
    assert (tmp_path / "True.jsonl").read_text() == (tmp_path / "False.jsonl").read_text()
    n_tokens = recipe.train.sample_tokens * len(recipe.train.prompts)
    assert passes[True, True] == passes[True, False] == n_tokens


def test_special_tokens_of_the_recipe_are_the_tokenizers(run):
    _, recipe, _, encoder = run
    asked = look.asked_of(recipe, encoder)
    assert isinstance(encoder, Encoder)
    assert asked.separator == encoder.end_of_text
    assert asked.settings == recipe.train.objective
