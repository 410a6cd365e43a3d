"""Memory on the CPU: keep what a training step frees for the next one."""

from __future__ import annotations

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # names of glibc's malloc.h
KEEP = 2**31 - 1


def keep_freed_memory() -> bool:
    """Ask the C library not to return freed memory to the system; whether it agreed.

    By default glibc gives large blocks back and gets them anew, page by page, in every step: a tenth or
    more of the time of a small network, in full precision and binarized. The process keeps its peak.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(TRIM_THRESHOLD, KEEP)) and bool(mallopt(MMAP_THRESHOLD, KEEP))
