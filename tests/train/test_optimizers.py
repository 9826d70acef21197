"""AdamW and Muon equal the plain rules and PyTorch's; matrices have owners that share the work."""

import copy

import pytest
import torch
import torch.utils.flop_counter
from torch import nn

from pretrain.train.optimizers import (
    build,
    muon_updates,
    newton_schulz_flops,
    orthogonalise,
    owners,
)
from pretrain.train.settings import Settings


def model():
    torch.manual_seed(0)
    net = nn.Module()
    net.embed = nn.Embedding(11, 8)
    net.blocks = nn.ModuleList([nn.Linear(8, 8, bias=False), nn.Linear(8, 12, bias=False)])
    net.norm = nn.RMSNorm(8)
    return net


def gradients(net, step):
    generator = torch.Generator().manual_seed(step)
    for parameter in net.parameters():
        grad = torch.randn(parameter.shape, generator=generator)
        parameter.grad = grad.to(parameter.dtype)


def plain_adamw(weight, grad, m, v, step, lr, decay, s):
    """The rule as the paper writes it, one tensor at a time."""
    m.mul_(s.beta1).add_((1 - s.beta1) * grad)
    v.mul_(s.beta2).add_((1 - s.beta2) * grad**2)
    weight.mul_(1 - lr * decay)
    m_hat, v_hat = m / (1 - s.beta1 ** (step + 1)), v / (1 - s.beta2 ** (step + 1))
    weight.sub_(lr * m_hat / (v_hat.sqrt() + s.epsilon))


def plain_muon(weight, grad, b, lr, s):
    """The same for one matrix: five Newton-Schulz steps on g + μb."""
    b.mul_(s.momentum).add_(grad)
    x = grad + s.momentum * b
    tall = x.shape[0] > x.shape[1]
    x = (x.T if tall else x) / (x.norm() + 1e-7)
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x - 4.7750 * a @ x + 2.0315 * a @ a @ x
    update = (x.T if tall else x) * max(1, weight.shape[0] / weight.shape[1]) ** 0.5
    weight.mul_(1 - lr * s.weight_decay).sub_(lr * update)


def test_adamw_equals_the_papers_and_pytorchs():
    ours, plain, theirs = model(), model(), model()
    settings = Settings(optimizer="adamw", lr=0.01, weight_decay=0.1, epsilon=1e-8)
    optimizer = build(dict(ours.named_parameters()), settings)
    moments = {n: torch.zeros(2, *p.shape) for n, p in plain.named_parameters()}
    matrices = [p for p in theirs.parameters() if p.ndim > 1]
    vectors = [p for p in theirs.parameters() if p.ndim == 1]
    reference = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
        lr=0.01,
        betas=(0.9, 0.95),
        eps=1e-8,
    )
    for step in range(20):
        for net in (ours, plain, theirs):
            gradients(net, step)
        optimizer.step(step, 1.0)
        with torch.no_grad():
            for name, p in plain.named_parameters():
                decay = 0.1 if p.ndim > 1 else 0.0
                plain_adamw(p, p.grad, *moments[name], step, 0.01, decay, settings)
        reference.step()
    for a, b, c in zip(ours.parameters(), plain.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-6)
        assert torch.allclose(a, c, rtol=0, atol=1e-6)


def test_adamw_has_the_same_bits_for_any_number_of_threads():
    def trained(n_threads):
        before = torch.get_num_threads()
        torch.set_num_threads(n_threads)
        torch.manual_seed(0)
        weight = nn.Parameter(torch.randn(1237, 311))  # no multiple of anything
        optimizer = build({"w": weight}, Settings(optimizer="adamw"))
        for step in range(3):
            weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(step))
            optimizer.step(step, 1.0)
        torch.set_num_threads(before)
        return weight

    assert torch.equal(trained(1), trained(3))


def test_adamw_makes_no_tensor_of_a_parameters_size():
    weight = nn.Parameter(torch.randn(512, 512))
    weight.grad = torch.randn(512, 512)
    optimizer = build({"w": weight}, Settings(optimizer="adamw"))
    with torch.profiler.profile(profile_memory=True) as profile:
        optimizer.step(0, 1.0)
    assert max(e.self_cpu_memory_usage for e in profile.key_averages()) < weight.nbytes / 100


def test_muon_equals_a_plain_one_in_float64():
    ours, plain = model().double(), model().double()
    settings = Settings(optimizer="muon", matrix_lr=0.02, weight_decay=0.1, momentum=0.95)
    optimizer = build(dict(ours.named_parameters()), settings)
    momentum = [torch.zeros_like(m.weight) for m in plain.blocks]
    for step in range(10):
        gradients(ours, step)
        gradients(plain, step)
        optimizer.step(step, 1.0)
        with torch.no_grad():
            for m, b in zip(plain.blocks, momentum, strict=True):
                plain_muon(m.weight, m.weight.grad, b, 0.02, settings)
    for a, b in zip(ours.blocks, plain.blocks, strict=True):
        assert torch.allclose(a.weight, b.weight, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_muon_equals_pytorchs(monkeypatch, dtype):
    """PyTorch iterates in bf16; once more with that left out, the tolerance is fp32's."""
    if dtype == "float32":
        monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)
    ours, theirs = model(), model()
    settings = Settings(optimizer="muon", matrix_lr=0.02, weight_decay=0.1, momentum=0.95)
    optimizer = build(dict(ours.named_parameters()), settings)
    # PyTorch averages its momentum; with nesterov both point the same way, and length is lost in
    # the orthogonalisation.
    reference = torch.optim.Muon(
        [m.weight for m in theirs.blocks],
        lr=0.02, weight_decay=0.1, momentum=0.95, nesterov=True, ns_steps=5,
        adjust_lr_fn="original",
    )  # fmt: skip
    for step in range(3):
        gradients(ours, step)
        gradients(theirs, step)
        optimizer.step(step, 1.0)
        reference.step()
    for a, b in zip(ours.blocks, theirs.blocks, strict=True):
        atol = 1e-6 if dtype == "float32" else 2e-3
        assert torch.allclose(a.weight, b.weight, rtol=0, atol=atol)


def test_a_stack_of_experts_moves_as_its_matrices_alone():
    torch.manual_seed(0)
    start, grads = torch.randn(5, 6, 9), torch.randn(4, 5, 6, 9)
    settings = Settings(optimizer="muon", weight_decay=0.1)

    def trained(parameters):
        optimizer = build({f"blocks.{n}": p for n, p in parameters.items()}, settings)
        assert len(optimizer.muon) == len(parameters)
        for step, grad in enumerate(grads):
            for name, p in parameters.items():
                p.grad = grad if name == "all" else grad[int(name)]
            optimizer.step(step, 1.0)
        return parameters

    stack = trained({"all": nn.Parameter(start.clone())})["all"]
    alone = trained({str(i): nn.Parameter(m.clone()) for i, m in enumerate(start)})
    assert torch.equal(stack, torch.stack(list(alone.values())))


def test_ranks_that_own_some_matrices_make_the_updates_of_one_that_owns_all():
    net, again = model(), model()
    whole, split = (build(dict(m.named_parameters()), Settings()) for m in (net, again))
    gradients(net, 0)
    gradients(again, 0)
    all_at_once = dict(muon_updates(whole.muon, whole.state, 0.95))
    owner = owners({n: tuple(p.shape) for n, p in split.muon.items()}, 2)
    for rank in range(2):
        mine = {n: p for n, p in split.muon.items() if owner[n] == rank}
        assert mine
        for name, update in muon_updates(mine, split.state, 0.95):
            assert torch.equal(update, all_at_once.pop(name))
    assert not all_at_once


def layer_shapes(layers):
    sizes = {"q": (768, 768), "k": (192, 768), "v": (192, 768), "o": (768, 768),
             "gate": (2048, 768), "up": (2048, 768), "down": (768, 2048)}  # fmt: skip
    shapes = {f"blocks.{i}.{n}": s for i in range(layers) for n, s in sizes.items()}
    return shapes | {"blocks.0.experts": (4, 768, 512)}


@pytest.mark.parametrize("n_ranks", [1, 2, 3, 8])
def test_owners_share_the_work_evenly_and_always_alike(n_ranks):
    shapes = layer_shapes(12)
    owner = owners(shapes, n_ranks)
    assert owner == owners(dict(reversed(shapes.items())), n_ranks)
    load = [
        sum(newton_schulz_flops(shapes[n]) for n, r in owner.items() if r == rank)
        for rank in range(n_ranks)
    ]
    assert sum(load) == sum(map(newton_schulz_flops, shapes.values()))
    assert max(load) <= 1.07 * sum(load) / n_ranks


def test_owners_of_fewer_matrices_than_ranks():
    assert sorted(owners({"a": (4, 4), "b": (8, 4)}, 5).values()) == [0, 1]


def test_newton_schulz_flops_are_those_of_its_products():
    counter = torch.utils.flop_counter.FlopCounterMode(display=False)
    with counter:
        orthogonalise(torch.randn(3, 16, 40))
    assert counter.get_total_flops() == newton_schulz_flops((3, 16, 40))
    assert newton_schulz_flops((40, 16)) * 3 == newton_schulz_flops((3, 16, 40))


def test_muon_takes_the_blocks_matrices_and_adamw_the_rest():
    optimizer = build(dict(model().named_parameters()), Settings(optimizer="muon"))
    assert sorted(optimizer.muon) == ["blocks.0.weight", "blocks.1.weight"]
    assert sorted(optimizer.adamw) == ["embed.weight", "norm.weight"]
    assert sorted(optimizer.state) == [
        "b.blocks.0.weight", "b.blocks.1.weight", "m.embed.weight", "m.norm.weight",
        "v.embed.weight", "v.norm.weight",
    ]  # fmt: skip


@pytest.mark.parametrize("size", [(16, 16), (16, 40), (40, 16)])
def test_orthogonalise_drives_singular_values_to_one(size):
    g = torch.randn(3, *size, generator=torch.Generator().manual_seed(0))
    u = orthogonalise(g)
    assert u.shape == g.shape
    values = torch.linalg.svdvals(u)
    assert 0.6 < float(values.median()) < 1.3
    assert float(values.max()) < 1.4
    # The singular vectors stay: u is close to the exact polar factor in direction.
    left, _, right = torch.linalg.svd(g, full_matrices=False)
    polar = left @ right
    cosine = (u * polar).sum() / (u.norm() * polar.norm())
    assert float(cosine) > 0.95


def test_the_factor_scales_every_rate():
    one, two = model(), model()
    before = copy.deepcopy(one)
    for net, factor in ((one, 1.0), (two, 0.5)):
        gradients(net, 0)
        build(dict(net.named_parameters()), Settings(weight_decay=0.0)).step(0, factor)
    for a, b, start in zip(one.parameters(), two.parameters(), before.parameters(), strict=True):
        assert torch.allclose((a - start) * 0.5, b - start, atol=1e-6)


def test_weight_decay_leaves_vectors_alone():
    net = model()
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    norm = net.norm.weight.detach().clone()
    matrix = net.embed.weight.detach().clone()
    build(dict(net.named_parameters()), Settings(lr=0.1, weight_decay=0.5)).step(0, 1.0)
    assert torch.equal(net.norm.weight, norm)
    assert torch.allclose(net.embed.weight, matrix * (1 - 0.05))
