"""Which process serves which mountpoint: one file each, locked for as long as the process lives."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import hashlib
import os
import socket
from pathlib import Path

import platformdirs

from rescalefs.errors import CannotMount

_held: dict[Path, int] = {}  # claim file -> locked descriptor, until this process ends


def claim(mountpoint: Path) -> None:
    """Become the one process that serves ``mountpoint``, until it ends; raise CannotMount if there is one."""
    file = claim_file(mountpoint)
    if file in _held:
        return
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise CannotMount(
            f"cannot mount on {mountpoint}: process {daemon_of(mountpoint) or 'unknown'} serves it already"
        ) from None
    os.truncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    _held[file] = descriptor
    atexit.register(release, mountpoint)


def release(mountpoint: Path) -> None:
    """Give it up before the process ends."""
    file = claim_file(mountpoint)
    descriptor = _held.pop(file, None)
    if descriptor is not None:
        with contextlib.suppress(OSError):
            os.truncate(descriptor, 0)
        os.close(descriptor)


def daemon_of(mountpoint: Path) -> int | None:
    """The process that serves it now; None when there is none, or it is another user's."""
    try:
        descriptor = os.open(claim_file(mountpoint), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return int(os.pread(descriptor, 20, 0) or b"0") or None
    finally:
        os.close(descriptor)
    return None


def claim_file(mountpoint: Path) -> Path:
    """Named for the machine, too: homes are shared between machines, mountpoints are not."""
    digest = hashlib.blake2b(f"{socket.gethostname()}\0{mountpoint}".encode(), digest_size=12).hexdigest()
    return platformdirs.user_state_path("rescalefs") / "mounts" / digest
