"""How the C library hands out memory to the many threads of the page and of the server."""

from __future__ import annotations

import ctypes
import sys

# Names and numbers of glibc's malloc.h. By default each of a web server's many threads gets a heap of its own, and
# pictures soon come from these heaps, which hardly ever shrink: under a crowd it grows although it keeps nothing.
_ARENA_MAX, ARENAS = -8, 2
_MMAP_THRESHOLD, LARGE_BYTES = -3, 1 << 20  # what is larger goes back to the system as soon as it is freed


def tidy_heaps() -> bool:
    """Makes all threads share `ARENAS` heaps and keeps pictures out of them; returns whether the C library can (glibc).

    To be called before threads start.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform.startswith("linux") else None
    if mallopt is None:
        return False
    return all(mallopt(name, value) == 1 for name, value in ((_ARENA_MAX, ARENAS), (_MMAP_THRESHOLD, LARGE_BYTES)))
