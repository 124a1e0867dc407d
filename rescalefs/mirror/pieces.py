"""Pure: what of a file is still to be fetched, in which pieces, and how much of its beginning is there."""

from __future__ import annotations

import bisect
from collections.abc import Iterable

MIB = 1 << 20
SMALLEST = 1 * MIB  # what the hash has still to do at the end is about one of them for each connection
LARGEST = 64 * MIB
_LEAST = 8 * MIB  # in the middle of a file
_PARTS = 88  # of a file, each of them a piece in the middle


class Piece:
    """The bytes ``[start, stop)``, of which those before ``position`` are there."""

    __slots__ = ("position", "start", "stop")

    def __init__(self, start: int, stop: int, position: int | None = None) -> None:
        self.start = start
        self.stop = stop
        self.position = start if position is None else position


class Pieces:
    """Hands out what is missing, front to back, in pieces that are small at first and at the end.

    At first, so that the hash, which runs in order, has something to do soon; at the end, so that it is not
    far behind, and all connections are busy up to there. In between, so large that round trips cost little:
    the numbers came out best of a simulation of 8 to 32 connections (docs/decisions/0038). Not thread-safe.
    """

    def __init__(self, size: int, there: Iterable[tuple[int, int]] = (), takers: int = 16) -> None:
        """``there`` are the ranges that need not be fetched; they may overlap."""
        self._takers = takers
        self._size = size
        self._usual = min(max(size // _PARTS, _LEAST), LARGEST)
        self._first = takers  # pieces that are still to be small
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

    def take(self, hash_has_time: bool = False) -> Piece | None:
        """The next piece to fetch; None when all are handed out.

        Where the hash is much faster than the line, the round trip that each piece costs is all that counts:
        then pieces are as large as leaves the hash twice the time that it needs for them.
        """
        if not self._gaps:
            return None
        start, stop = self._gaps.pop()
        most = self._usual // 3 if self._first > 0 else self._usual
        if hash_has_time:
            most = max(most, min(self.missing // (2 * self._takers), LARGEST))
        self._first -= 1
        # Were it all of a share, each would end with the file, and the hash could not have begun with them.
        share = self.missing * 2 // (3 * self._takers)
        length = min(max(share, SMALLEST), most)
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
