"""How many requests an hour: one token bucket for each scope that the service counts on its own.

Numbers from Interlink 4.9, which cites Rescale's documentation of November 2025. What is not known there is
taken for the default (7,200), until a 429 says otherwise (guess). Uploads are held back by a 429 alone: at
that rate a drop of 100,000 files would take most of a day.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyrate_limiter import StateBucket

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
# Requests of a scope that are only noted; they could not have had to wait. A command of a few requests then
# does without the bucket's library, which takes 40 ms to import.
_FEW = 100


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
        self._lock = threading.Lock()  # guards the tables, and the buckets in them
        self._first: dict[str, list[float]] = {}  # when each scope's first requests were
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
            first = self._first.setdefault(scope, [])
            if len(first) < _FEW:
                first.append(now)
                return 0.0
            if scope not in self._buckets:
                self._buckets[scope] = _bucket(scope, first)
            return _taken(self._buckets[scope], scope, now)

    def close(self, scope: str, until: float) -> None:
        """The server said 429: nothing of this scope goes out before ``until``."""
        with self._lock:
            self._closed_until[scope] = max(until, self._closed_until.get(scope, 0.0))


def _bucket(scope: str, first: list[float]) -> StateBucket:
    """A scope's bucket, as it is after its first requests."""
    from pyrate_limiter import Duration, Rate, StateBucket, TokenBucket

    limit = int(_PER_HOUR.get(scope, _DEFAULT) * _SHARE)
    bucket = StateBucket([Rate(limit, Duration.HOUR)], TokenBucket())
    for then in first:
        _taken(bucket, scope, then)
    return bucket


def _taken(bucket: StateBucket, scope: str, now: float) -> float:
    """As `Limits.take`."""
    from pyrate_limiter import RateItem

    item = RateItem(scope, int(now * 1000))
    if bucket.put(item):
        return 0.0
    waiting = bucket.waiting(item)
    assert isinstance(waiting, int)  # in-memory buckets are never awaited
    return max(waiting, 1) / 1000
