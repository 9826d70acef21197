"""The dtype of matrix products. Weights, moments, losses and sums are always fp32."""

import contextlib
from pathlib import Path
from typing import Any

import torch


def product_dtype(precision: str, device: torch.device) -> torch.dtype:
    """bf16 where `auto` finds hardware for it: every CUDA card since Ampere, CPUs with AMX.

    The choice rests on what the processor is, not on a timing, so that a run resumed on the same
    machine always chooses the same. AVX-512 BF16 alone is left out: not measured.
    """
    if precision in ("bf16", "fp8"):  # fp8.py: of the blocks' products alone
        return torch.bfloat16
    if precision == "auto":
        if device.type == "cuda" and torch.cuda.is_bf16_supported():
            return torch.bfloat16
        if device.type == "cpu" and "amx_bf16" in _cpu_flags():
            return torch.bfloat16
    return torch.float32


def autocast(dtype: torch.dtype, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=dtype)


def _cpu_flags() -> set[str]:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return set()
    lines = [line for line in text.splitlines() if line.startswith("flags")]
    return set(lines[0].split()) if lines else set()
