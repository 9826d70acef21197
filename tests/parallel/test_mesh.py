"""Each rank finds its place on the mesh of a layout."""

from itertools import pairwise

import pytest

from pretrain.parallel import mesh
from pretrain.parallel.layout import Layout
from pretrain.parallel.mesh import Mesh
from tests.parallel import ranks


def places(rank):
    import torch.distributed as dist

    found = mesh.build(Layout(shard=2, tensor=2), 4)
    groups = [found.group("replicate", "context"), found.group("shard"), found.group("tensor")]
    members = [dist.get_process_group_ranks(group) for group in groups]
    listed = [found.ranks("replicate", "context"), found.ranks("shard"), found.ranks("tensor")]
    everyone = found.group("shard", "tensor")
    return (
        (found.data_rank, found.data_size, found.place("tensor"), found.axis("tensor").size()),
        members == listed, everyone is None, members[1],
    )  # fmt: skip


def of_experts(rank):
    found = mesh.build(Layout(shard=4, expert=2), 4)
    return [found.expert_axis(name).mesh.tolist() for name in ("expert", "rest")]


def test_expert_ranks_are_neighbours_among_the_shard_ranks():
    assert ranks.run(4, of_experts) == [
        [[0, 1], [0, 2]], [[0, 1], [1, 3]], [[2, 3], [0, 2]], [[2, 3], [1, 3]],
    ]  # fmt: skip


@pytest.mark.multi
def test_each_rank_knows_its_place():
    told = ranks.run(4, places)
    assert [t[0] for t in told] == [(0, 2, 0, 2), (0, 2, 1, 2), (1, 2, 0, 2), (1, 2, 1, 2)]
    assert all(agrees and whole for _, agrees, whole, _ in told)
    assert [t[3] for t in told] == [[0, 2], [1, 3], [0, 2], [1, 3]]


def of(layout, world, rank):
    return Mesh(layout, layout.sizes(world), None, rank)


def test_one_process_has_a_place_and_no_devices():
    one = mesh.build(Layout(), 1)
    assert one.device_mesh is None
    assert one.is_whole
    assert one.counts_rows
    assert one.counts_losses
    assert (one.data_rank, one.data_size, one.ranks("shard", "tensor")) == (0, 1, [0])
    with pytest.raises(AssertionError, match="no device mesh"):
        one.axis("shard")


def test_rows_and_losses_are_counted_once():
    """Of 2 x 2 x 2 x 2 x 2 ranks 4 hold rows of their own, 8 tokens of their own; their losses
    are sums over 8."""
    layout = Layout(pipeline=2, shard=2, context=2, tensor=2)
    all_of = [of(layout, 32, rank) for rank in range(32)]
    assert sorted(m.data_rank for m in all_of if m.counts_rows) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert sum(m.counts_losses for m in all_of) == 8
    assert not any(m.is_whole for m in all_of)
    numbers = [tuple(m.places(m.rank).values()) for m in all_of]
    assert all(a < b for a, b in pairwise([m.rank for m in all_of]))
    assert len(set(numbers)) == 32
    assert all_of[0].ranks("context", "tensor") == [0, 1, 2, 3]
    assert all_of[9].ranks("replicate") == [1, 9]
