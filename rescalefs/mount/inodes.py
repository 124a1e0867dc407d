"""Inode numbers that fit into 32 bits, for programs that have no room for more."""

from __future__ import annotations

import itertools
import threading

from rescalefs.tree.nodes import ROOT_INODE


class SmallInodes:
    """Gives each inode number a small one, the same for as long as the mount lasts. Thread-safe.

    What is numbered is remembered, at about 0.1 KiB each. Not promised: the same numbers after a restart.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the counter; one key is read without it
        self._next = itertools.count(ROOT_INODE + 1)
        self._small = {ROOT_INODE: ROOT_INODE}

    def __call__(self, inode: int) -> int:
        small = self._small.get(inode)
        if small is None:
            with self._lock:
                small = self._small.get(inode)
                if small is None:
                    small = self._small[inode] = next(self._next)
        return small
