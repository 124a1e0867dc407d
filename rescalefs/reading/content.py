"""What is known of one version of one file, shared by all who have it open; the board guards all of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from rescalefs.errors import RescaleFSError
from rescalefs.model import RemoteFile
from rescalefs.reading.block import Block
from rescalefs.reading.ranges import NOWHERE, Grid, Span, each_leaf
from rescalefs.reading.straggling import Progress
from rescalefs.reading.trailer import DIGEST
from rescalefs.reading.waiter import Waiter

_OVERHEAD = 400  # bytes of Python objects for each block


class Extent:
    """One request's worth of leaves, taken by one connection."""

    __slots__ = (
        "blocks",
        "cancelled",
        "content",
        "epoch",
        "leaving",
        "outrun",
        "position",
        "progress",
        "rival",
        "span",
        "stream",
    )

    def __init__(self, content: Content, span: Span, blocks: dict[int, Block], stream: Stream) -> None:
        self.content = content
        self.stream = stream  # for whom it was taken first
        self.epoch = content.epoch
        self.span = span
        self.blocks = blocks
        self.position = span.start  # the byte that comes next
        self.cancelled = False  # nobody wants the rest any more
        self.leaving = False  # its connection counts as free: the last bytes are on their way
        self.progress = Progress()
        self.rival: Extent | None = None  # another one that brings the same; race.py
        self.outrun = False  # a rival has taken its blocks' places: no error of it matters


class Stream:
    """What one open file wants: now (somebody waits for it) and soon."""

    __slots__ = ("closed", "content", "demands", "lapsed", "opened", "race", "read_at", "tainted", "window")

    def __init__(self, content: Content, opened: int = 0) -> None:
        self.content = content
        self.opened = opened  # by the count of which `Block.used` is
        self.demands: dict[Waiter, Span] = {}
        self.window = NOWHERE
        self.read_at = 0.0  # when its reader asked for something last; written without the lock
        self.tainted = False  # its reader was given bytes that turned out to be doubtful
        self.closed = False
        self.lapsed: float | None = None  # when somebody waited in vain for the last time
        self.race: Extent | None = None  # the one rival that may run for it at a time

    def wants(self, span: Span) -> bool:
        return self.window.overlaps(span) or any(each.overlaps(span) for each in self.demands.values())


class Known:
    """What is known of the leaves of one block, whether or not its bytes are here just now."""

    __slots__ = ("digests", "seen", "served")

    def __init__(self, digests: bytearray, seen: int) -> None:
        self.digests = digests
        self.seen = seen  # the leaves that came in, whose digests are known
        self.served = 0  # the leaves that some reader was given

    def differs(self, digests: bytearray, mask: int) -> bool:
        """Whether one of the leaves has another digest than the one known for it."""
        for leaf in each_leaf(mask & self.seen):
            at = slice(DIGEST * leaf, DIGEST * (leaf + 1))
            if self.digests[at] != digests[at]:
                return True
        return False


class Content:
    """One version of one file.

    Every leaf that ever came in while this object lives is remembered by its digest: another fetch of the
    same leaf must bring the same bytes. So what SHA-512 confirms in the end is what readers were given.
    """

    def __init__(self, file: RemoteFile, grid: Grid) -> None:
        self.file = file
        self.grid = grid
        self.size = grid.size
        self.blocks: dict[int, Block] = {}
        self.streams: list[Stream] = []
        self.extents: list[Extent] = []
        self.recognised = False  # whether the store was asked if it is verified
        self.confirmed = False  # SHA-512 agreed: the digests are those of the right bytes
        self.settled = file.sha512 is None  # reads need no account: confirmed, or can't be
        self.failure: RescaleFSError | None = None  # every read raises it
        self.verdict_waiters: list[Waiter] = []
        self._forget_bytes()
        self.epoch = 0  # counts how often all bytes were thrown away as wrong
        self.full_read = Stream(self)  # what hashing needs when somebody waits for the verdict
        self.hash_queued = False

    def _forget_bytes(self) -> None:
        # Made for a block when a leaf of it comes in or is given: the size is only what the server claims.
        self._known: dict[int, Known] = {}
        self._record: bytes | None = None  # in place of `_known`: digests of all leaves, confirmed earlier
        self.unseen = self.grid.leaves
        self.unserved = self.grid.leaves
        self.given = False  # anything was given to any reader
        self.hash = hashlib.sha512()
        self.hashed = 0  # blocks

    def restart(self) -> None:
        """Throw away all bytes, and what is known of them."""
        self.epoch += 1
        for stream in self.streams:
            stream.tainted = stream.tainted or self.given or self.settled
            stream.window = NOWHERE
        for extent in self.extents:
            extent.cancelled = True
        self.blocks = {}
        self._forget_bytes()

    def confirm(self, digests: bytes | None = None) -> None:
        """The bytes are right; ``digests`` are theirs if it was another time that they were confirmed."""
        if digests is not None:
            self._known, self._record = {}, digests
        self.unseen = 0
        self.confirmed = self.settled = True

    def all_digests(self) -> bytes | None:
        """The digests of all leaves in order; None while some are not known. Called without the lock, too:
        once a file is confirmed, they do not change."""
        if self._record is not None or self.unseen:
            return self._record
        known = self._known
        return b"".join(known[number].digests for number in range(self.grid.blocks))

    @property
    def weight(self) -> int:
        """How much memory it takes, in bytes, about."""
        per_block = DIGEST * self.grid.leaves_per_block + _OVERHEAD
        return len(self._record or b"") + (len(self._known) + len(self.blocks)) * per_block

    def key(self, number: int) -> str:
        """Under which the store has a block."""
        return f"{self.file.version}/{self.grid.block_size}/{number}"

    def add(self, number: int) -> Block:
        block = Block(number, self.grid.length(number), self.grid.leaf_size)
        self.blocks[number] = block
        return block

    def has_seen(self, number: int) -> bool:
        """Whether all leaves of a block came in at some time."""
        known = self._of(number)
        return known is not None and known.seen == self.grid.full(number)

    def agrees(self, block: Block, mask: int) -> bool:
        """Whether leaves of a block have the digests known for them; new ones become known."""
        known = self._touched(block.number)
        if known.differs(block.digests, mask):
            return False
        new = mask & ~known.seen
        for leaf in each_leaf(new):
            known.digests[DIGEST * leaf : DIGEST * (leaf + 1)] = block.digest_of(leaf)
        known.seen |= new
        self.unseen -= new.bit_count()
        return True

    def contradicts(self, block: Block, mask: int, digests: bytearray) -> bool:
        """Whether a leaf of the store's has another digest than the one known for it."""
        known = self._of(block.number)
        return known is not None and known.differs(digests, mask)

    def will_be_served(self, span: Span) -> bool:
        """Note that a reader gets these bytes; tell whether every leaf has been given to somebody now."""
        for number in self.grid.numbers(span):
            known = self._touched(number)
            new = self.grid.mask(number, span) & ~known.served
            known.served |= new
            self.unserved -= new.bit_count()
        return self.unserved == 0

    def _of(self, number: int) -> Known | None:
        if self._record is None:
            return self._known.get(number)
        at = number * self.grid.leaves_per_block * DIGEST
        digests = self._record[at : at + DIGEST * self.grid.leaves_per_block]
        return Known(bytearray(digests), self.grid.full(number))

    def _touched(self, number: int) -> Known:
        known = self._of(number)
        if known is None:
            leaves = self.grid.full(number).bit_length()
            known = self._known[number] = Known(bytearray(DIGEST * leaves), 0)
        return known

    def waits_for(self, number: int) -> bool:
        """Whether a verdict is waited for, and this is the next block to hash: it must not be closed."""
        return bool(self.verdict_waiters) and number == self.hashed

    def wanted(self, span: Span) -> bool:
        return self.full_read.wants(span) or any(stream.wants(span) for stream in self.streams)

    def waiters(self) -> Iterator[Waiter]:
        for stream in self.streams:
            yield from stream.demands
        yield from self.verdict_waiters
