"""Kernels compiled by numba, kept on disk; compiled anew where no folder for them can be written.

numba tries NUMBA_CACHE_DIR, `__pycache__` beside the source, then the user's cache folder. It looks
at the time of the calling function's file only: after a change of something a kernel takes from
another file, touch the kernel's.
"""

from collections.abc import Callable
from typing import Any

import numba


def kernel(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """`@kernel` or `@kernel(inline="always")`: numba.njit without the GIL, cached if possible."""
    if function is None:
        return lambda f: kernel(f, **options)
    try:
        return numba.njit(cache=True, nogil=True, **options)(function)
    except RuntimeError:
        return numba.njit(nogil=True, **options)(function)
