"""Fetches whole files into parts, many at once and large ones over many connections, and verifies them."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from rescalefs.background import Background
from rescalefs.clock import Clock
from rescalefs.errors import (
    FileChanged,
    NotYetUploaded,
    RescaleFSError,
    ServerFailed,
    Throttled,
    TimedOut,
    Unauthenticated,
    UnexpectedAnswer,
    Unreachable,
    WrongBytes,
)
from rescalefs.mirror.part import Part
from rescalefs.mirror.pieces import MIB, SMALLEST, Piece, Pieces
from rescalefs.model import RemoteFile
from rescalefs.reading import Source

log = logging.getLogger(__name__)

_PASSING = (Unreachable, TimedOut, ServerFailed, Throttled, UnexpectedAnswer)
_FAILURES = 5  # in a row, without a byte, before a file is given up
_HASHERS = 2
_SMALL = SMALLEST // 2  # bytes
# The hash is the slower one where the server is near. Bytes that come in long before it gets to them would
# take the processor from it, and the end would come later: docs/decisions/0038.
_AHEAD = 32 * MIB  # bytes that may wait for the hash before it has the processor to itself
_STEP = 8 * MIB  # bytes between two looks at how far the hash is
_FILES_AHEAD = 4  # large files for each connection that wait for a hash, before no more is begun
_UNFLUSHED = 64 * MIB  # bytes of a file: so that at its end there is little left to bring to the disk
_WAITING = 4096  # files that wait for a connection, before who brings more has to wait

Failure = RescaleFSError | OSError
# (the complete part, or None; why not). The part is the receiver's from then on. Called on threads of ours.
Done = Callable[[Part | None, Failure | None], None]
Sink = Callable[[bytes | memoryview], None]


class Stopped(RescaleFSError):
    """It was told to end before all was fetched."""


class _Fetch:
    """One file on its way."""

    def __init__(self, file: RemoteFile, key: str, done: Done, sink: Sink | None) -> None:
        self.file = file
        self.key = key
        self.done = done
        self.sink = sink
        self.part: Part | None = None  # once its turn has come: descriptors are few
        self.pieces: Pieces | None = None  # of a large file, once its size is known
        self.out = 0  # who works on the part: connections, and whoever brings it to the disk
        self.hashed = 0  # bytes, from the first on
        self.awaited = -1  # the byte that the hash waits for
        self.unflushed = 0  # bytes that came since the part was last brought to the disk
        self.failure: Failure | None = None
        self.again = False  # it was fetched afresh, because its bytes were wrong

    @property
    def is_small(self) -> bool:
        """Whether one request does, hashed as it comes."""
        return self.file.size is not None and self.file.size <= _SMALL and self.sink is None

    @property
    def opened(self) -> Part:
        assert self.part is not None
        return self.part


class Transfers:
    """Fetches files with ``connections`` requests at once.

    A file is given to whoever asked once its size and, where the server has one, its SHA-512 are right; wrong
    bytes are fetched afresh once. Transfers that break go on where they broke. Call `start`, then `add` as
    often as you like, then `drain`; `close` makes all of it give up.
    """

    def __init__(
        self,
        source: Source,
        parts: Path,
        clock: Clock,
        background: Background,
        connections: int,
        *,
        verify: bool = True,
        heard: Callable[[int], None] = lambda _: None,
        pause: float = 0.2,
    ) -> None:
        """``heard`` is told how many bytes arrived; ``pause`` comes before the first new try."""
        self._source = source
        self._parts = parts
        self._clock = clock
        self._background = background
        self._connections = connections
        self._verify = verify
        self._heard = heard
        self._pause = pause
        self._lock = threading.Lock()  # guards all that follows, and every _Fetch and its pieces
        self._work_to_do = threading.Condition(self._lock)  # for connections
        self._arrived = threading.Condition(self._lock)  # for hashers
        self._dirty = threading.Condition(self._lock)  # for who brings parts to the disk
        self._room = threading.Condition(self._lock)  # for those who bring files, or wait for the end
        self._fresh: deque[_Fetch] = deque()
        self._large: deque[_Fetch] = deque()  # some of their pieces are not handed out
        self._to_hash: deque[_Fetch] = deque()
        self._to_flush: deque[_Fetch] = deque()
        self._pending = 0
        self._closed = False

    def start(self) -> None:
        """Start the threads."""
        self._parts.mkdir(parents=True, exist_ok=True, mode=0o700)
        for number in range(self._connections):
            self._background.start(f"transfer-{number}", self._work)
        for number in range(_HASHERS):
            self._background.start(f"transfer-hash-{number}", self._hash)
        self._background.start("transfer-flush", self._flush)
        self._background.start("transfer-stop", self._close_on_stop)

    def add(self, file: RemoteFile, key: str, done: Done, sink: Sink | None = None) -> None:
        """Fetch a file; ``key`` finds what is left of an earlier attempt. ``sink`` gets its bytes, in order.

        Waits while very many others wait.
        """
        if not file.is_uploaded:
            done(None, NotYetUploaded(f"{file.path}: it is not on the server in full yet"))
            return
        with self._lock:
            self._room.wait_for(lambda: len(self._fresh) < _WAITING or self._closed)
            if not self._closed:
                self._pending += 1
                self._fresh.append(_Fetch(file, key, done, sink))
                self._work_to_do.notify()
                return
        done(None, Stopped("told to end"))

    def drain(self) -> None:
        """Return when every file that was added is done, or given up."""
        with self._lock:
            self._room.wait_for(lambda: not self._pending or self._closed)

    def close(self) -> None:
        """Make everybody give up; what has arrived is kept."""
        with self._lock:
            self._closed = True
            waiting, self._fresh = list(self._fresh), deque()
            for condition in (self._work_to_do, self._arrived, self._dirty, self._room):
                condition.notify_all()
        for fetch in waiting:
            self._finish(fetch, Stopped("told to end"))

    def _close_on_stop(self, stop: threading.Event) -> None:
        stop.wait()
        self.close()

    # --- connections

    def _work(self, stop: threading.Event) -> None:
        while True:
            with self._lock:
                while (job := None if self._closed else self._next()) is None:
                    if self._closed:
                        return
                    self._work_to_do.wait()
                fetch, piece = job
                self._room.notify_all()
            if piece is None:
                self._begin(fetch, stop)
            else:
                self._carry(fetch, piece, stop)

    def _next(self) -> tuple[_Fetch, Piece | None] | None:
        """A piece of a large file that has begun, else the next file, if there is any. The lock is held."""
        for fetch in tuple(self._large):
            pieces = fetch.pieces
            assert pieces is not None
            if fetch.failure:
                self._large.remove(fetch)
                continue
            if pieces.prefix - fetch.hashed > _AHEAD:
                continue
            piece = pieces.take()
            if not pieces.missing:
                self._large.remove(fetch)
            if piece is not None:
                fetch.out += 1
                return fetch, piece
        if not self._fresh or len(self._to_hash) > _FILES_AHEAD * self._connections:
            return None
        return self._fresh.popleft(), None

    def _begin(self, fetch: _Fetch, stop: threading.Event) -> None:
        failure: Failure | None = None
        try:
            if fetch.file.size is None:
                fetch.file = self._sized(fetch.file)
            confirmed = fetch.file.sha512 is not None and self._verify
            fetch.part = Part(self._parts, fetch.key, resumable=confirmed and not fetch.is_small)
            if not fetch.is_small:
                self._spread(fetch)
                return
            self._fetch_small(fetch, stop)
        except (RescaleFSError, OSError) as error:
            failure = error
        self._finish(fetch, failure)

    def _spread(self, fetch: _Fetch) -> None:
        """Let all connections at a large file."""
        size = fetch.file.size or 0
        pieces = Pieces(size, fetch.opened.there(), self._connections)
        known = size - pieces.missing
        with self._lock:
            fetch.pieces, fetch.hashed = pieces, 0
            if pieces.missing:
                self._large.append(fetch)
            self._to_hash.append(fetch)
            self._work_to_do.notify_all()
            self._arrived.notify_all()
        if known:
            log.info("%s: %d of %d bytes are there from before", fetch.file.path, known, size)
            self._heard(known)

    def _sized(self, file: RemoteFile) -> RemoteFile:
        with self._source.open_range(file, 0, 1) as body:
            total = body.total
        if total is None:
            raise UnexpectedAnswer(f"{file.path}: the server does not tell how large it is")
        return dataclasses.replace(file, size=total)

    def _fetch_small(self, fetch: _Fetch, stop: threading.Event) -> None:
        while True:
            digest = hashlib.sha512()
            self._receive(fetch, Piece(0, fetch.file.size or 0), stop, digest.update)
            if self._is_right(fetch.file, digest.hexdigest()):
                return
            self._start_over(fetch)

    def _carry(self, fetch: _Fetch, piece: Piece, stop: threading.Event) -> None:
        failure: Failure | None = None
        try:
            self._receive(fetch, piece, stop)
        except (RescaleFSError, OSError) as error:
            failure = error
        with self._lock:
            fetch.unflushed += piece.position - piece.start
            if fetch.unflushed >= _UNFLUSHED and not (failure or self._closed):
                fetch.unflushed = 0
                fetch.out += 1
                self._to_flush.append(fetch)
                self._dirty.notify()
        self._let_go(fetch, failure)

    def _let_go(self, fetch: _Fetch, failure: Failure | None) -> None:
        with self._lock:
            fetch.out -= 1
            fetch.failure = fetch.failure or failure
            self._arrived.notify_all()

    def _flush(self, _stop: threading.Event) -> None:
        while True:
            with self._lock:
                self._dirty.wait_for(lambda: self._closed or self._to_flush)
                if not self._to_flush:
                    return
                fetch = self._to_flush.popleft()
            failure: Failure | None = None
            try:
                fetch.opened.flush()
            except OSError as error:  # told once: what comes at the end would know nothing of it
                failure = error
            self._let_go(fetch, failure)

    def _receive(self, fetch: _Fetch, piece: Piece, stop: threading.Event, hear: Sink | None = None) -> None:
        """Fetch a piece, going on where transfers break."""
        failures, noted = 0, piece.start
        while piece.position < piece.stop:
            before = piece.position
            try:
                noted = self._transfer(fetch, piece, noted, hear)
            except _PASSING as error:
                failures = 1 if piece.position > before else failures + 1
                if failures >= _FAILURES or self._closed:
                    raise
                wait = self._pause * 2 ** (failures - 1)
                if isinstance(error, Throttled):
                    wait, failures = (
                        max(wait, error.retry_after or 0.0),
                        1,
                    )  # it is no failure to wait as told
                    log.warning("%s; waiting %.0f s", error, wait)
                log.debug("%s broke at byte %d: %s", fetch.file.path, piece.position, error)
                if self._clock.wait(stop, wait):
                    raise
            finally:
                noted = fetch.opened.note(noted, piece.position, last=True)

    def _transfer(self, fetch: _Fetch, piece: Piece, noted: int, hear: Sink | None) -> int:
        file, part = fetch.file, fetch.opened
        with self._source.open_range(file, piece.position, piece.stop) as body:
            if body.start != piece.position:
                raise Unreachable(f"{file.path}: asked for byte {piece.position}, got byte {body.start}")
            if (body.total is not None and body.total != file.size) or body.stop < piece.stop:
                size = body.stop if body.total is None else body.total
                raise FileChanged(f"{file.path}: the server has {size} bytes of it, not {file.size}")
            for chunk in body:
                if self._closed or fetch.failure:
                    raise Stopped("told to end")
                data = chunk[: piece.stop - piece.position]
                part.write(data, piece.position)
                if hear is not None:
                    hear(data)
                with self._lock:
                    extends = fetch.awaited == piece.position
                    piece.position += len(data)
                    if extends:
                        self._arrived.notify_all()
                self._heard(len(data))
                noted = part.note(noted, piece.position, last=False)
                if piece.position == piece.stop:
                    break
        if piece.position < piece.stop:
            raise Unreachable(f"{file.path}: the answer ended at byte {piece.position} of {piece.stop}")
        return noted

    # --- verification of large files

    def _hash(self, _stop: threading.Event) -> None:
        while True:
            with self._lock:
                self._arrived.wait_for(lambda: self._closed or self._to_hash)
                if not self._to_hash:
                    return
                fetch = self._to_hash.popleft()
                self._work_to_do.notify_all()
            failure: Failure | None = None
            try:
                if not self._is_right(fetch.file, self._follow(fetch)):
                    self._fetch_afresh(fetch)
                    continue
            except (RescaleFSError, OSError) as error:
                failure = error
                with self._lock:
                    fetch.failure = fetch.failure or error
                    # A connection that is at it would write into a file that is closed.
                    self._arrived.wait_for(lambda fetch=fetch: not fetch.out)  # type: ignore[misc]
            self._finish(fetch, failure)

    def _follow(self, fetch: _Fetch) -> str:
        """Hash behind the arriving bytes; return the digest of them all."""
        digest, position = hashlib.sha512(), 0
        size, pieces = fetch.file.size or 0, fetch.pieces
        is_read = self._verify or fetch.sink is not None
        assert pieces is not None
        while position < size:
            reached = min(self._await_more(fetch, pieces, position), position + _STEP)
            for chunk in fetch.opened.chunks(position, reached) if is_read else ():
                if self._verify:
                    digest.update(chunk)
                if fetch.sink is not None:
                    fetch.sink(chunk)
            position = reached
            with self._lock:
                fetch.hashed = position
                self._work_to_do.notify_all()
        with self._lock:
            self._arrived.wait_for(lambda: not fetch.out)
            if fetch.failure is not None:
                raise fetch.failure
        return digest.hexdigest()

    def _await_more(self, fetch: _Fetch, pieces: Pieces, position: int) -> int:
        """Up to where the bytes are there, once that is after ``position``."""
        with self._lock:
            fetch.awaited = position  # whoever has the byte tells; others wake nobody
            self._arrived.wait_for(lambda: pieces.prefix > position or fetch.failure or self._closed)
            fetch.awaited = -1
            if fetch.failure is not None:
                raise fetch.failure
            if self._closed:
                raise Stopped("told to end")
            return pieces.prefix

    def _fetch_afresh(self, fetch: _Fetch) -> None:
        self._start_over(fetch)
        if fetch.sink is not None:  # wrong bytes have gone out
            raise WrongBytes(f"{fetch.file.path}: the bytes do not match the server's SHA-512")
        self._spread(fetch)

    def _is_right(self, file: RemoteFile, digest: str) -> bool:
        return not self._verify or file.sha512 is None or digest == file.sha512

    def _start_over(self, fetch: _Fetch) -> None:
        """Forget wrong bytes; raise if it is not the first time."""
        fetch.opened.start_over()
        if fetch.again:
            raise WrongBytes(f"{fetch.file.path}: the bytes do not match the server's SHA-512, fetched twice")
        log.warning("%s: the bytes do not match the server's SHA-512; fetching them afresh", fetch.file.path)
        fetch.again = True

    def _finish(self, fetch: _Fetch, failure: Failure | None) -> None:
        try:
            if failure is not None and fetch.part is not None:
                fetch.part.close()
            fetch.done(None if failure else fetch.part, failure)
        finally:
            with self._lock:
                self._pending -= 1
                self._room.notify_all()


def is_hopeless(error: Failure) -> bool:
    """Whether trying other files is of no use: the disk is full, or the key is not taken."""
    return isinstance(error, Unauthenticated) or (
        isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
    )
