"""A module sees its parts as plain tensors within its passes, and as DTensors outside them."""

import contextlib

import torch
from torch import nn
from torch.distributed.tensor import DTensor, Replicate, Shard

from pretrain.parallel import local, mesh
from pretrain.parallel.layout import Layout
from tests.parallel import ranks


class Pair(nn.Module):
    """y = a (W x), with W in a part of its own."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(3, 4, bias=False)
        self.scale = nn.Parameter(torch.tensor([2.0]))
        self.seen = []

    def forward(self, x):
        self.seen.append((type(self.inner.weight), tuple(self.inner.weight.shape)))
        if x.isnan().any():
            raise ValueError("nan")
        return self.scale * self.inner(x)


def seen(rank):
    torch.manual_seed(0)
    pair, x = Pair(), torch.arange(3.0)
    whole = pair.inner.weight.detach().clone()
    devices = mesh.build(Layout(tensor=2), 2).axis("tensor")
    local.divide(pair, devices, {"inner.weight": Shard(0), "scale": Replicate()})
    local.see_parts(pair)  # once more changes nothing
    y = pair(x)
    y.sum().backward()
    with contextlib.suppress(ValueError):
        pair(x * torch.nan)
    assert isinstance(pair.inner.weight, DTensor)
    assert list(dict(pair.named_parameters())) == ["scale", "inner.weight"]
    torch.testing.assert_close(y, 2 * (whole @ x)[2 * rank : 2 * rank + 2])
    torch.testing.assert_close(pair.inner.weight.grad.full_tensor(), 2 * x.expand(4, 3))
    torch.testing.assert_close(pair.scale.grad.full_tensor(), (whole @ x).sum()[None])
    return [(kind is DTensor, shape) for kind, shape in pair.seen]


def test_a_module_sees_its_parts():
    for told in ranks.run(2, seen):
        assert told == [(False, (2, 3))] * 2
