"""What all directories of one tree need."""

from __future__ import annotations

import threading

from rescalefs.clock import Clock
from rescalefs.tree.catalog import Catalog
from rescalefs.tree.nodes import nanoseconds
from rescalefs.tree.outputs import Verification
from rescalefs.tree.sorting import Sorting

_LOOKS_AT_ONCE = 8  # a person's; `find` over all jobs makes thousands
_LOOKS_PER_SECOND = 1.0


class Account:
    """What is known, by what clock, and what has been verified."""

    __slots__ = ("began_ns", "catalog", "clock", "looks", "sorting", "verification")

    def __init__(self, catalog: Catalog, clock: Clock, verification: Verification, sorting: Sorting) -> None:
        self.catalog = catalog
        self.clock = clock
        self.verification = verification
        self.sorting = sorting
        self.looks = Allowance(clock, _LOOKS_AT_ONCE, _LOOKS_PER_SECOND)
        self.began_ns = nanoseconds(clock.now())  # the date of what has none


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
