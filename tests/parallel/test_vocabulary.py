"""The loss of a head whose words are divided is that of a whole head, and so are its gradients."""

import torch
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

from pretrain.model import loss
from pretrain.parallel import mesh, vocabulary
from pretrain.parallel.layout import Layout
from tests.parallel import ranks

HEADS = [(False, 0.0, 0.0), (True, 0.0, 0.01), (True, 3.0, 0.0), (False, 3.0, 0.01)]


def both(rank, n, biased, cap, z, chunk_bytes):
    loss.CHUNK_BYTES = chunk_bytes
    devices = mesh.build(Layout(tensor=n), n).axis("tensor")
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(57, 8, generator=generator)
    weight, bias = torch.randn(50, 8, generator=generator), torch.linspace(-1, 1, 50)
    targets = torch.randint(0, 50, (57,), generator=generator)
    targets[::2] = (x @ weight.T + bias * biased).argmax(dim=1)[::2]  # some are to be right
    told = []
    for divides in (False, True):
        x_here, weight_here = x.clone().requires_grad_(), weight.clone()
        bias_here = bias.clone() if biased else None
        if divides:
            weight_here = distribute_tensor(weight_here, devices, [Shard(0)], src_data_rank=None)
            if biased:
                bias_here = distribute_tensor(bias_here, devices, [Shard(0)], src_data_rank=None)
        inputs = [t.requires_grad_() for t in (weight_here, bias_here) if t is not None]
        head = loss.Head(bias_here, cap, z)
        assert vocabulary.is_divided(weight_here) == divides
        losses, right = torch.empty(57), torch.empty(57, dtype=torch.bool)
        where = vocabulary if divides else loss
        total = where.cross_entropy_sum(x_here, weight_here, targets, losses, head)
        (total * 0.5).backward()
        alone = where.token_losses(x.detach(), weight_here, targets, head, right)
        grad_x = x_here.grad
        if divides:
            torch.distributed.all_reduce(grad_x)
        grads = [t.grad.redistribute(placements=[Replicate()]).to_local() if divides else t.grad
                 for t in inputs]  # fmt: skip
        told.append([t.detach().numpy() for t in (total, losses, alone, right, grad_x, *grads)])
    return told


def on_ranks(rank, n):
    return [both(rank, n, *head, chunk) for head in HEADS for chunk in (1, 32 << 20)]


def test_it_is_the_loss_of_a_whole_head():
    for n in (2, 3):  # three ranks share fifty words unevenly
        for cases in ranks.run(n, on_ranks, n):
            assert len(cases) == 2 * len(HEADS)
            for wanted, found in cases:
                for a, b in zip(wanted, found, strict=True):
                    torch.testing.assert_close(
                        torch.from_numpy(b), torch.from_numpy(a), rtol=2e-6, atol=2e-6
                    )
                assert 0 < found[3].sum() < 57


def alike(rank):
    """Two words with one logit, on two ranks."""
    devices = mesh.build(Layout(tensor=2), 2).axis("tensor")
    weight = distribute_tensor(torch.ones(4, 2), devices, [Shard(0)], src_data_rank=None)
    right = torch.empty(2, dtype=torch.bool)
    vocabulary.token_losses(torch.ones(2, 2), weight, torch.tensor([0, 2]), right_N=right)
    return right.tolist()


def test_of_equal_logits_the_first_counts():
    assert ranks.run(2, alike) == [[True, False]] * 2
