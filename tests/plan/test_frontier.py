"""The frontier is the least of the law at a compute, and is drawn where the law was fitted."""

import numpy as np
import pytest

from pretrain.plan import frontier, laws


def test_no_size_is_better_than_the_frontier():
    found = frontier.around(8e9, 2e11)
    assert found["holds"]
    losses = [point["loss"] for point in found["frontier"]]
    assert losses == sorted(losses, reverse=True)
    for point in found["frontier"][::6]:
        n = np.geomspace(point["parameters"] / 30, point["parameters"] * 30, 400)
        least = laws.central(n, point["flops"] / 6 / n).min()
        assert point["loss"] <= least * (1 + 1e-9)
        assert point["loss"] == pytest.approx(least, rel=1e-4)
        assert 6 * point["parameters"] * point["tokens"] == pytest.approx(point["flops"])
        assert point["low"] < point["loss"] < point["high"]


def test_the_run_lies_on_or_above_it():
    for n, tokens in ((8e9, 2e11), (1e9, 1.6e12), (4e10, 4e10)):
        found = frontier.around(n, tokens)
        flops, losses = ([p[k] for p in found["frontier"]] for k in ("flops", "loss"))
        at = np.exp(np.interp(np.log(found["flops"]), np.log(flops), np.log(losses)))
        assert found["loss"] >= at * 0.999


def test_repeated_text_raises_the_run_alone():
    once, often = frontier.around(8e9, 2e11), frontier.around(8e9, 2e11, 2e10)
    assert often["loss"] > once["loss"]
    assert often["frontier"] == once["frontier"]


def test_below_all_public_runs_no_frontier_is_told():
    found = frontier.around(1.8e6, 8e5)
    assert not found["holds"]
    assert "no forecast" in found["note"]
    assert frontier.around(1e8, 2e9)["holds"]
    points = frontier.around(3e7, 6e8)["frontier"]
    assert points[0]["flops"] > 6 * 3e7 * 6e8 / 1e3  # what is smaller is left out
    assert points[0]["loss"] < 10


def test_beyond_them_it_is_told_as_extrapolated():
    found = frontier.around(4e11, 1.5e13)
    assert found["holds"]
    marks = [point["extrapolated"] for point in found["frontier"]]
    assert marks == sorted(marks)
    assert set(marks) == {False, True}
    for point in found["frontier"]:
        outside = [law.law.outside(point["parameters"], point["tokens"]) for law in laws.ensemble()]
        assert point["extrapolated"] == (min(outside) > laws.FAR)
