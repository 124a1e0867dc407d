"""Pure: what headers say. A header that cannot be understood counts as none, whatever is odd about it."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TypeVar

T = TypeVar("T")

_LONGEST = 200  # characters of a date; the library that reads them takes long over what is none
_LONGEST_WISH = 3600.0  # seconds; the service counts by the hour, so an hour is always enough
_SENSIBLE = (
    86_400.0  # seconds; a longer wish is a mistake, such as a date in the year 9999, and tells nothing
)
_NUMBER = re.compile("[0-9]{1,18}")
_SECONDS = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def or_none(read: Callable[[str], T | None]) -> Callable[[str | None], T | None]:
    """Reads a text from outside; None where there is none, or one that makes no sense."""

    @functools.wraps(read)
    def reading(text: str | None) -> T | None:
        if text is None:
            return None
        try:
            return read(text.strip())
        except Exception:  # noqa: BLE001  # the library that reads dates raises errors of many types
            return None

    return reading


@or_none
def whole_number(text: str) -> int | None:
    """A length."""
    return int(text) if _NUMBER.fullmatch(text) else None


@or_none
def date(text: str) -> datetime | None:
    """A moment, in UTC (RFC 9110, 5.6.7)."""
    if len(text) > _LONGEST:
        return None
    found = parsedate_to_datetime(text)
    # `-0000` is UTC of an unknown place.
    return found.replace(tzinfo=timezone.utc) if found.tzinfo is None else found.astimezone(timezone.utc)


def retry_after(text: str | None, now: datetime) -> float | None:
    """The seconds from ``now`` that a server asks to wait, an hour at most (RFC 9110, 10.2.3).

    None where it does not say, or asks for more than a day.
    """
    seconds = _seconds(text)
    moment = date(text) if seconds is None else None
    if moment is not None:
        seconds = (moment - now).total_seconds()
    if seconds is None or seconds > _SENSIBLE:
        return None
    return min(max(0.0, seconds), _LONGEST_WISH)


@or_none
def _seconds(text: str) -> float | None:
    return float(text) if _SECONDS.fullmatch(text) else None
