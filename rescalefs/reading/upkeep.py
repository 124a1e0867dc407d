"""The cache itself, for the person whose disk it is on: how full it is, whether it is sound, an end to it.

All of it works while mounts use the cache: they hold what they read by its descriptor, and what is not there
any more is fetched again.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from rescalefs.clock import Clock
from rescalefs.databases import hindrance, words_for
from rescalefs.errors import UserError
from rescalefs.filesystems import lack_words
from rescalefs.reading.block import Block, copy_unpacked, packed_size
from rescalefs.reading.blocks import NO_LOCKS_REMEDY, BlockStore, memory_spool
from rescalefs.reading.positioned import read_at
from rescalefs.reading.trailer import open_record, search, trailer_size

_STRAY_AFTER = 60.0  # seconds in which a process that lives has written into the index what it named


class CacheInfo(NamedTuple):
    """What is kept."""

    folder: str
    used: int  # bytes
    limit: int  # bytes
    blocks: int
    files: int  # of which some block is kept
    verified: int  # files whose SHA-512 agreed: their blocks are known by digest, kept or not
    records: int  # of these digests, one for each verified file and size of blocks


class CacheVerdict(NamedTuple):
    """What came of looking at every byte."""

    blocks: int  # that were looked at: all that `CacheInfo` counts
    records: int  # the same
    bad: int  # of both, removed
    strays: int  # files that a process that was killed left behind, removed


class CacheUpkeep:
    """Looks after the cache in one folder. Raises `UserError` if it can't be used at all."""

    def __init__(self, folder: Path, limit: int, clock: Clock) -> None:
        self._folder = folder
        self._limit = limit
        self._clock = clock

    def info(self) -> CacheInfo:
        """How much is kept."""
        if not self._folder.is_dir():  # nothing was ever kept; asking is no reason to make it
            return CacheInfo(str(self._folder), 0, self._limit, 0, 0, 0, 0)
        with self._store() as store:
            keys = store.stored()
            versions = {key.rsplit("/", 2)[0] for key in keys}
            records = store.recorded()
            verified = {key.rpartition("/")[0] for key in records}
            used = store.usage.used
        counts = (len(keys), len(versions), len(verified), len(records))
        return CacheInfo(str(self._folder), used, self._limit, *counts)

    def clear(self) -> CacheInfo:
        """Forget every block and every record; tell what there was.

        On a full disk the index takes no change, so the files go first: they are what a person wants gone.
        """
        freed = self._made_room()
        if freed is not None:
            with suppress(UserError):  # what the index names and is not there is absent
                self._empty()
            return freed
        before = self.info()
        if self._folder.is_dir():
            self._empty()
        return before

    def _empty(self) -> None:
        with self._store() as store:
            store.clear()
            store.sweep(_STRAY_AFTER)

    def verify(self) -> CacheVerdict:
        """Hold every stored byte against its digest, and remove what is not what it was."""
        if not self._folder.is_dir():
            return CacheVerdict(0, 0, 0, 0)
        blocks = records = bad = 0
        with self._store() as store:
            for key in store.stored():
                good = _is_good(store, key)
                blocks += good is not None
                if good is False:
                    bad += 1
                    store.drop(key)
            for key in store.recorded():
                record = store.record(key)
                records += 1
                if record is None or open_record(key, record) is None:
                    bad += 1
                    store.drop_record(key)
            strays = store.sweep(_STRAY_AFTER)
        return CacheVerdict(blocks, records, bad, strays)

    def _made_room(self) -> CacheInfo | None:
        """Remove the files of blocks, and tell what there was; None where the disk is not full."""
        blocks = self._folder / "blocks"
        found = hindrance(blocks / "cache.db") if blocks.is_dir() else None
        if found is None or found.errno not in (errno.ENOSPC, errno.EDQUOT):
            return None
        used = count = 0
        for file in blocks.glob("??/??/*.val"):
            with suppress(FileNotFoundError):
                size = file.stat().st_size
                file.unlink()
                used, count = used + size, count + 1
        return CacheInfo(str(self._folder), used, self._limit, count, 0, 0, 0)

    @contextmanager
    def _store(self) -> Iterator[BlockStore]:
        store = BlockStore(self._folder, self._limit, self._clock)
        with closing(store):
            store.open()
            yield store
        if store.trouble is not None:
            lack = lack_words(self._folder, NO_LOCKS_REMEDY)
            if lack:
                raise UserError(f"the cache in {self._folder} cannot be used: {lack}") from store.trouble
            words = words_for(self._folder / "blocks" / "cache.db", store.trouble)
            raise UserError(
                f"the cache in {self._folder} cannot be used: {words}. Mend the folder's disk or its "
                "permissions, or remove the folder: nothing in it is needed"
            ) from store.trouble


def _is_good(store: BlockStore, key: str) -> bool | None:
    """Whether a stored block is what it was when it was stored; None: it is gone meanwhile."""
    fd = store.peek(key)
    if fd is None:
        return None
    try:
        return _has_its_digests(key, fd)
    except OSError:
        return False
    finally:
        os.close(fd)


def _has_its_digests(key: str, fd: int) -> bool:
    size = os.fstat(fd).st_size
    found = search(key, read_at(fd, size, 0))
    if found is None:
        return False
    length, leaf_size, present, digests = found
    if packed_size(present, length, leaf_size) + trailer_size(-(-length // leaf_size)) != size:
        return False
    block = Block(0, length, leaf_size)
    block.hold(memory_spool(), in_memory=True)
    block.digests = digests
    copy_unpacked(present, length, leaf_size, fd, block.fd)
    return block.check(present, memoryview(bytearray(leaf_size))) == present
