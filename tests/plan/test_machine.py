"""Rates are those of the work that was timed."""

import time

import pytest
import torch

from pretrain.plan import machine


def test_the_median_of_a_known_duration_in_at_least_three_calls():
    calls = []

    def work():
        calls.append(time.perf_counter())
        time.sleep(0.3 if len(calls) == 1 else 0.01)  # the warm-up must not count

    assert 0.01 <= machine.median_seconds(work, 0) < 0.1
    assert len(calls) == 4


def test_rates_divide_work_by_time(monkeypatch):
    def two_seconds(work, seconds=0.12):
        work()
        return 2.0

    monkeypatch.setattr(machine, "median_seconds", two_seconds)
    cpu = torch.device("cpu")
    assert machine.product_rate(3, 5, 7, torch.float32, cpu) == 2 * 3 * 5 * 7 / 2
    assert machine.memory_rate(cpu) == 2 * 4 * (16 << 20) / 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rates_of_this_machine_are_possible(dtype):
    cpu = torch.device("cpu")
    assert 1e6 < machine.product_rate(64, 64, 64, dtype, cpu) < 1e14
    assert 1e7 < machine.memory_rate(cpu) < 1e13
