"""How many blocks may be held open, and how far ahead of its readers the board may fetch.

Not thread-safe: all of it is the board's, called with its lock held, except what says otherwise.
"""

from __future__ import annotations

from rescalefs.descriptors import Share
from rescalefs.reading.block import Block
from rescalefs.reading.content import Content, Stream
from rescalefs.reading.ranges import NOWHERE, Span
from rescalefs.reading.settings import ReadingSettings

IN_MEMORY = 24  # blocks, when the disk won't have them: 96 MiB
_IDLE_AFTER = 2.0  # seconds after its last read, after which a reader's window may be another's


class Room:
    """The blocks that have a descriptor, and the windows of the readers that are to be fetched into them.

    What counts against the limit are the descriptors themselves, from where they are opened to where they
    are closed: a block that left the board counts for as long as a reader or a connection holds it.
    """

    def __init__(self, settings: ReadingSettings, share: Share, connections: int) -> None:
        self._share = share
        # No more than the cache may hold, or one for each connection: what was evicted takes its place on the
        # disk for as long as it is open.
        fitting = max(connections, settings.cache_size // settings.block_size)
        self.most = max(1, min(settings.open_blocks, share.most, fitting))
        self._margin = connections  # blocks that connections and waiting readers may have beyond that
        self._block_size = settings.block_size
        self.blocks: dict[Block, Content] = {}
        self.in_memory = 0  # of these blocks
        self._windows: dict[Stream, int] = {}  # blocks in front of each reader that has a window
        self._allotted = 0  # blocks in all windows
        self._look_at = 0.0  # when idle readers may be looked for again
        self._trim_in = 0  # blocks that may come before it is worth looking again what can be closed

    # -- blocks

    def add(self, content: Content, block: Block) -> None:
        """Hold a block, which has a descriptor now."""
        if block not in self.blocks:
            self.blocks[block] = content
            self._trim_in -= 1
        if block.in_memory and not block.counted_in_memory:
            block.counted_in_memory = True
            self.in_memory += 1

    def discard(self, block: Block) -> None:
        """Hold a block no more."""
        self.blocks.pop(block, None)
        self.in_memory -= block.counted_in_memory
        block.counted_in_memory = False

    def excess(self, closing: int) -> int:
        """How many blocks to close now, beside the ``closing`` ones; many at a time, so mostly 0."""
        over = self._share.count - closing - self.most
        if over <= 0 or self._trim_in > 0:
            return 0
        return over + self.most // 8

    def trimmed(self, wanted: int, found: int) -> None:
        """So many could be closed: if all are in use, look again when some more have come, not with each."""
        self._trim_in = self.most // 8 if found < wanted else 0

    def look_again(self) -> None:
        """Something may be closed now that could not be."""
        self._trim_in = 0

    def is_full(self, closing: int) -> bool:
        """Whether only what readers wait for may be fetched."""
        return self._share.count - closing > self.most or self.in_memory >= IN_MEMORY

    def is_spent(self, closing: int) -> bool:
        """Whether even what readers wait for has to come a little at a time."""
        return self._share.count - closing > self.most + self._margin

    def oldest(self, now: float, *, in_memory: bool, closing: int) -> list[Block]:
        """The blocks that may be closed, the one that is needed least first.

        Those that are still to be hashed, or to be read by a reader that goes on, are needed in the order of
        their numbers. So the farthest of them goes first: to close the nearest, which was used least
        recently, would have it fetched again at once, at the cost of the next one.

        Among the last, where there are far too many: those in which readers wait for what is not even asked
        for yet. They look for the block again when it is closed.
        """
        found: list[tuple[int, int, Block]] = []
        spent = self.is_spent(closing)
        wanted = self.wanted(active_at=now)
        for block, content in self.blocks.items():
            if (in_memory and not block.counted_in_memory) or content.waits_for(block.number):
                continue
            if not block.is_idle and not (spent and block.waiters and not block.pending | block.keeping):
                continue
            if block.waiters:
                found.append((3, block.used, block))
            elif (content, block.number) in wanted:
                found.append((2, -block.number, block))
            elif not content.settled and block.number >= content.hashed and block.is_full:
                found.append((1, content.hashed - block.number, block))
            else:
                found.append((0, block.used, block))
        found.sort(key=lambda each: each[:2])
        return [block for _, _, block in found]

    # -- windows

    @property
    def reach(self) -> int:
        """How many bytes ahead of a reader there is room for: its share of half of the blocks.

        Called without the lock: a hint.
        """
        blocks = IN_MEMORY if self.in_memory else self.most
        return blocks * self._block_size // 2 // max(1, len(self._windows))

    def allot(self, stream: Stream, window: Span, now: float) -> None:
        """Give a reader this window, and close those of idle readers that do not fit beside it."""
        self.close_window(stream)
        if not window:
            return
        stream.window = window
        self._windows[stream] = len(stream.content.grid.numbers(window))
        self._allotted += self._windows[stream]
        if self._allotted > self.most // 2 and now >= self._look_at:
            self._look_at = now + _IDLE_AFTER / 8
            for each in list(self._windows):
                self.close_if_idle(each, now)

    def wanted(self, active_at: float | None = None) -> set[tuple[Content, int]]:
        """The blocks, by number, that lie in a window; only in those of readers that are active then."""
        return {
            (stream.content, number)
            for stream in self._windows
            if active_at is None or not _is_idle(stream, active_at)
            for number in stream.content.grid.numbers(stream.window)
        }

    def close_windows(self, content: Content, number: int) -> None:
        """Close all windows in which a block lies."""
        origin = number * content.grid.block_size
        span = Span(origin, origin + content.grid.length(number))
        for stream in [each for each in self._windows if each.content is content]:
            if stream.window.overlaps(span):
                self.close_window(stream)

    def close_if_idle(self, stream: Stream, now: float) -> bool:
        """Fetch nothing ahead of a reader that has not read for a while; return whether it is one."""
        if _is_idle(stream, now):
            self.close_window(stream)
            return True
        return False

    def close_window(self, stream: Stream) -> None:
        """Fetch nothing ahead of a reader, until it reads on."""
        stream.window = NOWHERE
        self._allotted -= self._windows.pop(stream, 0)


def _is_idle(stream: Stream, now: float) -> bool:
    """Whether its reader has not read anything for a while."""
    return not stream.demands and now - stream.read_at > _IDLE_AFTER
