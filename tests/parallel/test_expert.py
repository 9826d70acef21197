"""Experts laid out over ranks compute what they do on one; the rest of the model is sharded."""

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.debug import CommDebugMode

from pretrain.model.attention import Context
from pretrain.model.moe import Experts, move_choice
from pretrain.parallel import context, expert, mesh, tensor
from pretrain.parallel.layout import Layout
from tests.parallel import families, ranks

MIXED = ["mixtral", "dots1"]


def build(name, placed):
    def divide(model):
        if placed.layout.tensor > 1:
            tensor.divide(model, placed)
        if placed.layout.context > 1:
            context.divide(model, placed)
        expert.divide(model, placed)

    return families.build(families.shape_of(name), divide)


def slices(rows, placed, causal=True):
    """This rank's rows, and of them this rank's tokens."""
    n = len(rows) // placed.data_size
    here = rows.split(n)[placed.data_rank]
    if placed.layout.context > 1:
        here = here.part(
            context.places(
                rows.inputs_RL.shape[1], placed.place("context"), placed.sizes["context"], causal
            )
        )
    return here


def sum_gradients(model, placed):
    """What the flat sum of the loop does: over all who have other tokens for the same weights."""
    for p in model.parameters():
        if p.grad is not None:
            grad = p.grad.to_local() if isinstance(p.grad, DTensor) else p.grad
            names = ("rest", "context") if expert.is_expert(p) else ("rest", "expert", "context")
            for name in names:
                dist.all_reduce(grad, group=placed.expert_axis(name).get_group())


def compare(name, placed):
    rows = families.rows_for(name)
    micro_rows = len(rows) // placed.data_size
    wanted = families.reference(name, rows, micro_rows)
    model = build(name, placed)
    here = slices(rows, placed)
    found, losses = families.gradients_of(
        model, families.settings_of(name), here, len(rows.places_N), micro_rows
    )
    tensor.settle(model.parameters())
    sum_gradients(model, placed)
    return told(wanted, model, found, losses, rows, here, placed)


def told(wanted, model, found, losses, rows, here, placed):
    for total in found.tensors():
        for axis in ("replicate", "shard", "context"):
            dist.all_reduce(total, group=placed.axis(axis).get_group())
    move_choice(model, found.loads, 0.1)
    move_choice(wanted.model, wanted.sums.loads, 0.1)
    for a, b in zip(model.buffers(), wanted.model.buffers(), strict=True):
        assert torch.equal(a, b)
    table = torch.full(rows.inputs_RL.shape, torch.nan).flatten()
    table[rows.there_N] = wanted.losses_N
    table = table.view(rows.inputs_RL.shape)[here.first_row : here.first_row + len(here)]
    at = np.arange(table.shape[1]) if here.at_L is None else here.at_L
    wanted.losses_N = table[:, at].flatten()[here.there_N]
    return families.compared(wanted, model, found, losses)


def on_ranks(rank, layout, n, names):
    placed = mesh.build(layout, n)
    return {name: compare(name, placed) for name in names}


def test_two_ranks_equal_one():
    for by_name in ranks.run(2, on_ranks, Layout(shard=2, expert=2), 2, MIXED):
        families.assert_close(by_name)


@pytest.mark.slow
def test_with_ranks_that_have_the_same_experts_and_with_other_axes():
    for layout in (
        Layout(shard=4, expert=2),
        Layout(shard=2, expert=2, tensor=2),
        Layout(shard=2, expert=2, context=2),
    ):
        for by_name in ranks.run(4, on_ranks, layout, 4, MIXED):
            families.assert_close(by_name)


def sharded(rank, layout, n, name):
    """Experts over expert ranks and what is left, all else over all data ranks: FSDP2."""
    placed = mesh.build(layout, n)
    rows = families.rows_for(name)
    wanted = families.reference(name, rows, 1)

    def divide(model):
        if layout.tensor > 1:
            tensor.divide(model, placed)
        expert.divide(model, placed)
        over = placed.axis("shard", "context")
        if placed.sizes["replicate"] > 1:
            over = placed.devices["replicate", "shard"]
        families.shard(model, over, expert.shard_placement(placed))

    model = families.build(families.shape_of(name), divide)
    here = slices(rows, placed)
    found, losses = families.gradients_of(
        model, families.settings_of(name), here, len(rows.places_N), 1
    )
    kept = {n: p.to_local().numel() for n, p in model.named_parameters()}
    of_expert = kept["blocks.1.feed_forward.gate"]
    shape = model.shape
    assert (
        of_expert * n
        == placed.sizes["replicate"] * shape.experts * shape.expert_hidden * shape.width
    )
    return told(wanted, model, found, losses, rows, here, placed)


def sharded_on_ranks(rank, layout, n):
    return {name: sharded(rank, layout, n, name) for name in MIXED}


@pytest.mark.slow
def test_experts_are_sharded_over_what_is_left():
    for layout in (
        Layout(shard=4, expert=2),
        Layout(shard=2, expert=2, tensor=2),
        Layout(shard=2, expert=2),  # two copies of two shards: HSDP
    ):
        for by_name in ranks.run(4, sharded_on_ranks, layout, 4):
            families.assert_close(by_name)


def sent(rank):
    placed = mesh.build(Layout(shard=2, expert=2), 2)
    model = build("mixtral", placed)
    here = slices(families.rows_for("mixtral"), placed)
    with CommDebugMode() as mode:
        families.gradients_of(model, families.settings_of("mixtral"), here, 1, len(here))
    layers = [m for m in model.modules() if isinstance(m, Experts)]
    told = {str(kind).rpartition(".")[2]: n for kind, n in mode.get_comm_counts().items()}
    return len(layers), layers[0].gate.to_local().shape[0], told


def test_a_layer_sends_counts_and_tokens_there_and_back():
    for n_layers, n_here, told in ranks.run(2, sent):
        assert n_here == 2
        assert told == {"all_to_all_single": n_layers * (1 + 2 + 2)}


def one_sided(rank):
    """All tokens to the first rank's experts."""
    placed = mesh.build(Layout(shard=2, expert=2), 2)
    shape = families.shape_of("mixtral")
    model = build("mixtral", placed)
    layer = next(m for m in model.modules() if isinstance(m, Experts))
    with torch.no_grad():
        layer.router.weight[2:] = 0
        layer.router.weight[:2] = 1
    x = torch.rand(2, 3, shape.width, requires_grad=True)
    came = []
    products = layer._experts
    layer._experts = lambda rows, load: came.append(len(rows)) or products(rows, load)
    layer(x, Context(True)).sum().backward()
    assert x.grad.isfinite().all()
    assert layer.gate.grad.to_local().any() == (rank == 0)
    return came


def test_a_rank_whose_experts_nobody_wants_waits_for_its_tokens():
    assert ranks.run(2, one_sided) == [[24], [0]]
