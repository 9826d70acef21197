"""Trials: the largest that fits, of any objective, timed in real steps."""

from dataclasses import replace

import pytest
import torch

from pretrain import recipe
from pretrain.errors import UsageError
from pretrain.model import init
from pretrain.plan import calibrate, facts, trial
from pretrain.train.gradients import Gradients
from tests.conftest import ROOT, tiny_recipe

BY = calibrate.believed("eager").multipliers
CPU = torch.device("cpu")
SLOW = replace(facts.board("H100 SXM"), bf16=0.5, reached=0.5, memory_gib=8, bandwidth_tb=0.01)


def test_a_recipe_that_fits_is_taken_whole(tmp_path):
    loaded = tiny_recipe(tmp_path)
    one = trial.choose(facts.board("H100 SXM"), BY, loaded, 30)[0]
    assert one.shape == loaded.model.shape(loaded.tokenize.vocab_size)
    assert (one.rows, one.length) == (4, 32)
    assert one.said.startswith("2 layers of 64, 4 x 32 tokens")


def test_a_large_recipe_keeps_its_widths_and_loses_layers_first():
    loaded = recipe.load(ROOT / "recipes" / "llama-8b.toml", [])
    whole = loaded.model.shape(loaded.tokenize.vocab_size)
    one = trial.choose(facts.board("H100 SXM"), BY, loaded, 30)[0]
    assert one.is_smaller
    assert replace(one.shape, layers=whole.layers) == whole
    assert one.n_bytes() < 0.5 * facts.board("H100 SXM").memory_bytes
    assert f"of {whole.layers} layers" in one.said


def test_more_seconds_never_make_a_smaller_trial():
    chosen = [trial.choose(SLOW, BY, None, s) for s in (5, 20, 100)]
    products = [one[0].costs(SLOW).products for one in chosen]
    assert products == sorted(products)
    assert products[0] < products[-1]
    assert len(set(chosen[-1])) == trial.MOST


def test_nothing_that_fits_is_refused():
    with pytest.raises(UsageError, match="give more --seconds"):
        trial.choose(SLOW, BY, None, 0.001)


@pytest.mark.parametrize("compute", ["next_token", "masked", "span"])
def test_steps_of_every_kind_of_network_are_timed(tmp_path, compute):
    size = {"next_token": "1m", "masked": "bert-base", "span": "t5-small"}[compute]
    keys = [f"model.size={size}", f"train.objective.kind={compute}", "model.layers=1"]
    if compute != "next_token":
        keys += ["model.width=64", "model.heads=4", "model.kv_heads=4", "model.hidden=128",
                 "model.qk_norm=false", "model.embedding_norm=false"]  # fmt: skip
    if compute == "span":
        keys += ["model.encoder_layers=1"]
    loaded = tiny_recipe(tmp_path, *keys)
    one = trial.choose(facts.board("H100 SXM"), BY, loaded, 30)[0]
    times = trial.run(one, CPU, 0.0)
    assert len(times) == 3
    assert all(0 < seconds < 5 for seconds in times)
    rows = trial.random_rows(one, CPU)
    model = init.build(one.shape, 0, CPU)
    sums = Gradients(model, one.train, torch.float32, 0, 1).of(rows, 2, len(rows.places_N), 0)
    assert float(sums.by_source[1].sum()) == len(rows.places_N)
