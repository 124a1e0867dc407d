"""Pure: whether to ask again after a failure, and how long to wait before."""

from __future__ import annotations

from dataclasses import dataclass

from rescalefs.errors import ApiError

_FIRST_DELAY = 0.25  # seconds; doubled after each failure
_LONGEST_DELAY = 15.0

RETRIED_STATUSES = frozenset({408, 429, 500, 502, 503, 504})  # a 504 now and then is normal [Nextflow plugin]


@dataclass(frozen=True, slots=True)
class Failure:
    """One attempt that did not give an answer we can use."""

    error: ApiError
    passing: bool  # another attempt may well succeed
    acted: bool  # the server may have done what was asked
    retry_after: float | None = None  # seconds, where the server told


def delay(failed: int, jitter: float) -> float:
    """Seconds to wait after ``failed`` failures in a row; ``jitter`` is in [0, 1)."""
    longest = min(_LONGEST_DELAY, _FIRST_DELAY * 2.0 ** min(failed - 1, 16))
    return longest * (0.5 + jitter / 2)


def wait_before_next(
    failure: Failure, *, failed: int, elapsed: float, patience: float, repeatable: bool, jitter: float
) -> float | None:
    """Seconds until the next attempt; None: give up.

    ``failed`` attempts have failed so far, and ``elapsed`` seconds have gone by. A request that is not
    ``repeatable`` is sent again only if the server cannot have acted on it. A wait that would end after
    ``patience`` is not begun.
    """
    if not failure.passing or (failure.acted and not repeatable):
        return None
    wait = delay(failed, jitter)
    if failure.retry_after is not None:
        # The jitter on top keeps those who were told the same moment from all coming at once.
        wait = failure.retry_after + _FIRST_DELAY * jitter
    return wait if elapsed + wait <= patience else None
