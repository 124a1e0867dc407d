"""Files that still grow: what a running job writes, as far as it is known.

The API gives no size for a live file, only its bytes (docs/decisions/0013-live-files.md). So what has been
seen is kept (`spool.py`), and asking again asks only for what came after it.
"""

from __future__ import annotations

import errno
import itertools
import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Protocol

from rescalefs.clock import Clock
from rescalefs.containment import log_once
from rescalefs.descriptors import Descriptors, Share
from rescalefs.errors import RescaleFSError, TimedOut, Unreachable
from rescalefs.model import LARGEST_SIZE, LiveFile
from rescalefs.reading.spool import FULL, Seen, SeenBytes, Spool

log = logging.getLogger(__name__)

_IDLE = 60.0  # seconds that the bytes of a file nobody looks at are kept
_LOOK = 150.0  # seconds for one look; what had come by then is kept, and the next look goes on behind it
_GRACE = 30.0  # seconds more for those who wait for another's look, which ends at its next byte
_MOST_KNOWN = 20_000  # files; about 2 KiB each
_TIDIED = 8  # files that each look checks for being idle, so that no look takes long
_LIMIT = 4 << 30  # bytes on the disk
_MOST_FILES = 64  # descriptors without a budget; only files that are too long for the memory have one
_FINAL = 30.0  # seconds for which an answer is believed that says that the run has ended
_OVERLAP = 256  # known bytes that are asked for again, to notice a file that was begun anew and is longer


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

    @property
    def is_final(self) -> bool:
        """Whether the run has ended, so that nothing will come behind these bytes."""
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
    """The live files that a process looks at.

    However many readers ask, a file is asked for at most once per ``pause``, and by one thread at a time; the
    others are given what is known. What is known stays readable as long as the file is open, also when the
    run has ended. Every look ends after some minutes at most. A look needs no room for the bytes: where the
    disk has none, the size is shown all the same, and only reading fails, until there is room.
    Not promised: that bytes which the job overwrote in place are seen again, because the server is asked only
    for what came after them.
    """

    def __init__(
        self,
        source: LiveSource,
        clock: Clock,
        folder: Path,
        pause: float = 1.0,
        limit: int = _LIMIT,
        descriptors: Descriptors | None = None,
    ) -> None:
        """Keep at most ``limit`` bytes in unnamed files in ``folder``, in their share of ``descriptors``."""
        share = Share(_MOST_FILES) if descriptors is None else descriptors.live
        if descriptors is not None:
            descriptors.reclaim_with(self._close_unused)
        self._source = source
        self._clock = clock
        self._pause = pause
        self._spool = Spool(folder, limit, share, self._evict, clock)
        self._lock = threading.Lock()  # guards _growing
        self._growing: OrderedDict[LiveFile, _Growing] = OrderedDict()  # the least recently used first

    def look(self, file: LiveFile) -> Look:
        """The file as of at most ``pause`` seconds ago. Raises what the first request for the file raised."""
        growing = self._held(file)
        try:
            return growing.refreshed(self._pause)
        finally:
            growing.release()

    def open(self, file: LiveFile) -> OpenLiveFile:
        """Look at a file for longer. Raises as `look` does."""
        growing = self._held(file)
        try:
            growing.refreshed(self._pause)
        except BaseException:
            growing.release()
            raise
        return OpenLiveFile(growing, self._pause)

    def close(self) -> None:
        """Forget everything; what is open or being fetched is freed when that has ended."""
        with self._lock:
            growing, self._growing = list(self._growing.values()), OrderedDict()
        for each in growing:
            each.forget()

    def _held(self, file: LiveFile) -> _Growing:
        """What is known of the file; in use until it is released."""
        with self._lock:
            growing = self._growing.get(file)
            if growing is None:
                growing = self._growing[file] = _Growing(self._source, file, self._spool, self._clock)
            self._growing.move_to_end(file)
        growing.acquire()
        self._tidy()
        return growing

    def _tidy(self) -> None:
        """Forget some of the files that nothing has looked at for a while."""
        now = self._clock.monotonic()
        with self._lock:
            longest = 0.0 if len(self._growing) > _MOST_KNOWN else _IDLE
            oldest = list(itertools.islice(self._growing.items(), _TIDIED))
        for file, growing in oldest:
            idle = growing.idle(now)
            with self._lock:
                if self._growing.get(file) is not growing:
                    continue
                if idle is None:
                    self._growing.move_to_end(file)
                    continue
                if idle <= longest:
                    return
                del self._growing[file]
            growing.forget()

    def _close_unused(self) -> None:
        """Close all descriptors that no look and no open file needs: others have none left."""
        with self._lock:
            growing = list(self._growing.values())
        for each in growing:
            each.free_disk()

    def _evict(self) -> bool:
        """Free the file on the disk that was not looked at for longest; False where all are in use."""
        with self._lock:
            growing = list(self._growing.values())
        return any(each.free_disk() for each in growing)


class OpenLiveFile:
    """One opened live file."""

    def __init__(self, growing: _Growing, pause: float) -> None:
        self._growing = growing
        self._pause = pause

    def look(self) -> Look:
        """The file as of at most a pause ago."""
        return self._growing.refreshed(self._pause)

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill ``buffer`` from ``offset`` on; return the count, short where the known bytes end.

        Raises `OSError` where the bytes cannot be kept, and what asking for them again raised.
        """
        return self._growing.read_into(buffer, offset, self._pause)

    def close(self) -> None:
        """Release the file. Once."""
        self._growing.release()


class _Growing:
    """What is known of one live file, shared by all who look at it.

    Its bytes may be fewer than its size tells: they were evicted, or there was no room for them.
    """

    def __init__(self, source: LiveSource, file: LiveFile, spool: Spool, clock: Clock) -> None:
        self._source = source
        self._file = file
        self._spool = spool
        self._clock = clock
        self._lock = threading.Lock()  # guards all that follows; the bytes are appended to by who asks, alone
        self._seen = SeenBytes(spool)
        self._known: Look | None = None
        self._is_final = False  # nothing will come any more
        self._trouble: Exception | None = None  # why there was no news, or why the bytes were not kept
        self._holders = 0  # open files, and looks that are under way
        self._is_forgotten = False
        self._used = clock.monotonic()
        self._asked = 0.0  # when the last request that told something began
        self._asking: Future[Look] | None = None

    def acquire(self) -> None:
        with self._lock:
            self._holders += 1

    def release(self) -> None:
        with self._lock:
            self._holders -= 1
            unused = self._taken_if_unused()
        _free(unused)

    def forget(self) -> None:
        """Free the bytes once nothing uses them."""
        with self._lock:
            self._is_forgotten = True
            unused = self._taken_if_unused()
        _free(unused)

    def idle(self, now: float) -> float | None:
        """Seconds since the last look; None while it is in use."""
        with self._lock:
            return None if self._holders or self._asking is not None else now - self._used

    def free_disk(self) -> bool:
        """Forget bytes that are on the disk, if they are not in use; the size stays known."""
        with self._lock:
            if self._holders or self._asking is not None or not self._seen.is_on_disk:
                return False
            unused = self._taken()
        return unused.forget()

    def read_into(self, buffer: memoryview, offset: int, pause: float) -> int:
        trouble: Exception | None = None
        for _ in range(3):
            size = self.refreshed(pause, offset + len(buffer)).size
            count = min(len(buffer), max(0, size - offset))
            with self._lock:
                seen, trouble = self._seen.now, self._trouble
            if not count:
                return 0
            if seen.size < offset + count:
                if trouble is not None:
                    raise self._unreadable(trouble)
                continue  # the file was begun anew in between
            try:
                if seen.read_into(buffer[:count], offset) == count:
                    return count
            except OSError as error:
                log.warning("what is known of live file %s cannot be read: %s", self._file.path, error)
            self._lost(seen)
        raise self._unreadable(trouble)

    def refreshed(self, pause: float, needed: int = 0) -> Look:
        """What is known, after asking the server if the last time was more than ``pause`` seconds ago.

        The first ``needed`` bytes are there then, as far as the file has them, or `_trouble` says why not.
        """
        now = self._clock.monotonic()
        with self._lock:
            self._used = now
            known = self._known
            has_bytes = known is not None and self._seen.size >= min(needed, known.size)
            if known is not None:
                age, limit = now - self._asked, _FINAL if self._is_final and pause else pause
                if age < limit and (has_bytes or self._trouble is not None):
                    return known
            asking, mine = self._asking, self._asking is None
            if asking is None:
                asking = self._asking = Future()
        if mine:
            self._ask(asking, now)
        elif known is not None and has_bytes:  # another thread asks; what is known will do meanwhile
            return known
        try:
            return asking.result(_LOOK + _GRACE)
        except FutureTimeoutError:
            raise TimedOut(f"{self._file.path}: no answer within {_LOOK + _GRACE:.0f} s") from None

    def _ask(self, asking: Future[Look], now: float) -> None:
        """Fetch what is new, and settle ``asking``, whatever happens.

        Once something is known, a failure only means no news.
        """
        failure: BaseException | None = None
        try:
            self._fetch(now + _LOOK)
        except BaseException as error:  # noqa: BLE001  # others wait: they get a result, whatever happens
            failure = error
        with self._lock:
            self._asking = None
            known = self._known
            if known is not None:
                self._asked = now
            if isinstance(failure, Exception):
                self._trouble = failure
            unused = self._taken_if_unused()
        if known is not None:
            asking.set_result(known)
        else:
            told = isinstance(failure, Exception)  # not what interrupts this thread alone
            asking.set_exception(failure if told else Unreachable(f"{self._file.path}: interrupted"))
        _free(unused)
        if failure is not None and known is not None:
            if isinstance(failure, RescaleFSError):
                log.debug("no news of live file %s: %s", self._file.path, failure)
            else:
                log_once(log, "a look at a live file", failure, self._file.path)
        if failure is not None and not isinstance(failure, Exception):
            raise failure

    def _fetch(self, deadline: float) -> None:
        with self._lock:
            seen = self._seen
        start = max(0, seen.size - _OVERLAP)
        with self._opened(start) as body:
            if self._goes_on(body, seen, deadline):
                return
        # Another file under the same name. The old bytes stay as they are for those who read them just now.
        fresh = SeenBytes(self._spool)
        try:
            with self._opened(0) as body:
                self._goes_on(body, fresh, deadline)
        except BaseException:
            fresh.forget()
            raise

    @contextmanager
    def _opened(self, start: int) -> Iterator[TailBody]:
        try:
            with self._source.open_tail(self._file, start) as body:
                yield body
        except OSError as error:  # of a socket: its errno would tell an application nonsense
            raise Unreachable(f"{self._file.path}: {error}") from error

    def _goes_on(self, body: TailBody, seen: SeenBytes, deadline: float) -> bool:
        """Take the bytes of an answer, if they are those of the file that was seen; else return False."""
        at, known = body.start, seen.size
        if at > known or (body.total is not None and body.total < known):
            return False
        trouble: OSError | None = None
        for chunk in body:
            again, new = chunk[: max(0, known - at)], chunk[max(0, known - at) :]
            if again and not _is_at(seen, at, again):
                return False
            at += len(chunk)
            if new and trouble is None:
                trouble = _appended(seen, new)
            if trouble is not None and body.total is not None:
                at = max(at, min(body.total, LARGEST_SIZE))
                break
            if self._clock.monotonic() > deadline:
                raise TimedOut(
                    f"{self._file.path}: it did not come within {_LOOK:.0f} s; the next look goes on"
                )
        if at < known:
            return False
        self._now_known(seen, at, trouble, body.is_final)
        return True

    def _now_known(self, seen: SeenBytes, size: int, trouble: OSError | None, is_final: bool) -> None:
        with self._lock:
            before, self._seen = self._seen, seen
            self._trouble = trouble
            self._is_final = is_final
            if self._known is None or size != self._known.size:
                self._known = Look(size, self._clock.now())
        if before is not seen:
            before.forget()

    def _lost(self, now: Seen) -> None:
        """Forget bytes that the disk does not give back, so that they are fetched again."""
        with self._lock:
            if self._seen.now is not now or self._asking is not None:
                return
            unused = self._taken()
        unused.forget()

    def _unreadable(self, trouble: Exception | None) -> Exception:
        if isinstance(trouble, OSError):
            code = trouble.errno if trouble.errno in FULL else errno.EIO
            return OSError(code, f"{self._file.path}: its bytes cannot be kept: {trouble}")
        return trouble or OSError(errno.EIO, f"{self._file.path}: its bytes do not stay")

    def _taken(self) -> SeenBytes:
        """The bytes; none are seen any more. The lock is held."""
        seen, self._seen = self._seen, SeenBytes(self._spool)
        return seen

    def _taken_if_unused(self) -> SeenBytes | None:
        if self._holders or self._asking is not None or not self._is_forgotten:
            return None
        return self._taken()


def _free(unused: SeenBytes | None) -> None:
    if unused is not None:
        unused.forget()


def _appended(seen: SeenBytes, data: bytes) -> OSError | None:
    """Why it was not appended; None if it was."""
    try:
        seen.append(data)
    except OSError as error:
        return error
    return None


def _is_at(seen: SeenBytes, offset: int, data: bytes) -> bool:
    """Whether ``data`` is what was seen at ``offset``. What cannot be read is not."""
    buffer = bytearray(len(data))
    try:
        return seen.now.read_into(memoryview(buffer), offset) == len(data) and buffer == data
    except OSError:
        return False
