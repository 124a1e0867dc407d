"""What the file system of a folder lacks, and what it is called."""

from __future__ import annotations

import errno
import mmap
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

try:
    import fcntl
except ImportError:  # Windows, where every file system has locks

    def _lock(descriptor: int) -> None:
        """Nothing is to be found out."""

    _lock_file = _lock
else:

    def _lock(descriptor: int) -> None:
        """Lock a range of a file, as SQLite does, or raise `OSError`."""
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _lock_file(descriptor: int) -> None:
        """Lock a whole file, or raise `OSError`."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


# Lustre without `-o flock` says ENOSYS, NFS without a lock daemon ENOLCK, some FUSE daemons EOPNOTSUPP.
NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL})
_MOUNTS = Path("/proc/self/mountinfo")
_PAGE = 4096  # bytes


class Ability(NamedTuple):
    """What the file system of a folder has."""

    locks: bool = True  # of ranges of a file (fcntl), by which SQLite keeps processes apart
    maps: bool = True  # memory that processes share by mapping one file
    file_locks: bool = True  # of whole files (flock)


def ability_of(folder: Path) -> Ability:
    """Found out with a file that is made there and removed. Where that fails, nothing counts as lacking."""
    # With its name until the end: some file systems do not change a file that has none any more.
    with suppress(OSError), tempfile.NamedTemporaryFile(dir=folder, prefix=".probe-", buffering=0) as file:
        file.truncate(_PAGE)
        number = file.fileno()
        return Ability(_can(_lock, number), _has_maps(number), _can(_lock_file, number))
    return Ability()


def _can(lock: Callable[[int], None], descriptor: int) -> bool:
    try:
        lock(descriptor)
    except OSError as error:
        return error.errno not in NO_LOCKS
    return True


def _has_maps(descriptor: int) -> bool:
    try:
        mmap.mmap(descriptor, _PAGE).close()
    except OSError as error:
        return error.errno != errno.ENODEV
    return True


def file_system_of(folder: Path) -> str:
    """The file system of a folder in words, as ``nfs4 (/home)``."""
    kind, found = "unknown", Path("/")
    with suppress(OSError):
        real = folder.resolve()
        with _MOUNTS.open("rb") as lines:
            for line in lines:
                mount, _, rest = line.partition(b" - ")
                # Blanks and the like are octal there: \040.
                name = mount.split()[4].decode("unicode_escape").encode("latin-1")
                place = Path(name.decode("utf-8", "surrogateescape"))
                # Later lines lie over earlier ones.
                if real.is_relative_to(place) and len(place.parts) >= len(found.parts):
                    kind, found = rest.split()[0].decode(), place
    return f"{kind} ({found})"


def lack_words(folder: Path, remedy: str) -> str:
    """That the file system of a folder has no locks, and what to do; empty where it has."""
    if all(ability_of(folder)._replace(maps=True)):
        return ""
    return f"{folder} is on {file_system_of(folder)}, which has no file locks. {remedy}"
