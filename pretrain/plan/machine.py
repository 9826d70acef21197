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


def product_seconds(
    rows: int, inner: int, columns: int, dtype: torch.dtype, device: torch.device
) -> float:
    """Forward and backward of a linear layer, per row: y = xW, then the gradients of x and W.

    The gradient of W sums over rows and runs at a rate of its own, often half of the others.
    """
    x = torch.randn(rows, inner, device=device).to(dtype)
    w = torch.randn(columns, inner, device=device).to(dtype)
    y = torch.randn(rows, columns, device=device).to(dtype)
    return median_seconds(lambda: (x @ w.t(), y @ w, y.t() @ x)) / rows


def attention_seconds(
    length: int, heads: int, kv_heads: int, width: int, dtype: torch.dtype, device: torch.device
) -> float:
    """Forward and backward of causal attention, per token."""
    batch = max(1, 1024 // length)
    q, k, v = (
        torch.randn(batch, n, length, width, device=device).to(dtype).requires_grad_()
        for n in (heads, kv_heads, kv_heads)
    )

    def work() -> None:
        y = torch.nn.functional.scaled_dot_product_attention(
            q, k, v, is_causal=True, enable_gqa=heads != kv_heads
        )
        torch.autograd.grad(y, (q, k, v), torch.ones_like(y))

    return median_seconds(work) / (batch * length)


def orthogonalise_seconds(rows: int, columns: int, device: torch.device) -> float:
    """Muon's update of one matrix."""
    from pretrain.train.optimizers import orthogonalise

    stack = torch.randn(4, rows, columns, device=device)
    return median_seconds(lambda: orthogonalise(stack)) / 4


def memory_rate(n_floats: int, device: torch.device) -> float:
    """Bytes per second of an element-wise operation into a new tensor: one read, one write.

    With the size of the model's own tensors: small ones stay in cache, and making a new tensor
    costs as much as filling it.
    """
    x = torch.zeros(min(n_floats, 16 << 20), device=device)
    return 2 * x.nbytes / median_seconds(lambda: x * 1.5)
