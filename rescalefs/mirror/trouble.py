"""What goes wrong: in which words it is told, how often, and whether it concerns more than one file."""

from __future__ import annotations

import errno
import logging
import threading
from collections import Counter

from rescalefs.clock import Clock
from rescalefs.containment import log_once, shortened
from rescalefs.errors import RescaleFSError, Unauthenticated
from rescalefs.mirror.report import FAIL, SAME, Tell

log = logging.getLogger(__name__)

# EFBIG: FAT takes no file of 4 GiB, and a user may be limited to less.
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})

# FAT, and a user's own limit (`ulimit -f`).
_TOO_LARGE = "File too large: this disk, or a limit of this user, takes no file of this size (FAT: 4 GiB)"


def reason(error: Exception, what: str) -> str:
    """Why it went wrong, without the path. What was not foreseen is logged once, with its traceback."""
    if isinstance(error, OSError) and error.errno == errno.EFBIG:
        return _TOO_LARGE
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, RescaleFSError | OSError):
        return str(error)
    log_once(log, "mirroring", error, what)
    return f"unforeseen, see the log: {type(error).__name__}: {shortened(error)}"


def concerns_all(error: Exception) -> bool:
    """Whether trying other files just now is of no use: the disk is full, or the key is refused."""
    return isinstance(error, Unauthenticated) or (isinstance(error, OSError) and error.errno in _DISK)


def is_no_room(error: Exception) -> bool:
    """Whether the disk, or what this user may have of it, is full for a file of this size."""
    return isinstance(error, OSError) and error.errno in NO_ROOM


class Folding:
    """Tells what rounds report, and each trouble once: not in every round, and not for every file.

    Of the failures of a round for one and the same reason the first few are told, then how many more there
    are. What was told in the round before is not told again, except after an hour. What is not a failure is
    told once a day, as a job that rests is not looked at in every round. Thread-safe.
    """

    _SHOWN = 3
    _AGAIN, _DAY = 3600.0, 86_400.0  # seconds
    _MOST = 10_000  # that are remembered; those beyond them count as told

    def __init__(self, tell: Tell, clock: Clock) -> None:
        self._tell = tell
        self._clock = clock
        self._lock = threading.Lock()  # guards all below
        self._known: dict[tuple[str, str, str], float] = {}  # (act, path, detail) -> when it was told
        self._seen: dict[tuple[str, str, str], float] = {}  # the same, of this round
        self._fresh: Counter[str] = Counter()  # failures of this round not told before, by detail

    def note(self, act: str, path: str, detail: str) -> None:
        """Hear of one act of a round; a `Tell`."""
        if act == SAME:
            return
        key, now = (act, path, detail), self._clock.monotonic()
        with self._lock:
            told = self._known.get(key)
            if told is None and len(self._known) >= self._MOST:
                return
            is_due = told is None or now - told >= (self._AGAIN if act == FAIL else self._DAY)
            if len(self._seen) < self._MOST:
                self._seen[key] = now if is_due or told is None else told
            if is_due and act == FAIL:
                self._fresh[detail] += 1
                is_due = self._fresh[detail] <= self._SHOWN
        if is_due:
            self._tell(act, path, detail)

    def end_round(self) -> None:
        """Tell how many more there were, and what is over."""
        with self._lock:
            more = {detail: count - self._SHOWN for detail, count in self._fresh.items()}
            before = {detail for act, _, detail in self._known if act == FAIL}
            over = before - {detail for act, _, detail in self._seen if act == FAIL}
            rest = {key: told for key, told in self._known.items() if key[0] != FAIL}
            self._known, self._seen = rest | self._seen, {}
            self._fresh.clear()
        for detail, count in more.items():
            if count > 0:
                self._tell(FAIL, f"{count} more", detail)
        for detail in sorted(over):
            self._tell("over", "", detail)
