"""Keeps what is no input by its name out of a look at a drop, and notes it."""

from __future__ import annotations

import os
from collections.abc import Callable

from rescalefs.submit.asking import Asked
from rescalefs.submit.listing import OUR_NAMES, LeftOut
from rescalefs.submit.remains import OURS, judge

_DONT_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # Windows has the second alone


class Sieve:
    """What one look leaves out. ``asked`` reads job.json, and is called only when a name is in question."""

    def __init__(self, asked: Callable[[], Asked]) -> None:
        self._read = asked
        self._asked: Asked | None = None
        self.left_out: list[LeftOut] = []

    def passes(self, entry: os.DirEntry[str], path: str) -> bool:
        """Whether it may be sent."""
        remains = OURS if path in OUR_NAMES else judge(entry.name, _Around(entry))
        if remains is None or (remains is not OURS and self._is_asked_for(path)):
            return True
        self.left_out.append(LeftOut(path, remains))
        return False

    def _is_asked_for(self, path: str) -> bool:
        if self._asked is None:
            self._asked = self._read()
        return self._asked.asks_for(path)


class _Around:
    """What lies around a file whose name is in question."""

    def __init__(self, entry: os.DirEntry[str]) -> None:
        self._entry = entry

    def is_folder(self) -> bool:
        return self._entry.is_dir(follow_symlinks=False)

    def has_beside(self, name: str) -> bool:
        folder = self._entry.path.removesuffix(self._entry.name)
        return os.path.lexists(f"{folder}{name}")

    def begins_with(self, data: bytes) -> bool:
        try:
            descriptor = os.open(self._entry.path, os.O_RDONLY | _DONT_WAIT)
        except OSError:
            return False
        try:
            return os.read(descriptor, len(data)) == data
        except OSError:  # a folder, or its disk fails
            return False
        finally:
            os.close(descriptor)
