"""The parts of benchmarks/gpu.py: each a function of `smoke` that returns what it measured."""

import contextlib
import itertools
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from gpu_training import CASES, device_of, peer, settings_of, synchronise, train, weights
from torch import Tensor

from pretrain.model import flex, fused_loss, loss
from pretrain.model.attention import attend, visible
from pretrain.train import optimizers

ROOT = Path(__file__).resolve().parents[1]
PEAK_SOURCE = "989 TFLOP/s, dense bf16, H100 and H200 SXM (NVIDIA's datasheets)"


@dataclass(frozen=True)
class Part:
    work: Callable[[bool], dict[str, Any]]
    seconds: float  # its limit


def seconds_of(work: Callable[[], object], smoke: bool, n: int = 5) -> float:
    """Median seconds of a call, after two that compile and warm up."""
    for _ in range(1 if smoke else 2):
        work()
    times = []
    for _ in range(1 if smoke else n):
        synchronise()
        began = time.perf_counter()
        work()
        synchronise()
        times.append(time.perf_counter() - began)
    return median(times)


def machine(smoke: bool) -> dict[str, Any]:
    """What the machine is, and what it reaches in a product of random numbers and in a copy."""
    device, n = device_of(smoke), 64 if smoke else 8192
    found: dict[str, Any] = {"torch": torch.__version__, "cuda": torch.version.cuda}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {"device": properties.name, "memory_bytes": properties.total_memory}
        found["capability"] = list(torch.cuda.get_device_capability(device))
    a, b = (torch.randn(n, n, device=device, dtype=torch.bfloat16) for _ in range(2))
    found["bf16_product_flops_per_second"] = 2 * n**3 / seconds_of(lambda: a @ b, smoke, 10)
    x = torch.ones(1 << (16 if smoke else 30), device=device)
    y = torch.empty_like(x)
    found["copy_bytes_per_second"] = 2 * x.nbytes / seconds_of(lambda: y.copy_(x), smoke, 10)
    for name in ("triton", "transformers", "torchtitan"):
        try:
            found[name] = getattr(__import__(name), "__version__", "no version")
        except ImportError:
            found[name] = "not installed"
    return found


def tests(smoke: bool) -> dict[str, Any]:
    """pytest -m gpu: how many passed, and what did not."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-m", "gpu", "tests/gpu", "-p",
                   "no:cacheprovider", f"--junitxml={report}"]  # fmt: skip
        if not smoke:  # most of their time is the compiler's
            command += ["-n", "4"]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        if not report.exists():
            raise RuntimeError(f"pytest wrote no report: {(ran.stdout + ran.stderr)[-800:]}")
        cases = list(ET.parse(report).getroot().iter("testcase"))
    found: dict[str, Any] = {"tests": len(cases), "passed": 0, "skipped": 0, "failed_tests": {}}
    for case in cases:
        bad = [e for e in case if e.tag in ("failure", "error")]
        if bad:
            name = f"{case.get('classname')}::{case.get('name')}"
            found["failed_tests"][name] = (bad[0].get("message") or "")[:300]
        elif case.find("skipped") is not None:
            found["skipped"] += 1
        else:
            found["passed"] += 1
    return found


def training(
    name: str, micro_rows: int | None = None, cudnn: bool = False, **more: Any
) -> Callable[[bool], dict[str, Any]]:
    """A part that times training steps of a case."""

    def work(smoke: bool) -> dict[str, Any]:
        case = CASES[name]
        if micro_rows:
            case = replace(case, micro_rows=micro_rows)
        with kernels_first(cudnn and not smoke):
            return train(case, smoke, **more)

    return work


@contextlib.contextmanager
def kernels_first(cudnn: bool) -> Iterator[None]:
    """With `cudnn` its attention is tried before PyTorch's own."""
    if not cudnn:
        yield
        return
    from torch.nn.attention import SDPBackend, sdpa_kernel

    order = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION,
             SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]  # fmt: skip
    with sdpa_kernel(order, set_priority=True):
        yield


def attention(smoke: bool) -> dict[str, Any]:
    """Forward and backward of one attention at the 1 B model's sizes, by kernel and mask."""
    device = device_of(smoke)
    b, h, k, t, c = (1, 2, 1, 256, 16) if smoke else (4, 32, 8, 4096, 64)
    dtype = torch.float32 if smoke else torch.bfloat16
    q, key, value = (
        torch.randn(b, n, t, c, device=device, dtype=dtype).requires_grad_() for n in (h, k, k)
    )
    generator = torch.Generator().manual_seed(1)
    documents = (torch.rand(b, t, generator=generator) < 1 / 700).long().cumsum(1).to(device)
    dense = visible(t, t, True, 0, device, documents)

    def both(mask: Any) -> Callable[[], None]:
        def work() -> None:
            attend(q, key, value, mask, True).square().sum().backward()

        return work

    found: dict[str, Any] = {"batch": b, "heads": h, "kv_heads": k, "length": t, "width": c}
    found["documents"] = int(documents[:, -1].sum()) + b
    seconds = {"causal": seconds_of(both(None), smoke)}
    if not smoke:
        with kernels_first(True):
            seconds["causal, cuDNN first"] = seconds_of(both(None), smoke)
    seconds["documents, dense mask"] = seconds_of(both(dense), smoke)
    seconds["dense mask made"] = seconds_of(
        lambda: visible(t, t, True, 0, device, documents), smoke
    )
    seconds["block mask made"] = seconds_of(
        lambda: flex.block_mask(t, True, 0, device, documents), smoke
    )
    if not smoke:  # PyTorch has no backward pass of it on a processor
        seconds["documents, blocks"] = seconds_of(
            both(flex.block_mask(t, True, 0, device, documents)), smoke
        )
        seconds["causal, blocks"] = seconds_of(both(flex.block_mask(t, True, 0, device)), smoke)
    flops = 6 * b * h * c * t * t  # causal: half of all pairs; forward and backward
    found["causal_flops_per_second"] = flops / seconds["causal"]
    return found | {"seconds": seconds}


def chunks(smoke: bool) -> dict[str, Any]:
    """The loss of the 1 B model's head by size of its chunks, beside the plain chunked loss."""
    device = device_of(smoke)
    n, d, v = (64, 16, 128) if smoke else (32768, 2048, 128256)
    x = torch.randn(n, d, device=device).requires_grad_()
    weight = (torch.randn(v, d, device=device) * 0.02).requires_grad_()
    targets = torch.randint(0, v, (n,), device=device)

    def work(function: Callable[..., Tensor]) -> Callable[[], None]:
        def run() -> None:
            x.grad = weight.grad = None
            with torch.autocast(device.type, dtype=torch.bfloat16):
                total = function(x, weight, targets)
            total.backward()

        return run

    found: dict[str, Any] = {"tokens": n, "width": d, "vocabulary": v, "fused": {}}
    for n_bytes in (1 << 12,) if smoke else (1 << 26, 1 << 28, 1 << 30, 1 << 32):
        fused_loss.CHUNK_BYTES = n_bytes
        reset_peak()
        seconds = seconds_of(work(fused_loss.cross_entropy_sum), smoke, 3)
        found["fused"][f"{n_bytes >> 20} MiB"] = {"seconds": seconds, "peak_bytes": peak()}
    reset_peak()
    seconds = seconds_of(work(loss.cross_entropy_sum), smoke, 3)
    found["plain"] = {"seconds": seconds, "peak_bytes": peak()}
    found["products_alone_seconds"] = 6 * n * d * v / 989e12
    return found


def optimizer_steps(smoke: bool) -> dict[str, Any]:
    """An update of the 1 B model by each optimizer, all state on the device."""
    device, case = device_of(smoke), CASES["1b"].sized(smoke)
    model = weights(case.shape, device)
    for p in model.parameters():
        p.grad = torch.randn_like(p)
    found: dict[str, Any] = {}
    for name in ("adamw", "muon"):
        optimizer = optimizers.build(
            dict(model.named_parameters()), settings_of(optimizer=name, lr=1e-6, matrix_lr=1e-6)
        )
        steps = itertools.count()

        def update(take: Any = optimizer.step, steps: Any = steps) -> None:
            take(next(steps), 1.0)

        found[name] = {"seconds": seconds_of(update, smoke)}
        del optimizer, update
    return found


def reset_peak() -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak() -> int | None:
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None


# In the order of their weight: what no time is left for is at the end.
PARTS = {
    "machine": Part(machine, 40),
    "1b": Part(training("1b", weigh_read=True), 100),
    "124m": Part(training("124m", weigh_read=True), 80),
    "tests": Part(tests, 170),
    "1b transformers": Part(lambda smoke: peer(CASES["1b"], smoke), 110),
    "124m transformers": Part(lambda smoke: peer(CASES["124m"], smoke), 80),
    "attention": Part(attention, 70),
    "1b fp8": Part(training("1b", precision="fp8"), 90),
    "1b documents": Part(training("1b", documents=True), 80),
    "loss chunks": Part(chunks, 60),
    "optimizers": Part(optimizer_steps, 50),
    "1b cudnn": Part(training("1b", cudnn=True), 70),
    "124m cudnn": Part(training("124m", cudnn=True), 60),
    "1b not compiled": Part(training("1b", compiled=False), 60),
    "124m not compiled": Part(training("124m", compiled=False), 60),
    "1b 16 rows": Part(training("1b", micro_rows=16), 70),
    "124m 128 rows": Part(training("124m", micro_rows=128), 60),
    "124m muon": Part(training("124m", optimizer="muon"), 60),
}
