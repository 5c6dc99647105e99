"""Has all threads of a process of our own share one memory arena, so that what one of them frees serves the others.

The allocator of glibc gives threads arenas of their own, up to eight for each processor, and keeps in each what was
freed there. The threads of an ingestion wait for the network, the disk and each other most of the time; their arenas
would keep 20 MB of free memory. They seldom wait for the one arena: each thread keeps small objects for itself, and
Python's own objects are not allocated there.

A library must not change the allocator of the program that imports it: this is for commands and worker processes. Any
other program can be started with ``MALLOC_ARENA_MAX=1``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

M_ARENA_MAX: Final = -8
"""From <malloc.h> of glibc."""


def own_libraries() -> object:
    """Return the C functions of this process, as attributes."""
    import ctypes  # here: other systems do not need it

    return ctypes.CDLL(None)


def share_one_arena(functions: Callable[[], object] = own_libraries) -> bool:
    """Return whether the threads share it from now on; to be called before the first one starts.

    False, and nothing is changed, if the environment of the process has a number, or if the system has another C
    library than glibc: the one of Alpine has the name of glibc's version among those that Python knows, but no
    ``mallopt``. ``functions`` returns an object that has the C functions.
    """
    is_chosen = "MALLOC_ARENA_MAX" in os.environ or "arena_max" in os.environ.get("GLIBC_TUNABLES", "")
    if is_chosen or "CS_GNU_LIBC_VERSION" not in getattr(os, "confstr_names", {}):
        return False
    mallopt = getattr(functions(), "mallopt", None)
    return mallopt is not None and bool(mallopt(M_ARENA_MAX, 1))
