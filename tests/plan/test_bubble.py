"""Played schedules wait as long as the formulas say."""

from dataclasses import replace

import pytest
import torch

from pretrain.model.sizes import SIZES
from pretrain.parallel import mesh, stages
from pretrain.parallel.layout import Layout
from pretrain.parallel.pipeline import SCHEDULES, Pipeline
from pretrain.plan import bubble, simulate, traffic

TWO = {"virtual": 2}


def played(schedule, ranks, n_micro, cost=None, **more):
    layout = Layout(pipeline=ranks, schedule=schedule, **more)
    shape = replace(SIZES["70b"], vocab_size=8)
    with traffic.fake_world(ranks):
        group = mesh.build(layout, ranks).axis("pipeline").get_group()
        own = stages.places(layout)[0]
        parts = {stages.divide(shape, layout, 64)[s]: simulate.empty(shape) for s in own}
        run = Pipeline(parts, layout, group, torch.device("cpu"))
        order = bubble.order_of(run._schedule(n_micro, 1, 64))
    return bubble.play(order, cost or [1.0] * layout.stages)


@pytest.mark.parametrize("schedule", ["gpipe", "1f1b"])
@pytest.mark.parametrize(("ranks", "n_micro"), [(4, 4), (4, 16), (8, 24)])
def test_one_stage_a_rank(schedule, ranks, n_micro):
    found = played(schedule, ranks, n_micro)
    assert found.bubble == pytest.approx((ranks - 1) / (n_micro + ranks - 1))
    first = n_micro if schedule == "gpipe" else ranks
    assert found.under_way[0] == first
    assert found.under_way[ranks - 1] == (n_micro if schedule == "gpipe" else 1)


def test_more_stages_and_split_backward_passes_wait_less():
    plain = played("1f1b", 4, 8).bubble
    looped = played("interleaved_1f1b", 4, 8, **TWO).bubble
    assert looped == pytest.approx(3 / (2 * 8 + 3))
    assert played("interleaved_zero_bubble", 4, 8, **TWO).bubble < looped < plain
    for schedule in ("zbv_zero_bubble", "dualpipev"):
        assert played(schedule, 4, 8, **TWO).bubble < looped


def test_a_slow_stage_keeps_the_others_waiting():
    even, uneven = played("1f1b", 4, 8), played("1f1b", 4, 8, [1.0, 1.0, 1.0, 2.0])
    assert uneven.bubble > even.bubble
    assert uneven.seconds > even.seconds


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_micro_batch_goes_both_ways(schedule):
    more = {} if schedule in ("gpipe", "1f1b") else TWO
    found = played(schedule, 2, 4, **more)
    n_stages = 2 * more.get("virtual", 1)
    # Twice as much back as forth: what all ranks compute, by the time and the share they wait.
    computed = (1 - found.bubble) * 2 * found.seconds
    assert computed == pytest.approx(3 * 4 * n_stages)
