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
from rescalefs.errors import ContentError, NotYetUploaded, WrongBytes
from rescalefs.mirror.claims import PartTaken, make_folder, this_kernel
from rescalefs.mirror.fetch import Done, Fetch, Receipt, Turn
from rescalefs.mirror.part import Part
from rescalefs.mirror.pieces import MIB, Piece, Pieces
from rescalefs.mirror.receiving import Receiver, Stopped
from rescalefs.model import RemoteFile
from rescalefs.reading import Lead, Source

log = logging.getLogger(__name__)

_HASHERS = 2
# The hash is the slower one where the server is near. Bytes that come in long before it gets to them would
# take the processor from it, and the end would come later: docs/decisions/0038.
_AHEAD = 32 * MIB  # bytes that may wait for the hash before it has the processor to itself
_STEP = 8 * MIB  # bytes between two looks at how far the hash is
_CHUNK = MIB  # bytes that come at once, at most: with more than the lead still to come, these may be the last
_FILES_AHEAD = 4  # large files for each connection that wait for a hash, before no more is begun
_UNFLUSHED = 64 * MIB  # bytes of a file: so that at its end there is little left to bring to the disk
_UNFLUSHED_AT_THE_END = 8 * MIB  # once all of it is asked for: the hash is not done with it yet
_WAITING = 4096  # files that wait for a connection, before `wait_for_room` waits
_LOOK = 30.0  # seconds after which every wait looks again by itself
_TAKEN_EVERY = 0.5  # seconds between two tries to have a part that another process writes
_TAKEN_FOR = 60.0  # seconds without a sign of life, before a part or a descriptor is waited for no more


class Transfers:
    """Fetches files with ``connections`` requests at once; the next go out when those are nearly done.

    A file is given to whoever asked once its size and, where the server has one, its SHA-512 are right; wrong
    bytes are fetched afresh once. Transfers that break go on where they broke. A part that another process
    writes is waited for, for as long as that one writes. Call `start`, then `add` as often as you like, then
    `drain`; `close` makes all of it give up. Each ``done`` is called once, on every path.
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
        self._lock = threading.Lock()  # guards all that follows, and every Fetch and its pieces
        self._work_to_do = threading.Condition(self._lock)  # for connections
        self._arrived = threading.Condition(self._lock)  # for hashers
        self._dirty = threading.Condition(self._lock)  # for who brings parts to the disk
        self._room = threading.Condition(self._lock)  # for those who bring files, or wait for the end
        self._fresh: deque[Fetch] = deque()
        self._taken: deque[tuple[float, Fetch]] = deque()  # when to try again, in this order
        self._large: deque[Fetch] = deque()  # some of their pieces are not handed out
        self._to_hash: deque[Fetch] = deque()
        self._to_flush: deque[Fetch] = deque()
        self._pending = 0
        self._ended = 0  # files that are done, or failed
        self._lead = Lead()
        self._busy = 0  # turns that are not over
        self.is_closed = False

    def start(self) -> None:
        """Start the threads."""
        make_folder(self._parts)
        for number in range(threads_for(self._connections)):
            self._background.start(f"transfer-{number}", self._work)
        for number in range(_HASHERS):
            self._background.start(f"transfer-hash-{number}", self._hash)
        self._background.start("transfer-flush", self._flush)
        self._background.start("transfer-stop", self._close_on_stop)

    def add(
        self, file: RemoteFile, key: str, done: Done, is_here: Callable[[], bool] = lambda: False
    ) -> None:
        """Fetch a file; ``key`` finds what is left of an earlier attempt. It does not wait, on any thread.

        ``is_here`` is asked once the part is this process's alone: if so, the file came by another one.
        """
        fetch, failure = Fetch(file, key, done, is_here), None
        if not file.is_uploaded:
            failure = NotYetUploaded(f"{file.path}: it is not on the server in full yet")
        with self._lock:
            self._pending += 1
            if failure is None and not self.is_closed:
                self._fresh.append(fetch)
                self._work_to_do.notify()
                return
        self._finish(fetch, failure or Stopped("told to end"))

    def size_of(self, file: RemoteFile) -> int:
        """See `Receiver.size_of`."""
        return self._receiver.size_of(file)

    def wait_for_room(self) -> None:
        """Return once few enough files wait. Not for threads of ours: they are the ones that make room."""
        with self._lock:
            _await(self._room, lambda: len(self._fresh) < _WAITING or self.is_closed)

    def drain(self) -> None:
        """Return when every file that was added is done, or given up."""
        with self._lock:
            _await(self._room, lambda: not self._pending or self.is_closed)

    def abandon(self, failure: Exception) -> None:
        """Give up all files that have not begun, for this reason."""
        with self._lock:
            waiting = [*self._fresh, *(fetch for _, fetch in self._taken)]
            self._fresh, self._taken = deque(), deque()
        for fetch in waiting:
            self._finish(fetch, failure)

    def forget(self, key: str) -> None:
        """Remove what is left of a file that was given up."""
        try:
            Part(self._parts, key, resumable=False).discard()
        except (PartTaken, OSError) as error:
            log.debug("what is left of a file stays: %s", error)

    def close(self) -> None:
        """Make everybody give up; what has arrived is kept."""
        with self._lock:
            self.is_closed = True
            for condition in (self._work_to_do, self._arrived, self._dirty, self._room):
                condition.notify_all()
        self.abandon(Stopped("told to end"))

    def arrived(self, turn: Turn, fetch: Fetch, piece: Piece, count: int) -> None:
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
        while not stop.wait(_LOOK):
            pass
        self.close()

    # --- connections

    def _answered(self, seconds: float) -> None:
        with self._lock:
            self._lead.answered(seconds)

    def _transferred(self, count: int, seconds: float) -> None:
        with self._lock:
            self._lead.transferred(count, seconds)

    def _end(self, turn: Turn) -> None:
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
                    self._work_to_do.wait(_TAKEN_EVERY if self._taken else _LOOK)
                fetch, piece = job
                turn = Turn()
                self._busy += 1
                self._room.notify_all()
            if piece is None:
                self._begin(fetch, turn, stop)
            else:
                self._carry(fetch, piece, turn, stop)
            with self._lock:
                self._end(turn)

    def _next(self) -> tuple[Fetch, Piece | None] | None:
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
        if len(self._to_hash) > _FILES_AHEAD * self._connections:
            return None
        if self._taken and self._taken[0][0] <= self._clock.monotonic():
            return self._taken.popleft()[1], None
        return (self._fresh.popleft(), None) if self._fresh else None

    def _begin(self, fetch: Fetch, turn: Turn, stop: threading.Event) -> None:
        failure: Exception | None = None
        try:
            if fetch.file.size is None:
                fetch.file = dataclasses.replace(fetch.file, size=self._receiver.size_of(fetch.file))
            is_resumable = fetch.file.sha512 is not None and self._verify and not fetch.is_small
            # Others are emptied at the beginning, which must not happen to one that another machine writes,
            # whose locks some network disks do not tell.
            key = fetch.key if is_resumable else f"{fetch.key}\n{this_kernel()}"
            fetch.part = Part(self._parts, key, is_resumable)
            if fetch.is_here():
                fetch.part.discard()
                fetch.part = None
            else:
                fetch.part.check_size(fetch.file.size or 0)
                if not fetch.is_small:
                    self._spread(fetch)
                    return
                self._fetch_small(fetch, turn, stop)
        except (PartTaken, OSError) as error:
            if _may_pass(error) and self._try_again(fetch, error):
                return
            failure = error
        except Exception as error:  # noqa: BLE001  # whatever it is, it is this file's failure
            failure = error
        self._finish(fetch, failure)

    def _try_again(self, fetch: Fetch, error: PartTaken | OSError) -> bool:
        """Wait for a part that another process writes, or for a descriptor; False if that takes too long.

        Too long means: without any sign of life. That is a later write of the other process, or the end of
        another file of ours, whose descriptor is free then.
        """
        now = self._clock.monotonic()
        sign = error.written_ns if isinstance(error, PartTaken) else self._ended
        if not fetch.taken_since:
            log.info("%s: %s; waiting for it", fetch.file.path, error)
        if not fetch.taken_since or sign != fetch.sign_of_life:
            fetch.sign_of_life, fetch.taken_since = sign, now
        if now - fetch.taken_since > _TAKEN_FOR:
            return False
        part, fetch.part = fetch.part, None
        if part is not None:
            part.let_go()
        with self._lock:
            if self.is_closed:
                return False
            self._taken.append((now + _TAKEN_EVERY, fetch))
            self._work_to_do.notify()
            return True

    def _spread(self, fetch: Fetch) -> None:
        """Let all connections at a large file."""
        size = fetch.file.size or 0
        pieces = Pieces(size, fetch.opened.there(size), self._connections)
        known = size - pieces.missing
        with self._lock:
            if self.is_closed:  # the threads that hash have ended, or are about to
                raise Stopped("told to end")
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

    def _fetch_small(self, fetch: Fetch, turn: Turn, stop: threading.Event) -> None:
        while True:
            size, digest = fetch.file.size or 0, hashlib.sha512()
            self._receive(fetch, Piece(0, size), turn, stop)
            for chunk in fetch.opened.chunks(0, size):  # as it is on the disk: that is what gets the name
                digest.update(chunk)
            if self._is_right(fetch.file, digest.hexdigest()):
                return
            self._start_over(fetch)

    def _carry(self, fetch: Fetch, piece: Piece, turn: Turn, stop: threading.Event) -> None:
        failure: Exception | None = None
        try:
            self._receive(fetch, piece, turn, stop)
        except Exception as error:  # noqa: BLE001  # it is the file's failure
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

    def _let_go(self, fetch: Fetch, failure: Exception | None) -> None:
        with self._lock:
            fetch.out -= 1
            fetch.failure = fetch.failure or failure
            self._arrived.notify_all()

    def _flush(self, _stop: threading.Event) -> None:
        while True:
            with self._lock:
                _await(self._dirty, lambda: self.is_closed or bool(self._to_flush))
                if not self._to_flush:
                    return
                fetch = self._to_flush.popleft()
            failure: Exception | None = None
            try:
                fetch.opened.flush()
            except Exception as error:  # noqa: BLE001  # told once: what comes at the end would not know
                failure = error
            self._let_go(fetch, failure)

    def _receive(self, fetch: Fetch, piece: Piece, turn: Turn, stop: threading.Event) -> None:
        receipt = Receipt(self, self._clock, turn, fetch, piece)
        try:
            self._receiver.receive(fetch.file, piece, receipt, stop)
        finally:
            receipt.note()

    # --- verification of large files

    def _hash(self, _stop: threading.Event) -> None:
        while True:
            with self._lock:
                _await(self._arrived, lambda: self.is_closed or bool(self._to_hash))
                if not self._to_hash:
                    return
                fetch = self._to_hash.popleft()
                self._work_to_do.notify_all()
            failure: Exception | None = None
            try:
                if not self._is_right(fetch.file, self._follow(fetch)):
                    self._fetch_afresh(fetch)
                    continue
            except Exception as error:  # noqa: BLE001  # it is the file's failure
                failure = error
                self._await_connections(fetch, error)
            self._finish(fetch, failure)

    def _follow(self, fetch: Fetch) -> str:
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
        self._await_connections(fetch, None)
        if fetch.failure is not None:
            raise fetch.failure
        return digest.hexdigest()

    def _await_connections(self, fetch: Fetch, failure: Exception | None) -> None:
        """Return once none works on the part: it would write into a file that is closed."""
        with self._lock:
            fetch.failure = fetch.failure or failure
            _await(self._arrived, lambda: not fetch.out)

    def _await_more(self, fetch: Fetch, pieces: Pieces, position: int) -> int:
        """Up to where the bytes are there, once that is after ``position``."""
        with self._lock:
            fetch.awaited = position  # whoever has the byte tells; others wake nobody
            _await(
                self._arrived,
                lambda: pieces.prefix > position or fetch.failure is not None or self.is_closed,
            )
            fetch.awaited = -1
            if fetch.failure is not None:
                raise fetch.failure
            if self.is_closed:
                raise Stopped("told to end")
            return pieces.prefix

    def _fetch_afresh(self, fetch: Fetch) -> None:
        self._start_over(fetch)
        self._spread(fetch)

    def _is_right(self, file: RemoteFile, digest: str) -> bool:
        return not self._verify or file.sha512 is None or digest == file.sha512

    def _start_over(self, fetch: Fetch) -> None:
        """Forget wrong bytes; raise if it is not the first time."""
        fetch.opened.start_over()
        if fetch.again:
            raise WrongBytes(f"{fetch.file.path}: the bytes do not match the server's SHA-512, fetched twice")
        log.warning("%s: the bytes do not match the server's SHA-512; fetching them afresh", fetch.file.path)
        fetch.again = True

    def _finish(self, fetch: Fetch, failure: Exception | None) -> None:
        if failure is not None and self.is_closed:
            failure = Stopped("told to end")  # whatever was cut off by that
        try:
            if failure is not None and fetch.part is not None:
                _leave(fetch.part, failure)
            fetch.done(None if failure else fetch.part, failure)
        except Exception:  # contained here: other files go on
            log.exception("%s: what follows on its transfer failed", fetch.file.path)
        finally:
            with self._lock:
                self._pending -= 1
                self._ended += 1
                self._room.notify_all()


def _may_pass(error: PartTaken | OSError) -> bool:
    """Whether a part can perhaps be opened later: other files end, and give their descriptors back."""
    return isinstance(error, PartTaken) or error.errno in (errno.EMFILE, errno.ENFILE)


def _leave(part: Part, failure: Exception) -> None:
    """Let a part go, and keep what another attempt can go on from."""
    if isinstance(failure, ContentError):  # another version, or wrong bytes
        part.discard()
    else:
        part.let_go()


def _await(condition: threading.Condition, is_true: Callable[[], bool]) -> None:
    """Return once it is true. A wake-up that was lost costs half a minute, not for ever."""
    while not condition.wait_for(is_true, _LOOK):
        pass


def threads_for(connections: int) -> int:
    """How many it takes to keep so many connections receiving: some wait for an answer meanwhile."""
    return connections + max(1, connections // 4)
