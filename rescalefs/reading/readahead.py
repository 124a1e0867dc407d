"""Pure: what was read so far -> which bytes to fetch next, and how large the requests are.

The scale of all this is a far server: a request costs a round trip of 40 ms or so, and a connection carries
20 MB/s or so, hence 0.8 MB of a transfer cost as much as asking for it.
"""

from __future__ import annotations

from dataclasses import dataclass

from rescalefs.reading.ranges import NOWHERE, Span
from rescalefs.reading.settings import KIB, MIB

# What a first read at the start of a file fetches at once. Linux asks for 128 KiB more than the application
# did, FUSE can't tell the two apart, and a second request would cost a small read a second round trip.
FIRST = 512 * KIB
# The start of a file tells `head` and `file` from `cat` only after some bytes.
SEQUENTIAL_AFTER = 256 * KIB
SECOND = 8 * MIB  # the window from then on
FULL_AFTER = 1 * MIB  # bytes read in one run, after which the window is as wide as it gets
SLACK = 1 * MIB  # the kernel's readahead comes in by several threads, so that reads overtake each other
EXTENT = 16 * MIB  # what each connection has ahead of a sequential reader
LARGEST_EXTENT = 32 * MIB  # 1.6 s at 20 MB/s: a round trip of 40 ms costs 2.5 % of it
SMALLEST_EXTENT = 4 * MIB


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a sequential reader may look ahead, in bytes."""

    full: int

    @classmethod
    def of(cls, connections: int) -> Reach:
        return cls(connections * EXTENT)


class Readahead:
    """The window of one open file: the bytes to have at hand for the reads that are likely to come.

    Sequential reads widen it, a read elsewhere closes it. Not thread-safe: its owner serialises `note`.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._run = NOWHERE  # from the first byte of the reads in sequence to the furthest
        self._consumed = 0  # bytes asked for in this run
        self.window = NOWHERE

    def note(self, read: Span, reach: Reach) -> bool:
        """Take a read into account; tell whether the window moved."""
        if self._consumed and self._run.stop - SLACK <= read.start <= self._run.stop + SLACK:
            self._run = Span(self._run.start, max(self._run.stop, read.stop))
            self._consumed += len(read)
            ahead = self._ahead(reach)
        else:
            self._run = read
            self._consumed = len(read)
            ahead = FIRST if read.start == 0 else 0
        return self._open(ahead)

    def close(self) -> None:
        """Forget the run: nothing ahead is wanted."""
        self._run = self.window = NOWHERE
        self._consumed = 0

    def _ahead(self, reach: Reach) -> int:
        if self._consumed < SEQUENTIAL_AFTER:
            return FIRST if self._run.start == 0 else 2 * len(self._run)
        if self._consumed < FULL_AFTER:
            return min(SECOND, reach.full)
        return reach.full

    def _open(self, ahead: int) -> bool:
        if not ahead:
            moved = bool(self.window)
            self.window = NOWHERE
            return moved
        if ahead < SECOND:
            # At the start of a file the edge stays where it is while small reads approach it.
            stop = max(self._run.start + ahead, self._run.stop)
        else:
            # In steps: a window whose edge crept on with each read would be fetched in crumbs.
            step = min(EXTENT, ahead)
            stop = (self._run.stop + ahead) // step * step
        stop = min(stop, self._size)
        start = self._run.stop // SMALLEST_EXTENT * SMALLEST_EXTENT
        if ahead < SECOND:
            start = self._run.start
        window = Span(min(start, stop), stop)
        moved = window != self.window
        self.window = window
        return moved


def extent_length(remaining: int, size: int, connections: int) -> int:
    """How much to ask for by one request, where ``remaining`` bytes of the file lie ahead of its start.

    Large in the middle of a file, because requests are counted by the server (at most 64 per GiB here) and
    each costs a round trip; smaller towards the end, so that all connections finish, and hashing with them,
    at about the same time.
    """
    # The floor that keeps 1 GiB within 64 requests: 5 MiB with 10 connections, 16 MiB with 32.
    floor = min(EXTENT, max(SMALLEST_EXTENT, size * connections // 2048))
    return min(LARGEST_EXTENT, max(floor, remaining // connections))
