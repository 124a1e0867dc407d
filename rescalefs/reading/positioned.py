"""Reading and writing at an offset: by one call where the system has it, else a seek and another, locked."""

from __future__ import annotations

import os
import threading

# Python's own flags for what is not text; there is no such distinction but on Windows.
BINARY = getattr(os, "O_BINARY", 0)

_seeking = threading.Lock()  # guards the position of every descriptor, where there is no other way


def _preadv(fd: int, buffer: memoryview, offset: int) -> int:
    return os.preadv(fd, [buffer], offset)


def _seek_and_read(fd: int, buffer: memoryview, offset: int) -> int:
    with _seeking:
        os.lseek(fd, offset, os.SEEK_SET)
        data = os.read(fd, len(buffer))
    buffer[: len(data)] = data
    return len(data)


def _seek_and_write(fd: int, data: bytes | memoryview, offset: int) -> int:
    with _seeking:
        os.lseek(fd, offset, os.SEEK_SET)
        return os.write(fd, data)


def _seek_and_get(fd: int, count: int, offset: int) -> bytes:
    with _seeking:
        os.lseek(fd, offset, os.SEEK_SET)
        return os.read(fd, count)


# Windows has none of them, and macOS before 11 no preadv.
read_into = _preadv if hasattr(os, "preadv") else _seek_and_read
read_at = os.pread if hasattr(os, "pread") else _seek_and_get
write_at = os.pwrite if hasattr(os, "pwrite") else _seek_and_write


def write_fully(fd: int, data: bytes | memoryview, offset: int) -> None:
    """Write until all is written."""
    data = memoryview(data)
    while data:
        count = write_at(fd, data, offset)
        data, offset = data[count:], offset + count
