"""On CUDA: the gradients of the CPU, by every kernel that training uses, without a wait."""

import copy
import os

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS begins

from dataclasses import replace

import numpy as np
import pytest
import torch

from pretrain.model import flex, fused_loss, loss
from pretrain.model.attention import attend, visible
from pretrain.model.init import build
from pretrain.model.sizes import SIZES
from pretrain.train import fp8, kernels, optimizers
from pretrain.train.feed import rows_of
from pretrain.train.gradients import Gradients
from pretrain.train.settings import Settings
from tests.model.test_flex import documents_of
from tests.model.test_fused_loss import case as loss_case
from tests.model.test_fused_loss import run as run_loss
from tests.train.test_gradients import CASES, EXPERTS, SMALL, case_of

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.filterwarnings("default"),  # the compiler's own are many
]
CUDA, CPU = torch.device("cuda"), torch.device("cpu")


def case_on_both(name):
    """The same case on both devices; rows of whole blocks where learned positions allow it."""
    length = 64 if "max_length" in CASES[name][1] else 128
    model, settings, batch, rows = case_of(name, 6, length)
    there = rows_of(batch, np.arange(6) % 2, 0, CUDA)
    return settings, (model, rows), (copy.deepcopy(model).to(CUDA), there)


def gradients_of(model, settings, rows, dtype=torch.float32, micro_rows=3):
    gradients = Gradients(model, settings, dtype, 7, 2)
    sums = gradients.of(rows, micro_rows, len(rows.places_N), 0)
    told, _ = sums.read()
    found = {n: p.grad.cpu() for n, p in model.named_parameters() if p.grad is not None}
    return told, found


def error(found, wanted):
    flat, flat_wanted = (torch.cat([g[n].flatten() for n in wanted]) for g in (found, wanted))
    return float((flat - flat_wanted).norm() / flat_wanted.norm())


# Rounding: fp32 sums in another order; bf16 keeps 8 bits, so values differ by 1/512 each and
# gradients behind several layers by some times that (on a CPU 0.006 to 0.025; T5's unscaled scores
# make a softmax so sharp that it is 0.31 there).
MOST = {"span": 0.5}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    ("dtype", "most", "most_of_loss"),
    [(torch.float32, 2e-3, 1e-5), (torch.bfloat16, 0.06, 1e-2)],
    ids=["fp32", "bf16"],
)
def test_gradients_are_those_of_the_cpu(name, dtype, most, most_of_loss):
    settings, (model, rows), (model_there, rows_there) = case_on_both(name)
    sums, wanted = gradients_of(model, settings, rows)
    sums_there, found = gradients_of(model_there, settings, rows_there, dtype)
    torch.testing.assert_close(sums_there.by_source, sums.by_source, rtol=most_of_loss, atol=1e-3)
    assert error(found, wanted) < (most if dtype == torch.float32 else MOST.get(name, most))


@pytest.mark.parametrize("name", ["next_token", "documents", "modern"])
def test_compiled_gradients_are_those_of_the_cpu(name):
    settings, (model, rows), (model_there, rows_there) = case_on_both(name)
    _, wanted = gradients_of(model, settings, rows)
    assert kernels.compile_blocks(model_there, "auto", CUDA)
    _, found = gradients_of(model_there, settings, rows_there, torch.bfloat16)
    assert error(found, wanted) < 0.06


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("window", [0, 100])
@pytest.mark.parametrize("kind", ["few", "padding"])
def test_attention_by_blocks_is_the_dense_one(causal, window, kind):
    t = 3 * flex.BLOCK
    documents = documents_of(kind, 2, t, 3).to(CUDA)
    inputs = [torch.randn(2, h, t, 64, device=CUDA, dtype=torch.bfloat16) for h in (4, 2, 2)]
    slope = torch.randn(2, 4, t, 64, device=CUDA, dtype=torch.bfloat16)
    results = []
    for mask in (
        flex.block_mask(t, causal, window, CUDA, documents),
        visible(t, t, causal, window, CUDA, documents),
    ):
        own = [x.detach().requires_grad_() for x in inputs]
        y = attend(*own, mask, causal)
        y.backward(slope)
        results.append([y.detach(), *[x.grad for x in own]])
    for ours, dense in zip(*results, strict=True):
        assert torch.isfinite(ours).all()
        assert float((ours - dense).float().norm() / dense.float().norm()) < 0.02


@pytest.mark.parametrize(("cap", "z"), [(0.0, 0.0), (3.0, 1e-2)])
def test_the_loss_is_that_of_the_cpu_for_any_number_of_rows(cap, z):
    for n in (137, 16, 40):
        inputs = loss_case(n)
        bias = torch.linspace(-1, 1, 50)
        wanted = run_loss(loss.cross_entropy_sum, *inputs, bias, cap, z)
        there = [t.to(CUDA) for t in inputs]
        there_losses = run_on_cuda(there, bias.to(CUDA), cap, z)
        for ours, theirs in zip(there_losses, wanted, strict=True):
            torch.testing.assert_close(ours.cpu(), theirs, rtol=1e-4, atol=1e-4)


def run_on_cuda(inputs, bias, cap, z):
    x, weight, targets = inputs
    x, weight, bias = (t.clone().requires_grad_() for t in (x, weight, bias))
    losses = torch.empty(len(x), device=CUDA)
    total = fused_loss.cross_entropy_sum(x, weight, targets, losses, loss.Head(bias, cap, z))
    (total * 0.5).backward()
    return [total.detach(), losses, x.grad, weight.grad, bias.grad]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_updates_are_those_of_the_cpu(optimizer):
    shape = replace(SIZES["1m"], **SMALL)
    moved = []
    for device in (CPU, CUDA):
        model = build(shape, 3, device)
        before = {n: p.detach().cpu().clone() for n, p in model.named_parameters()}
        parameters = dict(model.named_parameters())
        update = optimizers.build(parameters, Settings(optimizer=optimizer))
        for step in range(3):
            generator = torch.Generator().manual_seed(step)
            for p in parameters.values():
                p.grad = torch.randn(p.shape, generator=generator).to(device)
            update.step(step, 1.0)
        moved.append({n: p.detach().cpu() - before[n] for n, p in parameters.items()})
    # Muon's products are bf16 on a GPU, and its polynomial is steep: directions agree.
    assert error(moved[1], moved[0]) < (1e-4 if optimizer == "adamw" else 0.05)


def test_fp8_products_are_the_emulated_ones():
    fp8.check(CUDA)
    generator = torch.Generator().manual_seed(1)
    x, w = (torch.randn(n, 256, generator=generator) for n in (64, 128))
    (a, scale_a), (b, scale_b) = fp8.quantised(x, fp8.FORWARD), fp8.quantised(w, fp8.FORWARD)
    wanted = fp8.product(a, b, scale_a, scale_b, torch.bfloat16).float()
    there = [t.to(CUDA) for t in (a, b, scale_a, scale_b)]
    found = fp8.product(*there, torch.bfloat16).cpu().float()
    assert float((found - wanted).norm() / wanted.norm()) < 0.01
    (a, scale_a) = fp8.quantised(x, fp8.BACKWARD)
    wanted = fp8.product(a, b, scale_a, scale_b, torch.bfloat16).float()
    there = [t.to(CUDA) for t in (a, b, scale_a, scale_b)]
    found = fp8.product(*there, torch.bfloat16).cpu().float()
    assert float((found - wanted).norm() / wanted.norm()) < 0.01


@pytest.mark.parametrize("compiled", [False, True])
def test_fp8_gradients_are_near_those_of_fp32(compiled):
    settings, (model, rows), (model_there, rows_there) = case_on_both("next_token")
    _, wanted = gradients_of(model, settings, rows)
    fp8.convert(model_there)
    if compiled:
        kernels.compile_blocks(model_there, "auto", CUDA)
    _, found = gradients_of(model_there, settings, rows_there, torch.bfloat16, 6)
    flat, flat_8 = (torch.cat([g[n].flatten() for n in wanted]) for g in (wanted, found))
    assert float(torch.cosine_similarity(flat, flat_8, dim=0)) > 0.9


@pytest.mark.parametrize("name", ["next_token", "masked", "documents", "experts"])
def test_a_step_waits_for_the_device_only_where_it_reads(name):
    settings, _, (model, rows) = case_on_both("next_token" if name == "experts" else name)
    if name == "experts":
        model = build(replace(SIZES["mixtral-8x7b"], **(SMALL | EXPERTS)), 3, CUDA)
    update = optimizers.build(dict(model.named_parameters()), settings)
    gradients = Gradients(model, settings, torch.bfloat16, 7, 2)

    def step(number):
        sums = gradients.of(rows, 3, len(rows.places_N), number)
        grads = [p.grad for p in model.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(grads)
        torch.nn.utils.clip_grads_with_norm_(list(model.parameters()), 1.0, norm)
        update.step(number, 1.0)
        return sums

    step(0).read()  # compiles and allocates
    torch.cuda.set_sync_debug_mode("error")
    try:
        sums = step(1)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    told, _ = sums.read()
    assert torch.isfinite(told.by_source).all()


@pytest.mark.parametrize("name", ["next_token", "documents"])
def test_bits_repeat_with_deterministic_kernels(name):
    settings, _, (model, rows) = case_on_both(name)
    torch.use_deterministic_algorithms(True)
    try:
        first, again = (gradients_of(model, settings, rows, torch.bfloat16)[1] for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)
    assert [n for n in first if not torch.equal(first[n], again[n])] == []
