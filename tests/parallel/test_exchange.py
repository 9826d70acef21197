"""Owners get whole matrices and every rank its pieces of the results, in two collectives."""

from collections import Counter

import numpy as np
import pytest
import torch

from pretrain.parallel import mesh as meshes
from pretrain.parallel import pieces
from pretrain.parallel.exchange import Exchange, ranks_of
from pretrain.parallel.layout import Layout
from pretrain.parallel.shard import mesh_of
from pretrain.train.optimizers import Optimizer, build, owners
from pretrain.train.settings import Settings
from tests.parallel import ranks
from tests.parallel.test_recompute import Calls

SHAPES = {
    "blocks.0.a": (7, 5), "blocks.0.b": (2, 9), "blocks.1.c": (16, 4), "blocks.1.d": (1, 3),
    "blocks.1.stack": (3, 6, 4),
}  # fmt: skip


def whole(name, salt=0):
    generator = torch.Generator().manual_seed(len(name) + ord(name[-1]) + 1000 * salt)
    return torch.randn(SHAPES[name], generator=generator)


def laid(mesh, salt=0):
    """All matrices as parameters in pieces."""
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    over = mesh_of(mesh)
    cut = [Replicate(), Shard(0)] if over.ndim == 2 else [Shard(0)]
    return {
        name: distribute_tensor(whole(name, salt), over, cut, src_data_rank=None) for name in SHAPES
    }


def there_and_back(rank, layout, n):
    """Which matrices this rank got, and whether each came whole and its results' pieces back."""
    mesh = meshes.build(layout, n)
    tensors = laid(mesh)
    owner = owners(SHAPES, len(ranks_of(mesh)))
    with Calls() as counted:
        exchange = Exchange(tensors, owner, mesh)
        came = exchange.gather({name: pieces.local(t) for name, t in tensors.items()})
        sound = all(torch.equal(t, whole(name)) for name, t in came.items())
        back = exchange.scatter({n: 2 * t for n, t in came.items()}, torch.empty(0))
    for name, t in tensors.items():
        sound &= torch.equal(back[name], 2 * pieces.local(t))
    calls = {name: times for name, times in counted.n.items() if name.startswith("c10d")}
    return sorted(came), sound and back.keys() == tensors.keys(), calls


def muon_steps(rank, layout, n):
    """This rank's pieces after three steps of Muon."""
    mesh = meshes.build(layout, n)
    settings = Settings(weight_decay=0.1)
    parameters = laid(mesh)
    rule = build(parameters, settings, None, mesh)
    assert sorted(rule.exchange.own) == sorted(n for n in SHAPES if "stack" not in n)
    for step in range(3):
        for name, p in parameters.items():
            p.grad = laid(mesh, step + 1)[name]
        rule.step(step, 0.5)
    return {
        name: (pieces.piece(t), pieces.local(t).numpy().copy())
        for name, t in (parameters | rule.state).items()
    }


def reference() -> Optimizer:
    parameters = {name: whole(name) for name in SHAPES}
    rule = build(parameters, Settings(weight_decay=0.1))
    for step in range(3):
        for name, p in parameters.items():
            p.grad = whole(name, step + 1)
        rule.step(step, 0.5)
    return rule


@pytest.mark.multi
@pytest.mark.parametrize(
    ("n", "layout"), [(2, Layout(shard=2)), (3, Layout(shard=3)), (4, Layout(shard=2))]
)
def test_matrices_travel_whole_and_come_back_in_pieces(n, layout):
    results = ranks.run(n, there_and_back, layout, n)
    assert all(sound for _, sound, _ in results)
    assert all(calls == {"c10d::alltoall_base_": 2} for _, _, calls in results)
    owned = Counter(name for names, _, _ in results for name in names)
    assert owned == Counter(dict.fromkeys(SHAPES, 1))


@pytest.mark.multi
@pytest.mark.parametrize(
    ("n", "layout"),
    [(2, Layout(shard=2)), (3, Layout(shard=3)), (4, Layout(shard=4)), (4, Layout(shard=2))],
)
def test_muon_on_pieces_is_muon_on_whole_matrices(n, layout):
    wanted = reference()
    tensors = wanted.muon | wanted.state
    for found in ranks.run(n, muon_steps, layout, n):
        assert found.keys() == tensors.keys()
        for name, (piece, values) in found.items():
            assert np.abs(values - tensors[name][piece.slices].numpy()).max(initial=0) < 1e-6, name
