"""The one thread that uses the store's index: looks blocks up, puts them in, takes them out."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from functools import partial
from weakref import WeakSet

from rescalefs.containment import contained
from rescalefs.forks import around_each_fork, in_each_child
from rescalefs.reading.block import Block, copy_unpacked, unpack
from rescalefs.reading.blocks import BlockStore, memory_spool
from rescalefs.reading.board import Board, Found
from rescalefs.reading.chores import Chore, Drop, DropFile, Keep, LookUp, Park, Record, Touch
from rescalefs.reading.content import Content
from rescalefs.reading.trailer import DIGEST, open_record, seal_record

log = logging.getLogger(__name__)

_PARKING = 2.0  # seconds that a fork waits for the index to be closed; a child then does without the cache
_PARKED = 10.0  # seconds


class Librarian:
    """Does the board's chores, one after the other, and raises nothing for what a disk does."""

    def __init__(self, board: Board, store: BlockStore, leaf_size: int) -> None:
        self._board = board
        self._store = store
        self._leaf_size = leaf_size
        self._scratch = memoryview(bytearray(leaf_size))
        self._forking: deque[threading.Event] = deque()  # set after the forks that it is parked for

    def run(self, stop: threading.Event) -> None:  # noqa: ARG002  (the board ends it)
        """Work until the board has closed and nothing is left to do."""
        _at_work.add(self)
        self._store.open()
        suffix = self._record_key("")
        known = self._store.recorded()
        self._board.verified_before({key[: -len(suffix)] for key in known if key.endswith(suffix)})
        while (chore := self._board.take_chore()) is not None:
            with contained(log, "a chore of the cache", failed=partial(self._undone, chore)):
                self._do(chore)
            del chore  # while the next one is waited for, its block is not held open
        self._store.close()
        _at_work.discard(self)

    def park(self) -> None:
        """Have the index closed, and wait until it is: a fork must not copy an open one. Raises nothing."""
        parked, resumed = threading.Event(), threading.Event()
        self._forking.append(resumed)
        if self._board.do_first(Park(parked, resumed), _PARKING):
            parked.wait(_PARKING)

    def resume(self) -> None:
        """Go on, with the index opened again when it is of use."""
        while self._forking:
            self._forking.pop().set()

    def _do(self, chore: Chore) -> None:
        match chore:
            case LookUp():
                self._look_up(chore)
            case Keep():
                self._keep(chore)
            case Park(parked, resumed):
                self._store.close()
                parked.set()
                resumed.wait(_PARKED)
            case Touch(key):
                self._store.touch(key)
            case Drop(key):
                self._store.drop(key)
            case DropFile(version):
                self._store.drop_group(version, self._record_key(version))
            case Record(content):
                self._record(content)

    def _undone(self, chore: Chore, _: Exception) -> None:
        """Forget a chore whose result is no longer awaited."""
        match chore:
            case LookUp(block=block) if not block.looked_up:
                self._board.looked_up(chore, None)
            case Keep(block=block):
                self._board.kept(block, block.ready)
            case _:
                pass

    def _record_key(self, version: str) -> str:
        return f"{version}/{self._leaf_size}"

    def _look_up(self, chore: LookUp) -> None:
        content, block = chore.content, chore.block
        if block.looked_up:
            return  # it was in the queue twice
        if not content.recognised:
            self._board.recognise(content, self._recorded(content))
        key = content.key(block.number)
        found = self._open(key, block, chore.check)
        right = self._board.looked_up(chore, found)
        if found is not None and (fd := found.close()) >= 0:
            os.close(fd)
        if not right:
            self._store.drop(key)

    def _record(self, content: Content) -> None:
        key = self._record_key(content.file.version)
        digests = content.all_digests()
        if digests is not None:  # else it was thrown away meanwhile
            self._store.save_record(key, seal_record(key, digests))

    def _recorded(self, content: Content) -> bytes | None:
        key = self._record_key(content.file.version)
        sealed = self._store.record(key)
        digests = None if sealed is None else open_record(key, sealed)
        return digests if digests is not None and len(digests) == DIGEST * content.grid.leaves else None

    def _open(self, key: str, block: Block, check: bool) -> Found | None:
        fd = self._store.get(key)
        if fd is None:
            return None
        found = None
        try:
            found = self._examine(key, block, fd, check)
        except OSError as error:
            self._store.disk_failed("read a block", error)
        if found is None:
            self._store.drop(key)
        return found

    def _examine(self, key: str, block: Block, fd: int, check: bool) -> Found | None:
        """What a stored file really is; takes the descriptor over."""
        taken = False
        try:
            unpacked = unpack(key, block.length, self._leaf_size, fd)
            if unpacked is None:
                return None
            present, digests = unpacked
            in_memory = False
            if present != block.full:
                packed, (fd, in_memory) = fd, self._store.spool()
                try:
                    copy_unpacked(present, block.length, self._leaf_size, packed, fd)
                finally:
                    os.close(packed)
            if check or present != block.full:
                probe = Block(block.number, block.length, self._leaf_size)
                probe.hold(os.dup(fd), in_memory)
                probe.digests = digests
                if probe.check(present, self._scratch) != present:
                    return None
                checked = present
            else:
                checked = 0
            taken = True
            return Found(fd, in_memory, present, checked, digests)
        finally:
            if not taken:
                os.close(fd)

    def _keep(self, chore: Keep) -> None:
        content, block = chore.content, chore.block
        mask = block.ready
        if chore.epoch == content.epoch:
            try:
                self._store_leaves(content, block, mask)
            except OSError as error:
                self._store.disk_failed("store a block", error)
        self._board.kept(block, mask)

    def _store_leaves(self, content: Content, block: Block, mask: int) -> None:
        key, group = content.key(block.number), content.file.version
        if mask == block.full:
            block.seal(key)
            self._store.put(key, group, block.fd)
            return
        pieces = memory_spool()
        try:
            block.pack(key, mask, pieces)
            self._store.put(key, group, pieces)
        finally:
            os.close(pieces)


_at_work: WeakSet[Librarian] = WeakSet()


def _park_all() -> None:
    for each in list(_at_work):
        each.park()


def _resume_all() -> None:
    for each in list(_at_work):
        each.resume()


around_each_fork(_park_all, _resume_all)
in_each_child(_at_work.clear)
