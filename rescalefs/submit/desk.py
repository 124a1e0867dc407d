"""Who works at which drop, and which one is next."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable
from dataclasses import dataclass

from rescalefs.clock import Clock
from rescalefs.submit.machine import Drop
from rescalefs.submit.pace import retry_delay

_LONG = 60.0  # seconds: nobody waits longer without looking


@dataclass
class _Tray:
    taken: bool = False
    served: int = 0  # when it was last taken, as a count of all takings
    due: float = 0.0
    failures: int = 0


class Desk:
    """Gives each drop to one worker at a time: the one that has waited longest first. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()  # guards all below
        self._trays: dict[str, _Tray] = {}
        self._takings = 0

    def take(self, drops: Iterable[Drop]) -> Drop | None:
        """One of ``drops`` that is due and that nobody has."""
        now = self._clock.monotonic()
        with self._lock:
            free = [(self._tray(drop), drop) for drop in drops]
            ready = [
                (tray.served, drop.id, drop) for tray, drop in free if not tray.taken and tray.due <= now
            ]
            if not ready:
                return None
            drop = min(ready, key=lambda each: each[:2])[2]
            self._takings += 1
            tray = self._trays[drop.id]
            tray.taken, tray.served = True, self._takings
            return drop

    def give_back(self, drop_id: str, for_good: bool = False) -> None:
        """It got on; ``for_good``: and there is nothing more to do at it, or it is as good as new then."""
        with self._lock:
            if for_good:
                del self._trays[drop_id]
                return
            tray = self._trays[drop_id]
            tray.taken, tray.failures, tray.due = False, 0, 0.0

    def put_off(self, drop_id: str, asked: float | None = None) -> float:
        """It did not get on; return in how many seconds it is due again."""
        with self._lock:
            tray = self._trays[drop_id]
            tray.taken = False
            tray.failures += 1
            delay = retry_delay(tray.failures, random.random(), asked)
            tray.due = self._clock.monotonic() + delay
            return delay

    def wait_time(self, drops: Iterable[Drop]) -> float:
        """Seconds until one of ``drops`` is due."""
        now = self._clock.monotonic()
        with self._lock:
            trays = [self._tray(drop) for drop in drops]
            return max(0.0, min((each.due - now for each in trays if not each.taken), default=_LONG))

    def _tray(self, drop: Drop) -> _Tray:
        return self._trays.setdefault(drop.id, _Tray())
