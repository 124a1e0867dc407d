"""Which process serves which mountpoint: one file each, locked for as long as the process lives.

Where the file system has no locks, the file counts for as long as the process that it names is there.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import hashlib
import logging
import os
import socket
from pathlib import Path
from typing import NamedTuple

import platformdirs

from rescalefs.errors import CannotMount
from rescalefs.filesystems import NO_LOCKS
from rescalefs.mount.mountpoint import mount_at
from rescalefs.private import make_private

log = logging.getLogger(__name__)

_held: dict[Path, int] = {}  # claim file -> locked descriptor, until this process ends


class Daemon(NamedTuple):
    """A process of this user that serves a mountpoint."""

    pid: int
    mountpoint: Path


def claim(mountpoint: Path) -> None:
    """Become the one process that serves ``mountpoint``, until it ends; raise CannotMount if there is one.

    Where no folder takes the claim, as on a full disk, there is a warning, and the kernel's own table of
    mounts has to do: `umount` then does not wait for the daemon to end.
    """
    if any(file in _held for file in _files(mountpoint)):
        return
    daemon = daemon_of(mountpoint)
    if daemon is not None:
        if mount_at(mountpoint) is None:
            raise CannotMount(f"cannot mount on {mountpoint}: {left_behind(daemon)}")
        raise CannotMount(f"cannot mount on {mountpoint}: it is already mounted by process {daemon.pid}")
    if not any(_is_claimed_in(file, mountpoint) for file in _files(mountpoint)):
        log.warning(
            "no other process is told that this one serves %s; umount will not wait for it", mountpoint
        )


def _is_claimed_in(file: Path, mountpoint: Path) -> bool:
    """Claim by this file. False where it cannot be written; raise CannotMount where another has it."""
    try:
        make_private(file.parent)
        descriptor = _locked(file)
    except OSError as error:
        log.warning("cannot write %s: %s", file, error.strerror)
        return False
    if descriptor is None:
        raise CannotMount(f"cannot mount on {mountpoint}: it is already mounted by another process")
    try:
        os.truncate(descriptor, 0)
        us = f"{os.getpid()} {_began(os.getpid())}"
        os.write(descriptor, f"{us}\n{mountpoint}".encode("utf-8", "surrogateescape"))
    except OSError as error:
        log.warning("cannot write %s: %s", file, error.strerror)
        _withdraw(file)
        os.close(descriptor)
        return False
    _held[file] = descriptor
    atexit.register(_withdraw, file)
    return True


def daemon_of(mountpoint: Path) -> Daemon | None:
    """The process that serves it now; None when there is none, or it is another user's."""
    return next((found for file in _files(mountpoint) if (found := _holder(file)) is not None), None)


def left_behind(daemon: Daemon) -> str:
    """Why a daemon may run whose mount is not to be seen, and what to do.

    A mount namespace that was made meanwhile (a container, a service with a /tmp of its own) has a copy of
    the mount, which `umount` here does not touch. The kernel keeps the connection until the last
    copy is gone.
    """
    return (
        f"process {daemon.pid} serves it, and nothing is mounted there. A container or a service may still "
        f"have the mount in its own view of the file system. To end it all the same: kill {daemon.pid}"
    )


def daemons() -> list[Daemon]:
    """All of this user on this machine."""
    files = [file for folder in _folders() if folder.is_dir() for file in sorted(folder.iterdir())]
    return [daemon for file in files if (daemon := _holder(file)) is not None]


def is_running(pid: int) -> bool:
    """Whether the process has not ended; one that only waits to be reaped has."""
    return _state(pid) not in ("", "Z")


def is_stopped(pid: int) -> bool:
    """Whether the process was stopped (SIGSTOP, Ctrl-Z), and does nothing until it is told to go on."""
    return _state(pid) == "T"


def _state(pid: int) -> str:
    """A letter of proc(5); "" where there is no such process."""
    return _facts(pid)[0]


def _began(pid: int) -> str:
    """When a process began, in clock ticks since the machine's start; "" where there is no such process."""
    return _facts(pid)[19]


def _facts(pid: int) -> list[str]:
    """What /proc/PID/stat says after the name of the program: see proc(5), from its third field on."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return [""] * 20


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
        except OSError as error:
            if error.errno in NO_LOCKS:
                return descriptor
            os.close(descriptor)
            raise
        os.close(descriptor)


def _holder(file: Path) -> Daemon | None:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _named_in(descriptor)
    except OSError as error:
        return _named_in(descriptor, must_run=True) if error.errno in NO_LOCKS else None
    finally:
        os.close(descriptor)
    return None


def _named_in(descriptor: int, must_run: bool = False) -> Daemon | None:
    """The process that a claim names. With ``must_run``, only while it is there: no lock says so."""
    who, _, mountpoint = os.pread(descriptor, 8192, 0).decode("utf-8", "surrogateescape").partition("\n")
    pid, _, began = who.partition(" ")
    if not mountpoint or not pid.isdecimal() or (must_run and _began(int(pid)) != (began or None)):
        return None
    return Daemon(int(pid), Path(mountpoint))


def _withdraw(file: Path) -> None:
    """Take the name away; the lock goes with the process."""
    with contextlib.suppress(OSError):
        file.unlink()


def _folders() -> list[Path]:
    """Where claims are: the state folder, and the one for the time of a login where that takes nothing."""
    # Named for the machine: homes are shared between machines, mountpoints are not.
    state = platformdirs.user_state_path("rescalefs") / "mounts" / socket.gethostname()
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    return [state, Path(runtime) / "rescalefs-mounts"] if Path(runtime).is_absolute() else [state]


def _files(mountpoint: Path) -> list[Path]:
    name = hashlib.blake2b(os.fsencode(mountpoint), digest_size=12).hexdigest()
    return [folder / name for folder in _folders()]
