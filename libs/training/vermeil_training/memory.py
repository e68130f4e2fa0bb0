"""What a training step frees, the next one needs again: on a CPU the process keeps it.

Without this glibc gives most of it back to the system after every backward pass, and the next step of a
small model takes some 30,000 page faults to have it again. It holds for the whole process, which keeps up
to a gibibyte, and changes no value. Other C libraries are left as they are.
"""

import ctypes
import sys

KEPT_BYTES = 2**30
"""Most that stays with the process once it is free."""
LARGEST_KEPT_BYTES = 2**25
"""Larger pieces go back to the system one by one; glibc allows no more."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> bool:
    """Tell the C library; whether it listens."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_THRESHOLD, LARGEST_KEPT_BYTES)) and bool(mallopt(_TRIM_THRESHOLD, KEPT_BYTES))
