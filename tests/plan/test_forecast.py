"""A forecast is what its parts say, and stands beside what was published."""

import pytest

from pretrain.plan import forecast
from pretrain.plan.flows import Flow
from pretrain.plan.simulate import Place

SIZES = {"pipeline": 16, "replicate": 1, "shard": 128, "context": 1, "tensor": 8}


def found(**more):
    flows = (
        Flow("tensor", "all-gather", 1, 8 / 7 * 450e9, 8),  # a second within a machine
        Flow("shard", "all-gather", 1, 128 / 127 * 100e9, 128),  # two, to others
        Flow("pipeline", "send", 1, 1e9, 16),
    )
    flops = 3 * 794.5e12
    place = Place(tuple(range(16)), 8, 1.0, {}, flops, flows)
    given = {"world": 16384, "sizes": SIZES, "flops_per_step": 16384 * flops, "bubble": 0.2,
             "tokens_per_step": 1 << 24, "recompute": "none", "places": [place]}  # fmt: skip
    return given | more


def test_parts_add_up_to_the_step():
    told = forecast.step_seconds(found())
    assert told["seconds"] == pytest.approx((3 + 1) / 0.8)
    assert sum(told["seconds_by_part"].values()) == pytest.approx(told["seconds"])
    assert told["mfu"] == pytest.approx(3 * 794.5 / 989.5 / 5)
    assert any(f"MFU {100 * told['mfu']:.1f} % (6N + 6LdS)" in line for line in told["lines"])
    assert any(
        "reached 41 % so (table 4): this forecast is 1.18 times" in line for line in told["lines"]
    )


def test_what_computing_does_not_hide_shows():
    slow = forecast.Links(forecast.H100.board, 1e6, 1e18, 50e9)
    told = forecast.step_seconds(found(bubble=0.0), slow)
    assert told["seconds"] == pytest.approx(2, rel=1e-4)


def test_full_recomputation_takes_a_third_more():
    plain, full = (forecast.step_seconds(found(recompute=r)) for r in ("none", "full"))
    assert full["seconds_by_part"]["computing"] == pytest.approx(
        4 / 3 * plain["seconds_by_part"]["computing"]
    )
