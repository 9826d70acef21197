"""Memory that the process has freed stays with it.

glibc gives the top of its heap back to the kernel when much of it is free: the activations of each
step are then made of fresh pages, which the kernel clears one by one as they are touched. Without
trimming, the pages of one step serve the next. Tensors above 32 MiB still come from the kernel one
by one: in glibc's heap an aligned block does not fit where one of its size has been, and the heap
would grow with every one of them (seen: 64 MiB a tensor, without end). Values do not change.
"""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
_HIGHEST_THRESHOLD, _NEVER = 32 << 20, (1 << 31) - 1


def keep_freed_memory() -> bool:
    """True where the C library is glibc and has agreed; elsewhere nothing changes."""
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    agreed = library.mallopt(_MMAP_THRESHOLD, _HIGHEST_THRESHOLD)
    return bool(agreed and library.mallopt(_TRIM_THRESHOLD, _NEVER))
