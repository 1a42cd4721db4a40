"""Keep memory that tensors give back.

Activations of an update are megabytes each. glibc returns such blocks to the kernel when they are freed, and the next
update gets them anew, page by page, each page zeroed by the kernel first.
"""

from __future__ import annotations

import ctypes
import platform

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""Parameters of ``mallopt`` in glibc's ``malloc.h``."""


def keep_freed_memory() -> None:
    """Let this process reuse what it has freed; does nothing where the C library is not glibc."""
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    for parameter, value in ((M_MMAP_THRESHOLD, 2**30), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 2**26)):
        libc.mallopt(parameter, value)
