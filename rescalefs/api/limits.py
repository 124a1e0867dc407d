"""How many requests an hour: one token bucket for each scope that the service counts on its own.

Numbers from Interlink 4.9, which cites Rescale's documentation of November 2025. What is not known there is
taken for the default (7,200), until a 429 says otherwise (guess). Uploads are held back by a 429 alone: at
that rate a drop of 100,000 files would take most of a day.

A program that walks over everything (`find`, `updatedb`, `grep -r`) is one that has caused many requests. It
gets a part of each scope only. The rest is for reads by other programs, and for drops.

Requests that have to wait stand in a line: what comes back goes to the one that has waited longest. Without a
line, of several that wait at once some would never be the one that asks at the right moment.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rescalefs.requester import OURSELVES, Requesters

if TYPE_CHECKING:
    from pyrate_limiter import StateBucket

_DEFAULT = 7_200
_PER_HOUR = {"job-submission": 1_000, "jobs-usage": 90_000, "file-access": 90_000}
_SHARE = 0.85  # what Interlink allows itself; the rest is for the user's other clients
_SCOPES = [
    ("POST", re.compile(r"jobs/[^/]+/submit/"), "job-submission"),
    ("GET", re.compile(r"jobs/.*"), "jobs-usage"),
    ("GET", re.compile(r"files/.*"), "file-access"),
    ("POST", re.compile(r"files/contents/"), "uploads"),
]
_UNMETERED = frozenset({"uploads"})
_WALKS = 0.75  # of a scope's share, for all programs together that walk over everything
_OF_A_PERSON = 200  # requests at once by one program, which opens folders and files one after the other
_A_SECOND = 0.1  # and after that; one that causes more than these walks
_MOST_PROGRAMS = 1000  # that are remembered
# Requests of a scope that are only noted; they could not have had to wait. A command of a few requests then
# does without the bucket's library, which takes 40 ms to import.
_FEW = 100


def scope_of(method: str, path: str) -> str:
    """The scope in which a request counts; ``path`` is below /api/v2/."""
    for its_method, pattern, scope in _SCOPES:
        if method == its_method and pattern.fullmatch(path):
            return scope
    return "user"


class Turn:
    """A request that may have to wait; for `Limits.take`."""

    __slots__ = ("walks",)

    def __init__(self) -> None:
        self.walks: bool | None = None  # in which line it stands


class Limits:
    """Says how long a request of a scope has to wait. Thread-safe. Times are seconds of a monotonic clock."""

    def __init__(self, unmetered: frozenset[str] = frozenset()) -> None:
        """In ``unmetered`` scopes, and for uploads, nothing waits but for a 429."""
        self._unmetered = unmetered | _UNMETERED
        self._lock = threading.Lock()  # guards the tables, and the buckets in them
        self._first: dict[str, list[float]] = {}  # when each scope's first requests were
        self._walks: dict[str, StateBucket] = {}  # by scope
        self._appetites: dict[int, _Appetite] = {}  # by requester
        self._buckets: dict[str, StateBucket] = {}
        self._closed_until: dict[str, float] = {}
        self._lines: dict[tuple[str, bool], list[Turn]] = {}  # by scope, and whether it is that of walks

    def take(
        self, scope: str, now: float, requesters: Requesters = OURSELVES, turn: Turn | None = None
    ) -> float:
        """Take one request: 0 if it may go now, else the seconds after which to ask again.

        Where all ``requesters`` walk over everything, it comes out of the part that walks share. With a
        ``turn``, a request that has to wait stands in a line until it may go, or until `leave`.
        """
        with self._lock:
            closed = self._closed_until.get(scope, 0.0) - now
            if closed > 0:
                return closed
            if scope in self._unmetered:
                return 0.0
            walks = self._is_walk(requesters, now) if turn is None or turn.walks is None else turn.walks
            wait = self._wait_in_line(scope, walks, turn)
            wait = wait or (self._take_from_walks(scope, now) if walks else 0.0)
            wait = wait or self._take_from_all(scope, now)
            self._queue((scope, walks), turn, waits=wait > 0)
            if not wait:
                for each in requesters:
                    appetite = self._appetite(each, now)
                    appetite.left = max(0.0, appetite.left - 1.0)
            return wait

    def is_walk(self, requesters: Requesters, now: float) -> bool:
        """Whether all of these programs walk over everything."""
        with self._lock:
            return self._is_walk(requesters, now)

    def leave(self, turn: Turn) -> None:
        """A request does not wait any more."""
        with self._lock:
            for line in self._lines.values():
                if turn in line:
                    line.remove(turn)

    def _wait_in_line(self, scope: str, walks: bool, turn: Turn | None) -> float:
        """How long those take that have waited longer."""
        line = self._lines.get((scope, walks), [])
        ahead = line.index(turn) if turn in line else len(line)
        return ahead * 3600.0 / _limit(scope, _WALKS if walks else 1.0)

    def _queue(self, where: tuple[str, bool], turn: Turn | None, waits: bool) -> None:
        if turn is None:
            return
        line = self._lines.setdefault(where, [])
        if waits and turn not in line:
            turn.walks = where[1]
            line.append(turn)
        elif not waits and turn in line:
            line.remove(turn)

    def _take_from_all(self, scope: str, now: float) -> float:
        first = self._first.setdefault(scope, [])
        if len(first) < _FEW:
            first.append(now)
            return 0.0
        if scope not in self._buckets:
            self._buckets[scope] = _bucket(scope, first)
        return _taken(self._buckets[scope], scope, now)

    def _take_from_walks(self, scope: str, now: float) -> float:
        if scope not in self._walks:
            self._walks[scope] = _bucket(scope, [], _WALKS)
        return _taken(self._walks[scope], scope, now)

    def _is_walk(self, requesters: Requesters, now: float) -> bool:
        return bool(requesters) and all(self._appetite(each, now).left < 1.0 for each in requesters)

    def _appetite(self, requester: int, now: float) -> _Appetite:
        appetite = self._appetites.setdefault(requester, _Appetite(_OF_A_PERSON, now))
        appetite.left = min(_OF_A_PERSON, appetite.left + (now - appetite.since) * _A_SECOND)
        appetite.since = now
        if len(self._appetites) > _MOST_PROGRAMS:
            del self._appetites[min(self._appetites, key=lambda each: self._appetites[each].since)]
        return appetite

    def close(self, scope: str, until: float) -> None:
        """The server said 429: nothing of this scope goes out before ``until``."""
        with self._lock:
            self._closed_until[scope] = max(until, self._closed_until.get(scope, 0.0))


@dataclass(slots=True)
class _Appetite:
    """How many requests a program may still cause before it counts as one that walks over everything."""

    left: float
    since: float  # when that was so


def _limit(scope: str, part: float) -> int:
    """Requests an hour."""
    return int(_PER_HOUR.get(scope, _DEFAULT) * _SHARE * part)


def _bucket(scope: str, first: list[float], part: float = 1.0) -> StateBucket:
    """A bucket of a part of a scope, as it is after its first requests."""
    from pyrate_limiter import Duration, Rate, StateBucket, TokenBucket

    bucket = StateBucket([Rate(_limit(scope, part), Duration.HOUR)], TokenBucket())
    for then in first:
        _taken(bucket, scope, then)
    return bucket


def _taken(bucket: StateBucket, scope: str, now: float) -> float:
    """Take a request of this scope, as `Limits.take` does."""
    from pyrate_limiter import RateItem

    item = RateItem(scope, int(now * 1000))
    if bucket.put(item):
        return 0.0
    waiting = bucket.waiting(item)
    assert isinstance(waiting, int)  # in-memory buckets are never awaited
    return max(waiting, 1) / 1000
