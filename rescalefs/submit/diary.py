"""The lines of one drop's `status.log`: folded, and bounded in size."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from rescalefs.containment import log_once, shortened
from rescalefs.submit.problems import printable

MOST_BYTES = 64 << 10
"""A `status.log` is never larger: at this size its middle is left out."""

_CUT_TO = (
    48 << 10
)  # bytes that are left then, so that cutting is rare: a reader with `tail -f` begins anew at each
_HEAD = 16 << 10  # bytes from the beginning that are always kept
_LONGEST = 2000  # characters of one line: a server's or a program's message may be of any length
_FIRST_AGAIN = (
    600.0  # seconds after which a trouble that goes on gets a second line; then four times as long each
)
_LONGEST_AGAIN = 86_400.0
_QUIET = 3600.0  # seconds without trouble after which the next one is a new one
_WORTH_TELLING = 600.0  # seconds that a trouble lasted before its end gets a line
_MOST_KINDS = 8  # of trouble told apart in one spell
_NUMBERS = re.compile(r"\d+")  # ports, seconds and ids differ from try to try; the trouble is the same


def log_line(at: datetime, text: str) -> str:
    """``<ISO time>\\t<text>``, without its end."""
    return f"{at.isoformat(timespec='seconds')}\t{one_line(text)}"


def one_line(text: str) -> str:
    """``text`` without what a terminal takes for orders, and not longer than a screen or so."""
    said = printable(text[:_LONGEST])
    return said if len(text) <= _LONGEST else f"{said}…"


def mishap(logger: logging.Logger, what: str, item: str, error: Exception) -> str:
    """Log what nothing foresaw, with its traceback the first time; return what `status` says of it."""
    log_once(logger, what, error, item)
    said = f"{type(error).__name__}: {shortened(error)}"
    return f"rescalefs failed at this drop ({said}); the daemon's log says where"


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    size: int  # bytes, with the line's end
    weighty: bool  # of the job itself: left out last


@dataclass(slots=True)
class _Kind:
    """One kind of trouble in a spell of trouble."""

    since: datetime
    count: int
    told: int  # the count that was told last
    due: float  # monotonic seconds: when to tell it again
    pause: float


class Diary:
    """What happened to a drop, line after line. For one thread at a time.

    Tries that fail alike become one line, and now and then one with their number. Lines are only ever added,
    except at `MOST_BYTES`: then lines after the first 16 KiB are left out, those about the job itself last.
    """

    def __init__(self) -> None:
        self._lines: list[_Line] = []
        self._size = 0
        self._left_out = 0
        self._mark: int | None = None  # where the line stands that tells how many are left out
        self._kinds: dict[str, _Kind] = {}  # the spell of trouble: what -> how often
        self._last = 0.0  # monotonic seconds: the latest trouble
        self._began: float | None = None  # the same: since when nothing worked; None while it does

    @property
    def lines(self) -> tuple[str, ...]:
        """All that is kept."""
        return tuple(line.text for line in self._lines)

    def text(self) -> str:
        """The file."""
        return "".join(f"{line.text}\n" for line in self._lines)

    def add(self, lines: Iterable[str], weighty: bool = False) -> None:
        """Something happened; ``weighty``: to the job itself."""
        for text in lines:
            self._put(_Line(text, len(text.encode("utf-8", "replace")) + 1, weighty))

    def trouble(self, what: str, at: datetime, now: float) -> None:
        """A try failed. ``at`` is the wall clock, ``now`` monotonic seconds."""
        if self._kinds and now - self._last > _QUIET:
            self._kinds.clear()
        self._last = now
        self._began = now if self._began is None else self._began
        key = _NUMBERS.sub("#", what)
        if key not in self._kinds and len(self._kinds) >= _MOST_KINDS:
            key = next(reversed(self._kinds))
        kind = self._kinds.get(key)
        if kind is None:
            self._kinds[key] = _Kind(at, 1, 1, now + _FIRST_AGAIN, _FIRST_AGAIN)
            self.add([log_line(at, what)])
            return
        kind.count += 1
        if now >= kind.due:
            kind.pause = min(_LONGEST_AGAIN, 4 * kind.pause)
            kind.due, kind.told = now + kind.pause, kind.count
            since = kind.since.isoformat(timespec="seconds")
            self.add([log_line(at, f"{what} ({kind.count} times since {since})")])

    def well(self, at: datetime, now: float) -> None:
        """A try did not fail."""
        began, self._began = self._began, None
        if began is not None and now - began >= _WORTH_TELLING:
            tries = sum(kind.count for kind in self._kinds.values())
            self.add([log_line(at, f"that is over, after {tries} tries in {_minutes(now - began)}")])

    def _put(self, line: _Line) -> None:
        self._lines.append(line)
        self._size += line.size
        if self._size > MOST_BYTES:
            self._cut()

    def _cut(self) -> None:
        """Leave out what lies after the head, the oldest first, and of that what is not about the job."""
        if self._mark is None:
            kept = 0
            self._mark = 0
            while kept + self._lines[self._mark].size <= _HEAD:
                kept += self._lines[self._mark].size
                self._mark += 1
        else:
            self._size -= self._lines.pop(self._mark).size
        rest = self._lines[self._mark :]
        for weighty in (False, True):
            rest = self._without_some(rest, weighty)
        text = f"…\t{self._left_out} lines are left out here"
        mark = _Line(text, len(text.encode("utf-8", "surrogateescape")) + 1, True)
        self._lines[self._mark :] = [mark, *rest]
        self._size += mark.size

    def _without_some(self, lines: list[_Line], weighty: bool) -> list[_Line]:
        kept = []
        for line in lines:
            if self._size > _CUT_TO and line.weighty is weighty:
                self._size -= line.size
                self._left_out += 1
            else:
                kept.append(line)
        return kept


def _minutes(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
