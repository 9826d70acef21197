"""Rates are those of the work that was timed."""

import time

import pytest
import torch

from pretrain.plan import machine


def test_the_median_of_a_known_duration_in_at_least_three_calls():
    calls = []

    def work():
        calls.append(time.perf_counter())
        time.sleep(1 if len(calls) == 1 else 0.01)  # the warm-up must not count

    assert 0.01 <= machine.median_seconds(work, 0) < 1
    assert len(calls) == 4


def test_rates_divide_work_by_time(monkeypatch):
    def two_seconds(work):
        work()
        return 2.0

    monkeypatch.setattr(machine, "median_seconds", two_seconds)
    cpu = torch.device("cpu")
    assert machine.product_seconds(3, 5, 7, torch.float32, cpu) == 2 / 3
    assert machine.memory_rate(1000, cpu) == 2 * 4 * 1000 / 2
    assert machine.memory_rate(1 << 30, cpu) == 2 * 4 * (16 << 20) / 2
    assert machine.orthogonalise_seconds(16, 32, cpu) == 2 / 4
    assert machine.attention_seconds(64, 4, 2, 8, torch.float32, cpu) == 2 / 1024


def test_what_is_not_measured_whole_is_scaled_by_its_work(monkeypatch):
    monkeypatch.setattr(machine, "median_seconds", lambda work: 2.0)
    cpu, dtype = torch.device("cpu"), torch.float32
    once = machine.product_seconds(512, 2048, 4096, dtype, cpu)
    assert machine.product_seconds(512, 4096, 8192, dtype, cpu) == pytest.approx(4 * once)
    assert machine.orthogonalise_seconds(1024, 2048, cpu) == pytest.approx(
        8 * machine.orthogonalise_seconds(512, 1024, cpu)
    )
    once = machine.attention_seconds(2048, 8, 2, 16, dtype, cpu)
    assert machine.attention_seconds(4096, 32, 8, 16, dtype, cpu) == pytest.approx(8 * once)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rates_of_this_machine_are_possible(dtype):
    cpu = torch.device("cpu")
    assert 1e6 < 6 * 64 * 64 / machine.product_seconds(64, 64, 64, dtype, cpu) < 1e14
    assert 1e7 < machine.memory_rate(1 << 20, cpu) < 1e13
    assert 0 < machine.attention_seconds(64, 4, 2, 32, dtype, cpu) < 1


def test_a_disk_is_written_whole_and_leaves_nothing_behind(tmp_path):
    written, read = machine.disk_rates(tmp_path, 1 << 20)
    assert 1e4 < written < 1e12
    assert 1e4 < read < 1e12
    assert list(tmp_path.iterdir()) == []
