"""The machine under a training: its peak of matrix products, its memory, the energy it draws.

    MFU     FLOPs of the model (count.CONVENTION) / seconds / peak
    peak    of a known GPU in bf16: its data sheet's, dense; else measured, at the model's width
    energy  of GPUs: their own counters (pynvml), else the data sheet's power;
            of processors: plan.watts_per_core × cores

A peak is never guessed: of an unknown device it is what a product of the model's own shape reaches
there when training starts, alone, and is said to be so.
"""

import os
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pretrain.events import Log
from pretrain.model import count
from pretrain.model.settings import Shape
from pretrain.ranks.world import World
from pretrain.recipe import Recipe

# By torch's name of the device: dense bf16 FLOP/s, fp32 sums; watts of the board. NVIDIA's data
# sheets, whose figures "with sparsity" are halved: A100 (2021), H100 (2023), H200 (2024), L4 and
# L40S (2023), B200 (DGX B200, 2024: 8 boards). Other names, slices of a MIG among them: measured.
SHEETS = {
    "NVIDIA A100-SXM4-40GB": (312e12, 400),
    "NVIDIA A100-SXM4-80GB": (312e12, 400),
    "NVIDIA A100-PCIE-40GB": (312e12, 250),
    "NVIDIA A100 80GB PCIe": (312e12, 300),
    "NVIDIA H100 80GB HBM3": (989.5e12, 700),
    "NVIDIA H100 PCIe": (756.5e12, 350),
    "NVIDIA H100 NVL": (835.5e12, 400),
    "NVIDIA H200": (989.5e12, 700),
    "NVIDIA H200 NVL": (835.5e12, 600),
    "NVIDIA B200": (2250e12, 1000),
    "NVIDIA L4": (121e12, 72),
    "NVIDIA L40S": (362e12, 350),
}
_SECONDS, _MOST_SECONDS = 0.2, 1.0  # of measuring a peak
_MOST_FLOPS = 1e10  # of one product there: a tenth of a second on two cores


@dataclass(frozen=True)
class Peak:
    """FLOP/s of one rank's device, and where the figure is from."""

    flops_per_second: float
    source: str


def peak_of(shape: Shape, rows: int, dtype: torch.dtype, device: torch.device) -> Peak:
    """rows: tokens of a micro-batch."""
    if device.type == "cuda" and dtype == torch.bfloat16:
        name = torch.cuda.get_device_name(device)
        if name in SHEETS:
            return Peak(SHEETS[name][0], f"data sheet of {name}, dense bf16")
    # What is larger fills the machine as well.
    inner = min(shape.width, 4096)
    columns = min(max(shape.width, shape.hidden, shape.expert_hidden), 16384)
    rows = min(rows, 4096)
    if device.type == "cpu":
        rows = min(rows, max(256, int(_MOST_FLOPS / (2 * inner * columns))))
    rate = measured_peak(rows, inner, columns, dtype, device)
    size = f"{rows:,} x {inner:,} x {columns:,}"
    return Peak(rate, f"measured, a product {size} in {str(dtype).removeprefix('torch.')}")


def measured_peak(
    rows: int, inner: int, columns: int, dtype: torch.dtype, device: torch.device
) -> float:
    """FLOP/s of the fastest of several products, for a part of a second.

    It goes on for up to a second where other load keeps the fastest from coming again.
    """
    generator = torch.Generator().manual_seed(0)
    x, w = (torch.randn(n, inner, generator=generator).to(device, dtype) for n in (rows, columns))
    n_calls = 1  # timed together: a GPU is slow to say that it is done
    times: list[float] = []
    began = time.perf_counter()
    while (spent := time.perf_counter() - began) < _MOST_SECONDS:
        if spent > _SECONDS and sum(t < 1.1 * min(times) for t in times) >= 3:
            break
        _wait(device)
        start = time.perf_counter()
        for _ in range(n_calls):
            x @ w.t()
        _wait(device)
        seconds = time.perf_counter() - start
        times.append(seconds / n_calls)
        n_calls = min(2 * n_calls, 1024) if seconds < 0.01 else n_calls
    return 2 * rows * inner * columns / min(times)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def memory(device: torch.device) -> dict[str, int]:
    """Bytes now and at most: of this process in the processor's memory, and on a GPU."""
    unit = 1 if sys.platform == "darwin" else 1024
    found = {"peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    try:
        n_pages = int(Path("/proc/self/statm").read_text().split()[1])
        found["memory_bytes"] = n_pages * resource.getpagesize()
    except OSError:
        pass  # not Linux: the peak alone is known
    if device.type == "cuda":
        found["device_bytes"] = torch.cuda.memory_allocated(device)
        found["device_peak_bytes"] = torch.cuda.max_memory_allocated(device)
    return found


class Meter:
    """What speed.jsonl says of the machine; where peak and power are from is said once."""

    def __init__(
        self, shape: Shape, recipe: Recipe, dtype: torch.dtype, device: torch.device,
        world: World, log: Log,
    ) -> None:  # fmt: skip
        self.device = device
        peak = peak_of(shape, recipe.train.micro_batch_tokens, dtype, device)
        self.peak = peak.flops_per_second * world.size
        self.energy = Energy(device, world, recipe.plan.watts_per_core)
        log.event(
            "machine",
            n_ranks=world.size,
            peak_flops_per_second=round(self.peak),
            peak_source=peak.source,
            convention=count.CONVENTION,
            energy_source=self.energy.source,
        )
        log.say(
            "train",
            f"MFU counts {count.CONVENTION}; 100 % is {self.peak / 1e12:.3g} TFLOP/s "
            f"({peak.source}{f', x {world.size}' if world.size > 1 else ''})",
        )

    def mfu(self, flops_per_second: float) -> float | None:
        """None above 1: then other load on the machine spoilt the measured peak."""
        share = flops_per_second / self.peak
        return round(share, 5) if share <= 1 else None

    def note(self, flops_per_second: float) -> str:
        """For the live line, with the convention's name."""
        mfu = self.mfu(flops_per_second)
        return "MFU n/a" if mfu is None else f"MFU {100 * mfu:.1f} % ({count.NAME})"

    def line(self, flops_per_second: float) -> dict[str, Any]:
        """MFU, memory now and at most, and joules since the line before."""
        return {"mfu": self.mfu(flops_per_second)} | memory(self.device) | self.energy.line()


class Energy:
    """Joules of all ranks' devices since the last time it was asked.

    One GPU is measured and taken for all; processors of GPU machines are left out.
    """

    def __init__(self, device: torch.device, world: World, watts_per_core: float) -> None:
        self._counter: Any = None
        self.source = "unknown: not a GPU whose power is known"
        self.watts: float | None = None
        if device.type == "cpu":
            n_cores = (os.cpu_count() or 1) * n_machines(world)
            self.watts = watts_per_core * n_cores
            self.source = f"assumed: {n_cores} cores at {watts_per_core:g} W (plan.watts_per_core)"
        else:
            self._open_gpu(device, world)
        self._n_ranks = world.size
        self._time, self._joules = time.monotonic(), self._counted()

    def line(self) -> dict[str, float]:
        joules = self.joules()
        return {} if joules is None else {"joules": round(joules, 2)}

    def joules(self) -> float | None:
        now, counted = time.monotonic(), self._counted()
        seconds, joules = now - self._time, counted - self._joules
        self._time, self._joules = now, counted
        if self._counter:
            return joules * self._n_ranks
        return None if self.watts is None else seconds * self.watts

    def _open_gpu(self, device: torch.device, world: World) -> None:
        name = torch.cuda.get_device_name(device)
        if name in SHEETS:
            self.watts = float(SHEETS[name][1] * world.size)
            self.source = f"assumed: {world.size} x {name} at {SHEETS[name][1]} W (data sheet)"
        try:
            import pynvml

            pynvml.nvmlInit()
            uuid = torch.cuda.get_device_properties(device).uuid
            handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
            pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        except Exception:  # no such package, driver, or right to read; a GPU older than Volta
            return
        self._counter = lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        self.source = f"measured: the counter of one {name} (NVML) x {world.size}"

    def _counted(self) -> float:
        return self._counter() / 1000 if self._counter else 0.0


def n_machines(world: World) -> int:
    """By what torchrun says of the ranks of a machine; one without it."""
    return max(1, world.size // int(os.environ.get("LOCAL_WORLD_SIZE", world.size)))
