"""A file as a form: streamed, in constant memory, with its length known beforehand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from urllib3.filepost import choose_boundary, encode_multipart_formdata

from rescalefs.api.sessions import CHUNK
from rescalefs.clock import Clock

PIECE = 1 << 19  # bytes; read and sent while they are in the core's cache (docs/decisions/0026)
_QUICKLY = 0.1  # seconds for a piece to leave


class Content(Protocol):
    """What binary files and streams have."""

    def readinto(self, buffer: Any, /) -> int | None: ...


class FormFailed(OSError):
    """The file could not be read, or its progress not be reported: nothing that the server did."""


class FileForm:
    """The body of a POST: fields, and ``size`` bytes of ``content`` as the part `file`. Iterated over once.

    Each piece is of one buffer: it is to be sent before the next one is asked for.
    """

    def __init__(
        self,
        fields: Mapping[str, str],
        name: str,
        content: Content,
        size: int,
        progress: Callable[[int], None],
        clock: Clock,
    ) -> None:
        boundary = choose_boundary()
        parts: list[tuple[str, str | tuple[str, bytes, str]]] = [*fields.items()]
        parts.append(("file", (name, b"", "application/octet-stream")))
        form, self.content_type = encode_multipart_formdata(parts, boundary)
        self._end = f"\r\n--{boundary}--\r\n".encode()
        self._start = form.removesuffix(self._end)
        self._content = content
        self._size = size
        self._progress = progress
        self._clock = clock
        self.sending: Callable[[], object] = lambda: None  # is called before each piece
        self.is_answered: Callable[[], bool] = lambda: False  # is asked before each piece
        self.is_whole = False  # all of it was handed out to be sent
        self.failure: Exception | None = None  # what reading or `progress` raised, before it was renamed

    def __len__(self) -> int:
        return len(self._start) + self._size + len(self._end)

    def __iter__(self) -> Iterator[Any]:
        """The pieces, bytes or memoryviews. Small ones while the line is slow: each has a time limit."""
        yield self._start
        buffer = memoryview(bytearray(min(PIECE, self._size)))
        sent, most = 0, CHUNK
        while sent < self._size:
            if self.is_answered():
                return  # a refusal in most cases: the answer is read, and the rest is not sent
            piece = buffer[: min(most, self._size - sent)]
            self._fill(piece, sent)
            began = self._clock.monotonic()
            self.sending()
            yield piece
            most = PIECE if self._clock.monotonic() - began < _QUICKLY else CHUNK
            sent += len(piece)
            with self._noting_failure():
                self._progress(sent)
        self.sending()
        self.is_whole = True
        yield self._end

    def _fill(self, piece: memoryview, sent: int) -> None:
        filled = 0
        while filled < len(piece):
            with self._noting_failure():
                count = self._content.readinto(piece[filled:])
                if not count:
                    left = self._size - sent - filled
                    raise OSError(f"the file ended {left} bytes early while it was sent")
            filled += count

    @contextmanager
    def _noting_failure(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.failure = error
            raise FormFailed(str(error)) from error
