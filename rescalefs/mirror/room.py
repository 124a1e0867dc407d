"""Which files wait until the disk has room for them."""

from __future__ import annotations

import errno
import threading
from typing import NamedTuple

from rescalefs.clock import Clock
from rescalefs.mirror.shelf import Shelf
from rescalefs.model import RemoteFile

_FIRST, _LONGEST = 60.0, 600.0  # seconds before it is tried again, at first and after several times


class _Wait(NamedTuple):
    times: int
    until: float  # monotonic
    free: int | None  # bytes that the disk had left when it had taken too much; None if that tells nothing


class Room:
    """Remembers which files did not fit on the disk, so that they are not fetched in vain in every round.

    They are tried again once there is room for them, and now and then: what is left of a quota is not told.
    Thread-safe.
    """

    def __init__(self, shelf: Shelf, clock: Clock) -> None:
        self._shelf = shelf
        self._clock = clock
        self._lock = threading.Lock()  # guards _waits
        self._waits: dict[str, _Wait] = {}  # by version

    def did_not_fit(self, file: RemoteFile, error: OSError) -> None:
        """The disk was full before all of it had come. What had come is removed by now."""
        now = self._clock.monotonic()
        # What is left of a quota, or how large a file may be, is not told by the disk.
        free = self._shelf.free() if error.errno == errno.ENOSPC else None
        with self._lock:
            before = self._waits.get(file.version)
            times = before.times + 1 if before else 0
            self._waits[file.version] = _Wait(times, now + min(_FIRST * 2**times, _LONGEST), free)

    def why_not(self, file: RemoteFile) -> str:
        """Why it is not to be fetched now; "" if it is."""
        with self._lock:
            wait = self._waits.get(file.version)
        if wait is None or self._clock.monotonic() >= wait.until:
            return ""
        if wait.free is not None:
            free = self._shelf.free()
            if free > wait.free and free >= (file.size or 0):
                return ""
        return f"there is not enough space: it has {file.size} bytes, and did not fit. It is tried again"
