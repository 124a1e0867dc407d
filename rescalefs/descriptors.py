"""How many files this process may have open at once, and how many of them each part of it may have.

The limit is small on some systems (256 on macOS, 1024 on most), and at the limit nothing works any more: no
path can be looked up, no socket opened, no journal written. So what opens many files has a share, and counts
each descriptor where it is opened and where it is closed.
"""

from __future__ import annotations

import contextlib
import errno
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

resource: Any
try:
    import resource
except ImportError:  # Windows has no such limit to ask for
    resource = None

T = TypeVar("T")

SPENT = frozenset({errno.EMFILE, errno.ENFILE})  # this process, or this machine, has no descriptor left
_USUAL = 1024  # where the system does not tell
_ENOUGH = 65_536  # some systems allow a billion, and some tables grow with the limit


class Share:
    """The descriptors of one part of the process: how many it may have, and how many it has.

    Counts, and refuses nothing. No method takes a lock, so that finalisers may call them.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._open: deque[None] = deque()  # its length is the count: append and pop are one step each

    @property
    def count(self) -> int:
        """How many are open now."""
        return len(self._open)

    def opened(self) -> None:
        """Count one more."""
        self._open.append(None)

    def closed(self) -> None:
        """Count one less."""
        self._open.pop()


class Descriptors:
    """Divides the descriptors of a process.

    What opens many files by itself has a part. Over half is left for all else: connections, what programs
    have open in submit/, the journal, indexes, the log, the watcher, /dev/fuse, Python itself.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.blocks = Share(5 * limit // 16)  # of the cache, open to be read
        self.live = Share(2 * limit // 16)  # live files that are too long for the memory
        self._reclaim: list[Callable[[], None]] = []

    @classmethod
    def of_this_process(cls, *, raised: bool) -> Descriptors:
        """What the system allows. ``raised``: raise the limit first, as far as this user may."""
        return cls(_raised_limit() if raised else _limit())

    def reclaim_with(self, close_some: Callable[[], None]) -> None:
        """Note a function that closes files that are kept open only to be quick."""
        self._reclaim.append(close_some)

    def retried(self, act: Callable[[], T]) -> T:
        """Open something; where no descriptor is left, have some closed, and try once more.

        Raises what ``act`` raises, EMFILE and ENFILE included where nothing could be closed.
        """
        try:
            return act()
        except OSError as error:
            if error.errno not in SPENT:
                raise
        for close_some in self._reclaim:
            close_some()
        return act()


def _limit() -> int:
    return _USUAL if resource is None else _finite(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _finite(limit: int) -> int:
    return min(limit, _ENOUGH) if limit >= 0 else _ENOUGH  # RLIM_INFINITY is -1


def _raised_limit() -> int:
    if resource is not None:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        wanted = _finite(hard)
        if _limit() < wanted:
            # macOS names no limit and refuses more than 10,240 (OPEN_MAX) all the same.
            for each in (wanted, 10_240):
                with contextlib.suppress(OSError, ValueError):
                    resource.setrlimit(resource.RLIMIT_NOFILE, (each, hard))
                    break
    return _limit()
