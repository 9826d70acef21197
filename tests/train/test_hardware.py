"""MFU is against a peak that is known or measured; energy and memory say where they are from."""

import itertools
import mmap
import os
import sys
import types

import pytest
import torch

from pretrain import store
from pretrain.events import Log
from pretrain.model import count
from pretrain.ranks.world import World
from pretrain.train import hardware
from tests.conftest import set_clock, tiny_recipe

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
ONE = World(0, 1)


@pytest.fixture
def recipe(tmp_path):
    return tiny_recipe(tmp_path / "c")


@pytest.fixture
def gpu(monkeypatch):
    """As if torch saw one card; its name can be set."""
    card = types.SimpleNamespace(name="NVIDIA H200", uuid="1234")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: card.name)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    monkeypatch.setitem(sys.modules, "pynvml", None)  # not installed
    return card


def test_a_measured_peak_is_no_slower_than_a_product():
    peak = hardware.measured_peak(512, 128, 256, torch.float32, CPU)
    x, w = torch.randn(512, 128), torch.randn(256, 128)
    slowest = 0.0
    for _ in range(5):
        began = hardware.time.perf_counter()
        x @ w.t()
        slowest = max(slowest, hardware.time.perf_counter() - began)
    assert peak >= 2 * 512 * 128 * 256 / slowest


def test_only_a_card_that_is_known_has_its_data_sheets_peak(gpu, recipe, monkeypatch):
    measured = []
    monkeypatch.setattr(hardware, "measured_peak", lambda *a: measured.append(a) or 7.0)
    shape = recipe.model.shape(512)
    found = hardware.peak_of(shape, 4096, torch.bfloat16, GPU)
    assert found == hardware.Peak(989.5e12, "data sheet of NVIDIA H200, dense bf16")
    for name, dtype in [
        ("NVIDIA H200 MIG 1g.18gb", torch.bfloat16),
        ("Tomorrow's card", torch.bfloat16),
        ("NVIDIA H200", torch.float32),  # the sheet's figure is another dtype's
    ]:
        gpu.name = name
        found = hardware.peak_of(shape, 4096, dtype, GPU)
        assert found.flops_per_second == 7.0
        assert found.source.startswith("measured, a product 4,096 x 64 x 128 in ")
    assert len(measured) == 3


def test_a_large_models_peak_is_measured_within_a_second(recipe, monkeypatch):
    sizes = []
    monkeypatch.setattr(hardware, "measured_peak", lambda *a: sizes.append(a[:3]) or 1.0)
    from pretrain.model.sizes import SIZES

    for shape in SIZES.values():
        hardware.peak_of(shape, 16384, torch.float32, CPU)
    assert max(2 * a * b * c for a, b, c in sizes) < 4e10
    assert min(a for a, _, _ in sizes) >= 256


def test_energy_of_processors_is_their_assumed_power_over_the_time(monkeypatch):
    clock = itertools.count(0, 2.5)
    set_clock(monkeypatch, hardware, monotonic=lambda: next(clock))
    energy = hardware.Energy(CPU, ONE, 10.0)
    n_cores = os.cpu_count()
    assert [energy.joules(), energy.joules()] == [25 * n_cores] * 2
    assert energy.source == f"assumed: {n_cores} cores at 10 W (plan.watts_per_core)"


def test_energy_of_gpus_is_counted_else_assumed_else_unknown(gpu, monkeypatch):
    two = World(0, 2)
    clock = itertools.count(0, 1.0)
    set_clock(monkeypatch, hardware, monotonic=lambda: next(clock))
    energy = hardware.Energy(GPU, two, 10.0)
    assert (energy.joules(), energy.source) == (
        1400.0, "assumed: 2 x NVIDIA H200 at 700 W (data sheet)"
    )  # fmt: skip
    counter = itertools.count(5_000_000, 40_000)  # millijoules
    nvml = types.SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: next(counter),
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    energy = hardware.Energy(GPU, two, 10.0)
    assert energy.joules() == 80.0
    assert energy.source == "measured: the counter of one NVIDIA H200 (NVML) x 2"
    monkeypatch.setitem(sys.modules, "pynvml", None)
    gpu.name = "Tomorrow's card"
    energy = hardware.Energy(GPU, two, 10.0)
    assert (energy.joules(), energy.line()) == (None, {})


@pytest.mark.parametrize(("size", "local", "expected"), [(1, None, 1), (4, 4, 1), (8, 2, 4)])
def test_machines_are_told_from_ranks(monkeypatch, size, local, expected):
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if local:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(local))
    assert hardware.n_machines(World(0, size)) == expected


def test_memory_now_is_not_above_the_peak():
    found = hardware.memory(CPU)
    assert 1e7 < found["memory_bytes"] <= 1.01 * found["peak_bytes"]
    # From the kernel itself: an allocator may serve 64 MiB from what it has kept.
    with mmap.mmap(-1, 64 << 20) as block:
        block.write(b"1" * len(block))
        assert hardware.memory(CPU)["memory_bytes"] > found["memory_bytes"] + 0.8 * len(block)


def test_a_training_says_once_what_its_figures_mean(tiny_run):
    events = store.read_lines(tiny_run / "events.jsonl")
    (machine,) = (e for e in events if e["event"] == "machine")
    assert machine["convention"] == count.CONVENTION
    said = [e["message"] for e in events if count.CONVENTION in e.get("message", "")]
    assert len(said) == 1
    for line in store.read_lines(tiny_run / "train" / "speed.jsonl"):
        share = line["flops_per_second"] / machine["peak_flops_per_second"]
        assert line["mfu"] == (pytest.approx(share, abs=2e-5) if share < 1 else None)
        share = line["data_seconds"] / line["seconds"]
        assert line["data_share"] == pytest.approx(share, abs=0.001)
        assert line["joules"] > 0


def test_an_mfu_above_one_is_not_said(recipe):
    shape, two = recipe.model.shape(512), World(0, 2)
    meter = hardware.Meter(shape, recipe, torch.float32, CPU, two, Log(quiet=True))
    assert meter.note(meter.peak / 4) == f"MFU 25.0 % ({count.NAME})"
    assert meter.line(meter.peak)["mfu"] == 1
    assert meter.note(1.1 * meter.peak) == "MFU n/a"
    assert meter.line(1.1 * meter.peak)["mfu"] is None


def test_a_peak_is_looked_for_until_it_comes_again(monkeypatch):
    """Products whose times never repeat are timed for a second, others for a fifth of one."""
    for jitter, most in ((0.0, 0.25), (1.0, 1.1)):
        now = [0.0]
        waits = itertools.count()

        def wait(device, now=now, waits=waits, jitter=jitter):
            now[0] += 0.02 * (1 + jitter * next(waits))

        set_clock(monkeypatch, hardware, perf_counter=lambda now=now: now[0])
        monkeypatch.setattr(hardware, "_wait", wait)
        hardware.measured_peak(8, 8, 8, torch.float32, CPU)
        assert 0.8 * most < now[0] < 1.6 * most
