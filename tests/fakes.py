"""Complete, typed stand-ins that several rooms' tests share. A room's own fakes live in its own tests."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from rescalefs.clock import SystemClock, Wake
from rescalefs.model import RemoteFile


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


class HastyClock(SystemClock):
    """The machine's time, many times as fast: for threads that really wait for one another."""

    def __init__(self, times: float) -> None:
        self._times = times
        self._began = super().now()

    def now(self) -> datetime:
        return self._began + (super().now() - self._began) * self._times

    def monotonic(self) -> float:
        return super().monotonic() * self._times

    def wait(self, wake: Wake, seconds: float) -> bool:
        return super().wait(wake, seconds / self._times)


@dataclass
class Fault:
    """What happens to one request of a `MemorySource`, after ``after`` bytes of it were sent."""

    after: int = 0
    error: Exception | None = None  # is raised then
    short: bool = False  # the body just ends then
    flip: bool = False  # the next byte is a wrong one
    hang: threading.Event | None = None  # nothing more comes until it is set
    sent: threading.Event | None = None  # is set when so much was sent


class MemoryBody:
    """One answer of a `MemorySource`."""

    def __init__(self, content: bytes, start: int, stop: int, fault: Fault, chunk: int) -> None:
        self.start = start
        self.stop = min(stop, len(content))
        self.total: int | None = len(content)
        self._content = content
        self._fault = fault
        self._chunk = chunk
        self.sent = 0

    def __iter__(self) -> Iterator[bytes]:
        fault = self._fault
        turn = min(self.stop, self.start + fault.after)
        yield from self._chunks(self.start, turn)
        if fault.sent is not None:
            fault.sent.set()
        if fault.hang is not None:
            fault.hang.wait()
        if fault.error is not None:
            raise fault.error
        if fault.short:
            return
        if fault.flip and turn < self.stop:
            self.sent += 1
            yield bytes([self._content[turn] ^ 0x40])
            turn += 1
        yield from self._chunks(turn, self.stop)

    def _chunks(self, start: int, stop: int) -> Iterator[bytes]:
        while start < stop:
            piece = self._content[start : min(stop, start + self._chunk)]
            self.sent += len(piece)
            start += len(piece)
            yield piece


class MemorySource:
    """Files in memory, behind faults by script: the n-th request meets the n-th fault. Thread-safe."""

    def __init__(
        self, contents: Mapping[str, bytes], faults: Iterable[Fault | None] = (), chunk: int = 1 << 18
    ) -> None:
        self.contents = dict(contents)
        self.chunk = chunk
        self._lock = threading.Lock()  # guards all that follows
        self._faults = deque(faults)
        self._bodies: list[MemoryBody] = []
        self.requests: list[tuple[str, int, int]] = []

    @property
    def bytes_sent(self) -> int:
        with self._lock:
            return sum(body.sent for body in self._bodies)

    def misbehave(self, *faults: Fault | None) -> None:
        """Faults for the requests to come."""
        with self._lock:
            self._faults.extend(faults)

    @contextmanager
    def open_range(self, file: RemoteFile, start: int, stop: int) -> Iterator[MemoryBody]:
        with self._lock:
            fault = (self._faults.popleft() if self._faults else None) or Fault()
            body = MemoryBody(self.contents[file.id], start, stop, fault, self.chunk)
            self._bodies.append(body)
            self.requests.append((file.id, start, stop))
        yield body
