"""Which files of the drop folder are open through the mount, and which could not be written."""

from __future__ import annotations

import itertools
import os
import threading
from pathlib import Path
from typing import NamedTuple


class _Open(NamedTuple):
    path: str  # below the folder; follows renames
    writing: bool
    since: int  # a number that grows with each open
    has_failed: bool = False


class _Failure(NamedTuple):
    """A write, or a close, that the disk refused."""

    reason: str
    at: int  # opens of a larger number came after it
    inode: int
    size: int


_REMEMBERED = 4096  # files that were closed last


class OpenFiles:
    """Knows each open file by the name it has now. Thread-safe.

    A file that could not be written counts as unfinished until a program has written it again, or it is gone:
    what is in it is not what the user meant to drop. A restart of the daemon forgets that.
    It is made before the submitter and the drop folder, which both need it: one asks, the other reports.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()  # guards all below
        self._open: dict[int, _Open] = {}  # by descriptor
        self._failures: dict[str, _Failure] = {}  # by path
        self._numbers = itertools.count()
        self._nameless: dict[int, str] = {}  # by descriptor: what libfuse calls a removed file that is open
        self._closed: dict[str, None] = {}  # names of files that were closed, the last one at the end

    def why_unfinished(self, path: Path) -> str:
        """What ``path`` (in the backing directory), or anything below it, waits for; empty for nothing."""
        if not path.is_relative_to(self._folder):
            return ""
        below = path.relative_to(self._folder).as_posix()
        below = "" if below == "." else below
        if self.is_busy_below(below):
            return "until no file is open for writing"
        for name, failure in self._failed_below(below):
            shown = os.path.relpath(name, below) if below else name
            return f"until {shown} is written again, or removed: writing it failed ({failure.reason})"
        return ""

    def is_busy_below(self, path: str) -> bool:
        """Whether a path relative to the folder, or anything below it, is open for writing."""
        with self._lock:
            return any(each.writing and is_within(each.path, path) for each in self._open.values())

    def is_open(self, path: str) -> bool:
        """Whether the file itself is open, for whatever purpose."""
        with self._lock:
            return any(each.path == path for each in self._open.values())

    def was_just_closed(self, path: str) -> bool:
        """Whether it is one of the files that were closed last."""
        with self._lock:
            return path in self._closed

    def opened(self, descriptor: int, path: str, writing: bool, emptied: bool = False) -> None:
        """``emptied``: it is new, or was truncated, so what was wrong with it before is over."""
        with self._lock:
            self._open[descriptor] = _Open(path, writing, next(self._numbers))
            if emptied:
                self._failures.pop(path, None)

    def failed(self, descriptor: int, error: OSError) -> None:
        """The disk refused what was written by this descriptor, which is still open."""
        try:
            found = os.fstat(descriptor)
        except OSError:
            return  # the disk is gone, and the file with it
        with self._lock:
            each = self._open.get(descriptor)
            if each is not None:
                reason = error.strerror or str(error)
                at = next(self._numbers)
                self._failures[each.path] = _Failure(reason, at, found.st_ino, found.st_size)
                self._open[descriptor] = each._replace(has_failed=True)

    def closed(self, descriptor: int, has_written: bool = False) -> str | None:
        """The name it had last; None when it was removed while open."""
        with self._lock:
            each = self._open.pop(descriptor, None)
            if each is None:
                return None
            self._closed.pop(each.path, None)
            self._closed[each.path] = None
            if len(self._closed) > _REMEMBERED:
                del self._closed[next(iter(self._closed))]
            failure = self._failures.get(each.path)
            if failure is not None and has_written and not each.has_failed and each.since > failure.at:
                del self._failures[each.path]
            return each.path

    def renamed(self, old: str, new: str) -> None:
        """``old`` and everything below it is called ``new`` from now on."""
        with self._lock:
            self._forget_failures(new)
            for descriptor, each in self._open.items():
                if is_within(each.path, old):
                    self._open[descriptor] = each._replace(path=new + each.path[len(old) :])
            for descriptor, hidden in self._nameless.items():
                if is_within(hidden, old):
                    self._nameless[descriptor] = new + hidden[len(old) :]
            for path in [path for path in self._closed if is_within(path, old)]:
                del self._closed[path]
                self._closed[new + path[len(old) :]] = None
            for path in [path for path in self._failures if is_within(path, old)]:
                self._failures[new + path[len(old) :]] = self._failures.pop(path)

    def removed(self, path: str, hidden: str) -> bool:
        """The file has no name any more, so it is no part of a drop; return whether it is still open.

        ``hidden`` is what libfuse calls it.
        """
        with self._lock:
            self._forget_failures(path)
            still_open = [number for number, each in self._open.items() if each.path == path]
            for descriptor in still_open:
                del self._open[descriptor]
                self._nameless[descriptor] = hidden
        return bool(still_open)

    def opened_nameless(self, descriptor: int, hidden: str) -> None:
        """A file without a name was opened once more."""
        with self._lock:
            self._nameless[descriptor] = hidden

    def closed_nameless(self, descriptor: int) -> str | None:
        """What libfuse calls the file without a name whose last descriptor is closed; None for any other."""
        with self._lock:
            hidden = self._nameless.pop(descriptor, None)
            return None if hidden in self._nameless.values() else hidden

    def _forget_failures(self, path: str) -> None:
        for each in [each for each in self._failures if is_within(each, path)]:
            del self._failures[each]

    def _failed_below(self, folder: str) -> list[tuple[str, _Failure]]:
        """Those that were not replaced meanwhile by a program that works in the backing directory."""
        with self._lock:
            known = [(path, each) for path, each in self._failures.items() if is_within(path, folder)]
        left = [(path, failure) for path, failure in known if self._is_as_it_failed(path, failure)]
        with self._lock:
            for path, failure in known:
                if (path, failure) not in left and self._failures.get(path) == failure:
                    del self._failures[path]
        return left

    def _is_as_it_failed(self, path: str, failure: _Failure) -> bool:
        try:
            found = (self._folder / path).lstat()
        except OSError:
            return False
        return (found.st_ino, found.st_size) == (failure.inode, failure.size)


def is_within(path: str, folder: str) -> bool:
    """Whether ``path`` is ``folder`` or lies below it; the empty folder holds all."""
    return not folder or path == folder or path.startswith(folder + "/")
