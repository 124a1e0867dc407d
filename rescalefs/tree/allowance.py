"""So many at once, then so many per second: how a person's looks are told from a program's."""

from __future__ import annotations

import threading

from rescalefs.clock import Clock


class Allowance:
    """So many at once, then so many per second: tells a person's looks from a sweep. Thread-safe."""

    def __init__(self, clock: Clock, most: int, per_second: float) -> None:
        self._clock = clock
        self._most = most
        self._per_second = per_second
        self._lock = threading.Lock()  # guards both below
        self._left = float(most)
        self._since = clock.monotonic()

    def take(self) -> bool:
        """Take one, if there is one."""
        now = self._clock.monotonic()
        with self._lock:
            self._left = min(self._most, self._left + (now - self._since) * self._per_second)
            self._since = now
            if self._left < 1.0:
                return False
            self._left -= 1.0
            return True
