"""How many requests an hour: one token bucket for each scope that the service counts on its own.

Numbers from Interlink 4.9, which cites Rescale's documentation of November 2025. What is not known there is
taken for the default (7,200), until a 429 says otherwise (guess). Uploads are held back by a 429 alone: at
that rate a drop of 100,000 files would take most of a day.
"""

from __future__ import annotations

import re
import threading

from pyrate_limiter import Duration, Rate, RateItem, StateBucket, TokenBucket

_DEFAULT = 7_200
_PER_HOUR = {"job-submission": 1_000, "jobs-usage": 90_000}
_SHARE = 0.85  # what Interlink allows itself; the rest is for the user's other clients
_SCOPES = [
    ("POST", re.compile(r"jobs/[^/]+/submit/"), "job-submission"),
    ("GET", re.compile(r"jobs/.*"), "jobs-usage"),
    ("GET", re.compile(r"files/[^/]+/(contents|lines)/"), "file-access"),
    ("POST", re.compile(r"files/contents/"), "uploads"),
]
_UNMETERED = frozenset({"uploads"})


def scope_of(method: str, path: str) -> str:
    """The scope in which a request counts; ``path`` is below /api/v2/."""
    for its_method, pattern, scope in _SCOPES:
        if method == its_method and pattern.fullmatch(path):
            return scope
    return "user"


class Limits:
    """Says how long a request of a scope has to wait. Thread-safe. Times are seconds of a monotonic clock."""

    def __init__(self, unmetered: frozenset[str] = frozenset()) -> None:
        """In ``unmetered`` scopes, and for uploads, nothing waits but for a 429."""
        self._unmetered = unmetered | _UNMETERED
        self._lock = threading.Lock()  # guards both tables, and the buckets in them
        self._buckets: dict[str, StateBucket] = {}
        self._closed_until: dict[str, float] = {}

    def take(self, scope: str, now: float) -> float:
        """Take one request: 0 if it may go now, else the seconds after which to ask again."""
        with self._lock:
            closed = self._closed_until.get(scope, 0.0) - now
            if closed > 0:
                return closed
            if scope in self._unmetered:
                return 0.0
            bucket = self._buckets.get(scope)
            if bucket is None:
                limit = int(_PER_HOUR.get(scope, _DEFAULT) * _SHARE)
                bucket = self._buckets[scope] = StateBucket([Rate(limit, Duration.HOUR)], TokenBucket())
            item = RateItem(scope, int(now * 1000))
            if bucket.put(item):
                return 0.0
            waiting = bucket.waiting(item)
            assert isinstance(waiting, int)  # in-memory buckets are never awaited
            return max(waiting, 1) / 1000

    def close(self, scope: str, until: float) -> None:
        """The server said 429: nothing of this scope goes out before ``until``."""
        with self._lock:
            self._closed_until[scope] = max(until, self._closed_until.get(scope, 0.0))
