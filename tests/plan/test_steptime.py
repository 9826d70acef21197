"""Step time: arrays as numbers, no faster than the sheet, and slower where more is to be done."""

from dataclasses import fields, replace

import numpy as np
import pytest

from pretrain.model.sizes import SIZES
from pretrain.plan import facts, network, steptime
from pretrain.plan.steptime import Layouts, Multipliers

BOARD = facts.board("H100 SXM")
NET = network.of(replace(SIZES["8b"], vocab_size=128_256))
MOE = network.of(replace(SIZES["qwen3-30b-a3b"], vocab_size=151_936))


def seconds(at, net=NET, length=8192, by=steptime.AS_TOLD, precision="bf16"):
    return float(steptime.seconds(steptime.costs(net, BOARD, length, at, precision), by))


@pytest.mark.parametrize("net", [NET, MOE], ids=["dense", "experts"])
def test_arrays_give_what_numbers_give(net):
    rng = np.random.default_rng(0)
    columns = {
        "data": [8, 4, 16], "shard": [8, 1, 4], "tensor": [1, 2, 8], "pipeline": [1, 4, 2],
        "virtual": [1, 2, 1], "context": [1, 2, 1], "expert": [1, 4, 8], "micro_rows": [1, 2, 3],
        "n_micro": [1, 8, 16], "products_again": [0.0, 1.0, 0.0],
        "kernels_again": [0.0, 1.0, 1.0], "regather": [1, 0, 0], "scores": [0, 1, 0],
    }  # fmt: skip
    order = rng.permutation(3)
    many = Layouts(**{k: np.array(v)[order] for k, v in columns.items()})
    told = steptime.seconds(steptime.costs(net, BOARD, 4096, many))
    for i, j in enumerate(order):
        one = Layouts(**{k: v[j] for k, v in columns.items()})
        assert told[i] == pytest.approx(seconds(one, net, 4096), rel=1e-12)


@pytest.mark.parametrize("rows", [1, 7, 128, 4096])
def test_a_product_is_never_faster_than_its_sheet(rows):
    for inner, outer in [(64, 64), (4096, 14336), (8192, 1)]:
        told = float(steptime._product(inner, outer, rows, BOARD, "bf16"))
        flops = 2 * rows * inner * outer / BOARD.largest("bf16")
        n_bytes = 2 * (rows * inner + inner * outer + rows * outer) / BOARD.bandwidth
        assert told >= max(flops, n_bytes)


def test_no_layout_beats_the_largest_product():
    at = Layouts(data=8, shard=8, micro_rows=2, n_micro=4)
    flops = 8 * NET.flops_per_token(8192) * 8192
    assert seconds(at) > flops / BOARD.largest("bf16")


def test_more_work_takes_longer():
    at = Layouts(data=8, shard=8, micro_rows=2, n_micro=4)
    assert seconds(replace(at, n_micro=8)) > 1.9 * seconds(at)
    assert seconds(replace(at, kernels_again=1.0)) > seconds(at)
    full = replace(at, kernels_again=1.0, products_again=1.0)
    assert 1.2 < seconds(full) / seconds(at) < 1.4
    assert seconds(replace(at, scores=1)) > seconds(at)
    assert seconds(at, precision="fp8") < seconds(at)
    wide = replace(at, data=2, shard=1, tensor=4, micro_rows=8)
    slow = replace(BOARD, inside_gb=BOARD.inside_gb / 4)
    open_ = [float(steptime.costs(NET, b, 8192, wide).open_messages) for b in (BOARD, slow)]
    assert 3 < open_[1] / open_[0] < 4  # but for their start, messages are four times as long


def test_a_pipeline_waits_as_it_does_by_the_book():
    """(p − 1) / (v m) more than no waiting: Narayanan et al. 2021."""
    at = Layouts(data=1, pipeline=4, n_micro=8)
    found = steptime.combine(steptime.costs(NET, BOARD, 8192, at))
    busy = sum(found[k] for k in ("products", "kernels", "messages in the open", "launches"))
    assert found["pipeline waits"] / busy == pytest.approx(3 / 8)


def test_multipliers_scale_their_own_part():
    at = Layouts(data=8, shard=8, micro_rows=4)
    found = steptime.costs(NET, BOARD, 8192, at)
    plain, twice = (steptime.combine(found, by) for by in (Multipliers(), Multipliers(2, 1, 1, 1)))
    assert twice["products"] == pytest.approx(2 * plain["products"])
    assert twice["kernels"] == plain["kernels"]
    assert {f.name for f in fields(steptime.Costs)} >= {"products", "kernels", "beside"}
