"""What stands in while a trace takes keeps what a GPU keeps, and is gone afterwards."""

import torch

from pretrain.model import attention, loss, moe, norms, transformer
from pretrain.model.sizes import SIZES
from pretrain.parallel import expert
from pretrain.parallel.layout import Layout
from pretrain.plan import gpu
from pretrain.plan.flows import Step

STEP = Step(SIZES["1m"], Layout(), Layout().sizes(1), 16, 2, 1)
NAMES = [(norms, "rms_norm"), (moe, "grouped"), (expert, "_counts"), (attention, "attend"),
         (transformer, "visible_at"), (loss, "CHUNK_BYTES")]  # fmt: skip


def kept_by(function, *inputs):
    found = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: found.append(t) or t, lambda t: t):
        function(*inputs)
    return found


def test_what_stood_in_is_gone_afterwards():
    before = [getattr(*name) for name in NAMES]
    with gpu.as_on_a_gpu(STEP):
        assert all(getattr(*n) != b for n, b in zip(NAMES, before, strict=True))
    assert [getattr(*name) for name in NAMES] == before


def test_loads_are_even():
    assert gpu.evenly(10, 4) == [3, 3, 2, 2]
    x = torch.randn(10, 6, requires_grad=True)
    weight = torch.randn(4, 5, 6, requires_grad=True)
    wanted = moe.grouped(x, weight, torch.tensor(gpu.evenly(10, 4)))
    assert torch.equal(gpu._grouped(x, weight, torch.zeros(4)), wanted)


def test_attention_under_a_mask_keeps_nothing_of_the_rows_square():
    q, k = (torch.randn(1, 2, n, 8, requires_grad=True) for n in (64, 128))
    with gpu.as_on_a_gpu(STEP):
        mask = transformer.visible_at(torch.arange(64), torch.arange(128), True, 0)
        kept = kept_by(attention.attend, q, k, k, mask, True)
    assert kept
    assert max(t.numel() for t in kept) < 64 * 128


def test_a_norm_keeps_its_input_and_a_number_a_row():
    x = torch.randn(4, 8, requires_grad=True).bfloat16()
    weight = torch.ones(8).bfloat16()
    with gpu.as_on_a_gpu(STEP):
        kept = kept_by(norms.rms_norm, x, weight, 1e-5)
    assert sorted(t.numel() for t in kept) == [4, 8, 32]
