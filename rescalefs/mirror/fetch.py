"""One file on its way: what is known of it, and what takes its bytes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from rescalefs.clock import Clock
from rescalefs.mirror.part import STRIDE, Part
from rescalefs.mirror.pieces import SMALLEST, Piece, Pieces
from rescalefs.model import RemoteFile

log = logging.getLogger(__name__)

_SMALL = SMALLEST  # bytes
_FASTER = 2  # times as fast as the line: then the hash is soon done with whatever waits
_NOTE_EVERY = 1.0  # seconds: the most that a kill costs a slow connection

# (the complete part, or None; why not). Neither, where the file has come by another process meanwhile.
# The part is the receiver's from then on. Called on threads of `Transfers`.
Done = Callable[["Part | None", "Exception | None"], None]


class Fetch:
    """One file on its way. What guards it is the lock of `Transfers`."""

    def __init__(self, file: RemoteFile, key: str, done: Done, is_here: Callable[[], bool]) -> None:
        self.file = file
        self.key = key
        self.done = done
        self.is_here = is_here
        self.part: Part | None = None  # once its turn has come: descriptors are few
        self.pieces: Pieces | None = None  # of a large file, once its size is known
        self.out = 0  # threads that work on the part: connections, and the one that brings it to the disk
        self.began = 0.0  # monotonic
        self.arrived = 0  # bytes since then
        self.hashed = 0  # bytes, from the first on
        self.hashing = 0.0  # seconds that the hash took for them
        self.awaited = -1  # the byte that the hash waits for
        self.unflushed = 0  # bytes that came since the part was last brought to the disk
        self.failure: Exception | None = None
        self.again = False  # it was fetched afresh, because its bytes were wrong
        self.sign_of_life = 0  # the last sign that what it waits for will come (Transfers._try_again)
        self.taken_since = 0.0  # monotonic: when that was first seen

    @property
    def is_small(self) -> bool:
        """Whether one request does, hashed by who made it."""
        return self.file.size is not None and self.file.size <= _SMALL

    @property
    def opened(self) -> Part:
        assert self.part is not None
        return self.part

    def hash_has_time(self, now: float) -> bool:
        """Whether the hash is so much faster than the line that it soon has what waits for it."""
        elapsed = now - self.began
        return self.hashed > 0 and self.arrived * self.hashing * _FASTER < self.hashed * elapsed


class Turn:
    """That one of so many requests at once is being made."""

    def __init__(self) -> None:
        self.is_over = False  # or as good as: another request may go out


class Owner(Protocol):
    """Who has the fetches; `Transfers`."""

    is_closed: bool

    def arrived(self, turn: Turn, fetch: Fetch, piece: Piece, count: int) -> None: ...


class Receipt:
    """Puts the bytes of a piece into their part, and tells the owner of them."""

    def __init__(self, owner: Owner, clock: Clock, turn: Turn, fetch: Fetch, piece: Piece) -> None:
        self._owner = owner
        self._clock = clock
        self._turn = turn
        self._fetch = fetch
        self._piece = piece
        self._noted = piece.position
        self._noted_at = clock.monotonic()

    def is_given_up(self) -> bool:
        return self._owner.is_closed or self._fetch.failure is not None

    def take(self, data: bytes) -> None:
        self._fetch.opened.write(data, self._piece.position)
        self._owner.arrived(self._turn, self._fetch, self._piece, len(data))
        now = self._clock.monotonic()
        if self._piece.position - self._noted >= STRIDE or now - self._noted_at >= _NOTE_EVERY:
            self.note()
            self._noted_at = now

    def note(self) -> None:
        """Remember what is there, as `Part.note` does. What cannot be noted now is noted with what comes."""
        try:
            self._fetch.opened.note(self._noted, self._piece.position)
        except OSError as error:  # a full disk, no descriptor: a note only saves a fetch after a kill
            log.debug("%s: what has come is not noted: %s", self._fetch.file.path, error)
        else:
            self._noted = self._piece.position
