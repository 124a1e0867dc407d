"""Brings a range of a file here, going on where transfers break."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from rescalefs.clock import Clock
from rescalefs.errors import (
    FileChanged,
    Misconfigured,
    RescaleFSError,
    ServerFailed,
    Throttled,
    TimedOut,
    UnexpectedAnswer,
    Unreachable,
)
from rescalefs.mirror.pieces import Piece
from rescalefs.model import RemoteFile
from rescalefs.reading import Source
from rescalefs.reading.sizes import Sizes

log = logging.getLogger(__name__)

_PASSING = (Unreachable, TimedOut, ServerFailed, Throttled, UnexpectedAnswer)
_FAILURES = 5  # in a row, without a byte, before a file is given up


class Stopped(RescaleFSError):
    """It was told to end before all was fetched."""


class Taker(Protocol):
    """Who wants the bytes of a piece."""

    def is_given_up(self) -> bool:
        """Whether nobody wants them any more."""
        ...

    def take(self, data: bytes) -> None:
        """The next bytes of the piece, whose ``position`` has not been moved yet: that is for the taker."""
        ...


class Receiver:
    """Fetches pieces, each on its caller's thread. Thread-safe."""

    def __init__(
        self,
        source: Source,
        clock: Clock,
        pause: float,
        heard: Callable[[int], None],
        answered: Callable[[float], None] = lambda _: None,
        transferred: Callable[[int, float], None] = lambda _, __: None,
    ) -> None:
        """``pause`` comes before the first new try; ``heard`` is told how many bytes arrived.

        ``answered`` is told after how many seconds an answer began, ``transferred`` how many bytes of it came
        in how many more.
        """
        self._source = source
        self._sizes = Sizes(source, clock)
        self._clock = clock
        self._pause = pause
        self._heard = heard
        self._answered = answered
        self._transferred = transferred

    def receive(self, file: RemoteFile, piece: Piece, taker: Taker, stop: threading.Event) -> None:
        """Fetch what is missing of a piece. Raises what could not be helped, `Stopped` if it is given up."""
        failures = 0
        while piece.position < piece.stop:
            before = piece.position
            try:
                self._transfer(file, piece, taker)
            except Misconfigured:
                raise
            except _PASSING as error:
                failures = 1 if piece.position > before else failures + 1
                if failures >= _FAILURES or taker.is_given_up():
                    raise
                wait = self._pause * 2 ** (failures - 1)
                if isinstance(error, Throttled):  # it is no failure to wait as told
                    wait, failures = max(wait, error.retry_after or 0.0), 1
                    log.warning("%s; waiting %.0f s", error, wait)
                log.debug("%s broke at byte %d: %s", file.path, piece.position, error)
                if self._clock.wait(stop, wait):
                    raise

    def size_of(self, file: RemoteFile) -> int:
        """The size of a file, asked of the server once where its listing does not tell it."""
        return self._sizes.size(file) if file.size is None else file.size

    def _transfer(self, file: RemoteFile, piece: Piece, taker: Taker) -> None:
        asked, first = self._clock.monotonic(), piece.position
        with self._source.open_range(file, piece.position, piece.stop) as body:
            began = self._clock.monotonic()
            self._answered(began - asked)
            if body.start != piece.position:
                raise Unreachable(f"{file.path}: asked for byte {piece.position}, got byte {body.start}")
            if (body.total is not None and body.total != file.size) or body.stop < piece.stop:
                size = body.stop if body.total is None else body.total
                raise FileChanged(f"{file.path}: the server has {size} bytes of it, not {file.size}")
            for chunk in body:
                if taker.is_given_up():
                    raise Stopped("told to end")
                data = chunk[: piece.stop - piece.position]
                taker.take(data)
                self._heard(len(data))
                if piece.position == piece.stop:
                    break
        self._transferred(piece.position - first, self._clock.monotonic() - began)
        if piece.position < piece.stop:
            raise Unreachable(f"{file.path}: the answer ended at byte {piece.position} of {piece.stop}")
