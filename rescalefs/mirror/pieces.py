"""Pure: what of a file is still to be fetched, in which pieces, and how much of its beginning is there."""

from __future__ import annotations

import bisect
from collections.abc import Iterable

MIB = 1 << 20
SMALLEST = 2 * MIB  # a 40 ms round trip costs a fifth of it at 40 MB/s, and 32 connections hide that
LARGEST = 64 * MIB
_USUAL = 4 * MIB  # while nothing is known of the line, and the least in the middle of a file
_SHARE = 0.025  # of a request's time that may go by before its first byte
_NEWS = 0.3  # weight of what was seen last


class Piece:
    """The bytes ``[start, stop)``, of which those before ``position`` are there."""

    __slots__ = ("position", "start", "stop")

    def __init__(self, start: int, stop: int, position: int | None = None) -> None:
        self.start = start
        self.stop = stop
        self.position = start if position is None else position


class Pace:
    """Says how large pieces should be, by how long answers take to begin, and how fast they come then.

    Large ones far away, where each costs a round trip; small ones nearby, where the bytes from the first on
    are there sooner, and with them the hash. Not thread-safe.
    """

    def __init__(self) -> None:
        self._worth: float | None = None  # bytes

    def note(self, wait: float, count: int, seconds: float) -> None:
        """An answer began after ``wait`` seconds, and brought ``count`` bytes in ``seconds`` from then on."""
        if seconds > 0:
            worth = wait * count / seconds / _SHARE
            self._worth = worth if self._worth is None else _NEWS * worth + (1 - _NEWS) * self._worth

    @property
    def length(self) -> int:
        """Bytes of a piece in the middle of a file."""
        return _USUAL if self._worth is None else min(max(int(self._worth), _USUAL), LARGEST)


class Pieces:
    """Hands out what is missing, front to back, in pieces that become smaller towards the end.

    So all connections are busy up to the end, and the hash, which runs in order, is never far behind. Not
    thread-safe.
    """

    def __init__(self, size: int, there: Iterable[tuple[int, int]] = (), takers: int = 16) -> None:
        """``there`` are the ranges that need not be fetched; they may overlap."""
        self._takers = takers
        self._size = size
        self._known: list[Piece] = []  # by start: handed out, or there from before
        self._gaps: list[tuple[int, int]] = []  # by start, from the last to the first
        self._whole = 0  # how many of _known, from the first on, are complete
        position = 0
        for start, end in sorted(there):
            stop = min(end, size)
            if stop <= max(start, position):
                continue
            if start > position:
                self._gaps.append((position, start))
            self._known.append(Piece(max(start, position), stop, stop))
            position = stop
        if position < size:
            self._gaps.append((position, size))
        self._gaps.reverse()
        self.missing = sum(stop - start for start, stop in self._gaps)  # not yet handed out

    def take(self, most: int = LARGEST) -> Piece | None:
        """The next piece to fetch, of ``most`` bytes and some crumbs; None when all are handed out."""
        if not self._gaps:
            return None
        start, stop = self._gaps.pop()
        length = min(max(self.missing // self._takers // 2, SMALLEST), most)
        if stop - start > length + SMALLEST // 2:  # no crumbs
            self._gaps.append((start + length, stop))
            stop = start + length
        self.missing -= stop - start
        piece = Piece(start, stop)
        bisect.insort(self._known, piece, key=lambda each: each.start)
        return piece

    @property
    def is_complete(self) -> bool:
        return self.prefix == self._size

    @property
    def prefix(self) -> int:
        """How many bytes from the first on are there."""
        position = self._known[self._whole - 1].stop if self._whole else 0
        for piece in self._known[self._whole :]:
            if piece.start != position:
                return position
            position = piece.position
            if position < piece.stop:
                return position
            self._whole += 1
        return position
