"""The connections: each takes an extent off the board, fetches it, and hands over leaf after leaf."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import xxhash

from rescalefs.clock import Clock
from rescalefs.descriptors import SPENT
from rescalefs.errors import (
    FileChanged,
    Misconfigured,
    NoDescriptors,
    RescaleFSError,
    ServerFailed,
    Throttled,
    TimedOut,
    UnexpectedAnswer,
    Unreachable,
    WrongBytes,
)
from rescalefs.reading.block import Block
from rescalefs.reading.blocks import BlockStore
from rescalefs.reading.board import Board
from rescalefs.reading.content import Extent
from rescalefs.reading.source import Body, Source
from rescalefs.reading.trailer import DIGEST
from rescalefs.reading.waiter import without_frames

log = logging.getLogger(__name__)

_FAILURES = 4  # in a row without a new byte, after which an extent is given up
_PASSING = (Unreachable, TimedOut, ServerFailed, Throttled, UnexpectedAnswer, NoDescriptors)


class _WrongLeaf(RescaleFSError):
    """What came in is not what SHA-512 confirmed before."""


class _LostBlock(Exception):
    """The disk neither takes a block's bytes nor gives back those that it has."""

    def __init__(self, block: Block, error: OSError) -> None:
        super().__init__(str(error))
        self.block = block
        self.error = error


class Fetcher:
    """The body of every connection's thread.

    A transfer that breaks is resumed at the byte where it broke; one that fails again and again without a new
    byte is given up, and whoever waits for it gets its error.
    """

    def __init__(self, source: Source, board: Board, store: BlockStore, clock: Clock, pause: float) -> None:
        self._source = source
        self._board = board
        self._store = store
        self._clock = clock
        self._pause = pause

    def run(self, stop: threading.Event) -> None:
        """Fetch extents until the board closes."""
        while self._fetch_one(stop):
            pass

    def _fetch_one(self, stop: threading.Event) -> bool:
        """Wait for an extent and fetch it; False when the board has closed.

        A call of its own: while the next one is waited for, nothing here may hold the blocks of the last,
        which are open files of 4 MiB each.
        """
        extent = self._board.take_extent()
        if extent is None:
            return False
        error: RescaleFSError | None = Unreachable(f"{extent.content.file.path}: its connection ended")
        try:
            self._fetch(extent, stop)
            error = None
        except RescaleFSError as failure:
            error = without_frames(failure)
        except Exception as failure:
            # Neither the network nor the disk may end the mount, whatever they come up with.
            log.exception("unforeseen failure while fetching %s", extent.content.file.path)
            error = Unreachable(f"{extent.content.file.path}: {failure!r}")
        finally:
            self._board.finish_extent(extent, error)  # on every path: readers wait for it
        return True

    def _fetch(self, extent: Extent, stop: threading.Event) -> None:
        writing = _Writing(extent, self._board, self._store)
        failures = 0
        while extent.position < extent.span.stop and not extent.cancelled:
            before = extent.position
            try:
                self._transfer(extent, writing)
            except _LostBlock as lost:
                self._board.discard(extent.content, lost.block, lost.error)
                return  # whoever wants it asks again; then it goes into memory
            except Misconfigured:
                raise
            except (*_PASSING, _WrongLeaf) as error:
                failures = 1 if extent.position > before else failures + 1
                wrong = isinstance(error, _WrongLeaf)
                if isinstance(error, Throttled):
                    self._board.throttled()
                if wrong:
                    failures = writing.wrong
                if failures >= (2 if wrong else _FAILURES):
                    if wrong:
                        raise self._changed(extent) from error
                    raise
                log.debug("%s broke at byte %d: %s", extent.content.file.path, extent.position, error)
                if self._clock.wait(stop, self._pause * 2 ** (failures - 1)):
                    raise

    def _changed(self, extent: Extent) -> RescaleFSError:
        path = extent.content.file.path
        return WrongBytes(f"{path}: the server no longer sends the bytes that were verified before")

    def _transfer(self, extent: Extent, writing: _Writing) -> None:
        file = extent.content.file
        start = extent.position
        self._board.requested(extent)
        asked = self._clock.monotonic()
        with self._source.open_range(file, start, extent.span.stop) as body:
            answered = self._clock.monotonic()
            self._board.answered(answered - asked)
            self._check(extent, body)
            for chunk in body:
                self._board.received(extent, len(chunk))
                writing.take(memoryview(chunk))
                if extent.cancelled or extent.position >= extent.span.stop:
                    break
        self._board.transferred(extent.position - start, self._clock.monotonic() - answered)
        if extent.cancelled:
            return
        if extent.position < extent.span.stop:
            raise Unreachable(
                f"{file.path}: the answer ended at byte {extent.position} of {extent.span.stop}"
            )

    def _check(self, extent: Extent, body: Body) -> None:
        content = extent.content
        if body.start != extent.position:
            raise Unreachable(f"{content.file.path}: asked for byte {extent.position}, got byte {body.start}")
        if (body.total is not None and body.total != content.size) or body.stop < extent.span.stop:
            size = body.stop if body.total is None else body.total
            raise FileChanged(f"{content.file.path}: the server has {size} bytes of it, not {content.size}")


class _Writing:
    """Puts an extent's bytes into its blocks, and hands each leaf over when the last byte of it is there."""

    def __init__(self, extent: Extent, board: Board, store: BlockStore) -> None:
        self._extent = extent
        self._board = board
        self._store = store
        self._grid = extent.content.grid
        self._hash = xxhash.xxh3_128()  # of the leaf that is coming in
        self.wrong = 0  # leaves that were not what they should be, in a row

    def take(self, data: memoryview) -> None:
        """The bytes at the extent's position."""
        extent = self._extent
        data = data[: extent.span.stop - extent.position]
        while data and not extent.cancelled:
            number, offset = divmod(extent.position, self._grid.block_size)
            block = extent.blocks[number]
            part = data[: block.length - offset]
            try:
                block.write(part, offset, self._store)
            except OSError as error:
                if error.errno in SPENT:
                    path = extent.content.file.path
                    raise NoDescriptors(
                        f"{path}: too many files are open; close some, or raise the limit (ulimit -n)"
                    ) from error
                if block.fd < 0 or block.in_memory:
                    raise
                raise _LostBlock(block, error) from error
            mask = 0
            for leaf, digest in self._digests(part, offset, block.length):
                block.digests[leaf * DIGEST : (leaf + 1) * DIGEST] = digest
                mask |= 1 << leaf
            extent.position += len(part)
            data = data[len(part) :]
            if mask and not self._board.arrived(extent, block, mask):
                self._go_back(number, mask)
            elif mask:
                self.wrong = 0

    def _digests(self, part: memoryview, offset: int, length: int) -> Iterator[tuple[int, bytes]]:
        size = self._grid.leaf_size
        while part:
            leaf = offset // size
            piece = part[: min((leaf + 1) * size, length) - offset]
            self._hash.update(piece)
            offset += len(piece)
            part = part[len(piece) :]
            if offset == min((leaf + 1) * size, length):
                yield leaf, self._hash.digest()
                self._hash.reset()

    def _go_back(self, number: int, mask: int) -> None:
        """Fetch leaves again that were wrong."""
        first = (mask & -mask).bit_length() - 1
        self._extent.position = number * self._grid.block_size + first * self._grid.leaf_size
        self._hash.reset()
        self.wrong += 1
        raise _WrongLeaf("a leaf is not the one that was verified")
