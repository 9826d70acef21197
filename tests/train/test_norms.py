"""Norms by group are those of the tensors; a measured step moves weights by the same bits."""

from dataclasses import replace

import pytest
import torch

from pretrain.model.init import build
from pretrain.model.sizes import SIZES
from pretrain.train import norms, optimizers
from pretrain.train.settings import Settings
from tests.model.test_families import FAMILIES

SHAPES = {name: replace(SIZES[name], **FAMILIES[name]) for name in FAMILIES}
SHAPES["1m"] = replace(SIZES["1m"], vocab_size=160, qk_norm=True, ahead=1)


def parameters_of(name):
    """Of a model whose weights, gradients and moments are all of some size."""
    parameters = dict(build(SHAPES[name], 1).named_parameters())
    generator = torch.Generator().manual_seed(2)
    for p in parameters.values():
        p.data += torch.randn(p.shape, generator=generator) / 50
        p.grad = torch.randn(p.shape, generator=generator)
    return parameters


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("rule", ["adamw", "muon"])
def test_a_measured_step_is_a_step_and_its_norms_are_the_tensors(name, rule):
    settings = Settings(optimizer=rule)
    plain, measured = parameters_of(name), parameters_of(name)
    one, other = optimizers.build(plain, settings), optimizers.build(measured, settings)
    groups = norms.groups_of(measured)
    assert sorted(n for group in groups.values() for n in group) == sorted(plain)
    for step in range(2):
        before = {n: p.detach().clone() for n, p in plain.items()}
        one.step(step, 0.5)
        told = norms.step(other, groups, norms.of_gradients(groups), step, 0.5)
        assert all(torch.equal(plain[n], measured[n]) for n in plain)
        assert all(torch.equal(one.state[n], other.state[n]) for n in one.state)
        for group, members in groups.items():
            expected = {
                "gradient": [p.grad for p in members.values()],
                "weight": [before[n] for n in members],
                "update": [plain[n].detach() - before[n] for n in members],
            }
            for what, tensors in expected.items():
                naive = torch.cat([t.flatten().double() for t in tensors]).norm().item()
                assert told[group][what] == pytest.approx(naive, rel=1e-5)
            ratio = told[group]["update"] / told[group]["weight"]
            assert told[group]["relative"] == ratio


def test_groups_are_the_parts_of_a_model():
    groups = norms.groups_of(parameters_of("1m"))
    parts = {f"blocks.{i}.{part}" for i in range(4) for part in ("attention", "feed_forward")}
    ahead = {"ahead_blocks.0.attention", "ahead_blocks.0.feed_forward"}
    assert set(groups) == parts | ahead | {"embedding", "norms", "head"}
    assert set(groups["blocks.0.attention"]) == {
        f"blocks.0.attention.{matrix}.weight" for matrix in "qkvo"
    }
    pair = norms.groups_of(parameters_of("t5-small"))
    assert {"embedding", "encoder.blocks.1.attention", "blocks.1.cross_attention"} <= set(pair)
    assert set(pair["embedding"]) == {"embed.weight", "relative.weight", "encoder.relative.weight"}
    assert {norms.group_of(n) for n in ("transform.weight", "head_bias", "head.weight")} == {"head"}


def test_a_group_without_weights_or_gradients_has_no_ratio():
    still = torch.zeros(3)
    optimizer = optimizers.build({"norm.bias": still}, Settings())
    groups = norms.groups_of({"norm.bias": still})
    told = norms.step(optimizer, groups, norms.of_gradients(groups), 0, 1.0)
    assert told == {"norms": {"gradient": 0.0, "weight": 0.0, "update": 0.0}}


def test_a_long_sum_is_exact():
    """In one piece fp32 loses a thousandth of it."""
    x = torch.randn(40_000_000, generator=torch.Generator().manual_seed(0))
    x.grad = x.clone()
    found = float(norms.of_gradients({"all": {"x": x}})["all"])
    assert found == pytest.approx(float(x.double().norm()), rel=1e-4)
