"""This machine as a board: its products, memory and power, measured in about a second.

A GPU that hardware.toml knows keeps its name, peak, links and power; what it reaches is measured.
"""

import os
from collections.abc import Callable
from dataclasses import replace

import torch

from pretrain.errors import UsageError
from pretrain.plan import facts, machine
from pretrain.plan.facts import GIB, Board
from pretrain.ranks.world import device_of
from pretrain.train import fp8
from pretrain.train.precision import product_dtype

SQUARES = {"cpu": (256, 512, 1024), "cuda": (1024, 2048, 4096, 8192)}  # widths of products
_ROWS = 512  # of a product on a processor
_FLOPS = 2e12  # of calls timed together: a GPU is slow to say that it is done
_WATTS = 700.0  # of a GPU that is not in the table, assumed


def board(watts_per_core: float, dtype: torch.dtype | None = None, reached: float = 0.0) -> Board:
    """A board with what this machine reaches; on a processor its memory is the machine's.

    dtype: of products, as `auto` chooses them otherwise; reached: their FLOP/s where measured.
    """
    device = device_of()
    width = SQUARES[device.type][-1]
    dtype = dtype or product_dtype("auto", device)
    rate = (reached or product_rate(width, width, dtype, device)) / 1e12
    bandwidth = machine.memory_rate(16 << 20, device) / 1e12
    if device.type == "cpu":
        n_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        n_cores = os.cpu_count() or 1
        return Board(
            "this machine", rate, n_bytes / GIB, bandwidth, watts_per_core * n_cores, 1.0, 1,
            reached=rate, units=n_cores, source="measured now; power per core assumed",
        )  # fmt: skip
    gib = torch.cuda.get_device_properties(device).total_memory / GIB
    n_boards = torch.cuda.device_count()
    known = sheet(device)
    if known is None:
        return Board(
            "this machine", rate, gib, bandwidth, _WATTS, 1.0, n_boards, host=n_boards,
            reached=rate, source="measured now; power and links assumed",
        )  # fmt: skip
    return replace(
        known, memory_gib=gib, bandwidth_tb=bandwidth, reached=min(rate, known.bf16),
        boards=n_boards, host=n_boards, outside_gb=0.0,
        source=f"reached and bandwidth measured now; the rest as {known.name}",
    )  # fmt: skip


def sheet(device: torch.device) -> Board | None:
    """What the table says of a GPU; None of others and of processors."""
    try:
        return facts.board(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
    except UsageError:
        return None


def product_rate(inner: int, columns: int, dtype: torch.dtype, device: torch.device) -> float:
    """FLOP/s of a linear layer: forward and backward on a processor, forward on a GPU."""
    if device.type == "cpu":
        return 6 * inner * columns / machine.product_seconds(_ROWS, inner, columns, dtype, device)
    rows = 8192
    n_calls = max(1, min(256, int(_FLOPS / (2 * rows * inner * columns))))
    product = _product(rows, inner, columns, dtype, device)
    seconds = machine.median_seconds(lambda: [product() for _ in range(n_calls)][-1])
    return 2 * rows * inner * columns * n_calls / seconds


def dtypes(device: torch.device) -> list[torch.dtype]:
    """Precisions that products are worth measuring in."""
    has_fp8 = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 9)
    return [torch.float32, torch.bfloat16, *([fp8.FORWARD] if has_fp8 else [])]


def _product(
    rows: int, inner: int, columns: int, dtype: torch.dtype, device: torch.device
) -> Callable[[], torch.Tensor]:
    x, w = (torch.randn(n, inner, device=device).to(dtype) for n in (rows, columns))
    if dtype == fp8.FORWARD:
        one = torch.ones((), device=device)
        return lambda: fp8.product(x, w, one, one, torch.bfloat16)
    return lambda: x @ w.t()
