"""Factors equal the papers' multipliers exactly, and changes stay the same over width and depth."""

from dataclasses import replace

import pytest
import torch

from benchmarks import coordinate_check
from pretrain.errors import RecipeError
from pretrain.model.attention import Attention
from pretrain.model.init import build
from pretrain.model.sizes import SIZES
from pretrain.settings import parse
from pretrain.train import optimizers, transfer
from pretrain.train.settings import Settings

N, L = 4.0, 3.0  # as many times as wide, as deep
SHAPE = replace(coordinate_check.sized(128, 3), qk_norm=True)


def randomised(shape):
    """Initial weights of which none is zero: zeros would hide mistakes."""
    model = build(shape, 0).double()
    generator = torch.Generator().manual_seed(1)
    for name, p in model.named_parameters():
        if name.endswith(("o.weight", "down.weight")):
            p.data.normal_(0, 0.1, generator=generator)
    return model


def step(model, optimizer_step, multiplier):
    tokens = coordinate_check.batch()
    model.zero_grad(set_to_none=True)
    logits = model(tokens[:, :-1]) * multiplier
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).backward()
    optimizer_step()
    return logits


@pytest.mark.parametrize("tied", [False, True])
def test_factors_are_completeps_multipliers(tied):
    """Our weights without multipliers move as torch's AdamW moves those of the paper's table."""
    shape = replace(SHAPE, tied=tied)
    ours, theirs = randomised(shape), randomised(shape)
    s = Settings(
        optimizer="adamw", lr=0.01, weight_decay=0.1, epsilon=1e-4, transfer="completep",
        base_width=int(128 / N), base_layers=int(3 / L),
    )  # fmt: skip
    parameters = dict(ours.named_parameters())
    factors = transfer.factors(parameters, shape, s)
    transfer.scale(parameters, factors)
    optimizer = optimizers.build(parameters, s, factors)
    for block in theirs.blocks:
        for branch in (block.attention, block.feed_forward):
            branch.register_forward_hook(lambda _, __, out: out / L)
    groups = []
    for name, p in theirs.named_parameters():
        inside, matrix = name.startswith("blocks."), p.ndim > 1
        hidden = inside and matrix
        groups.append(
            {
                "params": [p],
                "lr": s.lr / N if hidden else s.lr,
                "eps": s.epsilon / N / L if inside else s.epsilon / N,
                "weight_decay": s.weight_decay * (N if hidden else 1) * matrix,
            }
        )
    reference = torch.optim.AdamW(groups, betas=(s.beta1, s.beta2))
    for i in range(4):
        a = step(ours, lambda i=i: optimizer.step(i, 1.0), 1.0)
        b = step(theirs, reference.step, 1 / N)
        assert torch.allclose(a, b, rtol=0, atol=1e-10), i


def test_factors_are_one_at_the_base_and_without_transfer():
    parameters = dict(build(SHAPE, 0).named_parameters())
    base = Settings(transfer="completep", base_width=128, base_layers=3)
    for settings in (Settings(), base):
        factors = transfer.factors(parameters, SHAPE, settings)
        assert factors.keys() == parameters.keys()
        assert set(factors.values()) == {transfer.Factors()}


def test_every_kind_of_the_table_is_some_parameters():
    kinds = {transfer.kind(n, p.ndim) for n, p in build(SHAPE, 0).named_parameters()}
    assert kinds == transfer.table(2, 2).keys()


def test_mup_knows_no_depth():
    assert transfer.table(3, 1)["branch"].initial == 1
    assert transfer.table(1, 5)["branch"].matrix_lr == pytest.approx(1 / 5)


@pytest.mark.parametrize(
    ("table", "key"),
    [({"transfer": "mup"}, "base_width"), ({"transfer": "completep", "base_width": 8},
                                           "base_layers")],
)  # fmt: skip
def test_transfer_without_a_base_is_refused(table, key):
    with pytest.raises(RecipeError, match=key):
        parse(Settings, table, "train")


def slopes(over, sizes, seeds, **settings):
    s = Settings(lr=0.001, base_width=64, base_layers=2, **settings)
    lines = coordinate_check.check(over, sizes, s, seeds)
    return {name: line["slope"] for name, line in lines.items()}


def test_changes_stay_the_same_over_width_with_mup_and_grow_without():
    widths = (64, 128, 256, 512)
    with_mup = slopes("width", widths, 4, optimizer="adamw", transfer="mup")
    assert all(abs(s) < 0.15 for s in with_mup.values()), with_mup
    without = slopes("width", widths, 1, optimizer="adamw")
    assert all(s > 0.5 for name, s in without.items() if name != "embed"), without


@pytest.mark.slow  # Newton-Schulz of 20 runs
def test_muons_changes_stay_the_same_over_width_with_mup():
    widths = (64, 128, 256)
    with_mup = slopes("width", widths, 4, optimizer="muon", transfer="mup")
    assert all(abs(s) < 0.15 for s in with_mup.values()), with_mup
    assert slopes("width", widths, 1, optimizer="muon")["logits"] > 0.5


@pytest.mark.parametrize("optimizer", ["adamw", pytest.param("muon", marks=pytest.mark.slow)])
def test_the_stream_stays_the_same_over_depth_with_completep(optimizer):
    layers = (2, 4, 8)
    complete = slopes("layers", layers, 2, optimizer=optimizer, transfer="completep")
    assert all(abs(s) < 0.15 for s in complete.values()), complete
    assert slopes("layers", layers, 2, optimizer=optimizer, transfer="mup")["stream"] > 0.3


@pytest.mark.parametrize("rule", ["adamw", "muon"])
def test_t5_queries_move_as_if_scores_were_divided(rule):
    """The reference divides scores by √head dim and has no factors."""
    shape = replace(
        SIZES["t5-v1.1-base"], layers=1, encoder_layers=1, width=64, heads=2, kv_heads=2,
        head_dim=32, hidden=96, vocab_size=64,
    )  # fmt: skip
    s = Settings(optimizer=rule, lr=0.01, matrix_lr=0.02, weight_decay=0.1, epsilon=1e-4)
    logits = []
    for divides in (False, True):
        model = randomised(shape)
        parameters = dict(model.named_parameters())
        factors = dict.fromkeys(parameters, transfer.Factors())
        if divides:
            for module in model.modules():
                if isinstance(module, Attention):
                    module.scale = 32**-0.5
        else:
            factors = transfer.factors(parameters, shape, s)
            transfer.scale(parameters, factors)
        optimizer = optimizers.build(parameters, s, factors)
        for i in range(4):
            model.zero_grad(set_to_none=True)
            tokens = torch.arange(40).view(2, 20)
            found = model(tokens, source_BS=tokens.flip(1))
            torch.nn.functional.cross_entropy(found.flatten(0, 1), tokens.flatten()).backward()
            optimizer.step(i, 1.0)
        logits.append(found.detach())
    # Muon adds 1e-7 to a gradient's norm before it divides by it.
    largest = float((logits[0] - logits[1]).abs().max())
    assert largest < {"adamw": 1e-9, "muon": 5e-6}[rule]
