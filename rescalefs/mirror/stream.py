"""Files as one stream of bytes, in order, in constant memory."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from rescalefs.background import Background
from rescalefs.clock import Clock
from rescalefs.errors import NotYetUploaded, WrongBytes
from rescalefs.mirror.pieces import MIB, Piece
from rescalefs.mirror.receiving import Receiver, Stopped
from rescalefs.model import RemoteFile
from rescalefs.reading import Source

# Of all that has not been handed on; a quarter more than the connections fill, so that none of them stands
# idle while the first piece is handed on.
_WINDOW = 64 * MIB
_FIRST = MIB // 4  # bytes: who wants the beginning alone soon has it
_LARGEST = 8 * MIB
_LOOK = 30.0  # seconds after which every wait looks again by itself

Sink = Callable[[bytes], None]


class _Bit:
    """A range of a file on its way through memory. Takes what a `Receiver` brings."""

    def __init__(self, stream: Stream, file: RemoteFile, start: int, stop: int) -> None:
        self._stream = stream
        self.file = file
        self.piece = Piece(start, stop)
        self.chunks: deque[bytes] = deque()
        self.failure: Exception | None = None

    @property
    def is_last(self) -> bool:
        return self.piece.stop == self.file.size

    def is_given_up(self) -> bool:
        return self._stream.is_closed

    def take(self, data: bytes) -> None:
        self._stream.arrived(self, data)


class Stream:
    """Hands the bytes of files to a sink, in order, while those that come later are on their way.

    Bytes go out before anybody can know whether their file's SHA-512 is right: that wrong ones went out is
    raised where the file ends, and nothing comes after them. Call `start`, then `write` once; `close`, from
    any thread, makes it give up.
    """

    def __init__(
        self,
        source: Source,
        clock: Clock,
        background: Background,
        connections: int,
        *,
        verify: bool = True,
        heard: Callable[[int], None] = lambda _: None,
        pause: float = 0.2,
    ) -> None:
        """``heard`` and ``pause`` as of `Receiver`."""
        self._receiver = Receiver(source, clock, pause, heard)
        self._background = background
        self._connections = connections
        self._verify = verify
        self._lock = threading.Lock()  # guards all that follows, and every _Bit
        self._work_to_do = threading.Condition(self._lock)
        self._more = threading.Condition(self._lock)  # of the bit that is handed on
        self._wanted: deque[_Bit] = deque()
        self._first: _Bit | None = None
        self.is_closed = False

    def start(self) -> None:
        """Start the threads."""
        for number in range(self._connections):
            self._background.start(f"stream-{number}", self._work)
        self._background.start("stream-stop", self._close_on_stop)

    def write(self, files: Iterable[RemoteFile], sink: Sink) -> None:
        """Hand on all files. Raises what went wrong, and what ``sink`` raises as it is."""
        planned, bits = self._plan(files), deque[_Bit]()
        room, digest = _WINDOW, hashlib.sha512()
        while True:
            while room > 0 and (bit := next(planned, None)) is not None:
                bits.append(bit)
                room -= bit.piece.stop - bit.piece.start
                self._ask_for(bit)
            if not bits:
                return
            bit = bits.popleft()
            for chunk in self._arriving(bit):
                if self._verify:
                    digest.update(chunk)
                sink(chunk)
            room += bit.piece.stop - bit.piece.start
            if bit.is_last:
                self._check(bit.file, digest.hexdigest())
                digest = hashlib.sha512()

    def close(self) -> None:
        """Make everybody give up."""
        with self._lock:
            self.is_closed = True
            self._work_to_do.notify_all()
            self._more.notify_all()

    def arrived(self, bit: _Bit, data: bytes) -> None:
        """Bytes of a bit are here."""
        with self._lock:
            bit.chunks.append(data)
            bit.piece.position += len(data)
            if bit is self._first:
                self._more.notify()

    def _plan(self, files: Iterable[RemoteFile]) -> Iterator[_Bit]:
        """All bits in order: small ones first, then such as let all connections fill the window."""
        usual = min(max(_WINDOW * 4 // 5 // self._connections, MIB), _LARGEST)
        length = _FIRST
        for file in files:
            if not file.is_uploaded:
                raise NotYetUploaded(f"{file.path}: it is not on the server in full yet")
            size = self._receiver.size_of(file) if file.size is None else file.size
            sized = dataclasses.replace(file, size=size)
            position, is_over = 0, False
            while not is_over:
                stop = min(position + length, size)
                is_over = stop == size
                yield _Bit(self, sized, position, stop)
                position, length = stop, min(length * 2, usual)

    def _ask_for(self, bit: _Bit) -> None:
        if bit.piece.start < bit.piece.stop:
            with self._lock:
                self._wanted.append(bit)
                self._work_to_do.notify()

    def _arriving(self, bit: _Bit) -> Iterator[bytes]:
        """The bytes of a bit, as they come."""
        with self._lock:
            self._first = bit
        while True:
            with self._lock:
                while not (bit.chunks or bit.failure or self.is_closed):
                    if bit.piece.position == bit.piece.stop:
                        return
                    self._more.wait(_LOOK)
                if self.is_closed:
                    raise Stopped("told to end")
                if not bit.chunks:
                    assert bit.failure is not None
                    raise bit.failure
                chunk = bit.chunks.popleft()
            yield chunk

    def _check(self, file: RemoteFile, digest: str) -> None:
        if self._verify and file.sha512 not in (None, digest):
            raise WrongBytes(
                f"{file.path}: the bytes that went out do not match the server's SHA-512; don't use them"
            )

    def _work(self, stop: threading.Event) -> None:
        while True:
            with self._lock:
                while not (self._wanted or self.is_closed):
                    self._work_to_do.wait(_LOOK)
                if self.is_closed:
                    return
                bit = self._wanted.popleft()
            try:
                self._receiver.receive(bit.file, bit.piece, bit, stop)
            except Exception as error:  # noqa: BLE001  # raised where its bytes are handed on
                with self._lock:
                    bit.failure = error
                    self._more.notify()

    def _close_on_stop(self, stop: threading.Event) -> None:
        while not stop.wait(_LOOK):
            pass
        self.close()
