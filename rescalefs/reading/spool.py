"""Keeps what has been seen of live files, within limits of memory, disk and descriptors.

Short files stay in memory. Longer ones go to files without a name, which a kill -9 removes as well.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from rescalefs.clock import Clock
from rescalefs.descriptors import Share
from rescalefs.private import make_private
from rescalefs.reading.positioned import read_into, write_fully

log = logging.getLogger(__name__)

T = TypeVar("T")

_SHORT = 64 << 10  # bytes: most logs, so that `ls -l` of a thousand of them takes no descriptor
_SHORT_TOGETHER = 32 << 20
_WITHOUT_DISK = 4 << 20  # bytes of one file that memory holds where the disk takes nothing
_WITHOUT_DISK_TOGETHER = 64 << 20
_QUIET = 300.0  # seconds between two warnings

# What evicting can mend.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE})


class Seen(Protocol):
    """The bytes ``[0, size)`` of a file. One thread appends, any number of threads read."""

    @property
    def size(self) -> int: ...

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill ``buffer``; return the count. Raises `OSError`."""
        ...


class _InMemory:
    def __init__(self) -> None:
        self.size = 0
        self._content = bytearray()

    def read_into(self, buffer: memoryview, offset: int) -> int:
        piece = self._content[offset : offset + len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)

    def append(self, data: bytes) -> None:
        self._content += data
        self.size = len(self._content)

    def bytes(self) -> bytes:
        return bytes(self._content)


class _OnDisk:
    def __init__(self, fd: int, share: Share) -> None:
        self.size = 0
        self._fd = fd
        self._share = share
        share.opened()

    def __del__(self) -> None:
        # Closed by the last one who lets go: a reader holds this object, so that the descriptor's number
        # cannot come to mean another file under a read.
        os.close(self._fd)
        self._share.closed()

    def read_into(self, buffer: memoryview, offset: int) -> int:
        return read_into(self._fd, buffer, offset)

    def append(self, data: bytes) -> None:
        write_fully(self._fd, data, self.size)
        self.size += len(data)


class Spool:
    """Room for what has been seen of live files. Thread-safe; its lock is not held over the disk."""

    def __init__(
        self, folder: Path, limit: int, share: Share, evict: Callable[[], bool], clock: Clock
    ) -> None:
        """Let the files have ``limit`` bytes on the disk, and the descriptors of ``share``.

        ``evict`` frees what is needed least, and returns False where everything is in use.
        """
        self._folder = folder
        self._limit = limit
        self._share = share
        self._evict = evict
        self._clock = clock
        self._lock = threading.Lock()  # guards all that follows
        self._in_memory = 0  # bytes
        self._on_disk = 0  # bytes
        self.files = 0
        self._quiet_until = -_QUIET  # when the log is told again

    def take_memory(self, more: int, size: int, *, without_disk: bool) -> bool:
        """Reserve ``more`` bytes for a file that grows to ``size``; return whether it may have them."""
        most, together = (
            (_WITHOUT_DISK, _WITHOUT_DISK_TOGETHER) if without_disk else (_SHORT, _SHORT_TOGETHER)
        )
        with self._lock:
            if size > most or self._in_memory + more > together:
                return False
            self._in_memory += more
            return True

    def append(self, file: _OnDisk, data: bytes) -> None:
        """Write to the end of a file. Raises `OSError`; then the file is as it was."""
        self._until_there_is_room(lambda: self._take_disk(len(data)))
        try:
            self._until_there_is_room(lambda: file.append(data))
        except OSError:
            self.give_back(on_disk=len(data))
            raise

    def new_file(self) -> _OnDisk:
        """An empty file. Raises `OSError`."""
        self._until_there_is_room(self._take_file)
        try:
            return _OnDisk(self._until_there_is_room(self._nameless), self._share)
        except OSError:
            self.give_back(files=1)
            raise

    def give_back(self, in_memory: int = 0, on_disk: int = 0, files: int = 0) -> None:
        """Return bytes and descriptors that are not needed any more."""
        with self._lock:
            self._in_memory -= in_memory
            self._on_disk -= on_disk
            self.files -= files

    def note(self, error: OSError) -> None:
        """Log that the disk takes nothing: as a warning once in a while, because each look may find it so."""
        now = self._clock.monotonic()
        with self._lock:
            is_known = now < self._quiet_until
            if not is_known:
                self._quiet_until = now + _QUIET
        level = logging.DEBUG if is_known else logging.WARNING
        log.log(level, "cannot keep live files on the disk, in %s: %s", self._folder, error)

    def _take_disk(self, more: int) -> None:
        with self._lock:
            if self._on_disk + more > self._limit:
                raise OSError(errno.ENOSPC, f"live files take the {self._limit} bytes that they may have")
            self._on_disk += more

    def _take_file(self) -> None:
        with self._lock:
            if self.files >= self._share.most:
                raise OSError(errno.EMFILE, f"{self.files} large live files are open; no more may be")
            self.files += 1

    def _nameless(self) -> int:
        make_private(self._folder)
        with tempfile.TemporaryFile(dir=self._folder) as file:  # has a name for a moment where it must
            return os.dup(file.fileno())

    def _until_there_is_room(self, act: Callable[[], T]) -> T:
        """Repeat ``act`` as long as that can help: each turn frees a file, and few come meanwhile."""
        for _ in range(self._share.most):
            with contextlib.suppress(_Full):
                return self._unless_full(act)
        return act()

    def _unless_full(self, act: Callable[[], T]) -> T:
        try:
            return act()
        except OSError as error:
            if error.errno in FULL and self._evict():
                raise _Full from error
            raise


class _Full(Exception):
    """There was no room, and there may be some now."""


class SeenBytes:
    """What has been seen of one live file. One thread changes it; any number read what `now` is."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self.now: _InMemory | _OnDisk = _InMemory()  # a reader keeps what it took, so it sees one state

    @property
    def size(self) -> int:
        return self.now.size

    @property
    def is_on_disk(self) -> bool:
        return isinstance(self.now, _OnDisk)

    def append(self, data: bytes) -> None:
        """Keep ``data`` behind the rest. Raises `OSError` where there is no room, and changes nothing."""
        now, size = self.now, self.now.size + len(data)
        if isinstance(now, _OnDisk):
            try:
                self._spool.append(now, data)
            except OSError as error:
                self._spool.note(error)
                raise
        elif self._spool.take_memory(len(data), size, without_disk=False):
            now.append(data)
        else:
            try:
                self._move_to_disk(now, data)
            except OSError as error:
                self._spool.note(error)
                if not self._spool.take_memory(len(data), size, without_disk=True):
                    raise
                now.append(data)

    def forget(self) -> bool:
        """Free everything; return whether that was a file on the disk."""
        before, self.now = self.now, _InMemory()
        if isinstance(before, _OnDisk):
            self._spool.give_back(on_disk=before.size, files=1)
            return True
        self._spool.give_back(in_memory=before.size)
        return False

    def _move_to_disk(self, now: _InMemory, data: bytes) -> None:
        file = self._spool.new_file()
        try:
            self._spool.append(file, now.bytes())
            self._spool.append(file, data)
        except OSError:
            self._spool.give_back(on_disk=file.size, files=1)
            raise
        self.now = file
        self._spool.give_back(in_memory=now.size)
