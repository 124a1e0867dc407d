"""System calls that Python lacks or has in part: umount2, utimensat with "omit", fallocate with a mode."""

from __future__ import annotations

import ctypes
import os

UTIME_NOW = 0x3FFFFFFF  # <linux/stat.h>: in tv_nsec, take the time from the clock
UTIME_OMIT = 0x3FFFFFFE  # leave it as it is
_AT_FDCWD = -100
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8  # <sys/mount.h>

Moment = tuple[int, int]  # seconds, nanoseconds (or one of the two marks above)


class _Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


_libc = ctypes.CDLL(None, use_errno=True)
_libc.utimensat.argtypes = [ctypes.c_int, ctypes.c_char_p, _Timespec * 2, ctypes.c_int]
_libc.umount2.argtypes = [ctypes.c_char_p, ctypes.c_int]
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


def set_times(path: str, accessed: Moment, modified: Moment) -> None:
    """utimensat(2)."""
    times = (_Timespec * 2)(_Timespec(*accessed), _Timespec(*modified))
    _checked(_libc.utimensat(_AT_FDCWD, os.fsencode(path), times, 0))


def unmount(path: str, lazy: bool) -> None:
    """umount2(2); only root may."""
    flags = _UMOUNT_NOFOLLOW | (_MNT_DETACH if lazy else 0)
    _checked(_libc.umount2(os.fsencode(path), flags))


def allocate(descriptor: int, mode: int, offset: int, length: int) -> None:
    """fallocate(2), with its flags."""
    _checked(_libc.fallocate(descriptor, mode, offset, length))


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
