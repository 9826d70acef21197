"""What this machine does, measured in about two seconds: matrix products, memory, its disk.

Products are measured in the shapes of the model at hand: a 256-wide matrix reaches another rate
than a 4096-wide one. Medians of several runs; other load on the machine shows in the figures.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

_MOST_FLOPS = 1e10  # of one measured call: a tenth of a second on two cores


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


def product_seconds(
    rows: int, inner: int, columns: int, dtype: torch.dtype, device: torch.device
) -> float:
    """Forward and backward of a linear layer, per row: y = xW, then the gradients of x and W.

    The three run at rates of their own, which change with the shape (docs/LOG.md). A matrix beyond
    2,048 x 4,096 fills the machine: it is taken at the rate of one of that size.
    """
    small, wide = min(inner, 2048), min(columns, 4096)
    rows = min(rows, max(256, int(_MOST_FLOPS / (6 * small * wide))))
    x = torch.randn(rows, small, device=device).to(dtype)
    w = torch.randn(wide, small, device=device).to(dtype)
    y = torch.randn(rows, wide, device=device).to(dtype)
    seconds = median_seconds(lambda: (x @ w.t(), y @ w, y.t() @ x))
    return seconds / rows * (inner * columns) / (small * wide)


def attention_seconds(
    length: int, heads: int, kv_heads: int, width: int, dtype: torch.dtype, device: torch.device
) -> float:
    """Forward and backward of causal attention, per token.

    Measured at up to 2,048 tokens and up to 8 query heads; pairs grow with the length.
    """
    measured = min(length, 2048)
    share = min(kv_heads, max(1, 8 * kv_heads // heads))
    batch = max(1, 1024 // measured)
    q, k, v = (
        torch.randn(batch, n, measured, width, device=device).to(dtype).requires_grad_()
        for n in (share * heads // kv_heads, share, share)
    )

    def work() -> None:
        y = torch.nn.functional.scaled_dot_product_attention(
            q, k, v, is_causal=True, enable_gqa=heads != kv_heads
        )
        torch.autograd.grad(y, (q, k, v), torch.ones_like(y))

    scale = kv_heads / share * length / measured
    return scale * median_seconds(work) / (batch * measured)


def orthogonalise_seconds(rows: int, columns: int, device: torch.device) -> float:
    """Muon's update of one matrix; a large one by its products' FLOPs from one of 512 x 1,024."""
    from pretrain.train.optimizers import orthogonalise

    small, large = sorted((rows, columns))
    short, long = min(small, 512), min(large, 1024)
    stack = torch.randn(4, short, long, device=device)
    scale = (2 * small**2 * large + small**3) / (2 * short**2 * long + short**3)
    return scale * median_seconds(lambda: orthogonalise(stack)) / 4


def memory_rate(n_floats: int, device: torch.device) -> float:
    """Bytes per second of an element-wise operation into a new tensor: one read, one write.

    With the size of the model's own tensors: small ones stay in cache, and making a new tensor
    costs as much as filling it. At most 64 MiB; on a GPU 1 GiB, which its caches do not hold.
    """
    most = 16 << 20
    if device.type == "cuda":
        n_floats = most = 256 << 20
    x = torch.zeros(min(n_floats, most), device=device)
    return 2 * x.nbytes / median_seconds(lambda: x * 1.5)


def disk_rates(folder: Path, n_bytes: int = 64 << 20) -> tuple[float, float]:
    """(written, read) bytes a second of a file in a folder, flushed to the disk and read anew.

    Where the system lets go of what it keeps of files in memory; a virtual disk's host may not.
    """
    block = os.urandom(min(n_bytes, 8 << 20))
    with tempfile.TemporaryFile(dir=folder) as file:
        began = time.perf_counter()
        for _ in range(n_bytes // len(block)):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
        written = time.perf_counter() - began
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.seek(0)
        began = time.perf_counter()
        n_read = 0
        while part := file.read(len(block)):
            n_read += len(part)
        return n_read / written, n_read / (time.perf_counter() - began)
