"""The only module that knows real time.

Everything that waits, ages or dates something takes a `Clock`, so that tests can move its hands.
"""

from __future__ import annotations

import threading
import time
from datetime import datetime, timezone
from typing import Protocol


class Wake(Protocol):
    """What can end a wait early; `threading.Event` is one."""

    def wait(self, timeout: float | None = None) -> bool:
        """Return True as soon as it is set, False after ``timeout`` seconds."""
        ...


class Clock(Protocol):
    """Three questions about time."""

    def now(self) -> datetime:
        """The wall clock, aware and in UTC: for people and for the wire."""
        ...

    def monotonic(self) -> float:
        """Seconds from some fixed moment: for ages and deadlines."""
        ...

    def wait(self, wake: Wake, seconds: float) -> bool:
        """Sleep for ``seconds``, or until ``wake`` is set; tell whether it was set."""
        ...


class Since:
    """A moment, to be asked later how long ago it was; the time that the machine slept counts.

    The monotonic clock of Linux stands still in a suspended machine. The wall clock does not, but it may
    be set: so the age may be too long, and never too short.
    """

    __slots__ = ("_clock", "_monotonic", "_now")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._monotonic, self._now = clock.monotonic(), clock.now()

    def seconds(self) -> float:
        """How long ago it was."""
        by_the_wall = (self._clock.now() - self._now).total_seconds()
        return max(self._clock.monotonic() - self._monotonic, by_the_wall)


class SystemClock:
    """The machine's time."""

    def now(self) -> datetime:
        return datetime.now(timezone.utc)

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, wake: Wake, seconds: float) -> bool:
        return wake.wait(max(0.0, seconds))


def never() -> Wake:
    """Something to wait on that nobody sets: for a wait that only time ends."""
    return threading.Event()
