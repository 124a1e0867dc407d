"""Complete, typed stand-ins that several rooms' tests share. A room's own fakes live in its own tests."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta, timezone

from rescalefs.clock import Wake


class FakeClock:
    """Time that moves only when someone waits, or a test says so. Thread-safe."""

    def __init__(self, start: datetime = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)) -> None:
        self._start = start
        self._lock = threading.Lock()  # guards _elapsed and waits
        self._elapsed = 0.0
        self.waits: list[float] = []

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        with self._lock:
            return self._elapsed

    def wait(self, wake: Wake, seconds: float) -> bool:
        """Return at once; the hands have moved by ``seconds`` unless ``wake`` was set."""
        if wake.wait(0):
            return True
        self.advance(seconds)
        with self._lock:
            self.waits.append(seconds)
        return False

    def advance(self, seconds: float) -> None:
        """Move the hands."""
        with self._lock:
            self._elapsed += max(0.0, seconds)
