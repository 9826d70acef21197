"""What this machine does, measured in about two seconds: matrix products and memory.

Products are measured in the shapes of the model at hand: a 256-wide matrix reaches another rate
than a 4096-wide one. Medians of several runs; other load on the machine shows in the figures.
"""

import statistics
import time
from collections.abc import Callable

import torch


def median_seconds(work: Callable[[], object], seconds: float = 0.12) -> float:
    """Median time of one call, after a warm-up, over at least three calls."""
    work()
    times: list[float] = []
    until = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < until:
        began = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def product_rate(
    rows: int, inner: int, columns: int, dtype: torch.dtype, device: torch.device
) -> float:
    """FLOP/s of (rows x inner) @ (inner x columns)."""
    a = torch.randn(rows, inner, device=device).to(dtype)
    b = torch.randn(inner, columns, device=device).to(dtype)
    return 2 * rows * inner * columns / median_seconds(lambda: a @ b)


def memory_rate(device: torch.device) -> float:
    """Bytes per second of an element-wise pass over 64 MiB: one read, one write."""
    x = torch.zeros(16 << 20, device=device)
    y = torch.empty_like(x)
    return 2 * x.nbytes / median_seconds(lambda: torch.add(x, 1.0, out=y))
