"""Boxes of tensors on a mesh: every element lies in one, and what is told of other ranks is so."""

import pytest
import torch

from pretrain.parallel import mesh as meshes
from pretrain.parallel import pieces
from pretrain.parallel.layout import Layout
from pretrain.parallel.pieces import Piece
from tests.parallel import ranks

SHAPES = [(7, 5), (3, 4, 2), (2, 3), (9,), (1, 6)]


def spread(rank, layout, names, placements):
    """What this rank says of tensors laid on dims of the mesh, and what the others are told."""
    from torch.distributed.tensor import distribute_tensor

    mesh = meshes.build(layout, 4)
    devices = mesh.devices[names] if len(names) > 1 else mesh.axis(*names[0].split("_"))
    found = []
    for shape in SHAPES:
        whole = torch.arange(float(torch.tensor(shape).prod())).view(shape)
        other = -whole
        tensor = distribute_tensor(whole, devices, placements, src_data_rank=None)
        here = pieces.piece(tensor)
        assert torch.equal(pieces.local(tensor), whole[here.slices])
        pieces.put(tensor, other)
        assert torch.equal(tensor.to_local(), other[here.slices])
        there = [pieces.piece_on(tensor, mesh, number) for number in range(4)]
        assert there[rank] == here
        found.append((here, there, pieces.is_first(tensor, mesh), sorted(pieces.cut_dims(tensor))))
    return found


def cases():
    from torch.distributed.tensor import Replicate, Shard

    return [
        (Layout(shard=4), ("shard",), (Shard(0),), {0}),
        (Layout(shard=2), ("replicate", "shard"), (Replicate(), Shard(0)), {0}),
        (Layout(shard=2, context=2), ("shard_context",), (Shard(0),), {0}),
        (Layout(shard=2, tensor=2), ("shard", "tensor"), (Shard(0), Shard(0)), {0}),
        (Layout(tensor=4), ("tensor",), (Replicate(),), set()),
    ]


@pytest.mark.parametrize("number", range(5))
def test_each_element_is_held_first_by_one_rank(number):
    layout, names, placements, dims = cases()[number]
    results = ranks.run(4, spread, layout, names, placements)
    for i, shape in enumerate(SHAPES):
        times = torch.zeros(shape)
        for rank, found in enumerate(results):
            here, there, first, cut = found[i]
            assert set(cut) == dims
            assert [results[other][i][0] for other in range(4)] == there, rank
            if first:
                times[here.slices] += 1
        assert (times == 1).all(), shape


def test_plain_tensors_are_one_box():
    tensor = torch.ones(3, 4)
    whole = Piece((0, 0), (3, 4))
    assert pieces.piece(tensor) == whole
    assert pieces.local(tensor) is tensor
    assert pieces.local_grad(tensor) is None
    assert pieces.cut_dims(tensor) == pieces.cutting_axes(tensor) == set()
    mesh = meshes.build(Layout(), 1)
    assert pieces.piece_on(tensor, mesh, 0) == whole
    assert pieces.is_first(tensor, mesh)


def test_boxes_overlap_where_both_are():
    a, b = Piece((2, 0), (3, 4)), Piece((4, 1), (9, 2))
    assert a.common(b) == b.common(a) == Piece((4, 1), (1, 2))
    assert a.common(Piece((5, 0), (1, 4))) is None
    assert a.common(b).within(a) == Piece((2, 1), (1, 2))
    assert a.common(b).within(b) == Piece((0, 0), (1, 2))
    assert Piece((0, 3), (0, 4)).n_elements == 0
