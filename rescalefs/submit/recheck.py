"""When a drop that our own check rejected is checked again by itself."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from rescalefs.clock import Clock
from rescalefs.submit.machine import Drop

_FIRST = 60.0  # seconds; twice as long each time, …
_HOUR = 3600.0  # … up to this
_DAY = 24 * _HOUR  # … and then this: most are wrong themselves, and wait for a person


@dataclass(frozen=True, slots=True)
class _Plan:
    fingerprint: str  # of the folder that was rejected
    due: float  # monotonic seconds
    pause: float  # seconds since the check before


class SecondChecks:
    """Plans them, for each drop ever more rarely. Thread-safe.

    A rejection rests on what the server offered and showed at one moment: a list may have been cut short, a
    file 404 at a replica, a price odd. A folder that is rejected once more as it is goes on with its plan.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()  # guards _plans
        self._plans: dict[str, _Plan] = {}  # by drop

    def is_due(self, drop: Drop) -> bool:
        """Whether it is time; the first look at a drop begins its plan."""
        now = self._clock.monotonic()
        with self._lock:
            plan = self._plans.get(drop.id)
            if plan is None or plan.fingerprint != drop.fingerprint:
                plan = self._plans[drop.id] = _Plan(drop.fingerprint, now + _FIRST, _FIRST)
        return plan.due <= now

    def begun(self, drop: Drop) -> None:
        """It is checked now: plan the next one."""
        now = self._clock.monotonic()
        with self._lock:
            before = self._plans[drop.id].pause
            pause = min(_HOUR, 2 * before) if before < _HOUR else _DAY
            self._plans[drop.id] = _Plan(drop.fingerprint, now + pause, pause)
