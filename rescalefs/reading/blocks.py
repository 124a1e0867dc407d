"""The only importer of diskcache: blocks on disk, free to forget.

A cache may fail; a read may not fail because of it. So nothing here raises for what a disk or an index does:
what cannot be read is absent, what cannot be kept is not kept, and the log says so now and then.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import shutil
import sqlite3
import tempfile
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import diskcache

from rescalefs.clock import Clock
from rescalefs.databases import leave_log
from rescalefs.descriptors import SPENT, Descriptors, Share
from rescalefs.filesystems import ability_of, lack_words
from rescalefs.forks import in_each_child
from rescalefs.private import make_private
from rescalefs.reading.positioned import BINARY, read_into, write_fully

log = logging.getLogger(__name__)

T = TypeVar("T")

NO_LOCKS_REMEDY = "Set cache_dir (RESCALEFS_CACHE_DIR) to a folder on another disk"
_REST = 30.0  # seconds for which a disk that failed is left alone
_PATIENCE = 1.0  # seconds to wait for other processes that write to the index
_RECORDS_LIMIT = 256 << 20  # digests of verified files: 256 KiB for each GiB of them
_COPY_AT_ONCE = 1 << 20  # bytes
_FOLDER_TRIES = 10  # as diskcache itself
_UNNAMEABLE = (errno.EXDEV, errno.ENOENT, errno.EPERM, errno.EOPNOTSUPP, errno.EINVAL)
_FILE_NAME = re.compile(r"[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{28}\.val")  # as diskcache's Disk.filename makes it
_MODE_FILE = 2  # diskcache's mode for bytes in a file of their own


@dataclass(frozen=True, slots=True)
class CacheUsage:
    """How full the cache is, in bytes, as of its last change by this process."""

    used: int
    limit: int


@dataclass(frozen=True, slots=True)
class _Spooled:
    """A value that is already on disk, or in memory, behind a descriptor."""

    fd: int
    size: int


class _SpoolDisk(diskcache.Disk):  # type: ignore[misc]  # diskcache ships no types
    """Takes files over by giving them a name, and hands out descriptors.

    A block is written as it arrives, into a file without a name; to store it costs a link, and a kill -9 at
    any moment before leaves nothing behind. diskcache itself would copy it, and line by line.
    """

    descriptors: Descriptors  # set by `_index`, because diskcache makes the object

    def store(self, value: Any, read: bool, key: Any = diskcache.UNKNOWN) -> Any:
        if not isinstance(value, _Spooled):
            return super().store(value, read, key=key)
        name, path = self.filename(key, value)
        for left in reversed(range(_FOLDER_TRIES)):
            # The eviction of the last file of a folder removes the folder, too, in this process or another.
            try:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                _name(value.fd, path)
                break
            except FileNotFoundError:
                if not left:
                    raise
        return value.size, _MODE_FILE, name, None

    def fetch(self, mode: int, filename: str, value: Any, read: bool) -> int:  # noqa: ARG002
        """A descriptor; never a pickle, whatever a damaged index says."""
        if mode != _MODE_FILE or not read:
            raise OSError(errno.EIO, "the index is damaged")
        path = self._inside(filename)
        # diskcache takes any OSError for "not there": then a block would be fetched that is in the store.
        return self.descriptors.retried(lambda: os.open(path, os.O_RDONLY | BINARY))

    def get(self, key: Any, raw: bool) -> str:
        """A key of the index. diskcache would unpickle it, which runs whatever a planted index says."""
        if not raw or not isinstance(key, str):
            raise sqlite3.DatabaseError("the index is damaged: a key that is no text")
        return key

    def remove(self, file_path: str) -> None:
        """Remove a file of the cache, and nothing else, whatever the index calls it."""
        self._inside(file_path)
        super().remove(file_path)

    def _inside(self, filename: str) -> Path:
        if not _FILE_NAME.fullmatch(filename):
            raise sqlite3.DatabaseError("the index is damaged: a name that is none of ours")
        return Path(self._directory) / filename


# SQLite remembers for a whole process which locks it has, and a fork copies that without the locks. So a
# child may open an index only if its parent had none open when it forked: the librarian closes it for that.
_open_stores: set[int] = set()  # ids
_was_forked_open = [False]


def _note_in_child() -> None:
    if _open_stores:
        _was_forked_open[0] = True


in_each_child(_note_in_child)


class BlockStore:
    """Keeps values of some bytes under `str` keys, within a limit, the least recently used going first.

    Survives restarts and kill -9: what is there under a key is there in full, or not at all. Shared by any
    number of processes. Only `spool` and `usage` may be called by several threads; all else belongs to one,
    because an index connection belongs to a thread, and FUSE's threads don't live long enough to have one.
    """

    def __init__(
        self, folder: Path, limit: int, clock: Clock, descriptors: Descriptors | None = None
    ) -> None:
        self._descriptors = descriptors or Descriptors.of_this_process(raised=False)
        self.share: Share = self._descriptors.blocks  # in which the blocks' descriptors count
        self._folder = folder
        self._limit = limit
        self._clock = clock
        self._blocks: Any = None
        self._records: Any = None
        self._rest_until = 0.0  # the whole store
        self._full_until = 0.0  # only storing
        self._damaged = False  # the index failed in a way that no waiting mends
        self.hangs = threading.Event()  # set by the board while the thread that owns it does not come back
        self._warned = threading.Event()  # set while the log need not be told again
        self.trouble: Exception | None = None  # what went wrong last; for those who came for the cache itself
        self.usage = CacheUsage(0, limit)

    @property
    def keeps(self) -> bool:
        """Whether blocks can be stored just now."""
        now = self._clock.monotonic()
        return now >= self._full_until and now >= self._rest_until

    def open(self) -> None:
        """Open the index, or make it; one that is damaged is thrown away with all that it names."""
        self._attempt("open the cache", self._open, None)

    def close(self) -> None:
        """Let go of the index."""
        for cache in (self._blocks, self._records):
            if cache is not None:
                with contextlib.suppress(sqlite3.Error):
                    cache.close()
        self._blocks = self._records = None
        _open_stores.discard(id(self))

    def spool(self) -> tuple[int, bool]:
        """A descriptor for bytes to come, and whether they lie in memory because the disk won't have them.

        Raises `OSError` where there is no descriptor left, also after others have closed some.
        """
        if self.keeps and not self.hangs.is_set():
            try:
                return self._descriptors.retried(lambda: _nameless(self._folder / "blocks")), False
            except OSError as error:
                if error.errno in SPENT:
                    raise  # memory takes a descriptor, too
                if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT):
                    self.disk_failed("spool a block", error)
        return self._descriptors.retried(memory_spool), True

    def get(self, key: str) -> int | None:
        """A descriptor of the value, which the caller closes; it counts as used now."""

        def get() -> int | None:
            fd: int | None = self._blocks.get(key, read=True)
            return fd

        return self._attempt("look a block up", get, None)

    def peek(self, key: str) -> int | None:
        """Look a block up as `get` does; it does not count as used."""

        def peek() -> int | None:
            blocks = self._blocks
            # Only on this object: which of its columns diskcache brings up to date. Not `reset`, which would
            # change it for every process.
            policy, blocks.eviction_policy = blocks.eviction_policy, "none"
            try:
                fd: int | None = blocks.get(key, read=True)
                return fd
            finally:
                blocks.eviction_policy = policy

        return self._attempt("look a block up", peek, None)

    def put(self, key: str, group: str, fd: int) -> bool:
        """Keep what is behind the descriptor, which stays the caller's; tell whether it worked."""
        if self._clock.monotonic() < self._full_until:
            return False

        def put() -> bool:
            self._blocks.set(key, _Spooled(fd, os.fstat(fd).st_size), read=True, tag=group)
            self._make_room()
            self._warned.clear()
            return True

        return self._attempt("store a block", put, False)

    def touch(self, key: str) -> None:
        """The value was used."""
        fd = self.get(key)
        if fd is not None:
            os.close(fd)

    def drop(self, key: str) -> None:
        """Forget a value."""
        self._attempt("drop a block", lambda: self._blocks.delete(key), None)

    def drop_group(self, group: str, record: str) -> None:
        """Forget all values of a group, and a record."""

        def drop() -> None:
            self._records.delete(record)
            self._blocks.evict(group)

        self._attempt("drop a file", drop, None)

    def record(self, key: str) -> bytes | None:
        """The bytes saved for a key, as they come from the disk: unchecked."""

        def read() -> bytes | None:
            fd = self._records.get(key, read=True)
            if fd is None:
                return None
            with os.fdopen(fd, "rb") as file:
                return file.read()

        return self._attempt("read a record", read, None)

    def save_record(self, key: str, record: bytes) -> None:
        """Save bytes for a key. Records have room of their own: they outlive the blocks they speak of."""

        def save() -> None:
            fd = memory_spool()
            try:
                write_fully(fd, memoryview(record), 0)
                self._records.set(key, _Spooled(fd, len(record)), read=True)
            finally:
                os.close(fd)

        self._attempt("save a record", save, None)

    def recorded(self) -> set[str]:
        """The keys that have a record."""
        return self._attempt("list records", lambda: set(self._records.iterkeys()), set())

    def stored(self) -> list[str]:
        """The keys that have a value."""

        def stored() -> list[str]:
            return [key for key in self._blocks.iterkeys() if isinstance(key, str)]

        return self._attempt("list blocks", stored, [])

    def sweep(self, older: float) -> int:
        """Remove files that the index does not know, if they are older than some seconds; tell how many.

        A kill -9 between naming a block's file and writing it into the index leaves one behind. A younger one
        may be just that block, of a process that lives.
        """

        def sweep() -> int:
            count = 0
            for cache in (self._blocks, self._records):
                with warnings.catch_warnings():
                    warnings.simplefilter("always")  # `check` records them; each has to be there
                    found = cache.check(retry=True)
                for each in found:
                    if issubclass(each.category, diskcache.UnknownFileWarning):
                        count += _remove_if_older(Path(str(each.message).partition(": ")[2]), older)
            return count

        return self._attempt("look for stray files", sweep, 0)

    def drop_record(self, key: str) -> None:
        """Forget a record."""
        self._attempt("drop a record", lambda: self._records.delete(key), None)

    def clear(self) -> None:
        """Forget everything; wait for other processes that write."""

        def clear() -> None:
            self._blocks.clear(retry=True)
            self._records.clear(retry=True)
            self._measure()

        self._attempt("clear the cache", clear, None)

    def disk_failed(self, doing: str, error: Exception) -> None:
        """Leave a disk alone for a while; not for an error that is not the disk's."""
        if isinstance(error, OSError) and error.errno in SPENT:
            return
        self._full_until = self._clock.monotonic() + _REST
        self._warn(doing, error)

    def _open(self) -> None:
        make_private(self._folder)
        if self._damaged:
            self._start_afresh()
        try:
            self._open_index()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # busy, full or not writable: not damaged
                raise
            self._start_afresh()
            self._open_index()
        self._measure()

    def _start_afresh(self) -> None:
        log.warning("the cache's index in %s is damaged; starting with an empty cache", self._folder)
        self.close()
        for part in ("blocks", "records"):
            shutil.rmtree(self._folder / part, ignore_errors=True)
        self._damaged = False

    def _open_index(self) -> None:
        if _was_forked_open[0]:
            raise OSError(errno.EBUSY, "this process was forked while the index was in use")
        self.close()  # it may be open already
        ability = ability_of(self._folder)
        if not ability.locks:
            raise OSError(errno.ENOLCK, lack_words(self._folder, NO_LOCKS_REMEDY))
        settings = {"sqlite_journal_mode": "wal" if ability.maps else "delete"}
        _open_stores.add(id(self))
        try:
            blocks, records = self._folder / "blocks", self._folder / "records"
            self._blocks = _index(blocks, self._limit, self._descriptors, tag_index=1, **settings)
            self._records = _index(records, _RECORDS_LIMIT, self._descriptors, **settings)
        except BaseException:
            self.close()  # both or none
            raise

    def _make_room(self) -> None:
        # set() evicts one value at most; that is too little when a block takes the place of small pieces.
        if self._measure() > self._limit:
            self._blocks.shrink()
            self._measure()

    def _measure(self) -> int:
        used: int = self._blocks.volume()
        self.usage = CacheUsage(used, self._limit)
        return used

    def _attempt(self, doing: str, act: Callable[[], T], otherwise: T) -> T:
        if self._clock.monotonic() < self._rest_until:
            return otherwise
        try:
            if self._blocks is None and act != self._open:
                self._open()
            return act()
        except OSError as error:
            self.disk_failed(doing, error)
            if self._blocks is None:
                self._rest_until = self._full_until
        except diskcache.Timeout as error:
            self._warn(doing, error)  # other processes are busy with the index; next time
        except Exception as error:  # noqa: BLE001  (a damaged index fails in ways nobody has listed)
            self._rest_until = self._clock.monotonic() + _REST
            self._damaged = not isinstance(error, sqlite3.OperationalError)
            self._warn(doing, error)
            self.close()
        return otherwise

    def _warn(self, doing: str, error: Exception) -> None:
        self.trouble = error
        level = logging.DEBUG if self._warned.is_set() else logging.WARNING
        self._warned.set()
        log.log(level, "could not %s in %s (%r); reading goes on without", doing, self._folder, error)


def memory_spool() -> int:
    """A descriptor for bytes in memory."""
    if hasattr(os, "memfd_create"):  # Linux
        return os.memfd_create("rescalefs-block")
    return _nameless(Path(tempfile.gettempdir()))


def _nameless(folder: Path) -> int:
    """A descriptor of a new file without a name, or of one that goes away with its descriptors."""
    if hasattr(os, "O_TMPFILE"):  # Linux; tempfile would make one that can never get a name
        return os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o600)
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.dup(file.fileno())


class _Index(diskcache.Cache):  # type: ignore[misc]  # diskcache has no types
    """An index that lets go of its database when it cannot be opened, because no caller gets to close it."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        try:
            super().__init__(*arguments, **settings)
        except BaseException:
            self.close()
            raise

    def shrink(self) -> None:
        """Evict values until the rest is within the limit, one at a time.

        diskcache's own `cull` evicts ten at a time: of a small cache, all, what was just stored included.
        """
        while self.volume() > self.size_limit and len(self):
            with self._transact() as (sql, cleanup):
                self._cull(0.0, sql, cleanup, limit=1)  # the time is for values that expire; ours do not


def _index(folder: Path, limit: int, descriptors: Descriptors, **settings: Any) -> Any:
    file = folder / diskcache.core.DBNAME
    if settings["sqlite_journal_mode"] != "wal" and file.exists():
        # It may have a log, from another file system. diskcache begins with what it has noted of that.
        leave_log(file, _PATIENCE)
        with contextlib.closing(sqlite3.connect(file, timeout=_PATIENCE)) as connection, connection:
            connection.execute("UPDATE Settings SET value = 'delete' WHERE key = 'sqlite_journal_mode'")
    index = _Index(
        str(folder),
        timeout=_PATIENCE,
        disk=_SpoolDisk,
        size_limit=limit,
        cull_limit=1,
        eviction_policy="least-recently-used",
        statistics=0,
        disk_min_file_size=0,
        **{"tag_index": 0, **settings},
    )
    index.disk.descriptors = descriptors
    folder.chmod(0o700)
    return index


def _remove_if_older(path: Path, seconds: float) -> bool:
    try:
        # By the file system's own clock, which stamped it: the time it got its name, not that of its bytes.
        with tempfile.TemporaryFile(dir=path.parent) as now:
            if os.fstat(now.fileno()).st_ctime - path.stat().st_ctime < seconds:
                return False
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def _name(fd: int, path: str) -> None:
    """Have what is behind the descriptor at this path."""
    try:
        # Given a directory descriptor, though an absolute path needs none, or Python would call link(),
        # which does not follow the symbolic link that /proc/self/fd/N is.
        os.link(f"/proc/self/fd/{fd}", path, src_dir_fd=fd, follow_symlinks=True)
    except (OSError, NotImplementedError) as error:
        # In memory, on a system without O_TMPFILE or /proc, or stored before and evicted since.
        if isinstance(error, OSError) and error.errno not in _UNNAMEABLE:
            raise
        _copy(fd, path)


def _copy(source: int, path: str) -> None:
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | BINARY, 0o600)
    try:
        buffer = memoryview(bytearray(_COPY_AT_ONCE))
        offset = 0
        while count := read_into(source, buffer, offset):
            write_fully(target, buffer[:count], offset)
            offset += count
    except OSError:
        with contextlib.suppress(OSError):
            Path(path).unlink()
        raise
    finally:
        os.close(target)
