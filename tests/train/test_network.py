"""Whole or in stages, a network has the names, values and groups of the plain model."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pretrain.model.init import build
from pretrain.model.sizes import SIZES
from pretrain.parallel import mesh as meshes
from pretrain.parallel.apply import apply
from pretrain.parallel.layout import Layout
from pretrain.train import network as networks
from pretrain.train import optimizers
from pretrain.train.norms import groups_of
from pretrain.train.settings import Settings
from tests.parallel import ranks

CPU = torch.device("cpu")
SHAPE = replace(SIZES["1m"], layers=3, width=32, heads=2, kv_heads=2, hidden=48, vocab_size=64,
                tied=True)  # fmt: skip


def of(mesh):
    return networks.build(
        SHAPE, 4, CPU, mesh, 16, lambda model: apply(model, mesh, lambda m: None), torch.float32
    )


def test_one_rank_has_it_all():
    network, plain = of(meshes.ONE), build(SHAPE, 4)
    assert network.named_parameters().keys() == dict(plain.named_parameters()).keys()
    assert network.groups().keys() == groups_of(network.named_parameters()).keys()
    with torch.no_grad():
        for p in network.named_parameters().values():
            p.fill_(float("nan"))
    network.initialise()
    assert all(torch.equal(t, plain.state_dict()[n]) for n, t in network.state_dict().items())


def stage(rank):
    """(weights by name, groups, groups with members here, marked tensors) of a pipeline's rank."""
    mesh = meshes.build(Layout(pipeline=2), 2)
    network = of(mesh)
    optimizer = optimizers.build(network.named_parameters(), Settings(), None, mesh)
    network.mark_copies(optimizer.state)
    tensors = network.named_parameters() | optimizer.state
    marked = sorted(n for n, t in tensors.items() if getattr(t, "is_copy", False))
    groups = network.groups()
    weights = {n: t.detach().numpy().copy() for n, t in network.state_dict().items()}
    return weights, list(groups), [g for g, members in groups.items() if members], marked


@pytest.mark.multi
def test_stages_together_have_it_all_and_a_tied_matrix_counts_once():
    (first, groups, here, none), (last, same, there, marked) = ranks.run(2, stage)
    plain = build(SHAPE, 4).state_dict()
    assert first.keys() | last.keys() == plain.keys()
    assert first.keys() & last.keys() == {"embed.weight"}
    for name, value in (first | last).items():
        assert np.array_equal(value, plain[name].numpy()), name
    assert groups == same == list(groups_of(plain))
    assert {*here} | {*there} == {*groups}
    assert (none, marked) == ([], ["embed.weight", "m.embed.weight", "v.embed.weight"])
