"""How the C library deals with memory that arrays leave behind."""

import ctypes
import sys

MMAP_THRESHOLD = -3  # mallopt(3)
LARGE = 32 * 2**20
"""The largest array that is taken from kept memory; glibc allows no more."""


def keep_freed() -> None:
    """Keep freed memory for the next array instead of giving it back to the system.

    The main thread learns to; other threads, such as those a Dask worker computes in, give every
    larger array back and fault its pages in again for the next one: `relevance` then takes nearly
    twice as long (measured). Without effect where the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(MMAP_THRESHOLD, LARGE)
