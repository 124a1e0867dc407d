"""How the C library keeps memory for us."""

from __future__ import annotations

import contextlib
import ctypes

_ARENA_MAX = -8  # M_ARENA_MAX of glibc's malloc.h


def keep_few_arenas() -> None:
    """Have all threads share two heaps. By default each of the first sixteen has one of its own, and keeps in
    it what it has once used. Call it before threads start. Nothing happens where malloc is not glibc's.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 2)
