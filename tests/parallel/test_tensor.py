"""Divided over tensor ranks a model computes what it does on one."""

import pytest
import torch
import torch.distributed as dist
from torch._dynamo.utils import counters
from torch.distributed.tensor.debug import CommDebugMode

from pretrain.errors import RecipeError
from pretrain.parallel import mesh, tensor
from pretrain.parallel.layout import Layout
from pretrain.train import kernels
from tests.parallel import families, ranks

PAIRS = ("t5", "transformer")  # 24 tokens make 21 and 6 of a pair, 25 tokens 22 and 6
ALL_HEADS = ("gpt2", "bert", "dots1")  # that four ranks can share


def divided(name, placed, sequence=True):
    return families.build(families.shape_of(name), lambda m: tensor.divide(m, placed, sequence))


def compare(name, placed, sequence=True, dropout=0.0):
    rows = families.rows_for(name, length=25 if name in PAIRS and sequence else 24)
    wanted = families.reference(name, rows, dropout=dropout)
    model = divided(name, placed, sequence)
    settings = families.settings_of(name, dropout=dropout)
    found = families.gradients_of(model, settings, rows, len(rows.places_N))
    tensor.settle(model.parameters())
    return families.compared(wanted, model, *found)


def on_ranks(rank, n, names):
    placed = mesh.build(Layout(tensor=n), n)
    told = {name: compare(name, placed) for name in names}
    told |= {f"{name}, all tokens": compare(name, placed, False) for name in ("gpt2", *PAIRS)
             if name in names}  # fmt: skip
    return told | {"gpt2, dropout": compare("gpt2", placed, dropout=0.2)}


def test_two_ranks_equal_one_in_every_family():
    for told in ranks.run(2, on_ranks, 2, tuple(families.FAMILIES)):
        assert len(told) == len(families.FAMILIES) + 4
        families.assert_close(told)


def test_four_ranks_equal_one():
    for told in ranks.run(4, on_ranks, 4, ALL_HEADS):
        families.assert_close(told)


def sent(rank):
    """Collectives of a pass of two layers, then of settling; what a row of odd length is told."""
    model = divided("llama", mesh.build(Layout(tensor=2), 2))
    rows, settings = families.rows_for("llama"), families.settings_of("llama")
    counts = []
    with CommDebugMode() as passed:
        families.gradients_of(model, settings, rows, len(rows.places_N), micro_rows=4)
    with CommDebugMode() as settled:
        tensor.settle(model.parameters())
    counts = [
        {str(kind).rpartition(".")[2]: n for kind, n in mode.get_comm_counts().items()}
        for mode in (passed, settled)
    ]
    try:
        model.hidden(torch.zeros(1, 7, dtype=torch.int64))
    except RecipeError as error:
        return counts, str(error)
    return counts, ""


def test_what_is_sent_is_what_the_picture_says():
    for (passed, settled), said in ranks.run(2, sent):
        # A layer gathers and scatters twice each way; the ends gather and scatter once each way.
        assert passed == {
            "all_gather_into_tensor": 2 * 2 * 2 + 2, "reduce_scatter_tensor": 2 * 2 * 2 + 1,
            "all_reduce": 1, "allgather_": 1,
        }  # fmt: skip
        assert settled == {"allreduce_": 1}
        assert "share rows of 7 tokens" in said
        assert "train.layout.tensor" in said


def sharded(rank):
    """Two tensor ranks of two shard ranks each: FSDP2 adds up norms' parts by itself."""
    placed = mesh.build(Layout(tensor=2, shard=2), 4)
    told = {}
    for name in ("llama", "bert", "dots1"):
        rows = families.rows_for(name)
        wanted = families.reference(name, rows)

        def divide(model):
            tensor.divide(model, placed)
            families.shard(model, placed.axis("shard"))

        model = families.build(families.shape_of(name), divide)
        here = rows.split(2)[placed.data_rank]
        found, losses = families.gradients_of(
            model, families.settings_of(name), here, len(rows.places_N)
        )
        for total in found.tensors():
            dist.all_reduce(total, group=placed.axis("shard").get_group())
        n_before = 0 if placed.data_rank == 0 else len(rows.places_N) - len(here.places_N)
        wanted.losses_N = wanted.losses_N[n_before : n_before + len(here.places_N)]
        told[name] = families.compared(wanted, model, found, losses)
    return told


@pytest.mark.slow
def test_what_is_divided_can_be_sharded_too():
    for told in ranks.run(4, sharded):
        families.assert_close(told)


def compiled(rank):
    """Blocks traced and differentiated by the compiler, run as they are."""
    placed, told = mesh.build(Layout(tensor=2), 2), {}
    for name in ("llama", "dots1"):
        rows = families.rows_for(name)
        wanted = families.reference(name, rows)
        model = divided(name, placed)
        kernels.compile_blocks(model, "on", torch.device("cpu"), backend="aot_eager")
        found = families.gradients_of(model, families.settings_of(name), rows, len(rows.places_N))
        tensor.settle(model.parameters())
        told[name] = families.compared(wanted, model, *found)
    return told, dict(counters["graph_break"])


@pytest.mark.slow
def test_divided_blocks_compile_whole():
    for told, breaks in ranks.run(2, compiled):
        families.assert_close(told)
        assert not breaks
