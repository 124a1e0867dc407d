"""Whether the server can be reached, and how long to leave it alone when not."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime

from rescalefs.clock import Clock
from rescalefs.errors import (
    ApiError,
    Forbidden,
    HeldBack,
    NotFound,
    Stopping,
    Throttled,
    TimedOut,
    Unauthenticated,
    Unreachable,
)

log = logging.getLogger(__name__)

_FIRST_REST = 1.0  # seconds
_LONGEST_REST = 15.0  # a server that is back is noticed within this
_LONGEST_THROTTLE = 300.0


def is_refusal(error: ApiError) -> bool:
    """Whether the server answered, and the answer was no: then what was known before is not true any more."""
    return isinstance(error, (NotFound, Unauthenticated, Forbidden))


@dataclass(frozen=True, slots=True)
class _Rest:
    failures: int
    until: float  # monotonic
    error: ApiError


class Health:
    """What the last requests say about the server.

    When it cannot be reached, requests rest for a while, so that nobody waits for a time limit again and
    again; the rest grows with each failure in a row. One answer that takes too long may be the question's
    fault; two in a row are the server's. Thread-safe: readers see one frozen value or the next.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rest: _Rest | None = None
        self._timed_out = False  # the last request did
        self._last_error: ApiError | None = None
        self._last_error_at: datetime | None = None

    @property
    def offline(self) -> bool:
        """Whether the last request did not reach the server, or was not answered."""
        return self._rest is not None

    @property
    def last_error(self) -> ApiError | None:
        """What went wrong last; None once all is well again."""
        return self._last_error

    @property
    def last_error_at(self) -> datetime | None:
        return self._last_error_at

    def resting(self, now: float) -> ApiError | None:
        """Why nothing should be asked at the moment; None if all may ask."""
        rest = self._rest
        return rest.error if rest is not None and now < rest.until else None

    def succeeded(self) -> None:
        """A request was answered."""
        if self._rest is not None:
            log.info("the server can be reached again")
        self._rest = None
        self._timed_out = False
        self._last_error = None

    def failed(self, error: ApiError) -> bool:
        """A request was not answered with what it asked for; tell whether all requests rest because of it."""
        if isinstance(error, Stopping):
            return True
        if isinstance(error, HeldBack):
            return False  # others may ask
        if not isinstance(error, NotFound):  # an answer like any other
            self._last_error, self._last_error_at = error, self._clock.now()
        first_time_out = isinstance(error, TimedOut) and not self._timed_out and self._rest is None
        self._timed_out = isinstance(error, TimedOut)
        if first_time_out:
            return False
        if isinstance(error, (Unreachable, TimedOut, Throttled)):
            self._begin_rest(error)
            return True
        self._rest = None  # an answer, if not a good one
        return False

    def _begin_rest(self, error: ApiError) -> None:
        now = self._clock.monotonic()
        before = self._rest
        if before is not None and now < before.until:
            return  # one of several requests that went out together: they count once
        failures = 1 if before is None else before.failures + 1
        if isinstance(error, Throttled):
            pause = min(error.retry_after or _LONGEST_REST, _LONGEST_THROTTLE)
        else:
            pause = min(_FIRST_REST * 2 ** (min(failures, 10) - 1), _LONGEST_REST)
        self._rest = _Rest(failures, now + pause, error)
        level = logging.WARNING if before is None else logging.DEBUG
        log.log(level, "%s; what is known is served meanwhile", error)
