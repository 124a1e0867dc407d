"""A file while it comes in: its bytes, and a list of the ranges that are there."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from rescalefs.mirror.claims import claim, claim_leftover, spans_of
from rescalefs.reading import BINARY, read_into, write_fully

STRIDE = 1 << 20  # bytes between two notes of what has arrived: the most that a kill costs each connection
_AT_ONCE = 1 << 19  # bytes that are read back at once, for the hash: they fit the cache of a core
_DIGITS = 19  # of an offset: files are smaller than 2^63 bytes

_NOTE = os.O_WRONLY | os.O_CREAT | os.O_APPEND | BINARY | getattr(os, "O_NOFOLLOW", 0)
_OPEN_FILES_KEEP_THEIR_NAMES = os.name == "nt"
_NO_SYNC = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})  # this file system cannot sync a file


class Part:
    """A growing file on disk, of one process at a time. Thread-safe. With ``resumable``, it outlives a kill.

    Not promised: that it outlives a power cut unharmed. So only what a checksum confirms later is resumed.
    Raises `PartTaken` where another process writes it. As a context it lets go at its end.
    """

    def __init__(self, folder: Path, key: str, resumable: bool) -> None:
        name = hashlib.sha1(key.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
        self._fd, self.path = claim(folder, name)
        self._spans = spans_of(self.path)
        self._resumable = resumable
        # For `finish` to close. Opened here, where a lack of descriptors can be waited out: at the end,
        # all files under way may hold one each and ask for one more.
        self._second = -1
        try:
            self._second = os.dup(self._fd)
            if not resumable:
                os.ftruncate(self._fd, 0)  # it is locked: no other process has bytes in it
            if not self.size:
                _remove(self._spans)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Part:  # noqa: PYI034  # Self is not in typing before 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.let_go()

    def there(self, size: int) -> list[tuple[int, int]]:
        """The ranges that are there from before, of a file of this size. What is beyond it is cut off."""
        if not self._resumable:
            return []
        if self.size > size:
            os.ftruncate(self._fd, size)
        try:
            lines = self._spans.read_text("ascii", "replace").splitlines(keepends=True)
        except FileNotFoundError:
            return []
        has = self.size
        found = (_span(line) for line in lines)
        return [span for span in found if span is not None and span[1] <= has]

    def check_size(self, size: int) -> None:
        """Raise `OSError` where the disk holds no file of this size, before any of it is fetched.

        FAT ends at 4 GiB, and says so of a position as well.
        """
        try:
            os.lseek(self._fd, size, os.SEEK_SET)
        except OSError as error:
            if error.errno == errno.EINVAL:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG)) from None
            raise
        os.lseek(self._fd, 0, os.SEEK_SET)

    def write(self, data: bytes, offset: int) -> None:
        write_fully(self._fd, data, offset)

    def chunks(self, start: int, stop: int) -> Iterator[memoryview]:
        """The bytes ``[start, stop)``, each chunk good until the next; `OSError` where they are not there."""
        scratch = memoryview(bytearray(min(_AT_ONCE, stop - start)))
        while start < stop:
            count = read_into(self._fd, scratch[: stop - start], start)
            if not count:
                raise OSError(f"{self.path} was cut short by another program")
            start += count
            yield scratch[:count]

    def flush(self) -> None:
        """Bring what is there to the disk."""
        _sync(self._fd, _flush)

    def note(self, start: int, position: int) -> None:
        """Remember that ``[start, position)`` is there."""
        if not self._resumable or position == start:
            return
        # One write to the end of a file: lines of several threads don't mix. A cut one is no span.
        spans = os.open(self._spans, _NOTE, 0o600)
        try:
            os.write(spans, f"{start} {position}\n".encode())
        finally:
            os.close(spans)

    @property
    def size(self) -> int:
        """How many bytes it has by now."""
        return os.fstat(self._fd).st_size

    def start_over(self) -> None:
        """Forget all bytes."""
        _remove(self._spans)
        os.ftruncate(self._fd, 0)

    def finish(self, modified_ns: int | None) -> os.stat_result:
        """Bring it to the disk, dated as told where the disk allows that; return how it looks.

        It stays locked until it is let go.
        """
        _sync(self._fd)
        # Network disks report at a close what they could not keep: a quota, a full or a broken disk.
        second, self._second = (self._second if self._second >= 0 else os.dup(self._fd)), -1
        os.close(second)
        if _OPEN_FILES_KEEP_THEIR_NAMES:
            self.close()
        if modified_ns is not None:
            with suppress(PermissionError):  # FAT and SMB mounts let only the owner of the mount set dates
                os.utime(self.path, ns=(modified_ns, modified_ns))
        return self.path.stat()

    def placed(self) -> None:
        """The file has its final name, and the part is none any more."""
        if self._resumable:
            _remove(self._spans)
        self.close()

    def close(self) -> None:
        """Let go. What is there stays."""
        if self._second >= 0:
            os.close(self._second)
            self._second = -1
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def let_go(self) -> None:
        """Close it, and keep only what another attempt can go on from. Does nothing once it is placed."""
        if self._fd < 0 and not _OPEN_FILES_KEEP_THEIR_NAMES:
            return
        if self._resumable:
            self.close()
        else:
            self.discard()

    def discard(self) -> None:
        """Remove it and let go: in this order, so that no other process has it open by its name."""
        if not _OPEN_FILES_KEEP_THEIR_NAMES and self._fd >= 0:
            _remove(self._spans)
            _remove(self.path)
        self.close()
        if _OPEN_FILES_KEEP_THEIR_NAMES:
            _remove(self._spans)
            _remove(self.path)


_flush = getattr(os, "fdatasync", os.fsync)  # macOS and Windows have the second alone


def _sync(descriptor: int, sync: Callable[[int], None] | None = None) -> None:
    try:
        (sync or os.fsync)(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def sweep(folder: Path, oldest: float) -> None:
    """Remove what is left of attempts, as far as no process writes it.

    What another attempt can go on from is removed only if it was last written before ``oldest`` (a POSIX
    time stamp). An error leaves the rest for another time.
    """
    with suppress(OSError):
        names = [Path(entry.path) for entry in os.scandir(folder)]
        for path in names:
            if path.suffix == ".part":
                _sweep(path, oldest)
            elif path.suffix == ".link" or (
                path.suffix == ".spans" and not path.with_suffix(".part").exists()
            ):
                _remove(path)


def _sweep(path: Path, oldest: float) -> None:
    descriptor = claim_leftover(path)
    if descriptor is None:
        return
    try:
        if not spans_of(path).exists() or os.fstat(descriptor).st_mtime < oldest:
            if _OPEN_FILES_KEEP_THEIR_NAMES:
                os.close(descriptor)
                descriptor = -1
            _remove(spans_of(path))
            _remove(path)
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.unlink()


def _span(line: str) -> tuple[int, int] | None:
    words = line.split()
    if not line.endswith("\n") or len(words) != 2:
        return None
    if not all(word.isdecimal() and len(word) <= _DIGITS for word in words):
        return None
    start, stop = map(int, words)
    return (start, stop) if start < stop else None
