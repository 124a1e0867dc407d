"""A file while it comes in: its bytes, and a list of the ranges that are there."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from rescalefs.reading import BINARY, read_into, write_fully

_STRIDE = 1 << 20  # bytes between two notes of what has arrived: the most that a kill costs each connection
_AT_ONCE = 1 << 19  # bytes that are read back at once, for the hash: they fit the cache of a core

_flush = getattr(os, "fdatasync", os.fsync)  # macOS and Windows have the second alone
_FLAGS = os.O_RDWR | os.O_CREAT | BINARY


class Part:
    """A growing file on disk. Thread-safe. With ``resumable``, what has arrived outlives a kill.

    Not promised: that it outlives a power cut unharmed. So only what a checksum confirms later is resumed.
    """

    def __init__(self, folder: Path, key: str, resumable: bool) -> None:
        name = hashlib.sha1(key.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
        self.path = folder / f"{name}.part"
        self._spans = folder / f"{name}.spans"
        self._resumable = resumable
        if not resumable:
            self._remove(self._spans)
        self._fd = os.open(self.path, _FLAGS if resumable else _FLAGS | os.O_TRUNC, 0o666)

    def there(self) -> list[tuple[int, int]]:
        """The ranges that are there from before."""
        if not self._resumable:
            return []
        try:
            lines = self._spans.read_text("ascii", "replace").splitlines(keepends=True)
        except FileNotFoundError:
            return []
        size = os.fstat(self._fd).st_size
        found = (_span(line) for line in lines)
        return [span for span in found if span is not None and span[1] <= size]

    def write(self, data: bytes, offset: int) -> None:
        write_fully(self._fd, data, offset)

    def chunks(self, start: int, stop: int) -> Iterator[memoryview]:
        """The bytes ``[start, stop)``, each chunk good until the next; `OSError` where they are not there."""
        scratch = memoryview(bytearray(min(_AT_ONCE, stop - start)))
        while start < stop:
            count = read_into(self._fd, scratch[: stop - start], start)
            if not count:
                raise OSError(f"{self.path} was cut short by somebody else")
            start += count
            yield scratch[:count]

    def flush(self) -> None:
        """Bring what is there to the disk."""
        _flush(self._fd)

    def note(self, start: int, position: int, last: bool) -> int:
        """Remember that ``[start, position)`` is there, if worth a line; return from where on it is not."""
        if not self._resumable or position == start or not (last or position - start >= _STRIDE):
            return start
        # One write to the end of a file: lines of several threads don't mix. A cut one is no span.
        with self._spans.open("ab", buffering=0) as spans:
            spans.write(f"{start} {position}\n".encode())
        return position

    @property
    def size(self) -> int:
        """How many bytes it has by now."""
        return os.fstat(self._fd).st_size

    def start_over(self) -> None:
        """Forget all bytes."""
        self._remove(self._spans)
        os.ftruncate(self._fd, 0)

    def finish(self, modified_ns: int | None) -> os.stat_result:
        """Bring it to the disk, dated as told; return how it looks. The list of ranges is gone then."""
        os.fsync(self._fd)
        self.close()
        if modified_ns is not None:
            os.utime(self.path, ns=(modified_ns, modified_ns))
        if self._resumable:
            self._remove(self._spans)
        return self.path.stat()

    def close(self) -> None:
        """Let go. What is there stays."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def discard(self) -> None:
        """Let go and remove it."""
        self.close()
        self._remove(self.path)
        self._remove(self._spans)

    @staticmethod
    def _remove(path: Path) -> None:
        with suppress(FileNotFoundError):
            path.unlink()


def _span(line: str) -> tuple[int, int] | None:
    words = line.split()
    if not line.endswith("\n") or len(words) != 2 or not all(word.isdecimal() for word in words):
        return None
    start, stop = map(int, words)
    return (start, stop) if start < stop else None
