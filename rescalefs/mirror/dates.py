"""Pure: whether a disk may have changed a date by itself."""

from __future__ import annotations

_SECOND = 10**9
_COARSE = _SECOND // 100  # exFAT counts in 10 ms, FAT in 2 s, some servers in whole seconds
_ROUNDED = 2 * _SECOND  # FAT; some round up
_HOUR = 3600 * _SECOND
_ZONE = 900 * _SECOND  # time zones differ by quarters of an hour
_FARTHEST = 26 * _HOUR  # between two of them, and the summer's hour


def is_redated(before_ns: int, now_ns: int, content_agrees: bool) -> bool:
    """Whether one date may be the other one, as a disk rounds or shifts it.

    FAT keeps local time: the dates of all its files move by an hour in spring, and by more in another time
    zone. Where the content is not known to agree, only rounding and that hour count.
    """
    distance = abs(before_ns - now_ns)
    if now_ns % _COARSE and not content_agrees:
        return False
    unit, most = (_ZONE, _FARTHEST) if content_agrees else (_HOUR, _HOUR)
    beyond = distance % unit
    return distance <= most + _ROUNDED and min(beyond, unit - beyond) <= _ROUNDED
