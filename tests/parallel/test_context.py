"""Ranks that share each row's tokens compute what one rank does with all of them."""

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.debug import CommDebugMode

from pretrain.errors import RecipeError
from pretrain.parallel import context, mesh, tensor
from pretrain.parallel.layout import Layout
from pretrain.train import kernels
from tests.parallel import families, ranks

NAMES = [n for n in families.FAMILIES if n not in ("t5", "transformer", "ahead")]


def compare(name, placed, dropout=0.0, compiles=False):
    """Over `context` ranks, and `tensor` where the layout has them."""
    rows = families.rows_for(name)
    wanted = families.reference(name, rows, dropout=dropout)

    def divide(model):
        if placed.layout.tensor > 1:
            tensor.divide(model, placed)
        context.divide(model, placed)

    model = families.build(families.shape_of(name), divide)
    if compiles:
        kernels.compile_blocks(model, "on", torch.device("cpu"), backend="aot_eager")
    here = part_of(rows, placed, model.shape.causal)
    settings = families.settings_of(name, dropout=dropout)
    found, losses = families.gradients_of(model, settings, here, len(rows.places_N))
    tensor.settle(model.parameters())
    group = placed.axis("context").get_group()
    for p in model.parameters():
        if p.grad is not None:
            dist.all_reduce(
                p.grad.to_local() if isinstance(p.grad, DTensor) else p.grad, group=group
            )
    for total in found.tensors():
        dist.all_reduce(total, group=group)
    wanted.losses_N = losses_at(wanted.losses_N, rows, here)
    return families.compared(wanted, model, found, losses)


def part_of(rows, placed, causal):
    at = context.places(
        rows.inputs_RL.shape[1], placed.place("context"), placed.sizes["context"], causal
    )
    return rows.part(at)


def losses_at(losses_N, rows, here):
    """Of all rows' losses those of this rank's targets."""
    table = torch.full(rows.inputs_RL.shape, torch.nan).flatten()
    table[rows.there_N] = losses_N
    return table.view(rows.inputs_RL.shape)[:, here.at_L].flatten()[here.there_N]


def on_ranks(rank, layout, n, names):
    placed = mesh.build(layout, n)
    told = {name: compare(name, placed) for name in names}
    return told | {"llama, dropout": compare("llama", placed, dropout=0.2)}


def test_two_ranks_equal_one_in_every_family():
    for told in ranks.run(2, on_ranks, Layout(context=2), 2, NAMES):
        families.assert_close(told)


def test_four_ranks_equal_one():
    for told in ranks.run(4, on_ranks, Layout(context=4), 4, ["mistral", "modernbert"]):
        families.assert_close(told)


@pytest.mark.slow
def test_with_tensor_ranks():
    names = ["llama", "bert", "mixtral"]
    for told in ranks.run(4, on_ranks, Layout(context=2, tensor=2), 4, names):
        families.assert_close(told)


def compiled(rank):
    placed = mesh.build(Layout(context=2), 2)
    return {name: compare(name, placed, compiles=True) for name in ("llama", "bert")}


@pytest.mark.slow
def test_blocks_compile_that_gather():
    for told in ranks.run(2, compiled):
        families.assert_close(told)


def sent(rank):
    placed = mesh.build(Layout(context=2), 2)
    model = families.build(families.shape_of("llama"), lambda m: context.divide(m, placed))
    rows = families.rows_for("llama")
    here = part_of(rows, placed, True)
    with CommDebugMode() as mode:
        families.gradients_of(model, families.settings_of("llama"), here, 1, micro_rows=4)
    return {str(kind).rpartition(".")[2]: n for kind, n in mode.get_comm_counts().items()}


def test_a_layer_gathers_once_and_scatters_once():
    assert ranks.run(2, sent) == [{"all_gather_into_tensor": 2, "reduce_scatter_tensor": 2}] * 2


@pytest.mark.parametrize("causal", [True, False])
def test_every_token_has_one_rank_and_every_rank_as_much_to_do(causal):
    parts = [context.places(24, i, 3, causal) for i in range(3)]
    assert sorted(np.concatenate(parts)) == list(range(24))
    pairs = [sum(part + 1) for part in parts]
    assert not causal or len(set(pairs)) == 1


def test_a_row_that_cannot_be_shared_is_refused():
    with pytest.raises(
        RecipeError, match=r"rows of 26 tokens; .* 4 equal .*train\.layout\.context"
    ):
        context.places(26, 0, 2, True)
    assert len(context.places(26, 0, 2, False)) == 13


def sharded(rank):
    """Parameters lie over the shard and context ranks laid flat: one sum for both."""
    placed = mesh.build(Layout(context=2, shard=2), 4)
    over = placed.axis("shard", "context")
    told = {}
    for name in ("llama", "bert", "mixtral"):
        rows = families.rows_for(name)
        wanted = families.reference(name, rows)

        def divide(model):
            context.divide(model, placed)
            families.shard(model, over)

        model = families.build(families.shape_of(name), divide)
        mine = rows.split(2)[placed.data_rank]
        here = part_of(mine, placed, model.shape.causal)
        found, losses = families.gradients_of(
            model, families.settings_of(name), here, len(rows.places_N)
        )
        for total in found.tensors():
            dist.all_reduce(total, group=over.get_group())
        n_before = 0 if placed.data_rank == 0 else len(rows.places_N) - len(mine.places_N)
        mine_losses = wanted.losses_N[n_before : n_before + len(mine.places_N)]
        wanted.losses_N = losses_at(mine_losses, mine, here)
        told[name] = families.compared(wanted, model, found, losses)
    return told


def test_parameters_are_sharded_over_the_same_ranks():
    for told in ranks.run(4, sharded):
        families.assert_close(told)
