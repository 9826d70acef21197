"""What a step sends over the network is known in kind and number, and none of it is a surprise."""

import pytest
import torch

from pretrain.model.transformer import Transformer
from pretrain.parallel import mesh as meshes
from pretrain.parallel import pieces
from pretrain.parallel.layout import Layout
from pretrain.parallel.shard import let_go, mesh_of, shard
from tests.parallel import ranks
from tests.parallel.test_apply import begin, one_step, rows_at, settings_of, shape_of
from tests.parallel.test_recompute import Calls


def collectives(rank, layout, n):
    """Collectives of one training step by kind, on a model of two blocks.

    Counted as CommDebugMode does, which cannot follow a model whose root is called by `hidden`.
    """
    mesh, settings = meshes.build(layout, n), settings_of("masked")
    model, parameters, optimizer = begin("masked", mesh, settings)
    one_step("masked", 0, model, parameters, optimizer, mesh, settings)
    with Calls() as counted:
        one_step("masked", 2, model, parameters, optimizer, mesh, settings)
    return {name: times for name, times in counted.n.items() if name.startswith("c10d")}


@pytest.mark.multi
def test_collectives_of_a_step():
    """For 3 (2) micro-batches: of 2 blocks a gather forward and one back, of the root one, and of
    each a sum of pieces; replicas' sums once; then what the step came to, the norm, and Muon's two.
    """
    sharded, *_ = ranks.run(2, collectives, Layout(shard=2), 2)
    hybrid, *_ = ranks.run(4, collectives, Layout(shard=2), 4)
    assert sharded == {
        "c10d::_allgather_base_": 3 * (2 * 2 + 1), "c10d::_reduce_scatter_base_": 3 * 3,
        "c10d::allreduce_": 2, "c10d::alltoall_base_": 2,
    }  # fmt: skip
    assert hybrid == {
        "c10d::_allgather_base_": 2 * (2 * 2 + 1), "c10d::_reduce_scatter_base_": 2 * 3,
        "c10d::allreduce_": 3 + 2, "c10d::alltoall_base_": 2,
    }  # fmt: skip


def stale(rank):
    """Whether a pass without gradients sees the weights as they are after they moved."""
    mesh, settings = meshes.build(Layout(shard=2), 2), settings_of("causal")
    network, parameters, _ = begin("causal", mesh, settings)
    model, (rows, _) = network.models[0], rows_at("causal", 0, meshes.ONE)
    with torch.no_grad():
        before = model.hidden(rows.inputs_RL)
        let_go(model)
        for p in parameters.values():
            pieces.local(p).mul_(1.5)
        after = model.hidden(rows.inputs_RL)
        weight = model.embed.weight.detach().clone()
        let_go(model)
    whole = parameters["embed.weight"].full_tensor().detach()
    return not torch.equal(before, after), torch.equal(weight, whole)


@pytest.mark.multi
def test_weights_that_moved_are_gathered_again():
    assert ranks.run(2, stale) == [(True, True)] * 2


def laid_over(rank):
    found = []
    for layout in (Layout(shard=4), Layout(shard=2), Layout(shard=2, context=2)):
        over = mesh_of(meshes.build(layout, 4))
        found.append((over.mesh_dim_names, tuple(over.shape)))
    return found


@pytest.mark.multi
def test_context_ranks_hold_pieces_too():
    assert ranks.run(4, laid_over)[0] == [
        (("shard",), (4,)), (("replicate", "shard"), (2, 2)), (("shard_context",), (4,)),
    ]  # fmt: skip


def of_eight(rank):
    """FSDP's mesh where copies, pieces and context meet, in a world of eight that is pretended."""
    import torch.distributed as dist
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.destroy_process_group()
    dist.init_process_group("fake", store=FakeStore(), rank=5, world_size=8)
    mesh = meshes.build(Layout(shard=2, context=2), 8)
    over = mesh_of(mesh)
    with torch.device("meta"):
        model = Transformer(shape_of("causal"))
    shard(model, mesh)
    p = model.embed.weight
    boxes = str(pieces.piece(p)), str(pieces.piece_on(p, mesh, 1))
    told = over.mesh_dim_names, over.mesh.tolist(), *boxes
    return *told, sorted(pieces.cutting_axes(p)), pieces.is_first(p, mesh)


@pytest.mark.multi
def test_copies_of_pieces_over_context_ranks():
    names, numbers, here, there, axes, first = ranks.run(1, of_eight)[0]
    assert names == ("replicate", "shard_context")
    assert numbers == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert here == there == "Piece(offset=(76, 0), size=(76, 30))"
    assert axes == ["context", "shard"]
    assert not first
