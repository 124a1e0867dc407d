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
from rescalefs.errors import NotYetUploaded, RescaleFSError, Unauthenticated, WrongBytes
from rescalefs.mirror.part import Part
from rescalefs.mirror.pieces import MIB, SMALLEST, Piece, Pieces
from rescalefs.mirror.receiving import Receiver, Stopped
from rescalefs.model import RemoteFile
from rescalefs.reading import Lead, Source

log = logging.getLogger(__name__)

_HASHERS = 2
_SMALL = SMALLEST  # bytes
# The hash is the slower one where the server is near. Bytes that come in long before it gets to them would
# take the processor from it, and the end would come later: docs/decisions/0038.
_AHEAD = 32 * MIB  # bytes that may wait for the hash before it has the processor to itself
_FASTER = 2  # times as fast as the line: then the hash is soon done with whatever waits
_STEP = 8 * MIB  # bytes between two looks at how far the hash is
_CHUNK = MIB  # bytes that come at once, at most: with more than the lead still to come, these may be the last
_FILES_AHEAD = 4  # large files for each connection that wait for a hash, before no more is begun
_UNFLUSHED = 64 * MIB  # bytes of a file: so that at its end there is little left to bring to the disk
_UNFLUSHED_AT_THE_END = 8 * MIB  # once all of it is asked for: the hash is not done with it yet
_WAITING = 4096  # files that wait for a connection, before who brings more has to wait

Failure = RescaleFSError | OSError
# (the complete part, or None; why not). The part is the receiver's from then on. Called on threads of ours.
Done = Callable[[Part | None, Failure | None], None]
Hear = Callable[[bytes], None]


class _Fetch:
    """One file on its way."""

    def __init__(self, file: RemoteFile, key: str, done: Done) -> None:
        self.file = file
        self.key = key
        self.done = done
        self.part: Part | None = None  # once its turn has come: descriptors are few
        self.pieces: Pieces | None = None  # of a large file, once its size is known
        self.out = 0  # who works on the part: connections, and whoever brings it to the disk
        self.began = 0.0  # monotonic
        self.arrived = 0  # bytes since then
        self.hashed = 0  # bytes, from the first on
        self.hashing = 0.0  # seconds that the hash took for them
        self.awaited = -1  # the byte that the hash waits for
        self.unflushed = 0  # bytes that came since the part was last brought to the disk
        self.failure: Failure | None = None
        self.again = False  # it was fetched afresh, because its bytes were wrong

    @property
    def is_small(self) -> bool:
        """Whether one request does, hashed as it comes."""
        return self.file.size is not None and self.file.size <= _SMALL

    @property
    def opened(self) -> Part:
        assert self.part is not None
        return self.part

    def hash_has_time(self, now: float) -> bool:
        """Whether the hash is so much faster than the line that it soon has what waits for it."""
        elapsed = now - self.began
        return self.hashed > 0 and self.arrived * self.hashing * _FASTER < self.hashed * elapsed


class _Turn:
    """That one of so many requests at once is being made."""

    def __init__(self) -> None:
        self.is_over = False  # or as good as: another request may go out


class _Receipt:
    """Puts the bytes of a piece into their part, and whoever waits for them on its way."""

    def __init__(self, owner: Transfers, turn: _Turn, fetch: _Fetch, piece: Piece, hear: Hear | None) -> None:
        self._owner = owner
        self._turn = turn
        self._fetch = fetch
        self._piece = piece
        self._hear = hear
        self._noted = piece.position

    def is_given_up(self) -> bool:
        return self._owner.is_closed or self._fetch.failure is not None

    def take(self, data: bytes) -> None:
        self._fetch.opened.write(data, self._piece.position)
        if self._hear is not None:
            self._hear(data)
        self._owner.arrived(self._turn, self._fetch, self._piece, len(data))
        self.note(last=False)

    def note(self, last: bool) -> None:
        """Remember what is there, as `Part.note` does."""
        self._noted = self._fetch.opened.note(self._noted, self._piece.position, last)


class Transfers:
    """Fetches files with ``connections`` requests at once; the next go out when those are nearly done.

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
        self._receiver = Receiver(source, clock, pause, heard, self._answered, self._transferred)
        self._parts = parts
        self._clock = clock
        self._background = background
        self._connections = connections
        self._verify = verify
        self._heard = heard
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
        self._lead = Lead()
        self._busy = 0  # turns that are not over
        self.is_closed = False

    def start(self) -> None:
        """Start the threads."""
        self._parts.mkdir(parents=True, exist_ok=True, mode=0o700)
        for number in range(threads_for(self._connections)):
            self._background.start(f"transfer-{number}", self._work)
        for number in range(_HASHERS):
            self._background.start(f"transfer-hash-{number}", self._hash)
        self._background.start("transfer-flush", self._flush)
        self._background.start("transfer-stop", self._close_on_stop)

    def add(self, file: RemoteFile, key: str, done: Done) -> None:
        """Fetch a file; ``key`` finds what is left of an earlier attempt. Waits while many others wait."""
        if not file.is_uploaded:
            done(None, NotYetUploaded(f"{file.path}: it is not on the server in full yet"))
            return
        with self._lock:
            self._room.wait_for(lambda: len(self._fresh) < _WAITING or self.is_closed)
            if not self.is_closed:
                self._pending += 1
                self._fresh.append(_Fetch(file, key, done))
                self._work_to_do.notify()
                return
        done(None, Stopped("told to end"))

    def drain(self) -> None:
        """Return when every file that was added is done, or given up."""
        with self._lock:
            self._room.wait_for(lambda: not self._pending or self.is_closed)

    def close(self) -> None:
        """Make everybody give up; what has arrived is kept."""
        with self._lock:
            self.is_closed = True
            waiting, self._fresh = list(self._fresh), deque()
            for condition in (self._work_to_do, self._arrived, self._dirty, self._room):
                condition.notify_all()
        for fetch in waiting:
            self._finish(fetch, Stopped("told to end"))

    def arrived(self, turn: _Turn, fetch: _Fetch, piece: Piece, count: int) -> None:
        """So many bytes of a piece are in the part."""
        with self._lock:
            lead = self._lead.bytes
            if piece.stop - piece.position - count <= (lead and max(lead, _CHUNK)):
                self._end(turn)
            extends = fetch.awaited == piece.position
            piece.position += count
            fetch.arrived += count
            if extends:
                self._arrived.notify_all()

    def _close_on_stop(self, stop: threading.Event) -> None:
        stop.wait()
        self.close()

    # --- connections

    def _answered(self, seconds: float) -> None:
        with self._lock:
            self._lead.answered(seconds)

    def _transferred(self, count: int, seconds: float) -> None:
        with self._lock:
            self._lead.transferred(count, seconds)

    def _end(self, turn: _Turn) -> None:
        """Let another request go out: it is answered when this one has ended. The lock is held."""
        if not turn.is_over:
            turn.is_over = True
            self._busy -= 1
            self._work_to_do.notify()

    def _work(self, stop: threading.Event) -> None:
        while True:
            with self._lock:
                while (job := None if self.is_closed else self._next()) is None:
                    if self.is_closed:
                        return
                    self._work_to_do.wait()
                fetch, piece = job
                turn = _Turn()
                self._busy += 1
                self._room.notify_all()
            if piece is None:
                self._begin(fetch, turn, stop)
            else:
                self._carry(fetch, piece, turn, stop)
            with self._lock:
                self._end(turn)

    def _next(self) -> tuple[_Fetch, Piece | None] | None:
        """A piece of a large file that has begun, else the next file, if there is any. The lock is held."""
        if self._busy >= self._connections:
            return None
        for fetch in tuple(self._large):
            pieces = fetch.pieces
            assert pieces is not None
            if fetch.failure:
                self._large.remove(fetch)
                continue
            hash_has_time = fetch.hash_has_time(self._clock.monotonic())
            if pieces.prefix - fetch.hashed > _AHEAD and not hash_has_time:
                continue
            piece = pieces.take(hash_has_time)
            if not pieces.missing:
                self._large.remove(fetch)
            if piece is not None:
                fetch.out += 1
                return fetch, piece
        if not self._fresh or len(self._to_hash) > _FILES_AHEAD * self._connections:
            return None
        return self._fresh.popleft(), None

    def _begin(self, fetch: _Fetch, turn: _Turn, stop: threading.Event) -> None:
        failure: Failure | None = None
        try:
            if fetch.file.size is None:
                fetch.file = dataclasses.replace(fetch.file, size=self._receiver.size_of(fetch.file))
            confirmed = fetch.file.sha512 is not None and self._verify
            fetch.part = Part(self._parts, fetch.key, resumable=confirmed and not fetch.is_small)
            if not fetch.is_small:
                self._spread(fetch)
                return
            self._fetch_small(fetch, turn, stop)
        except (RescaleFSError, OSError) as error:
            failure = error
        self._finish(fetch, failure)

    def _spread(self, fetch: _Fetch) -> None:
        """Let all connections at a large file."""
        size = fetch.file.size or 0
        pieces = Pieces(size, fetch.opened.there(), self._connections)
        known = size - pieces.missing
        with self._lock:
            fetch.pieces, fetch.hashed, fetch.hashing = pieces, 0, 0.0
            fetch.began, fetch.arrived = self._clock.monotonic(), 0
            if pieces.missing:
                self._large.append(fetch)
            self._to_hash.append(fetch)
            self._work_to_do.notify_all()
            self._arrived.notify_all()
        if known:
            log.info("%s: %d of %d bytes are there from before", fetch.file.path, known, size)
            self._heard(known)

    def _fetch_small(self, fetch: _Fetch, turn: _Turn, stop: threading.Event) -> None:
        while True:
            digest = hashlib.sha512()
            self._receive(fetch, Piece(0, fetch.file.size or 0), turn, stop, digest.update)
            if self._is_right(fetch.file, digest.hexdigest()):
                return
            self._start_over(fetch)

    def _carry(self, fetch: _Fetch, piece: Piece, turn: _Turn, stop: threading.Event) -> None:
        failure: Failure | None = None
        try:
            self._receive(fetch, piece, turn, stop)
        except (RescaleFSError, OSError) as error:
            failure = error
        with self._lock:
            fetch.unflushed += piece.position - piece.start
            assert fetch.pieces is not None
            is_due = fetch.unflushed >= (_UNFLUSHED if fetch.pieces.missing else _UNFLUSHED_AT_THE_END)
            if is_due and not (failure or self.is_closed):
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
                self._dirty.wait_for(lambda: self.is_closed or self._to_flush)
                if not self._to_flush:
                    return
                fetch = self._to_flush.popleft()
            failure: Failure | None = None
            try:
                fetch.opened.flush()
            except OSError as error:  # told once: what comes at the end would know nothing of it
                failure = error
            self._let_go(fetch, failure)

    def _receive(
        self, fetch: _Fetch, piece: Piece, turn: _Turn, stop: threading.Event, hear: Hear | None = None
    ) -> None:
        receipt = _Receipt(self, turn, fetch, piece, hear)
        try:
            self._receiver.receive(fetch.file, piece, receipt, stop)
        finally:
            receipt.note(last=True)

    # --- verification of large files

    def _hash(self, _stop: threading.Event) -> None:
        while True:
            with self._lock:
                self._arrived.wait_for(lambda: self.is_closed or self._to_hash)
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
        assert pieces is not None
        while position < size:
            reached = min(self._await_more(fetch, pieces, position), position + _STEP)
            began = self._clock.monotonic()
            for chunk in fetch.opened.chunks(position, reached) if self._verify else ():
                digest.update(chunk)
            position = reached
            with self._lock:
                fetch.hashed = position
                fetch.hashing += self._clock.monotonic() - began
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
            self._arrived.wait_for(lambda: pieces.prefix > position or fetch.failure or self.is_closed)
            fetch.awaited = -1
            if fetch.failure is not None:
                raise fetch.failure
            if self.is_closed:
                raise Stopped("told to end")
            return pieces.prefix

    def _fetch_afresh(self, fetch: _Fetch) -> None:
        self._start_over(fetch)
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


def threads_for(connections: int) -> int:
    """How many it takes to keep so many connections receiving: some wait for an answer meanwhile."""
    return connections + max(1, connections // 4)


def is_hopeless(error: Failure) -> bool:
    """Whether trying other files is of no use: the disk is full, or the key is not taken."""
    return isinstance(error, Unauthenticated) or (
        isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
    )
