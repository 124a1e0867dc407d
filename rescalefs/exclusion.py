"""One process at a time, also on file systems without locks: there, processes note that they are at work."""

from __future__ import annotations

import logging
import os
import re
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from rescalefs.filesystems import ability_of, file_system_of

log = logging.getLogger(__name__)

_PROCESS = uuid.uuid4().hex[:12]  # a process number comes again: after a reboot, and in each container
_NAME = re.compile(r"(?P<host>[^.]*)\.(?P<pid>\d{1,10})\.(?P<process>[0-9a-f]{12})")

_told: set[str] = set()  # file systems


class Taken(Exception):
    """Another process is at work. ``note`` is where it says so, on a file system without locks."""

    def __init__(self, note: Path | None = None) -> None:
        super().__init__("another process is at work" if note is None else f"{note} says that one is at work")
        self.note = note


@contextmanager
def exclusive(path: Path, patience: float = 0.0, mode: int = 0o600) -> Iterator[None]:
    """Be the one process that holds ``path``, a file of ours.

    Raises `Taken` after ``patience`` seconds, and `OSError`. Without locks, what another machine notes is
    believed until a person removes it: a process that was killed there cannot be told from one at work.
    """
    if not ability_of(path.parent).file_locks:
        with _noted(path):
            yield
        return
    lock = FileLock(path, mode=mode, thread_local=False)
    try:
        lock.acquire(timeout=patience)
    except Timeout:
        raise Taken from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _noted(path: Path) -> Iterator[None]:
    own = path.with_name(f"{path.name}.{process_name()}")
    try:
        own.touch(exist_ok=False)
    except FileExistsError:  # by another thread, or another part of this process
        raise Taken(own) from None
    try:
        # Each notes itself first, then looks: of two at once, at least one finds the other.
        for note in path.parent.glob(f"{path.name}.*"):
            if note == own or _NAME.fullmatch(note.name[len(path.name) + 1 :]) is None:
                continue
            if not has_ended(note.name[len(path.name) + 1 :]):
                raise Taken(note)
            note.unlink(missing_ok=True)
        _tell(path.parent)
        yield
    finally:
        with suppress(OSError):
            own.unlink()


def _tell(folder: Path) -> None:
    """Log once for each file system that it lacks locks."""
    where = file_system_of(folder)
    if where not in _told:
        _told.add(where)
        log.warning(
            "%s is on %s, which has no file locks; files that name a process do instead", folder, where
        )


def process_name() -> str:
    """The name of this process, for parts of file names: machine, number, and which of that number."""
    return f"{_host()}.{os.getpid()}.{_PROCESS}"


def has_ended(name: str) -> bool:
    """Whether the process of this `process_name` is known to be gone: it was one of this machine."""
    found = _NAME.fullmatch(name)
    if found is None or found["host"] != _host():
        return False
    if int(found["pid"]) == os.getpid():
        return found["process"] != _PROCESS
    if os.name == "nt":  # there, signal 0 would end the process
        return False
    try:
        os.kill(int(found["pid"]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())
