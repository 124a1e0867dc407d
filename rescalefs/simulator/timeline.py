"""Things that happen later, in one thread."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections.abc import Callable

from rescalefs.clock import Clock
from rescalefs.containment import contained

log = logging.getLogger(__name__)

LONGEST_WAIT = 3600.0  # seconds; a thread cannot wait for as long as a number can say


class Appointment:
    """Something that will happen, unless it is cancelled first."""

    def __init__(self, action: Callable[[], None]) -> None:
        self.action = action
        self.is_cancelled = False

    def cancel(self) -> None:
        """It does not happen any more, unless it does so just now."""
        self.is_cancelled = True


class Timeline:
    """Calls each action when its time has come, one after the other; an action must be quick. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()  # guards _due
        self._due: list[tuple[float, int, Appointment]] = []
        self._order = itertools.count()  # actions of the same time happen in the order they were asked for
        self._wake = threading.Event()

    def after(self, seconds: float, action: Callable[[], None]) -> Appointment:
        """Let ``action`` happen in ``seconds``."""
        appointment = Appointment(action)
        with self._lock:
            heapq.heappush(self._due, (self._clock.monotonic() + seconds, next(self._order), appointment))
        self._wake.set()
        return appointment

    def run(self, stop: threading.Event) -> None:
        """Let things happen until ``stop`` is set and `wake` was called."""
        while not stop.is_set():
            self._wake.clear()
            wait = self._do_what_is_due()
            if stop.is_set():
                return
            if wait is None:
                self._wake.wait()
            else:
                self._clock.wait(self._wake, min(wait, LONGEST_WAIT))

    def wake(self) -> None:
        """Look at ``stop`` now."""
        self._wake.set()

    def _do_what_is_due(self) -> float | None:
        """Do all that is due; return the seconds until the next, None if nothing is left."""
        while True:
            with self._lock:
                if not self._due:
                    return None
                wait = self._due[0][0] - self._clock.monotonic()
                if wait > 0:
                    return wait
                _, _, appointment = heapq.heappop(self._due)
            if not appointment.is_cancelled:
                with contained(log, "something that was to happen in the simulator"):
                    appointment.action()
