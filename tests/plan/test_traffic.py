"""Every collective of PyTorch's is seen, with its bytes and its ranks."""

import pytest
import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as funcol

from pretrain.plan import traffic
from pretrain.plan.traffic import Call, Traffic
from tests.parallel import ranks


def each_kind(rank):
    with Traffic() as seen:
        x = torch.ones(8)
        dist.all_reduce(x)
        dist.all_gather_into_tensor(torch.empty(16), x)
        dist.reduce_scatter_tensor(torch.empty(4), x)
        dist.all_to_all_single(torch.empty(8), x)
        dist.broadcast(x, 0)
        ops = [dist.P2POp(dist.isend, x, 1 - rank), dist.P2POp(dist.irecv, x.clone(), 1 - rank)]
        for work in dist.batch_isend_irecv(ops):
            work.wait()
        funcol.all_reduce(x, "sum", dist.group.WORLD).wait()
        funcol.all_gather_tensor(x, 0, dist.group.WORLD).wait()
        funcol.reduce_scatter_tensor(x, "sum", 0, dist.group.WORLD).wait()
        funcol.all_to_all_single(x, None, None, dist.group.WORLD).wait()
    return seen.calls


@pytest.mark.multi
def test_kinds_bytes_and_ranks():
    once = [("all-reduce", 32), ("all-gather", 64), ("reduce-scatter", 32), ("all-to-all", 32)]
    between = [("broadcast", 32), ("send", 32), ("receive", 32)]
    wanted = [Call(kind, (0, 1), n_bytes) for kind, n_bytes in [*once, *between]]
    again = [once[0], once[1], once[2], once[3]]
    wanted += [Call(kind, (0, 1), n_bytes) for kind, n_bytes in again]
    for found in ranks.run(2, each_kind):
        assert found == wanted


def test_what_a_rank_of_a_ring_sends():
    assert traffic.sent_bytes("all-gather", 800, 8) == 700
    assert traffic.sent_bytes("all-reduce", 800, 8) == 1400
    assert traffic.sent_bytes("send", 800, 8) == 800
    assert traffic.sent_bytes("receive", 800, 8) == 0
