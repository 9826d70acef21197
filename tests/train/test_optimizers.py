"""AdamW equals PyTorch's; Muon's update is orthogonal and equals PyTorch's where both agree."""

import copy

import pytest
import torch
from torch import nn

from pretrain.train.optimizers import build, orthogonalise
from pretrain.train.settings import Settings


def model():
    torch.manual_seed(0)
    net = nn.Module()
    net.embed = nn.Embedding(11, 8)
    net.blocks = nn.ModuleList([nn.Linear(8, 8, bias=False), nn.Linear(8, 12, bias=False)])
    net.norm = nn.RMSNorm(8)
    return net


def gradients(net, step):
    generator = torch.Generator().manual_seed(step)
    for parameter in net.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def test_adamw_equals_pytorchs():
    ours, theirs = model(), model()
    settings = Settings(optimizer="adamw", lr=0.01, weight_decay=0.1, epsilon=1e-8)
    optimizer = build(dict(ours.named_parameters()), settings)
    matrices = [p for p in theirs.parameters() if p.ndim > 1]
    vectors = [p for p in theirs.parameters() if p.ndim == 1]
    reference = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
        lr=0.01,
        betas=(0.9, 0.95),
        eps=1e-8,
    )
    for step in range(5):
        gradients(ours, step)
        gradients(theirs, step)
        optimizer.step(step, 1.0)
        reference.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_muon_equals_pytorchs():
    ours, theirs = model(), model()
    settings = Settings(optimizer="muon", matrix_lr=0.02, weight_decay=0.1, momentum=0.95)
    optimizer = build(dict(ours.named_parameters()), settings)
    # PyTorch averages its momentum; with nesterov both point the same way, and length is lost in
    # the orthogonalisation (bf16 there, so the tolerance is bf16's).
    reference = torch.optim.Muon(
        [m.weight for m in theirs.blocks], lr=0.02, weight_decay=0.1, momentum=0.95, nesterov=True
    )
    for step in range(3):
        gradients(ours, step)
        gradients(theirs, step)
        optimizer.step(step, 1.0)
        reference.step()
    for a, b in zip(ours.blocks, theirs.blocks, strict=True):
        assert torch.allclose(a.weight, b.weight, atol=2e-3)


def test_muon_takes_the_blocks_matrices_and_adamw_the_rest():
    optimizer = build(dict(model().named_parameters()), Settings(optimizer="muon"))
    assert sorted(optimizer.muon) == ["blocks.0.weight", "blocks.1.weight"]
    assert sorted(optimizer.adamw) == ["embed.weight", "norm.weight"]
    assert sorted(optimizer.state) == [
        "b.blocks.0.weight", "b.blocks.1.weight", "m.embed.weight", "m.norm.weight",
        "v.embed.weight", "v.norm.weight",
    ]  # fmt: skip


@pytest.mark.parametrize("size", [(16, 16), (16, 40), (40, 16)])
def test_orthogonalise_drives_singular_values_to_one(size):
    g = torch.randn(3, *size, generator=torch.Generator().manual_seed(0))
    u = orthogonalise(g)
    assert u.shape == g.shape
    values = torch.linalg.svdvals(u)
    assert 0.6 < float(values.median()) < 1.3
    assert float(values.max()) < 1.4
    # The singular vectors stay: u is close to the exact polar factor in direction.
    left, _, right = torch.linalg.svd(g, full_matrices=False)
    polar = left @ right
    cosine = (u * polar).sum() / (u.norm() * polar.norm())
    assert float(cosine) > 0.95


def test_the_factor_scales_every_rate():
    one, two = model(), model()
    before = copy.deepcopy(one)
    for net, factor in ((one, 1.0), (two, 0.5)):
        gradients(net, 0)
        build(dict(net.named_parameters()), Settings(weight_decay=0.0)).step(0, factor)
    for a, b, start in zip(one.parameters(), two.parameters(), before.parameters(), strict=True):
        assert torch.allclose((a - start) * 0.5, b - start, atol=1e-6)


def test_weight_decay_leaves_vectors_alone():
    net = model()
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    norm = net.norm.weight.detach().clone()
    matrix = net.embed.weight.detach().clone()
    build(dict(net.named_parameters()), Settings(lr=0.1, weight_decay=0.5)).step(0, 1.0)
    assert torch.equal(net.norm.weight, norm)
    assert torch.allclose(net.embed.weight, matrix * (1 - 0.05))
