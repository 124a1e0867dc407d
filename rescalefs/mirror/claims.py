"""Which process writes a part: one at a time, and the kernel knows which."""

from __future__ import annotations

import errno
import functools
import os
import re
import socket
import stat
import uuid
from contextlib import suppress
from pathlib import Path

from rescalefs.errors import RescaleFSError, UserError
from rescalefs.exclusion import has_ended, process_name
from rescalefs.filesystems import NO_LOCKS
from rescalefs.reading import BINARY

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

    def _lock(descriptor: int) -> None:
        """Lock a file for as long as it is open, or raise `OSError`."""
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
else:

    def _lock(descriptor: int) -> None:
        """Lock a file for as long as it is open, or raise `OSError`."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


_OPEN = os.O_RDWR | BINARY | getattr(os, "O_NOFOLLOW", 0)
_TAKEN = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK})
_TRIES = 20  # each one is lost only to a process that removed the name between our opening and our locking
_OWNED = re.compile(r"[0-9a-f]+\.(?P<process>[^.]*\.\d{1,10}\.[0-9a-f]{12})\.part")


class PartTaken(RescaleFSError):
    """Another process writes this part. ``written_ns``: when it last did, which changes while it works."""

    def __init__(self, path: Path, written_ns: int = 0) -> None:
        super().__init__(f"another rescalefs process is fetching this file into {path.parent}")
        self.written_ns = written_ns


class _NoLocks(Exception):
    """This file system has no locks."""


def make_folder(folder: Path) -> None:
    """Make the folder that parts are in. Raises `UserError` where the name is a link, or another user's."""
    # Not its parents: where the disk of the folder was unmounted, nothing is to be put below its mountpoint.
    folder.mkdir(exist_ok=True, mode=0o700)
    look = folder.lstat()
    if not stat.S_ISDIR(look.st_mode):
        raise UserError(f"{folder} is a symbolic link; unfinished files are not put there. Remove it")
    if is_anothers(look):
        raise UserError(f"{folder} belongs to another user. Choose another folder")


def is_anothers(look: os.stat_result) -> bool:
    """Whether something belongs to another user, and we are not root."""
    return hasattr(os, "geteuid") and os.geteuid() not in (0, look.st_uid)


def claim(folder: Path, name: str) -> tuple[int, Path]:
    """Open the part of this name, made if it is missing, for this process alone. Raises `PartTaken`.

    Its bytes from before are there, also those of a process that has died. Where the file system has no
    locks, each process has a part of its own, and takes over those of dead processes of this machine.
    """
    path = folder / f"{name}.part"
    try:
        for _ in range(_TRIES):
            descriptor = _attempt(path)
            if descriptor is not None:
                return descriptor, path
    except _NoLocks:
        return _claim_without_locks(folder, name)
    raise PartTaken(path)


def claim_leftover(path: Path) -> int | None:
    """Open a part that no process writes, to remove it; None if one does, or it is not there."""
    try:
        descriptor = os.open(path, _OPEN)
    except OSError:
        return None
    with suppress(PartTaken, _NoLocks):
        # Where there are no locks, parts carry the names of their processes.
        if _is_dead(path) if _OWNED.fullmatch(path.name) else _is_locked(descriptor, path):
            return descriptor
    os.close(descriptor)
    return None


def _attempt(path: Path) -> int | None:
    """Open and lock the file of this name; None if the name was gone by then, or has been cleared away."""
    try:
        descriptor = os.open(path, _OPEN | os.O_CREAT, 0o666)
    except FileNotFoundError:  # another download has just removed the empty folder
        make_folder(path.parent)
        return None
    except OSError as error:
        if error.errno not in (errno.ELOOP, getattr(errno, "EMLINK", None)):
            raise
        path.unlink()  # a symbolic link: what it leads to is not ours to write
        return None
    locked = False
    try:
        locked = _is_locked(descriptor, path) and _is_sole_name(descriptor, path)
    except _NoLocks:
        if not os.fstat(descriptor).st_size:
            path.unlink(missing_ok=True)  # made just now, to learn that
        raise
    finally:
        if not locked:
            os.close(descriptor)
    return descriptor if locked else None


def _is_locked(descriptor: int, path: Path) -> bool:
    """Lock an open file; whether it still has its name then."""
    try:
        _lock(descriptor)
    except OSError as error:
        if error.errno in _TAKEN:
            raise PartTaken(path, os.fstat(descriptor).st_mtime_ns) from None
        if error.errno in NO_LOCKS:
            raise _NoLocks from None
        raise
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    return False


def _is_sole_name(descriptor: int, path: Path) -> bool:
    """Whether a part is a file of its own. If not, its name is removed.

    A kill between the two steps that give a file its final name leaves it with both: a process that wrote to
    the part would then write to the finished file, wherever a person has moved it since.
    """
    look = os.fstat(descriptor)
    if stat.S_ISREG(look.st_mode) and look.st_nlink <= 1 and not is_anothers(look):
        return True
    path.unlink()
    return False


# --- file systems without locks, or with such as other machines do not see


@functools.cache
def this_kernel() -> str:
    """Which running kernel this is, in whatever container; where it does not say, which machine."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return f"{socket.gethostname()} {uuid.getnode()}"


def _claim_without_locks(folder: Path, name: str) -> tuple[int, Path]:
    path = folder / f"{name}.{process_name()}.part"
    try:
        descriptor = os.open(path, _OPEN | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        raise PartTaken(path) from None
    for old in folder.glob(f"{name}.*.part"):
        if old != path and _is_dead(old):
            with suppress(OSError):  # one of two who try has it
                old.replace(path)
                os.close(descriptor)
                descriptor = os.open(path, _OPEN)
                spans_of(old).replace(spans_of(path))
                break
    return descriptor, path


def _is_dead(path: Path) -> bool:
    """Whether the process that made a part is known to be gone."""
    found = _OWNED.fullmatch(path.name)
    return found is not None and has_ended(found["process"])


def spans_of(part: Path) -> Path:
    """Where the ranges that are there are noted."""
    return part.with_suffix(".spans")
