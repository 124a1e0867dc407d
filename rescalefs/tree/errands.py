"""Work that nobody waits for, on a few threads that exist only while there is some."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from rescalefs.background import Background
from rescalefs.containment import contained

log = logging.getLogger(__name__)

Errand = Callable[[], None]


class Errands:
    """Runs errands in the background, oldest first, at most ``threads`` at a time.

    Before `start`, `run` does the errand itself before it returns. An idle crew is no thread at all.
    Not promised: that an errand is run once the background has been told to end.
    """

    def __init__(self, background: Background, threads: int) -> None:
        self._background = background
        self._threads = threads
        self._started = False
        self._lock = threading.Lock()  # guards _waiting and _busy
        self._waiting: deque[Errand] = deque()
        self._busy = 0

    def start(self) -> None:
        """From now on errands run in the background."""
        self._started = True

    @property
    def in_background(self) -> bool:
        """Whether `run` returns at once."""
        return self._started

    def run(self, errand: Errand) -> None:
        """Have ``errand`` done."""
        if not self._started:
            errand()
            return
        with self._lock:
            self._waiting.append(errand)
            if self._busy >= self._threads:
                return
            self._busy += 1
        self._background.start("tree-refresh", self._work)

    def _work(self, stop: threading.Event) -> None:
        while not stop.is_set():
            with self._lock:
                # Looked at and signed off in one step, so no errand can be left to a thread that is leaving.
                if not self._waiting:
                    self._busy -= 1
                    return
                errand = self._waiting.popleft()
            with contained(log, "an errand of the tree"):
                errand()
