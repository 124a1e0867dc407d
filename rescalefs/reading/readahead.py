"""Pure: what was read so far -> which bytes to fetch next, and how large the requests are.

The scale of all this is a far server: a request costs a round trip of 40 ms or so, and a connection carries
20 MB/s or so, hence 0.8 MB of a transfer cost as much as asking for it.
"""

from __future__ import annotations

from rescalefs.reading.ranges import NOWHERE, Span
from rescalefs.reading.settings import KIB, MIB

# What a first read at the start of a file fetches at once. Linux asks for 128 KiB more than the application
# did, FUSE can't tell the two apart, and a second request would cost a small read a second round trip.
FIRST = 512 * KIB
# The start of a file tells `head` and `file` from `cat` only after some bytes.
SEQUENTIAL_AFTER = 256 * KIB
SECOND = 8 * MIB  # the window from then on, and at once where so much is asked for by one read:
BULK = 128 * KIB  # `cat` and `cp` read as much; `head` reads 8 KiB, of which the kernel makes 32
FULL_AFTER = 256 * KIB + BULK  # bytes read in one run, after which the window is as wide as it gets
SLACK = 1 * MIB  # the kernel's readahead comes in by several threads, so that reads overtake each other
EXTENT = 16 * MIB
# Whoever reads, and SHA-512, waits for the extent in front while those behind it come in, too. So not larger
# than the number of requests demands; the round trip between two of them is hidden (`Pace.lead`).
LARGEST_EXTENT = 24 * MIB
SMALLEST_EXTENT = 4 * MIB


def reach(connections: int) -> int:
    """How far ahead of a sequential reader to fetch, in bytes.

    One of the largest extents for each connection, and half as much again: the reader stands still while the
    extent in front of it comes in, and those who are done with theirs by then must have something to do.
    """
    return connections * (LARGEST_EXTENT + EXTENT)


class Readahead:
    """The window of one open file: the bytes to have at hand for the reads that are likely to come.

    Sequential reads widen it, a read elsewhere closes it. Not thread-safe: its owner serialises `note`.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._run = NOWHERE  # from the first byte of the reads in sequence to the furthest
        self._consumed = 0  # bytes asked for in this run
        self.window = NOWHERE

    def note(self, read: Span, farthest: int) -> None:
        """Take a read into account, and move the window, which reaches ``farthest`` ahead at most."""
        follows = self._consumed and self._run.stop - SLACK <= read.start <= self._run.stop + SLACK
        if follows and read.stop <= self._run.stop:
            return  # again, or overtaken by another read
        if follows:
            self._run = Span(self._run.start, read.stop)
            self._consumed += len(read)
            ahead = self._ahead(farthest)
        else:
            self._run = read
            self._consumed = len(read)
            ahead = 0
            if read.start == 0:
                ahead = SECOND if len(read) >= BULK else FIRST
        self._open(read, min(ahead, farthest))

    def _ahead(self, farthest: int) -> int:
        if self._consumed < SEQUENTIAL_AFTER:
            return FIRST if self._run.start == 0 else 2 * self._consumed
        if self._consumed < FULL_AFTER:
            return SECOND
        return farthest

    def _open(self, read: Span, ahead: int) -> None:
        if not ahead:
            # By one request after the other, if its blocks were asked for as they are waited for.
            self.window = read if len(read) > SMALLEST_EXTENT else NOWHERE
            return
        if self._consumed < SEQUENTIAL_AFTER and ahead < SECOND:
            # The edge stays where it is while small reads approach it.
            start, stop = self._run.start, max(self._run.start + ahead, self._run.stop)
        else:
            # In steps: a window whose edge crept on with each read would be fetched in crumbs. It holds this
            # read, and those that it overtook: nobody waits for them yet, and they are not to be given up.
            start = max(self._run.start, read.start - SLACK) // SMALLEST_EXTENT * SMALLEST_EXTENT
            # As large as requests get, for to a quick server each is made as soon as the window allows.
            step = min(LARGEST_EXTENT, ahead)
            # However little room there is: the rest of what this read begins takes no more of it.
            rest = -(-self._run.stop // SMALLEST_EXTENT) * SMALLEST_EXTENT
            stop = max(rest, (self._run.stop + ahead) // step * step)
        stop = min(stop, self._size)
        window = Span(min(start, stop), stop)
        if window != self.window:  # the same object for as long as it stays where it is
            self.window = window


def extent_length(remaining: int, size: int, connections: int) -> int:
    """How much to ask for by one request, where ``remaining`` bytes of the file lie ahead of its start.

    Large in the middle of a file, because requests are counted by the server (at most 64 per GiB here) and
    each costs a round trip; smaller towards the end, so that all connections finish, and hashing with them,
    at about the same time.
    """
    # The floor that keeps 1 GiB within 64 requests: 9 MiB with 10 connections, 16 MiB with 19 and more.
    floor = min(EXTENT, max(SMALLEST_EXTENT, size * connections // 1200))
    # A little more than each connection's share of the rest: it saves some requests, and no time.
    return min(LARGEST_EXTENT, max(floor, remaining * 5 // (connections * 4)))
