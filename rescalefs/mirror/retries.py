"""When a file that failed is fetched again: not in every round, because each try may cost gigabytes."""

from __future__ import annotations

import errno
import threading
from typing import NamedTuple

from rescalefs.clock import Clock
from rescalefs.errors import ApiError
from rescalefs.mirror.shelf import Shelf
from rescalefs.mirror.trouble import reason
from rescalefs.model import RemoteFile

_FIRST = 60.0  # seconds
_LONGEST = 3600.0  # seconds; for a file whose bytes are wrong, for example
_LONGEST_WITHOUT_ROOM = 600.0  # seconds; what is left of a quota is not told, so it is tried
_LONGEST_TOO_LARGE = 86_400.0  # seconds; a disk that takes no file of this size will not take it soon
_AT_ONCE = 1  # failures in a row after which the next round tries again
_AT_ONCE_BY_SERVER = 2  # the same, for what the server or the network did: they cost little and pass soon
_AT_ONCE_FOR_ROOM = 2  # the same, for a file that did not fit and now would


class _Wait(NamedTuple):
    times: int  # failures in a row
    until: float  # monotonic
    why: str
    free: int | None  # bytes that the disk had left when it had taken too much; None if that tells nothing


class Retries:
    """Remembers which files failed, how often in a row, and until when they are left alone. Thread-safe.

    What the server or the network did is tried again after a minute at most. What did not fit on the disk is
    tried at once when there is room for it.
    """

    def __init__(self, shelf: Shelf, clock: Clock) -> None:
        self._shelf = shelf
        self._clock = clock
        self._lock = threading.Lock()  # guards _waits
        self._waits: dict[str, _Wait] = {}  # by version

    def did_not_fit(self, file: RemoteFile, error: OSError) -> None:
        """The disk was full before all of it had come. What had come is removed by now."""
        why = f"there is not enough space: it has {file.size} bytes, and did not fit. It is tried again"
        if error.errno == errno.EFBIG:
            self._wait(file, reason(error, file.path), None, 0, _LONGEST_TOO_LARGE)
        elif error.errno == errno.ENOSPC:
            free = self._shelf.free()
            # Where there is room by now, other files had taken it and are gone.
            at_once = _AT_ONCE_FOR_ROOM if free >= (file.size or 0) else 0
            self._wait(file, why, free, at_once, _LONGEST_WITHOUT_ROOM)
        else:
            self._wait(file, why, None, 0, _LONGEST_WITHOUT_ROOM)

    def failed(self, file: RemoteFile, error: Exception) -> None:
        """The file failed for a reason of its own."""
        why = reason(error, file.path)
        if isinstance(error, ApiError):
            self._wait(file, why, None, _AT_ONCE_BY_SERVER, _FIRST)
        else:
            self._wait(file, why, None, _AT_ONCE, _LONGEST)

    def came(self, file: RemoteFile) -> None:
        """The file is here."""
        with self._lock:
            self._waits.pop(file.version, None)

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
        return wait.why

    def _wait(self, file: RemoteFile, why: str, free: int | None, at_once: int, longest: float) -> None:
        now = self._clock.monotonic()
        with self._lock:
            before = self._waits.get(file.version)
            times = before.times + 1 if before else 1
            doubled = times - at_once - 1
            seconds = min(_FIRST * 2.0 ** min(doubled, 20), longest) if doubled >= 0 else 0.0
            self._waits[file.version] = _Wait(times, now + seconds, why, free)
