"""Who wants which bytes, who brings them, and who waits: the one monitor of the read engine.

Readers, connections, the librarian (who owns the store) and the hashers meet here and nowhere else. One lock
guards all `Content`, `Stream`, `Extent` and the masks of all `Block`; nothing is read, written, fetched or
hashed while it is held. docs/concurrency.md tells the races by name.
"""

from __future__ import annotations

import itertools
import logging
import queue
import threading
from collections import OrderedDict, deque
from contextlib import suppress
from typing import Any, NamedTuple

from rescalefs.clock import Clock
from rescalefs.errors import FileChanged, RescaleFSError, TimedOut, Unreachable, WrongBytes
from rescalefs.model import RemoteFile
from rescalefs.reading import race, schedule
from rescalefs.reading.block import Block
from rescalefs.reading.blocks import BlockStore
from rescalefs.reading.chores import Chore, Drop, DropFile, Keep, LookUp, Lookups, Record, Touch
from rescalefs.reading.connections import Pace
from rescalefs.reading.content import Content, Extent, Stream
from rescalefs.reading.ranges import Grid, Span
from rescalefs.reading.readahead import reach
from rescalefs.reading.room import IN_MEMORY, Room
from rescalefs.reading.settings import ReadingSettings
from rescalefs.reading.straggling import PATIENCE, is_straggler
from rescalefs.reading.turns import Turns
from rescalefs.reading.verification import Verification
from rescalefs.reading.waiter import Waiter, again

log = logging.getLogger(__name__)

# Files that are not open, of which the board remembers how far they were hashed, and the memory for that:
# a file takes 1.4 KiB for each block that was read.
_IDLE_CONTENTS = 64
_IDLE_WEIGHT = 16 << 20  # bytes
_WEIGHED_AFTER = 64  # files that came to rest, after which all are weighed again
_SPARING = (
    4  # requests at a time while there are more descriptors than there should be: each brings some back
)
_BARE = 4096  # blocks without bytes, about 2 KiB each
_STORING_FROM_MEMORY = IN_MEMORY // 4  # of them that wait to be tried on the disk once more
_ONCE_MORE = (
    1.0  # seconds after a read that waited in vain: one more is the same one, asked again by the kernel
)
# Seconds for one chore, after which the store's disk counts as hanging: a busy one takes some tenths.
_HANGING = 3.0
_LOOK_AGAIN = 60.0  # seconds; a limit to waits that a notification ends
_CRUMB = (
    1 << 18
)  # bytes; an unwanted transfer that has no more to come is let finish: its connection lives on
# One race at most for so many requests, and none for a while after the server said that there are too many.
_REQUESTS_PER_RACE = 16
_FIRST_RACES = 2  # that need not wait for so many requests
_NO_RACE_AFTER_429 = 60.0  # seconds
_WEIGHTY = 1 << 20  # bytes; the rate of a shorter transfer says little

_Key = tuple[str, "int | None"]


def _key(file: RemoteFile, size: int | None) -> _Key:
    return file.version, size


class Hashing(NamedTuple):
    """The next block of a file to hash; None in place of the block: all of them have been."""

    content: Content
    epoch: int
    hash: Any
    block: Block | None


class Counters(NamedTuple):
    """What the engine did since it started."""

    bytes_fetched: int
    requests: int
    blocks_found: int  # in the store
    blocks_missed: int
    connections: int  # at work just now
    connection_limit: int
    races: int = 0  # requests that were made to race a straggling one


class Board:
    """The monitor. Every public method is called without the lock, by any thread."""

    def __init__(self, settings: ReadingSettings, clock: Clock, store: BlockStore) -> None:
        self._settings = settings
        self._clock = clock
        self._store = store  # for the files of racing blocks; all else is the librarian's
        self._ticks = itertools.count(1)
        # Streams that their readers closed, and blocks to be closed, which is not done under the lock. It is
        # appended to without the lock, which is atomic, and emptied under it: see `close_stream` and `part`.
        self._leaving: deque[Stream | Block] = deque()
        # Wakes the thread that waits in `part`. Its put() is re-entrant, as documented.
        self._left: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._lock = threading.Lock()  # guards all that follows, and what it leads to
        self._work = threading.Condition(self._lock)  # for connections
        self._chores_there = threading.Condition(self._lock)  # for the librarian
        self._hashing_there = threading.Condition(self._lock)  # for the hashers
        self._contents: dict[_Key, Content] = {}
        self._idle: OrderedDict[_Key, Content] = (
            OrderedDict()
        )  # those that are not open; the last closed last
        self._weights: dict[_Key, int] = {}  # of these, in bytes
        self._idle_weight = 0  # the sum
        self._rested = 0  # how often a file came to rest
        self._turns = Turns()
        self._extents: set[Extent] = set()  # that connections are at, or will be
        self._first: deque[Chore] = deque()  # before all others
        self._lookups = Lookups()
        self._chores: deque[Chore] = deque()
        self._at: Chore | None = None  # what the librarian is at
        self._busy_since: float | None = clock.monotonic()  # it opens the store first; None while it is idle
        self._hangs = False  # the store's disk does not answer: it is passed over
        self._hashable: deque[Content] = deque()
        self._verified: set[str] = set()
        self._failures: dict[str, RescaleFSError] = {}
        self._pace = Pace(settings.connections)
        self._active = 0
        self._room = Room(settings, store.share, self._pace.threads)
        # Chores that wait for the librarian; above it, nothing more is put into the store.
        self._backlog = self._room.most // 2
        self._bare = 0  # blocks without a descriptor, of which is known only that the store lacks them
        self._most_bare = _BARE
        self._counts = dict.fromkeys(("bytes", "requests", "found", "missed", "races"), 0)
        self._rivals: deque[Extent] = deque()  # that wait for a connection
        self._finished: deque[float] = deque(maxlen=8)  # the rates of the last transfers
        self._no_race_until = 0.0
        self._closed = False

    # -- for readers

    def open(self, file: RemoteFile, size: int) -> Stream:
        """Take part in a file."""
        self.part(0)
        with self._lock:
            content = self._contents.get(_key(file, size))
            if content is None:
                content = self._contents[_key(file, size)] = self._new_content(file, size)
            if _key(file, size) in self._idle:
                self._awake(_key(file, size))
            stream = Stream(content, self.used())
            content.streams.append(stream)
            return stream

    def close_stream(self, stream: Stream) -> None:
        """Note that a reader leaves; `part` does what follows from it, on another thread.

        Takes no lock: the garbage collector closes files that a program forgot, in the middle of any line,
        also of one that runs with the lock held.
        """
        self._leaving.append(stream)
        self._left.put(None)

    def part(self, patience: float) -> None:
        """Do what follows from readers that left, and close blocks that were given up.

        Waits for the first of them for so many seconds, or until `close`. After it, everything is done that
        was noted before: another thread that took a note has then done what follows, too.
        """
        if patience:  # otherwise the marks stay, that of the end among them, for the thread that waits
            with suppress(queue.Empty):
                self._left.get(timeout=patience)
                while True:
                    self._left.get_nowait()  # each was put after its note, so all these notes are there
        while self._part_with_next():
            pass

    def _part_with_next(self) -> bool:
        with self._lock:
            if not self._leaving:
                return False
            leaving = self._leaving.popleft()
            if isinstance(leaving, Stream):
                self._part(leaving)
        return True  # a block is closed here, without the lock, if nothing else holds it

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def _part(self, stream: Stream) -> None:
        """Take part no more; what only this reader wanted is not fetched any further. With the lock held."""
        if stream.closed:
            return
        stream.closed = True
        content = stream.content
        content.streams.remove(stream)
        self._turns.discard(stream)
        self._room.close_window(stream)
        self._touch_used(stream)
        self._cancel_unwanted(content)
        if not content.streams:
            self._stop_full_read(content)
            self._keep_pieces(content)
            self._rest(content)

    def move_window(self, stream: Stream, window: Span) -> None:
        """From now on a reader wants these bytes soon."""
        with self._lock:
            if stream.closed or stream.content.failure is not None:
                return
            self._room.allot(stream, window, self._clock.monotonic())
            self._look_ahead(stream)
            self._turns.add(stream)
            self._cancel_unwanted(stream.content)
            self._work.notify()

    @property
    def reach(self) -> int:
        """How far ahead of a reader to fetch: no further than its share of the descriptors lasts."""
        return min(reach(self._pace.limit), self._room.reach)

    def note_read(self, stream: Stream) -> None:
        """A reader asks for something. Takes no lock."""
        stream.read_at = self._clock.monotonic()

    def reclaim(self) -> None:
        """Close blocks, because the process has no descriptor left for something else."""
        with self._lock:
            self._trim(max(8, self._room.most // 4))
        self.part(0)

    def used(self) -> int:
        """A count that grows: the larger a block's, the later it was used."""
        return next(self._ticks)

    def await_block(self, stream: Stream, span: Span) -> Block:
        """Return a block in which all leaves of ``span`` are ready; it lies within one block.

        Raises what the fetch raised, and `TimedOut` after the deadline; at once where it has just passed.
        """
        content = stream.content
        number = span.start // content.grid.block_size
        need = content.grid.mask(number, span)
        until = self._clock.monotonic() + self._patience(stream)
        while True:
            with self._lock:
                block, waiter = self._find(stream, number, need, span)
            if waiter is None and block.ready & need == need:
                return block
            if waiter is None:
                self._check(content, block, need & ~block.ready)
                continue
            while not self._clock.wait(waiter.event, min(PATIENCE, until - self._clock.monotonic())):
                if self._clock.monotonic() >= until:
                    break
                self._pass_over_the_store()
                self._race(stream, span)
            with self._lock:
                stream.demands.pop(waiter, None)
                woken = waiter.event.is_set()
                if not woken:
                    block.waiters = [each for each in block.waiters if each is not waiter]
                    self._cancel_unwanted(content)
            if waiter.error is not None:
                raise again(waiter.error)
            if block.ready & need == need:
                return block  # though it may have been let go meanwhile: we hold it
            if not woken:
                stream.lapsed = self._clock.monotonic()
                raise TimedOut(
                    f"{content.file.path}: bytes {span.start}-{span.stop} did not come within "
                    f"{self._settings.deadline:.0f} s"
                )

    def _patience(self, stream: Stream) -> float:
        """How long a reader waits: the kernel asks again, by the page, for what it read ahead in vain."""
        lapsed = stream.lapsed
        has_just_waited = lapsed is not None and self._clock.monotonic() - lapsed < _ONCE_MORE
        return 0.0 if has_just_waited else self._settings.deadline

    def may_give(self, stream: Stream, span: Span, epoch: int) -> bool:
        """Whether a reader may be given bytes that it took out of blocks of this epoch.

        False: it would have read the whole file with them, or its end, and SHA-512 has not agreed yet; or
        they were thrown away as wrong meanwhile. Wait for `await_verdict`, then take them again.
        """
        with self._lock:
            content = stream.content
            self._raise_failure(stream)
            if epoch != content.epoch:
                return False
            if content.settled:
                return True
            all_given = content.will_be_served(span)
            if all_given or (span.stop >= content.size and content.unseen == 0):
                return False
            content.given = True
            return True

    def await_verdict(self, stream: Stream) -> None:
        """See to it that the file gets verified; return when it is, or when its bytes were thrown away.

        Raises `WrongBytes` when it failed, and `TimedOut` when nothing comes in or is hashed any more.
        """
        content = stream.content
        waiter = Waiter()
        with self._lock:
            self._raise_failure(stream)
            if content.settled:
                return
            content.verdict_waiters.append(waiter)
            self._read_fully(content)
            progress = (content.hashed, content.unseen, self._counts["bytes"])
        until = self._clock.monotonic() + self._settings.deadline
        while not self._clock.wait(waiter.event, min(PATIENCE, until - self._clock.monotonic())):
            if self._clock.monotonic() < until:
                start = content.hashed * content.grid.block_size
                self._pass_over_the_store()
                self._race(content.full_read, Span(start, start + content.grid.block_size))
                continue
            until = self._clock.monotonic() + self._settings.deadline
            with self._lock:
                before, progress = progress, (content.hashed, content.unseen, self._counts["bytes"])
                if progress == before:
                    content.verdict_waiters.remove(waiter)
                    raise TimedOut(f"{content.file.path}: could not be verified: no more of it comes in")
        if waiter.error is not None:
            raise again(waiter.error)

    def discard(self, content: Content, block: Block, error: OSError | None = None) -> None:
        """A block's file is not what it should be, or cannot be read or written: fetch it again."""
        if error is not None:
            self._store.disk_failed("use a block", error)
        with self._lock:
            self._discard(content, block)

    # -- for connections

    def take_extent(self) -> Extent | None:
        """Wait for something to fetch; None when the engine closes."""
        with self._lock:
            while not self._closed:
                extent = self._rivals.popleft() if self._rivals else self._choose()
                if extent is not None:
                    if extent not in extent.content.extents:  # a rival is from its beginning
                        extent.content.extents.append(extent)
                    self._extents.add(extent)
                    self._active += 1
                    self._work.notify()  # there may be more where this came from
                    return extent
                self._work.wait(_LOOK_AGAIN)
        return None

    def requested(self, extent: Extent) -> None:
        """A request was made."""
        now = self._clock.monotonic()
        with self._lock:
            self._counts["requests"] += 1
            extent.progress.begin(now, extent.position)

    def throttled(self) -> None:
        """The server said that there are too many requests."""
        with self._lock:
            self._no_race_until = self._clock.monotonic() + _NO_RACE_AFTER_429

    def answered(self, seconds: float) -> None:
        """A request's answer began after so long."""
        with self._lock:
            self._pace.answered(seconds)

    def transferred(self, count: int, seconds: float) -> None:
        """A connection brought so many bytes in this time."""
        with self._lock:
            self._pace.transferred(count, seconds)
            if count >= _WEIGHTY and seconds > 0:
                self._finished.append(count / seconds)

    def received(self, extent: Extent, count: int) -> None:
        """So many bytes of an extent came in."""
        now = self._clock.monotonic()
        with self._lock:
            self._counts["bytes"] += count
            extent.progress.note(now, extent.position)
            limit = self._pace.limit
            self._pace.note(now, count, self._active)
            nearly_done = extent.span.stop - extent.position - count <= self._pace.lead
            if nearly_done and not extent.leaving:
                # The next request goes out while the last bytes of this one are under way, so that no round
                # trip is spent with nothing coming in.
                extent.leaving = True
                self._active -= 1
                self._work.notify()
            elif self._pace.limit > limit:
                self._work.notify()

    def arrived(self, extent: Extent, block: Block, mask: int) -> bool:
        """Leaves were written to a block. False: they are not those that SHA-512 confirmed before."""
        agreed = self._arrived(extent, block, mask)
        if self._leaving:
            self.part(0)  # as many are closed as come, however busy the thread is that does this otherwise
        return agreed

    def _arrived(self, extent: Extent, block: Block, mask: int) -> bool:
        with self._lock:
            content = extent.content
            current = content.blocks.get(block.number)
            if extent.epoch != content.epoch:
                return True
            if current is not block and not race.is_twin(extent, block, current):
                return True
            if not content.agrees(block, mask):
                if content.confirmed:
                    return False
                self._throw_away(content, "the same bytes, fetched twice, were not the same")
                return True
            block.pending &= ~mask
            if extent.rival is None and not content.grid.mask(block.number, extent.span) & block.pending:
                # Its connection is done with it, may be busy with the rest for long, and would keep it open.
                extent.blocks.pop(block.number, None)
            if current is None or current is block:
                self._make_ready(content, block, mask)
                return True
            block.present |= mask
            block.ready |= mask
            if race.has_won(extent, block, current):
                self._put_in_place(content, current, block)
            return True

    def finish_extent(self, extent: Extent, error: RescaleFSError | None) -> None:
        """A request is over; ``error`` is why the rest of it could not be had."""
        with self._lock:
            self._active -= not extent.leaving
            content = extent.content
            content.extents.remove(extent)
            self._extents.discard(extent)
            if extent.rival is not None and race.end(extent):
                error = None  # who waits asks again, by a request of its own, and hears that one's
            if extent.epoch == content.epoch and not extent.outrun:
                self._release(extent, error)
            if _key(content.file, content.size) in self._idle:
                self._rest(content)
            leaf = content.grid.leaf_size
            self._turns.add_all(content, Span(extent.position // leaf * leaf, extent.span.stop))
            self._work.notify()

    # -- for the librarian

    def do_first(self, chore: Chore, patience: float) -> bool:
        """Have the librarian do a chore before all others; return whether it could be asked in time."""
        if not self._lock.acquire(timeout=patience):
            return False
        try:
            self._first.append(chore)
            self._chores_there.notify()
        finally:
            self._lock.release()
        return True

    def take_chore(self) -> Chore | None:
        """Wait for something to do with the store; None when the engine closes and all is done."""
        with self._lock:
            self._at = self._busy_since = None
            self._hangs = False
            self._store.hangs.clear()
            while True:
                others = self._first or self._chores
                chore: Chore | None = None if self._first else self._lookups.take()
                chore = chore or (others.popleft() if others else None)
                if chore is not None or self._closed:
                    self._at, self._busy_since = chore, self._clock.monotonic()
                    return chore
                self._chores_there.wait(_LOOK_AGAIN)

    def _pass_over_the_store(self) -> None:
        """Do without the store while its disk does not answer (a network disk whose server is away).

        What it was asked for is fetched, what it should keep is not kept. A block that it finds later is the
        same one.
        """
        with self._lock:
            since, now = self._busy_since, self._clock.monotonic()
            if since is None or now - since < _HANGING:
                return
            is_new, self._hangs = not self._hangs, True
            self._store.hangs.set()
            waiting, self._chores = self._chores, deque()
            for chore in (self._at, *self._lookups.take_all()):
                if isinstance(chore, LookUp):
                    self._answer(chore.content, chore.block)
            for chore in waiting:
                if isinstance(chore, Keep):
                    chore.block.keeping = False
                else:
                    self._chores.append(chore)
            self._make_room()
        if is_new:
            seconds = now - since
            log.warning("the disk of the cache has not answered for %.0f s; reading goes on without", seconds)

    def verified_before(self, versions: set[str]) -> None:
        """Files that the store has a record of."""
        with self._lock:
            self._verified |= versions

    def recognise(self, content: Content, digests: bytes | None) -> None:
        """The store was asked whether a file is verified; ``digests`` are those of its leaves if so."""
        with self._lock:
            content.recognised = True
            if digests is None:
                self._verified.discard(content.file.version)
            elif content.epoch == 0:
                content.confirm(digests)
                self._stop_full_read(content)
                self._end_verdict_waits(content)  # `strict` waits from its first read on

    def looked_up(self, chore: LookUp, found: Found | None) -> bool:
        """The store was asked for a block. False: what was found can't be right."""
        content, block = chore.content, chore.block
        with self._lock:
            if (
                chore.epoch != content.epoch
                or content.blocks.get(block.number) is not block
                or block.looked_up
            ):
                return True
            right = True
            if found is not None and content.contradicts(block, found.present, found.digests):
                found, right = None, False
            if found is None:
                self._counts["missed"] += 1
            else:
                self._counts["found"] += 1
                block.hold(*found.take(), self._store.share)
                block.digests = found.digests
                block.present = block.saved = found.present
                content.agrees(block, found.checked)
                self._make_ready(content, block, found.checked)
            self._answer(content, block)
            return right

    def _answer(self, content: Content, block: Block) -> None:
        """What the store has of a block is in it: all else is to be fetched."""
        block.looked_up = True
        block.touched = self.used()
        self._wake(block)
        self._offer_hashing(content)
        origin = block.number * content.grid.block_size
        self._turns.add_all(content, Span(origin, origin + block.length))
        self._work.notify()

    def kept(self, block: Block, mask: int) -> None:
        """Leaves were stored, or could not be; either way the block may be let go."""
        with self._lock:
            block.keeping = False
            block.saved |= mask
            block.touched = self.used()
            self._room.look_again()
            self._make_room()
            self._work.notify()  # readahead may have waited for room

    # -- for hashers

    def take_hashing(self) -> Hashing | None:
        """Wait for a block that is next in its file's order; None when the engine closes."""
        with self._lock:
            while not self._closed:
                if not self._hashable:
                    self._hashing_there.wait(_LOOK_AGAIN)
                    continue
                content = self._hashable.popleft()
                content.hash_queued = False
                if content.settled or content.failure is not None:
                    continue
                block = self._next_to_hash(content)
                if block is not None or content.hashed == content.grid.blocks:
                    content.hash_queued = True  # in hand: not to be offered to another hasher
                    return Hashing(content, content.epoch, content.hash, block)
        return None

    def hashed(self, job: Hashing, grown: Any | None) -> None:
        """A block was fed to the hash, giving ``grown``; None: it was not in one piece any more."""
        with self._lock:
            content = job.content
            content.hash_queued = False
            if job.epoch != content.epoch:
                self._offer_hashing(content)
                return
            assert job.block is not None
            if grown is not None and content.agrees(job.block, job.block.full):
                content.hash = grown
                content.hashed += 1
            else:
                self._discard(content, job.block)
            self._move_full_read(content)
            self._offer_hashing(content)

    def judge(self, job: Hashing, found: str) -> None:
        """All blocks were hashed."""
        with self._lock:
            content = job.content
            content.hash_queued = False
            if job.epoch != content.epoch:
                return
            if found == content.file.sha512:
                content.confirm()
                self._verified.add(content.file.version)
                self._failures.pop(content.file.version, None)
                self._stop_full_read(content)
                self._end_verdict_waits(content)
                self._add_chore(Record(content))
            else:
                self._throw_away(content, f"its SHA-512 is {found} and should be {content.file.sha512}")

    # -- for everybody else

    def verification(self, file: RemoteFile) -> Verification:
        """What is known of a version without asking anyone."""
        with self._lock:
            content = self._contents.get(_key(file, file.size))
            if file.version in self._failures:
                return Verification.FAILED
            if file.version in self._verified or (content is not None and content.confirmed):
                return Verification.YES
            if file.sha512 is None:
                return Verification.UNAVAILABLE
            if content is not None and not content.settled and content.unseen < content.grid.leaves:
                return Verification.PARTIAL
            return Verification.NO

    def counters(self) -> Counters:
        """What was done so far."""
        with self._lock:
            counts = self._counts
            return Counters(
                counts["bytes"],
                counts["requests"],
                counts["found"],
                counts["missed"],
                self._active,
                self._pace.limit,
                counts["races"],
            )

    def close(self) -> None:
        """End every wait: readers get an error, threads get nothing more to do."""
        self.part(0)
        with self._lock:
            if self._closed:
                return
            for content in self._contents.values():
                self._keep_pieces(content)
                for extent in content.extents:
                    extent.cancelled = True
                for waiter in content.waiters():
                    waiter.wake(Unreachable(f"{content.file.path}: the mount is going down"))
            self._closed = True
            self._work.notify_all()
            self._chores_there.notify_all()
            self._hashing_there.notify_all()
        self._left.put(None)

    # -- all below is called with the lock held

    def _new_content(self, file: RemoteFile, size: int) -> Content:
        settings = self._settings
        content = Content(file, Grid(size, settings.block_size, settings.leaf_size))
        content.failure = self._failures.get(file.version)
        if settings.verify == "off":
            content.settled = True
        return content

    def _raise_failure(self, stream: Stream) -> None:
        content = stream.content
        if content.failure is not None:
            raise again(content.failure)
        if stream.tainted:
            path = content.file.path
            if content.file.sha512 is None:
                raise FileChanged(f"{path}: the server has other bytes now than it had before; open it again")
            raise WrongBytes(f"{path}: some bytes that were read did not match its SHA-512; open it again")
        if self._closed:
            raise Unreachable(f"{content.file.path}: the mount is going down")

    def _find(self, stream: Stream, number: int, need: int, span: Span) -> tuple[Block, Waiter | None]:
        """The block, and what to wait for if not all leaves needed are there."""
        content = stream.content
        self._raise_failure(stream)
        block = content.blocks.get(number) or self._add_block(content, number)
        if block.present & need == need:
            return block, None
        block.looked_up = block.looked_up or self._hangs
        if not block.looked_up:
            self._lookups.add(LookUp(content, content.epoch, block, check=False), urgent=True)
            self._chores_there.notify()
        waiter = Waiter(need)
        block.waiters.append(waiter)
        stream.demands[waiter] = span.widened(content.grid.leaf_size).clipped(content.size)
        self._turns.add(stream)
        if block.looked_up and need & ~(block.present | block.pending):
            self._work.notify()  # else it is on its way: connections woken for nothing cost more than a read
        return block, waiter

    def _add_block(self, content: Content, number: int) -> Block:
        block = content.add(number)
        block.used = self.used()
        self._bare += 1
        if self._bare > self._most_bare:
            self._forget_bare()
        # After all bytes were thrown away, the store's are not trusted either: another process may have put
        # the same wrong ones back.
        block.looked_up = content.epoch > 0 or self._hangs
        return block

    def _look_ahead(self, stream: Stream) -> None:
        content = stream.content
        for number in list(schedule.unasked(content, stream.window)):
            block = self._add_block(content, number)
            if not block.looked_up:
                self._add_chore(LookUp(content, content.epoch, block, check=True))

    def _choose(self) -> Extent | None:
        closing = len(self._leaving)
        if self._room.is_spent(closing) and self._active >= _SPARING:
            return None
        if self._active < self._pace.urgent_limit + self._pace.spare:
            extent = self._choose_demand(others=self._active >= self._pace.urgent_limit)
            if extent is not None:
                return extent
        if self._active >= self._pace.limit or self._room.is_full(closing):
            return None
        return self._turns.first_ahead(self._carve_ahead)

    def _carve_ahead(self, stream: Stream) -> Extent | None:
        if self._room.close_if_idle(stream, self._clock.monotonic()):
            return None
        self._look_ahead(stream)
        return schedule.carve(stream, stream.window, self._pace.limit, urgent=False)

    def _choose_demand(self, others: bool) -> Extent | None:
        """Something that a reader waits for; with ``others``, one who has nothing under way."""
        return self._turns.first_waited_for(
            lambda stream, span: schedule.carve(stream, span, self._pace.limit, urgent=True),
            lambda stream: (
                others and any(each.stream is stream and not each.cancelled for each in self._extents)
            ),
        )

    def _make_ready(self, content: Content, block: Block, mask: int) -> None:
        block.present |= mask
        block.ready |= mask
        block.used = self.used()
        self._count(content, block)
        self._wake(block)
        if block.is_full:
            if not block.keeping and block.saved != block.full:
                self._keep(content, block)
            self._offer_hashing(content)

    def _wake(self, block: Block) -> None:
        """Wake who has all he needs; the others wait on."""
        waiting = block.waiters
        if waiting:
            block.waiters = [each for each in waiting if each.mask & ~block.present]
            for waiter in waiting:
                if not waiter.mask & ~block.present:
                    waiter.wake()

    def _release(self, extent: Extent, error: RescaleFSError | None) -> None:
        content = extent.content
        rest = Span(extent.position // content.grid.leaf_size * content.grid.leaf_size, extent.span.stop)
        for number, block in extent.blocks.items():
            lost = content.grid.mask(number, rest) & block.pending
            block.pending &= ~lost
            if error is not None:
                self._fail(block, lost, error)
        if error is not None:
            for stream in (*content.streams, content.full_read):
                self._room.close_window(
                    stream
                )  # until its reader reads on: or what fails would be fetched for ever
            self._end_verdict_waits(content, error)
            self._stop_full_read(content)
        if not content.streams:
            self._keep_pieces(content)

    def _fail(self, block: Block, lost: int, error: RescaleFSError) -> None:
        waiting, block.waiters = block.waiters, []
        for waiter in waiting:
            if waiter.mask & lost:
                waiter.wake(error)
            else:
                block.waiters.append(waiter)

    def _cancel_unwanted(self, content: Content) -> None:
        for extent in content.extents:
            rest = Span(extent.position, extent.span.stop)
            if not extent.cancelled and len(rest) > _CRUMB and not content.wanted(rest):
                extent.cancelled = True

    def _cancel_readahead(self, content: Content) -> None:
        """Fetch on only what somebody waits for: there is no room for the rest."""
        for extent in content.extents:
            rest = Span(extent.position, extent.span.stop)
            demands = (span for stream in content.streams for span in stream.demands.values())
            extent.cancelled = extent.cancelled or not any(span.overlaps(rest) for span in demands)

    def _race(self, stream: Stream, span: Span) -> None:
        """See whether what a reader waits for is a straggler, and let a second request race it if so.

        Called without the lock: it copies.
        """
        with self._lock:
            # It is asked for already, where `Turns` was told of all events; a wait must not depend on that.
            self._move_full_read(stream.content)
            self._turns.add(stream)
            self._work.notify()
            slow = self._straggler(stream, span)
            rest = None if slow is None else race.owed(slow)
            if slow is None or rest is None:
                return
            ready = race.leaves_to_copy(slow, rest)
        try:
            made = race.twins(ready, self._settings.leaf_size, self._store)
        except OSError as error:
            log.debug("no race for %s: %s", stream.content.file.path, error)
            return
        with self._lock:
            if slow is not self._straggler(stream, span) or rest != race.owed(slow):
                return  # it came on meanwhile
            if ready != race.leaves_to_copy(slow, rest):
                return
            rival = race.begin(slow, rest, made, stream)
            slow.outrun = True
            for number, twin in made.items():
                self._put_in_place(stream.content, slow.blocks[number], twin)
            stream.content.extents.append(rival)
            self._extents.add(rival)
            self._active -= not slow.leaving  # its place is the rival's
            slow.leaving = True
            self._counts["races"] += 1
            self._rivals.append(rival)
            self._work.notify()
        log.debug("%s: bytes %d-%d straggle; asked for again", slow.content.file.path, rest.start, rest.stop)

    def _straggler(self, stream: Stream, span: Span) -> Extent | None:
        now = self._clock.monotonic()
        budget = (self._counts["races"] - _FIRST_RACES) * _REQUESTS_PER_RACE < self._counts["requests"]
        if self._closed or stream.race is not None or not budget or now < self._no_race_until:
            return None
        for extent in stream.content.extents:  # also one that was given up, and hangs: its leaves are its own
            rest = Span(extent.position, extent.span.stop)
            rate = extent.progress.rate(now, extent.position)
            if (
                rate is None
                or not rest.overlaps(span)
                or extent.outrun
                or extent.rival is not None
                or not extent.progress.is_due(now)
            ):
                continue
            others = [
                speed
                for each in self._extents
                if each is not extent
                and not each.outrun
                and (speed := each.progress.rate(now, each.position)) is not None
            ]
            if is_straggler(rate, others, self._finished, len(rest), self._pace.first_byte):
                return extent
        return None

    def _put_in_place(self, content: Content, old: Block, new: Block) -> None:
        """From now on, this is the block; who waits for the other waits for it."""
        self._remove(content, old)
        new.waiters, old.waiters = old.waiters, []
        content.blocks[new.number] = new
        self._bare += 1
        if new.ready:
            self._make_ready(content, new, new.ready)
        new.used = self.used()

    def _check(self, content: Content, block: Block, mask: int) -> None:
        """Check leaves from the disk. Called without the lock: it reads."""
        try:
            good = block.check(mask, memoryview(bytearray(self._settings.leaf_size)))
        except OSError as error:
            self._store.disk_failed("read a block", error)
            good = 0
        with self._lock:
            if content.blocks.get(block.number) is not block:
                return
            if good != mask:
                log.warning("a cached block of %s was damaged; fetching it again", content.file.path)
                self._discard(content, block)
            elif content.agrees(block, good):
                self._make_ready(content, block, good)
            else:  # something else came in since it was looked up
                self._discard(content, block)

    def _discard(self, content: Content, block: Block) -> None:
        if content.blocks.get(block.number) is block:
            self._remove(content, block)
            self._add_chore(Drop(content.key(block.number)))
            # The store is not asked again: its answer would be what was found bad, until the chore is done.
            self._add_block(content, block.number).looked_up = True
            origin = block.number * content.grid.block_size
            self._turns.add_all(content, Span(origin, origin + block.length))
        waiting, block.waiters = block.waiters, []
        for waiter in waiting:
            waiter.wake()

    def _remove(self, content: Content, block: Block) -> None:
        del content.blocks[block.number]
        self._bare -= block not in self._room.blocks
        self._room.discard(block)
        self._lookups.discard(block)
        if block.fd >= 0:
            self._leaving.append(block)  # to be closed, but not under the lock
            self._left.put(None)

    def _count(self, content: Content, block: Block) -> None:
        """Keep account of a block's descriptor, and of its memory; close others if there are too many."""
        self._bare -= block not in self._room.blocks
        self._room.add(content, block)
        self._make_room()
        if self._room.in_memory > IN_MEMORY:
            self._trim(IN_MEMORY // 4, in_memory=True)
            if self._room.in_memory > IN_MEMORY:
                self._cancel_readahead(content)

    def _throw_away(self, content: Content, reason: str) -> None:
        """The bytes of a file are wrong: drop them all, once; then give it up."""
        version = content.file.version
        for block in list(content.blocks.values()):
            self._remove(content, block)
            for waiter in block.waiters:
                waiter.wake()
        content.restart()
        for stream in content.streams:
            self._room.close_window(stream)
        self._verified.discard(version)
        self._add_chore(DropFile(version))
        if content.epoch > 1 and content.file.sha512 is not None:
            log.error("%s (file %s): %s, also when fetched again", content.file.path, content.file.id, reason)
            message = f"{content.file.path}: {reason}, also when fetched again"
            content.failure = self._failures[version] = WrongBytes(message)
            self._stop_full_read(content)
            self._end_verdict_waits(content, content.failure)
            return
        log.warning("%s (file %s): %s; fetching it again", content.file.path, content.file.id, reason)
        self._end_verdict_waits(content)  # they come back if they may
        self._stop_full_read(content)

    def _end_verdict_waits(self, content: Content, error: RescaleFSError | None = None) -> None:
        waiting, content.verdict_waiters = content.verdict_waiters, []
        for waiter in waiting:
            waiter.wake(error)

    # hashing

    def _read_fully(self, content: Content) -> None:
        """Somebody waits for the verdict: fetch and hash what is missing, in order."""
        self._move_full_read(content)
        self._offer_hashing(content)

    def _move_full_read(self, content: Content) -> None:
        if not content.verdict_waiters:
            return
        start = content.hashed * content.grid.block_size
        window = Span(start, min(content.size, start + self.reach))
        content.full_read.read_at = self._clock.monotonic()
        self._room.allot(content.full_read, window, content.full_read.read_at)
        first = Span(start, min(content.size, start + content.grid.block_size))
        content.full_read.demands = {Waiter(): first} if first else {}
        self._look_ahead(content.full_read)
        self._turns.add(content.full_read)
        self._work.notify()

    def _stop_full_read(self, content: Content) -> None:
        content.full_read.demands = {}
        self._room.close_window(content.full_read)
        self._turns.discard(content.full_read)

    def _offer_hashing(self, content: Content) -> None:
        """Put a file before the hashers if its next block is there, or can be had from the store."""
        if content.settled or content.hash_queued or content.failure is not None:
            return
        if self._next_to_hash(content) is not None or content.hashed == content.grid.blocks:
            content.hash_queued = True
            self._hashable.append(content)
            self._hashing_there.notify()

    def _next_to_hash(self, content: Content) -> Block | None:
        number = content.hashed
        if number >= content.grid.blocks:
            return None
        block = content.blocks.get(number)
        if block is not None:
            return block if block.present == block.full else None
        if content.has_seen(number):
            # It came in, was stored, and made room for others.
            block = self._add_block(content, number)
            if not block.looked_up:
                self._add_chore(LookUp(content, content.epoch, block, check=True))
        return None

    # room

    def _make_room(self) -> None:
        count = self._room.excess(len(self._leaving))
        if count:
            self._room.trimmed(count, self._trim(count))

    def _trim(self, count: int, in_memory: bool = False) -> int:
        """Give up so many blocks, the least recently used first; needed ones when there are no others."""
        removed = 0
        closing = len(self._leaving)
        for block in self._room.oldest(self._clock.monotonic(), in_memory=in_memory, closing=closing)[:count]:
            content = self._room.blocks[block]
            if block.present & ~block.saved:
                self._keep(content, block)
                continue
            self._room.close_windows(content, block.number)  # or it is fetched again though nothing reads it
            self._touch(content, block)
            self._remove(content, block)
            waiting, block.waiters = block.waiters, []
            for waiter in waiting:
                waiter.wake()
            removed += 1
        return removed

    def _forget_bare(self) -> None:
        """Forget that the store lacks some blocks: it can be asked again."""
        wanted = self._room.wanted()
        for content in self._contents.values():
            for number, block in list(content.blocks.items()):
                needed = (content, number) in wanted or content.waits_for(number)
                if block.is_idle and not block.present and not needed:
                    self._remove(content, block)
        self._most_bare = max(_BARE, 2 * self._bare)

    def _touch(self, content: Content, block: Block) -> None:
        if block.saved and len(self._chores) < self._backlog:
            self._add_chore(Touch(content.key(block.number)))
            block.touched = self.used()

    def _touch_used(self, stream: Stream) -> None:
        """Tell the store of blocks that a reader had from an open descriptor: it can't know.

        Not of those that came to be stored, or were looked up, since it opened the file: it knows of them.
        """
        for block in stream.content.blocks.values():
            if block.touched < stream.opened < block.used:
                self._touch(stream.content, block)

    def _keep_pieces(self, content: Content) -> None:
        """Store blocks that are there in part: nobody is going to complete them."""
        for block in content.blocks.values():
            if block.present & ~block.saved and block.is_idle:
                self._keep(content, block)

    def _keep(self, content: Content, block: Block) -> None:
        # A disk this slow is no help, and each of them holds a descriptor, or memory.
        if self._hangs or len(self._chores) >= (_STORING_FROM_MEMORY if block.in_memory else self._backlog):
            block.saved |= block.present
            return
        block.keeping = True
        self._add_chore(Keep(content, content.epoch, block))

    def _add_chore(self, chore: Chore) -> None:
        if isinstance(chore, LookUp):
            self._lookups.add(chore, urgent=False)
        else:
            self._chores.append(chore)
        self._chores_there.notify()

    def _rest(self, content: Content) -> None:
        """A file is not open any more, or less is under way for it. Forget files beyond some, or some memory.

        Their weights are noted here, because to weigh all of them at each close made small files slower by a
        tenth. What changes by something else than a request is weighed again after so many files.
        """
        key = _key(content.file, content.size)
        self._idle[key] = content
        self._weigh(key, content)
        self._rested += 1
        if self._rested % _WEIGHED_AFTER == 0:
            for each, other in self._idle.items():
                self._weigh(each, other)
        if len(self._idle) > _IDLE_CONTENTS or self._idle_weight > _IDLE_WEIGHT:
            self._forget_idle()

    def _forget_idle(self) -> None:
        """Forget the files that have rested for longest, and that no request is under way for."""
        busy = {key for key, each in self._idle.items() if each.extents}
        count = len(self._idle) - len(busy)
        weight = self._idle_weight - sum(map(self._weights.__getitem__, busy))
        for key in list(self._idle):
            if count <= _IDLE_CONTENTS and weight <= _IDLE_WEIGHT:
                return
            if key in busy:
                continue
            count, weight = count - 1, weight - self._weights[key]
            content = self._awake(key)
            for block in list(content.blocks.values()):
                self._remove(content, block)
            del self._contents[key]

    def _weigh(self, key: _Key, content: Content) -> None:
        before = self._weights.get(key, 0)
        self._weights[key] = now = content.weight
        self._idle_weight += now - before

    def _awake(self, key: _Key) -> Content:
        """Take a file out of those that are not open."""
        self._idle_weight -= self._weights.pop(key)
        return self._idle.pop(key)


class Found:
    """A block that the store has: an open file, its leaves, and those that were checked already."""

    def __init__(self, fd: int, in_memory: bool, present: int, checked: int, digests: bytearray) -> None:
        self._fd = fd
        self._in_memory = in_memory
        self.present = present
        self.checked = checked
        self.digests = digests

    def take(self) -> tuple[int, bool]:
        """The descriptor, which is the taker's from now on, and whether it lies in memory."""
        fd, self._fd = self._fd, -1
        return fd, self._in_memory

    def close(self) -> int:
        """The descriptor if nobody took it, else -1."""
        fd, self._fd = self._fd, -1
        return fd
