"""One block of a file: where its bytes are, and which of them may be read."""

from __future__ import annotations

import os
import threading

from rescalefs.descriptors import SPENT, Share
from rescalefs.reading.blocks import BlockStore, memory_spool
from rescalefs.reading.positioned import read_at, read_into, write_fully
from rescalefs.reading.ranges import each_leaf, runs
from rescalefs.reading.trailer import DIGEST, decode, digest, encode, trailer_size
from rescalefs.reading.waiter import Waiter


class Block:
    """A descriptor, and for each leaf whether it is on its way, there, and fit to be served.

    `pending` are the leaves that somebody fetches, `present` those behind the descriptor, `ready` those among
    them that were digested as they arrived or checked since they came from the disk. All masks are written
    under the board's lock only; `ready` is also read without it, and a leaf in it stays readable for as
    long as one holds the block.
    """

    __slots__ = (
        "_leaf_size",
        "_moving",
        "_share",
        "counted_in_memory",
        "digests",
        "fd",
        "full",
        "in_memory",
        "keeping",
        "length",
        "looked_up",
        "number",
        "pending",
        "present",
        "ready",
        "saved",
        "touched",
        "used",
        "waiters",
    )

    def __init__(self, number: int, length: int, leaf_size: int) -> None:
        leaves = -(-length // leaf_size)
        self.number = number
        self.length = length
        self._leaf_size = leaf_size
        self.fd = -1
        self.in_memory = False
        self.counted_in_memory = False  # by the board's room
        self._share: Share | None = None  # in which the descriptor counts until it is closed
        self.full = (1 << leaves) - 1
        self.pending = self.present = self.ready = 0
        self.saved = 0  # the leaves that the store has, too
        self.keeping = False  # it is being stored
        self.digests = bytearray(DIGEST * leaves)
        self.looked_up = False  # whether the store has been asked for it
        self.used = 0  # a count that grows with every use of any block
        self.touched = 0  # the same, as far as the store knows of its use
        self.waiters: list[Waiter] = []
        self._moving = threading.Lock()  # guards which file `fd` is, for those who write; readers need none

    def __del__(self) -> None:
        # Closed by the last one who lets go: whoever reads holds the block, so that the descriptor's number
        # can't come to mean another file under a read.
        if self.fd >= 0:
            os.close(self.fd)
            if self._share is not None:
                self._share.closed()

    def hold(self, fd: int, in_memory: bool, share: Share | None = None) -> None:
        """Own a descriptor from now on; it counts in the share until the block is freed."""
        if share is not None:
            share.opened()
        self.fd, self.in_memory, self._share = fd, in_memory, share

    @property
    def is_full(self) -> bool:
        return self.ready == self.full

    @property
    def is_idle(self) -> bool:
        """Whether no thread fetches, awaits, looks up or stores it."""
        return self.looked_up and not self.pending and not self.waiters and not self.keeping

    def digest_of(self, leaf: int) -> bytes:
        return bytes(self.digests[DIGEST * leaf : DIGEST * (leaf + 1)])

    def write(self, data: memoryview, offset: int, store: BlockStore) -> None:
        """Put bytes behind the descriptor; into memory, with all that is there, when the disk won't."""
        # The one place where a file is written under a lock: two extents may share a block, and while one of
        # them moves it to memory, the other's bytes must not go to the file that is left behind.
        with self._moving:
            if self.fd < 0:
                self.hold(*store.spool(), store.share)
            try:
                write_fully(self.fd, data, offset)
            except OSError as error:
                if self.in_memory or error.errno in SPENT:
                    raise
                store.disk_failed("write a block", error)
                self._move_to_memory()
                write_fully(self.fd, data, offset)

    def check(self, mask: int, scratch: memoryview) -> int:
        """Read leaves that came from the disk; return those that have the digest they should have."""
        good = 0
        for leaf in each_leaf(mask):
            start = leaf * self._leaf_size
            part = scratch[: min(self._leaf_size, self.length - start)]
            if read_into(self.fd, part, start) == len(part) and digest(part) == self.digest_of(leaf):
                good |= 1 << leaf
        return good

    def seal(self, key: str) -> None:
        """Write the trailer of a block that is there in full."""
        write_fully(
            self.fd,
            memoryview(encode(key, self.length, self._leaf_size, self.full, self.digests)),
            self.length,
        )

    def pack(self, key: str, mask: int, spool: int) -> None:
        """Write some leaves and their trailer to another file, without the gaps between them."""
        target = 0
        for first, behind in runs(mask):
            start = first * self._leaf_size
            data = read_at(self.fd, min(behind * self._leaf_size, self.length) - start, start)
            write_fully(spool, memoryview(data), target)
            target += len(data)
        trailer = encode(key, self.length, self._leaf_size, mask, self.digests)
        write_fully(spool, memoryview(trailer), target)

    def _move_to_memory(self) -> None:
        memory = memory_spool()
        try:
            offset = 0
            while chunk := read_at(self.fd, 1 << 20, offset):
                write_fully(memory, memoryview(chunk), offset)
                offset += len(chunk)
            os.dup2(memory, self.fd, inheritable=False)  # atomic: readers have the one or the other
        finally:
            os.close(memory)
        self.in_memory = True


def unpack(key: str, length: int, leaf_size: int, fd: int) -> tuple[int, bytearray] | None:
    """A stored block's leaves and their digests, by its trailer; None if the file is not that block."""
    size = os.fstat(fd).st_size
    tail = trailer_size(-(-length // leaf_size))
    found = decode(key, length, leaf_size, read_at(fd, tail, max(0, size - tail)))
    if found is None:
        return None
    present, _ = found
    return found if size == packed_size(present, length, leaf_size) + tail else None


def packed_size(mask: int, length: int, leaf_size: int) -> int:
    """How many bytes the leaves of a mask are."""
    return sum(min(behind * leaf_size, length) - first * leaf_size for first, behind in runs(mask))


def copy_unpacked(present: int, length: int, leaf_size: int, packed: int, spool: int) -> None:
    """Copy the leaves of a stored block to where they belong in a fresh one."""
    source = 0
    for first, behind in runs(present):
        start = first * leaf_size
        data = read_at(packed, min(behind * leaf_size, length) - start, source)
        write_fully(spool, memoryview(data), start)
        source += len(data)
