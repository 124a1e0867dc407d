"""Limits of time and of bytes for everything that is read of one answer.

The time limits of requests and urllib3 count from one byte to the next. A server that sends one byte a
second, in its headers, in interim answers (`100 Continue`), in the lines between chunks or in the body of
an error, never exceeds them. So each read from a socket looks here first.
"""

from __future__ import annotations

import http
import http.client
import io
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from rescalefs.clock import Clock, Since

LARGEST_HEAD = 1 << 18  # bytes of status lines and headers, interim answers included; of trailers
_EARLY = 4096  # bytes that are read of an answer before its request has been sent
_STATUS = len(b"HTTP/1.1 413")


class TooMuch(OSError):
    """The server sends more bytes than its answer may have."""


class Bounds:
    """How long, and for how many bytes, the answer under way may still be read. For one thread at a time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until = clock.monotonic()
        self._left = 0  # bytes
        self._silence: float | None = None  # seconds from one byte to the next
        self.early = bytearray()  # what has come of an answer while its request was still being sent
        self._used: list[Any] = []  # what the answer under way comes on, each with a close()

    def use(self, *used: Any) -> None:
        """The answer comes on these: a connection, and what reads from it."""
        self._used += used

    @contextmanager
    def kept_until_answered(self) -> Iterator[None]:
        """Close what the answer came on, if it fails before a response was made of it that can be closed."""
        try:
            yield
        except BaseException:
            for each in self._used:
                with suppress(Exception):
                    each.close()
            raise
        finally:
            self._used = []

    def is_answered(self) -> bool:
        """Whether the server has answered a request that is still being sent, or hung up. Never waits.

        What came is kept for the thread that reads the answer: TLS cannot be looked at without reading it.
        """
        sock = next((each.sock for each in self._used if getattr(each, "sock", None) is not None), None)
        if sock is None or not hasattr(sock, "recv"):
            return False
        limit = sock.gettimeout()
        try:
            sock.settimeout(0)
            data = sock.recv(_EARLY)
            self.early += data
            return not data or is_final(bytes(self.early))
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return is_final(bytes(self.early))
        except (OSError, ValueError):
            return True  # to send more is of no use; what there is to read says why
        finally:
            with suppress(OSError):
                sock.settimeout(limit)

    def moment(self) -> Since:
        """Now, by the clock of these limits."""
        return Since(self._clock)

    def limit_silence(self, seconds: float | None) -> None:
        """From now on, so long may pass from one byte to the next; None: as long as the socket allows."""
        self._silence = seconds

    @property
    def silence(self) -> float:
        """Seconds that may pass without a byte."""
        left = self.seconds()
        return left if self._silence is None else min(left, self._silence)

    def set(self, seconds: float, most: int) -> None:
        """From now on, for ``seconds`` and ``most`` bytes."""
        self._until = self._clock.monotonic() + seconds
        self._left = most

    def tighten(self, seconds: float, most: int) -> None:
        """From now on, for ``seconds`` at most, and no longer than before; and for ``most`` bytes."""
        self._until = min(self._until, self._clock.monotonic() + seconds)
        self._left = most

    @contextmanager
    def tightened(self, seconds: float, most: int) -> Iterator[None]:
        """Tighten the limits while the block runs, then restore them."""
        until, left = self._until, self._left
        self.tighten(seconds, most)
        try:
            yield
        finally:
            self._until, self._left = until, left

    def seconds(self) -> float:
        """The seconds that are left. Raises `TimeoutError` when there are none."""
        left = self._until - self._clock.monotonic()
        if left <= 0:
            raise TimeoutError("timed out: the answer comes too slowly")
        return left

    def count(self, size: int) -> None:
        """So many bytes have come. Raises `TooMuch` when they are more than was allowed."""
        self._left -= size
        if self._left < 0:
            raise TooMuch("the answer is too large")


def is_final(head: bytes) -> bool:
    """Pure: whether an answer that begins so is more than interim ones, such as `100 Continue`."""
    while (found := re.match(rb"HTTP/\d\.\d (\d)", head)) and found[1] == b"1":
        _, end, head = head.partition(b"\r\n\r\n")
        if not end:
            return False
    return len(head) >= _STATUS


class BoundedResponse(http.client.HTTPResponse):
    """An answer that keeps to `Bounds` at every read from its socket: head, chunks, trailers."""

    def __init__(self, bounds: Bounds, sock: Any, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        # `fp` is where http.client and urllib3 read everything from; buffered again, as it was.
        self.fp = _BoundedLines(_BoundedRaw(self.fp.detach(), sock, bounds))
        bounds.use(self)

    def _read_status(self) -> tuple[str, int, str]:
        """The status line of the answer itself. http.client knows one interim answer, 100, and would take
        any other, as `103 Early Hints`, for the answer; RFC 9110, 15.2, has clients pass over all of them."""
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]  # typeshed has it not
            if not http.HTTPStatus.SWITCHING_PROTOCOLS < status < http.HTTPStatus.OK:
                return version, status, reason
            while self.fp.readline().strip():
                pass


class _BoundedLines(io.BufferedReader):
    """What is read of an answer, in which so many lines may follow on each other as fit a head.

    http.client and urllib3 read heads, sizes of chunks and trailers by the line, and bodies otherwise.
    Trailers need this limit of their own: `Bounds` counts them with the body, which may be large.
    """

    def __init__(self, raw: _BoundedRaw) -> None:
        super().__init__(raw)
        self._lines = 0  # bytes of lines since the last piece of a body

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        self._lines += len(line)
        if self._lines > LARGEST_HEAD:
            raise TooMuch("the headers or trailers of the answer are too large")
        return line

    def read(self, size: int | None = -1, /) -> bytes:
        self._lines = 0
        return super().read(size)

    def read1(self, size: int = -1, /) -> bytes:
        self._lines = 0
        return super().read1(size)

    def readinto(self, buffer: Any, /) -> int:
        self._lines = 0
        return super().readinto(buffer)


class _BoundedRaw(io.RawIOBase):
    """The bytes of a socket, within `Bounds`."""

    def __init__(self, inner: Any, sock: Any, bounds: Bounds) -> None:
        self._inner = inner
        self._sock = sock
        self._bounds = bounds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        if self._bounds.early:
            count = min(len(buffer), len(self._bounds.early))
            buffer[:count] = self._bounds.early[:count]
            del self._bounds.early[:count]
            self._bounds.count(count)
            return count
        left, idle = self._bounds.silence, self._sock.gettimeout()
        shorter = idle is None or left < idle
        if shorter:
            self._sock.settimeout(left)
        try:
            read: int | None = self._inner.readinto(buffer)
        finally:
            if shorter:
                self._sock.settimeout(idle)
        self._bounds.count(read or 0)
        return read

    def close(self) -> None:
        if not self.closed:
            self._inner.close()
        super().close()
