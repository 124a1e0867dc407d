"""Files that still grow: what a running job writes, as far as it is known.

The API gives no size for a live file, only its bytes (docs/decisions/0013-live-files.md). So what has been
seen is kept in an unnamed temporary file, and asking again asks only for what came after it.
"""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import IO, NamedTuple, Protocol

from rescalefs.clock import Clock
from rescalefs.errors import ApiError
from rescalefs.model import LiveFile
from rescalefs.reading.positioned import read_into, write_fully

log = logging.getLogger(__name__)

_IDLE = 60.0  # seconds that the bytes of a file nobody looks at are kept


class TailBody(Protocol):
    """The bytes of a live file from `start` on, as one answer gives them."""

    @property
    def start(self) -> int:
        """Where the bytes begin: what was asked for, or 0 where the server sends the whole file."""
        ...

    @property
    def total(self) -> int | None:
        """The size of the whole file now, where the server tells."""
        ...

    def __iter__(self) -> Iterator[bytes]: ...


class LiveSource(Protocol):
    """What we need of the client."""

    def open_tail(self, file: LiveFile, start: int) -> AbstractContextManager[TailBody]:
        """Ask for the bytes from ``start`` on; there may be none."""
        ...


class Look(NamedTuple):
    """What is known of a live file."""

    size: int  # bytes
    changed: datetime  # when it was first seen to be of this size


class LiveFiles:
    """The live files that somebody looks at.

    However many ask, a file is asked for at most once per ``pause``, and by one thread at a time; the
    others are given what is known. What is known stays readable for whoever has it open, also when the
    run has ended. Not promised: that bytes which the job overwrote in place are seen again, because the
    server is asked only for what came after them.
    """

    def __init__(self, source: LiveSource, clock: Clock, spool: Path, pause: float = 1.0) -> None:
        self._source = source
        self._clock = clock
        self._spool = spool
        self._pause = pause
        self._lock = threading.Lock()  # guards _growing
        self._growing: dict[LiveFile, _Growing] = {}

    def look(self, file: LiveFile) -> Look:
        """The file as of at most ``pause`` seconds ago. Raises what the first request for the file raised."""
        return self._known(file).refreshed(self._pause)

    def open(self, file: LiveFile) -> OpenLiveFile:
        """Look at a file for longer. Raises as `size` does."""
        growing = self._known(file)
        growing.refreshed(self._pause)
        growing.acquire()
        return OpenLiveFile(growing, self._pause)

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            growing, self._growing = list(self._growing.values()), {}
        for each in growing:
            each.release()

    def _known(self, file: LiveFile) -> _Growing:
        now = self._clock.monotonic()
        with self._lock:
            growing = self._growing.get(file)
            idle = [key for key, each in self._growing.items() if key != file and each.idle(now) > _IDLE]
            forgotten = [self._growing.pop(key) for key in idle]
            if growing is None:
                growing = self._growing[file] = _Growing(self._source, file, self._spool, self._clock)
        for each in forgotten:
            each.release()
        return growing


class OpenLiveFile:
    """One opened live file."""

    def __init__(self, growing: _Growing, pause: float) -> None:
        self._growing = growing
        self._pause = pause

    def look(self) -> Look:
        """The file as of at most a pause ago."""
        return self._growing.refreshed(self._pause)

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill ``buffer`` from ``offset`` on; return the count, short where the known bytes end."""
        self._growing.refreshed(self._pause)
        return self._growing.read_into(buffer, offset)

    def close(self) -> None:
        """Let go of the file. Once."""
        self._growing.release()


class _Growing:
    """What is known of one live file, shared by all who look at it."""

    def __init__(self, source: LiveSource, file: LiveFile, spool: Path, clock: Clock) -> None:
        self._source = source
        self._file = file
        self._clock = clock
        self._bytes = _unnamed_file(spool)
        self._lock = threading.Lock()  # guards all that follows
        self._known = Look(0, clock.now())
        self._holders = 1  # LiveFiles, and every OpenLiveFile
        self._used = clock.monotonic()
        self._asked: float | None = None  # when the last request began; None: none ever succeeded
        self._asking: Future[None] | None = None

    def acquire(self) -> None:
        with self._lock:
            self._holders += 1

    def release(self) -> None:
        with self._lock:
            self._holders -= 1
            last = self._holders == 0
        if last:
            self._bytes.close()

    def idle(self, now: float) -> float:
        """Seconds since anyone asked."""
        with self._lock:
            return now - self._used

    def read_into(self, buffer: memoryview, offset: int) -> int:
        with self._lock:
            size = self._known.size
        count = min(len(buffer), max(0, size - offset))
        return read_into(self._bytes.fileno(), buffer[:count], offset) if count else 0

    def refreshed(self, pause: float) -> Look:
        """What is known, after asking the server if the last time was more than ``pause`` seconds ago."""
        now = self._clock.monotonic()
        with self._lock:
            self._used = now
            known = self._asked is not None
            if self._asked is not None and now - self._asked < pause:
                return self._known
            asking, mine = self._asking, self._asking is None
            if asking is None:
                asking = self._asking = Future()
        if mine:
            self._ask(asking, now)
        elif known:  # someone else is asking; what is known will do meanwhile
            with self._lock:
                return self._known
        asking.result()
        with self._lock:
            return self._known

    def _ask(self, asking: Future[None], now: float) -> None:
        """Fetch what is new, and settle ``asking``. Once something is known, a failure only means no news."""
        error: ApiError | None = None
        try:
            self._fetch()
        except ApiError as failure:
            error = failure
        with self._lock:
            self._asking = None
            if error is None:
                self._asked = now
            elif self._asked is not None:
                log.debug("no news of live file %s: %s", self._file.path, error)
                self._asked, error = now, None
        if error is None:
            asking.set_result(None)
        else:
            asking.set_exception(error)

    def _fetch(self) -> None:
        with self._lock:
            known = self._known.size
        with self._source.open_tail(self._file, known) as body:
            if body.total is not None and body.total < known:
                known = 0  # shorter than it was: another file under the same name, so begin anew
            elif body.start in (0, known):
                self._store(body)
                return
        with self._source.open_tail(self._file, 0) as body:
            self._store(body)

    def _store(self, body: TailBody) -> None:
        at = body.start
        for chunk in body:
            write_fully(self._bytes.fileno(), chunk, at)
            at += len(chunk)
        with self._lock:
            if at != self._known.size:
                self._known = Look(at, self._clock.now())


def _unnamed_file(folder: Path) -> IO[bytes]:
    """A file that is gone when it is closed, also after a kill -9."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return tempfile.TemporaryFile(dir=folder, buffering=0)
    except OSError as error:
        log.warning("cannot keep live files below %s (%s); using %s", folder, error, tempfile.gettempdir())
        return tempfile.TemporaryFile(buffering=0)
