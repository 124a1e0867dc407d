"""Copies of files that running jobs write: they grow as those do."""

from __future__ import annotations

import logging
import threading

from rescalefs.clock import Clock
from rescalefs.mirror.part import Part
from rescalefs.mirror.service import LiveSource
from rescalefs.mirror.shelf import Shelf
from rescalefs.mirror.trouble import reason
from rescalefs.model import LiveFile

log = logging.getLogger(__name__)

_VERSION = "live"
_EVERY = 1.0  # seconds; with the requests, a copy is less than two behind (1.5: 2.1, measured with two files)
_FINISH = 60.0  # seconds
_AT_THAT_PACE = 10  # files: ten requests a second, half of what the service allows in an hour


class LiveCopies:
    """Appends what is new to the copies of live files, in place, so that `tail -f` works on them.

    Thread-safe. What was followed once is followed by `keep_up` from then on, until it fails or is finished.
    """

    def __init__(self, source: LiveSource, shelf: Shelf, clock: Clock) -> None:
        self._source = source
        self._shelf = shelf
        self._clock = clock
        self._lock = threading.Lock()  # guards all that follows
        self._followed: dict[str, LiveFile] = {}  # by path of the copy
        self._left: dict[str, LiveFile] = {}  # to the rounds, and to `finish`: what fails, or is costly
        self._busy: set[str] = set()  # paths that somebody writes to
        self._changed: dict[str, tuple[int, int]] = {}  # copies that a person changed, as they looked then
        self._done = threading.Condition(self._lock)

    def follow(self, path: str, file: LiveFile) -> int | None:
        """Bring a copy up to date; return by how many bytes it grew, or None if it is not ours to change.

        Raises `ApiError`, as where the run has ended, and `OSError`.
        """
        with self._lock:
            if path in self._busy:
                return 0  # it is being brought up to date
            self._busy.add(path)
        try:
            grown, cheaply = self._bring_up(path, file)
        except BaseException:
            cheaply = False
            raise
        finally:
            with self._lock:
                kept, other = (self._followed, self._left) if cheaply else (self._left, self._followed)
                kept[path] = file
                other.pop(path, None)
                self._busy.discard(path)
                self._done.notify_all()
        return grown

    def finish(self, folder: str) -> None:
        """Bring copies in a folder, whose name ends in a slash, up to date for the last time."""
        with self._lock:
            known = {
                path: file
                for path, file in (*self._followed.items(), *self._left.items())
                if path.startswith(folder)
            }
        for path, file in known.items():
            self._follow_again(path, file)
        with self._lock:
            # Who writes is bounded by the time limits of its request; waited for no longer, it is no harm.
            self._done.wait_for(lambda: not any(path.startswith(folder) for path in self._busy), _FINISH)
            for path in known:
                self._followed.pop(path, None)
                self._left.pop(path, None)

    def keep_up(self, stop: threading.Event) -> None:
        """Follow what is followed until ``stop``: each copy every second, many of them more rarely."""
        while True:
            with self._lock:
                followed = dict(self._followed)
            if self._clock.wait(stop, _EVERY * max(1.0, len(followed) / _AT_THAT_PACE)):
                return
            for path, file in followed.items():
                if stop.is_set():
                    return
                self._follow_again(path, file)

    def _follow_again(self, path: str, file: LiveFile) -> None:
        with self._lock:
            if path not in self._followed and path not in self._left:
                return
        try:
            self.follow(path, file)
        except Exception as error:  # noqa: BLE001  # if it lasts, the next round says so
            log.debug("%s is followed no more: %s", path, reason(error, path))

    def _bring_up(self, path: str, file: LiveFile) -> tuple[int | None, bool]:
        """By how much it grew, and whether looking again soon costs little."""
        known = self._grown(path, file)
        if known is None:
            return None, False
        with self._source.open_tail(file, known) as body:
            if body.start == known and known and (body.total is None or body.total >= known):
                return self._shelf.append(path, body, _VERSION), True
            with Part(self._shelf.parts, f"{path}\n{_VERSION}", resumable=False) as part:
                size = 0
                for chunk in body:
                    part.write(chunk, size)
                    size += len(chunk)
                if not self._shelf.place(path, part, _VERSION, None):
                    return None, False
        # A server that sends the whole file, though only the end was asked for, is asked once a round.
        return max(0, size - known) or int(size != known), body.start == known

    def _grown(self, path: str, file: LiveFile) -> int | None:
        """The size of a copy, or None where it is not as we left it, and not as the job left it, either.

        A kill may come between adding to a copy and noting that: then it has what the job wrote, and no more.
        """
        look = self._shelf.look(path)
        with self._lock:
            is_told = self._changed.get(path) == look
        if not is_told and self._shelf.is_doubtful(path, _VERSION):
            with self._source.open_tail(file, 0) as body:
                is_ours = body.start == 0 and self._shelf.begins(path, body)
            if is_ours:
                self._shelf.adopt(path, _VERSION)
            else:
                with self._lock:
                    self._changed[path] = look
        return self._shelf.grown(path, _VERSION)
