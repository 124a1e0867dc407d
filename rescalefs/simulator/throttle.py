"""How many requests an hour a client may make, in each scope. Thread-safe."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from rescalefs.clock import Clock

HOUR = 3600.0
SCOPES = ("user", "job-submission", "jobs-usage", "file-access")


def scope_of(method: str, pattern: str) -> str:
    """The scope that a request to a path of this pattern counts in."""
    if pattern.startswith("/api/v3/"):
        return "user"
    if pattern.endswith("/submit/"):
        return "job-submission"
    if pattern.endswith(("/contents/", "/lines/")):
        return "file-access"
    if method in ("GET", "HEAD"):
        if pattern.startswith("/api/v2/files/"):
            return "file-access"
        if pattern.startswith("/api/v2/jobs/"):
            return "jobs-usage"
    return "user"


@dataclass(frozen=True, slots=True)
class Denied:
    """One request too many."""

    limit: int
    retry_after: int  # seconds


class Throttle:
    """Counts the requests of the last hour, in the scopes that have a limit."""

    def __init__(self, limits: Mapping[str, int], clock: Clock) -> None:
        self._limits = dict(limits)
        self._clock = clock
        self._lock = threading.Lock()  # guards _taken
        self._taken: dict[str, deque[float]] = {scope: deque() for scope in limits}

    def take(self, scope: str) -> Denied | None:
        """Count one request; None if it may pass. One that is denied does not count."""
        limit = self._limits.get(scope)
        if limit is None:
            return None
        now = self._clock.monotonic()
        with self._lock:
            taken = self._taken[scope]
            while taken and taken[0] <= now - HOUR:
                taken.popleft()
            if len(taken) < limit:
                taken.append(now)
                return None
            wait = taken[0] + HOUR - now if taken else HOUR
        return Denied(limit, max(1, math.ceil(wait)))
