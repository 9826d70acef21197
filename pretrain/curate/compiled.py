"""Kernels compiled by numba, kept on disk; compiled anew where no folder for them can be written.

numba tries NUMBA_CACHE_DIR, `__pycache__` beside the source, then the user's cache folder. By
itself it looks at the time of the calling function's file only, so a kernel that takes a constant
or a function from another file would go on with the old one. Here the code on disk is known by a
hash of the sources: of the kernel's file and of all of this package that it imports, directly or
not.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

from pretrain import sources

_KERNELS: list[Any] = []  # of the modules imported so far, those that are compiled by themselves


def kernel(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """`@kernel` or `@kernel(inline="always")`: numba.njit without the GIL, cached if possible."""
    if function is None:
        return lambda f: kernel(f, **options)
    try:
        made = numba.njit(cache=True, nogil=True, **options)(function)
    except RuntimeError:
        made = numba.njit(nogil=True, **options)(function)
    with contextlib.suppress(AttributeError, OSError):  # of numba, or of a source that is no file
        made._cache._cache_file._source_stamp = sources.version(Path(function.__code__.co_filename))
    if "inline" not in options:
        _KERNELS.append(made)
    return made


def known() -> int:
    """How many kernels the modules imported so far have."""
    return len(_KERNELS)


def missing() -> int:
    """How many kernels have no code on disk yet, or only that of other sources."""
    n = 0
    for made in _KERNELS:
        with contextlib.suppress(AttributeError, OSError):
            n += not made._cache._cache_file._load_index()
    return n
