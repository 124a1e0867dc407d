"""Which process serves which mountpoint: one file each, locked for as long as the process lives."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import hashlib
import os
import socket
from pathlib import Path
from typing import NamedTuple

import platformdirs

from rescalefs.errors import CannotMount
from rescalefs.private import make_private

_held: dict[Path, int] = {}  # claim file -> locked descriptor, until this process ends


class Daemon(NamedTuple):
    """A process of this user that serves a mountpoint."""

    pid: int
    mountpoint: Path


def claim(mountpoint: Path) -> None:
    """Become the one process that serves ``mountpoint``, until it ends; raise CannotMount if there is one."""
    file = _file(mountpoint)
    if file in _held:
        return
    make_private(file.parent)
    descriptor = _locked(file)
    if descriptor is None:
        daemon = daemon_of(mountpoint)
        who = f"process {daemon.pid}" if daemon else "another process"
        raise CannotMount(f"cannot mount on {mountpoint}: it is already mounted by {who}")
    os.truncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n{mountpoint}".encode("utf-8", "surrogateescape"))
    _held[file] = descriptor
    atexit.register(_withdraw, file)


def daemon_of(mountpoint: Path) -> Daemon | None:
    """The process that serves it now; None when there is none, or it is another user's."""
    return _holder(_file(mountpoint))


def daemons() -> list[Daemon]:
    """All of this user on this machine."""
    folder = _folder()
    found = (_holder(file) for file in sorted(folder.iterdir())) if folder.is_dir() else ()
    return [daemon for daemon in found if daemon is not None]


def is_running(pid: int) -> bool:
    """Whether the process has not ended; one that only waits to be reaped has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _locked(file: Path) -> int | None:
    """The file, open and locked, and still the one that has this name; None when someone else has it."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), file.stat()):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except FileNotFoundError:
            pass  # its owner withdrew it between our opening and our locking it
        os.close(descriptor)


def _holder(file: Path) -> Daemon | None:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        pid, _, mountpoint = os.pread(descriptor, 8192, 0).decode("utf-8", "surrogateescape").partition("\n")
        return Daemon(int(pid), Path(mountpoint)) if mountpoint else None
    finally:
        os.close(descriptor)
    return None


def _withdraw(file: Path) -> None:
    """Take the name away; the lock goes with the process."""
    with contextlib.suppress(OSError):
        file.unlink()


def _folder() -> Path:
    # Named for the machine: homes are shared between machines, mountpoints are not.
    return platformdirs.user_state_path("rescalefs") / "mounts" / socket.gethostname()


def _file(mountpoint: Path) -> Path:
    return _folder() / hashlib.blake2b(os.fsencode(mountpoint), digest_size=12).hexdigest()
