"""Reading and writing at an offset: by one call where the system has it, else a seek and another, locked."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from typing import Any

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


def _found_preadv2() -> Callable[..., int] | None:
    """libc's preadv2(2), called with the interpreter's lock kept; None where there is none."""
    if not hasattr(os, "RWF_NOWAIT"):
        return None
    function: Any = getattr(ctypes.PyDLL(None), "preadv2", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_int)
        function.restype = ctypes.c_ssize_t
    return function  # type: ignore[no-any-return]


_preadv2 = _found_preadv2()
_Extent = ctypes.c_size_t * 2  # struct iovec: address, length
_AT_ONCE = 256 << 10  # bytes, copied in less time than it would take to get the interpreter's lock back


def _read_at_once(fd: int, buffer: memoryview, offset: int) -> int:
    assert _preadv2 is not None
    count = len(buffer)
    if 0 < count <= _AT_ONCE:
        extent = _Extent(ctypes.addressof(ctypes.c_char.from_buffer(buffer)), count)
        if _preadv2(fd, ctypes.addressof(extent), 1, offset, os.RWF_NOWAIT) == count:
            return count
    return read_into(fd, buffer, offset)  # it has to wait for the disk, or the file ends, or is no such file


# As `read_into`, for a few that are likely to be in memory: it keeps the interpreter's lock, which it takes
# longer to get back from other threads than to copy them (docs/performance.md). With RWF_NOWAIT it never
# waits for a disk.
read_at_once = read_into if _preadv2 is None else _read_at_once


def write_fully(fd: int, data: bytes | memoryview, offset: int) -> None:
    """Write until all is written."""
    data = memoryview(data)
    while data:
        count = write_at(fd, data, offset)
        data, offset = data[count:], offset + count
