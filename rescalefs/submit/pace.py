"""Pure: when to ask the server again."""

from __future__ import annotations

from datetime import datetime, timedelta

_LONGEST_DOUBT = 600.0
_LONGEST_ASKED = 3600.0  # seconds; the service counts requests by the hour, so an hour is always enough
_SOON = 60.0  # seconds; of a longer wait, `status` shows the end as well
_GROWTH = 0.1  # of the time since anything changed: the news is at most a tenth older than it could be


def poll_interval(quiet: float, least: float, most: float) -> float:
    """Seconds to the next look at a job that was submitted, or changed its status, ``quiet`` seconds ago."""
    return max(least, min(most, _GROWTH * quiet))


def doubt_time(asked: int, first: float) -> float:
    """Seconds to look for a job whose creation was ``asked`` for so often (from 1), and never confirmed.

    Four times as long each time: what is made too often is made because it shows up late.
    """
    return max(first, min(_LONGEST_DOUBT, first * 4.0 ** min(asked - 1, 10)))


def refusal_time(refused: int, first: float, most: float) -> float:
    """Seconds to look for a job whose creation the server refused (401, 403, 429), ``refused`` times before.

    Twice as long each time: every attempt is two lines in the journal, and nothing says when the server will.
    """
    return min(most, first * 2.0 ** min(refused, 20))


def retry_delay(failures: int, jitter: float, asked: float | None = None) -> float:
    """Seconds to the next attempt after ``failures`` (from 1) in a row; ``jitter`` is from [0, 1).

    Doubles from 2 s to 60 s, and then a quarter of it is chance, so that many drops do not come at once.
    What the server ``asked`` for is kept, up to an hour.
    """
    delay = min(60.0, 2.0 ** min(failures, 6))
    return max(min(asked or 0.0, _LONGEST_ASKED), delay * (0.75 + 0.25 * jitter))


def outlook(what: str, delay: float, now: datetime) -> str:
    """What is done next and when, for `status`: ``trying again in 300 s, at 2026-11-26T12:05:00Z``.

    `status` is written once for a wait, so that of a long one the seconds alone would soon be wrong.
    """
    words = f"{what} again in {delay:.0f} s"
    if delay <= _SOON:
        return words
    return f"{words}, at {now + timedelta(seconds=delay):%Y-%m-%dT%H:%M:%SZ}"
