"""Which files of the drop folder are open through the mount."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import NamedTuple


class _Open(NamedTuple):
    path: str  # below the folder; follows renames
    writing: bool


class OpenFiles:
    """Knows each open file by the name it has now. Thread-safe.

    It is made before the submitter and the drop folder, which both need it: one asks, the other tells.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()  # guards _open
        self._open: dict[int, _Open] = {}  # by descriptor

    def is_busy(self, path: Path) -> bool:
        """Whether ``path`` (in the backing directory), or anything below it, is open for writing."""
        if not path.is_relative_to(self._folder):
            return False
        below = path.relative_to(self._folder).as_posix()
        return self.is_busy_below("" if below == "." else below)

    def is_busy_below(self, path: str) -> bool:
        """The same for a path relative to the folder."""
        with self._lock:
            return any(each.writing and is_within(each.path, path) for each in self._open.values())

    def is_open(self, path: str) -> bool:
        """Whether the file itself is open, for whatever purpose."""
        with self._lock:
            return any(each.path == path for each in self._open.values())

    def opened(self, descriptor: int, path: str, writing: bool) -> None:
        with self._lock:
            self._open[descriptor] = _Open(path, writing)

    def closed(self, descriptor: int) -> str | None:
        """The name it had last; None when it was removed while open."""
        with self._lock:
            each = self._open.pop(descriptor, None)
        return None if each is None else each.path

    def renamed(self, old: str, new: str) -> None:
        """``old`` and everything below it is called ``new`` from now on."""
        with self._lock:
            for descriptor, each in self._open.items():
                if is_within(each.path, old):
                    self._open[descriptor] = each._replace(path=new + each.path[len(old) :])

    def removed(self, path: str) -> None:
        """The file has no name any more, so it is no part of a drop, however long it stays open."""
        with self._lock:
            for descriptor in [number for number, each in self._open.items() if each.path == path]:
                del self._open[descriptor]


def is_within(path: str, folder: str) -> bool:
    """Whether ``path`` is ``folder`` or lies below it; the empty folder holds all."""
    return not folder or path == folder or path.startswith(folder + "/")
