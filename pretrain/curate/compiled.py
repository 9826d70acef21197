"""Kernels compiled by numba, kept on disk; compiled anew where no folder for them can be written.

numba tries NUMBA_CACHE_DIR, `__pycache__` beside the source, then the user's cache folder. It looks
at the time of the calling function's file only: after a change of something a kernel takes from
another file, touch the kernel's.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import numba

_KERNELS: list[Any] = []  # of the modules imported so far, those that are compiled by themselves


def kernel(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """`@kernel` or `@kernel(inline="always")`: numba.njit without the GIL, cached if possible."""
    if function is None:
        return lambda f: kernel(f, **options)
    try:
        made = numba.njit(cache=True, nogil=True, **options)(function)
    except RuntimeError:
        made = numba.njit(nogil=True, **options)(function)
    if "inline" not in options:
        _KERNELS.append(made)
    return made


def missing() -> int:
    """How many kernels have no code on disk yet, or code of another version of their source."""
    n = 0
    for made in _KERNELS:
        with contextlib.suppress(AttributeError, OSError):  # numba's own affair, and not vital
            n += not made._cache._cache_file._load_index()
    return n
