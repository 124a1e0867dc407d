"""ReadEngine, the room's door: opens files, and gives their bytes at any offset."""

from __future__ import annotations

import dataclasses
import errno
import threading

from rescalefs.background import Background
from rescalefs.clock import Clock
from rescalefs.descriptors import Descriptors
from rescalefs.errors import NotYetUploaded
from rescalefs.forks import Process
from rescalefs.model import RemoteFile
from rescalefs.reading.block import Block
from rescalefs.reading.blocks import BlockStore, CacheUsage
from rescalefs.reading.board import Board, Counters
from rescalefs.reading.connections import Pace
from rescalefs.reading.content import Stream
from rescalefs.reading.fetcher import Fetcher
from rescalefs.reading.hashing import Hasher
from rescalefs.reading.librarian import Librarian
from rescalefs.reading.positioned import read_at_once
from rescalefs.reading.ranges import Span
from rescalefs.reading.readahead import Readahead
from rescalefs.reading.settings import ReadingSettings
from rescalefs.reading.sizes import Sizes
from rescalefs.reading.source import Source
from rescalefs.reading.verification import Verification

_HASHERS = 2
_TOGETHER = 0.05  # seconds; readers that leave meanwhile are seen to together: to wake a thread for each of
# them costs more than all else that a small file takes
_LOOK_AGAIN = 60.0  # seconds; what is waited for ends the wait at once, this only limits it


class ReadEngine:
    """Reads remote files, through a cache on disk.

    Readers share what is in flight, so no byte is fetched twice at the same time. The cache may forget
    what it likes, or fail: that costs a fetch, never a wrong byte. Nobody reads a whole file to its end and
    gets wrong bytes without an error, as long as the server has a SHA-512 of it and `verify` is not `off`.
    """

    def __init__(
        self,
        source: Source,
        settings: ReadingSettings,
        clock: Clock,
        background: Background,
        descriptors: Descriptors | None = None,
    ) -> None:
        """``descriptors`` is what the process may have open; None: what the system says at this moment."""
        self._process = Process()
        self._sizes = Sizes(source, clock)
        self._settings = settings
        self._background = background
        descriptors = descriptors or Descriptors.of_this_process(raised=False)
        self._store = BlockStore(settings.cache_dir, settings.cache_size, clock, descriptors)
        self._board = Board(settings, clock, self._store)
        descriptors.reclaim_with(self._board.reclaim)
        self._librarian = Librarian(self._board, self._store, settings.leaf_size)
        self._fetcher = Fetcher(source, self._board, self._store, clock, settings.retry_pause)
        self._hasher = Hasher(self._board, settings.leaf_size)
        self._threads = Pace(settings.connections).threads

    def start(self) -> None:
        """Start the threads. Until then, whoever reads waits."""
        self._background.start("librarian", self._librarian.run)
        for number in range(self._threads):
            # What comes in waits in the sockets; who reads waits for the hash of what came in before.
            self._background.start(f"connection-{number}", self._fetcher.run, yielding=True)
        if self._settings.verify != "off":
            for number in range(_HASHERS):
                self._background.start(f"hasher-{number}", self._hasher.run)
        self._background.start("reading-part", self._part_with_readers)
        self._background.start("reading-stop", self._close_on_stop)

    def open(self, file: RemoteFile) -> OpenFile:
        """Open a file; asks the server only when the size is not known.

        Raises `NotYetUploaded`, and what `size` raises.
        """
        self._process.check()
        if not file.is_uploaded:
            raise NotYetUploaded(f"{file.path}: it is not on the server in full yet; try again later")
        size = self.size(file)
        strict = self._settings.verify == "strict"
        return OpenFile(self._board, self._board.open(dataclasses.replace(file, size=size), size), strict)

    def size(self, file: RemoteFile) -> int:
        """The size of a file in bytes; asks the server, once, where the listing does not tell.

        Raises `NotYetUploaded`, `SizeUnknown`, and what asking raises. Never 0 for what is not known.
        """
        # What is listed with 0 bytes before its upload has ended is not known to be empty.
        if file.size is not None and (file.size or file.is_uploaded):
            return file.size
        if not file.is_uploaded:
            raise NotYetUploaded(f"{file.path}: it is not on the server in full yet; try again later")
        return self._sizes.size(file)

    def verification(self, file: RemoteFile) -> Verification:
        """How far the file's bytes are known to be right. Asks neither the network nor the disk."""
        self._process.check()
        return self._board.verification(file)

    def cache_usage(self) -> CacheUsage:
        """How full the cache is."""
        return self._store.usage

    def counters(self) -> Counters:
        """What was fetched so far, and found in the cache."""
        self._process.check()
        return self._board.counters()

    def close(self) -> None:
        """End every read and fetch; in a forked child, nothing. `Background.close` joins the threads."""
        if self._process.is_this:
            self._board.close()

    def _part_with_readers(self, stop: threading.Event) -> None:
        while not self._board.is_closed:
            self._board.part(_LOOK_AGAIN)
            stop.wait(_TOGETHER)

    def _close_on_stop(self, stop: threading.Event) -> None:
        while not stop.wait(_LOOK_AGAIN):
            pass
        self._board.close()


class OpenFile:
    """One opened file. Thread-safe, up to `close`."""

    def __init__(self, board: Board, stream: Stream, strict: bool) -> None:
        content = stream.content
        self.file = content.file
        self.size = content.size
        self._process = Process()
        self._board = board
        self._stream = stream
        self._content = content
        self._strict = strict
        self._block_size = content.grid.block_size
        self._noting = threading.Lock()  # guards _readahead
        self._readahead = Readahead(self.size)

    @property
    def version(self) -> str:
        """Which bytes are being served: another value once some were found wrong, and fetched again.

        For whoever keeps what was read, as the kernel does: only bytes of the same version belong together.
        """
        return f"{self.file.version}#{self._content.epoch}"

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill ``buffer`` from ``offset`` on; return the count, short only where the file ends.

        Raises an `ApiError` or a `ContentError`; then what is in the buffer means nothing.
        """
        self._process.check()
        content = self._content
        span = Span(min(offset, self.size), min(offset + len(buffer), self.size))
        while self._strict and not content.settled:
            self._board.await_verdict(self._stream)
        self._look_ahead(span)
        while True:
            epoch = content.epoch
            for part in span.split(self._block_size):
                self._copy(part, buffer[part.start - offset : part.stop - offset])
            if content.settled and epoch == content.epoch and not self._stream.tainted:
                return len(span)
            if self._board.may_give(self._stream, span, epoch):
                return len(span)
            self._board.await_verdict(self._stream)

    def close(self) -> None:
        """Leave. What was fetched for this reader alone is not fetched any further. Takes no lock."""
        self._board.close_stream(self._stream)

    def _look_ahead(self, span: Span) -> None:
        if not span:
            return
        self._board.note_read(self._stream)
        with self._noting:
            self._readahead.note(span, self._board.reach)
            window = self._readahead.window
        if window is not self._stream.window:
            self._board.move_window(self._stream, window)

    def _copy(self, part: Span, target: memoryview) -> None:
        """Copy bytes that lie in one block."""
        content = self._content
        number, offset = divmod(part.start, self._block_size)
        has_failed = False
        while True:
            block: Block | None = content.blocks.get(number)
            if block is None or content.grid.mask(number, part) & ~block.ready:
                block = self._board.await_block(self._stream, part)
            block.used = self._board.used()
            error: OSError | None = None
            try:
                if read_at_once(block.fd, target, offset) == len(part):
                    return
            except OSError as failure:
                error = failure
            if error is None and has_failed:
                error = OSError(errno.EIO, "somebody cuts the cache's files short")
            if error is not None and block.in_memory:
                raise error
            # Fetched again; after a second time, or an error of the disk's, into memory: so that ends.
            has_failed = True
            self._board.discard(content, block, error)
