"""Who may act on a drop folder: one process, and only with the journal that knows what lies there."""

from __future__ import annotations

import contextlib
import os
import socket
import uuid
from datetime import datetime
from pathlib import Path

import msgspec

from rescalefs.clock import Clock
from rescalefs.submit.folder import folders
from rescalefs.submit.journal import Journal
from rescalefs.submit.settings import SubmitSettings

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

    def _lock(descriptor: int) -> None:
        """Lock a file, or raise `BlockingIOError`."""
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError as error:
            raise BlockingIOError(error.errno, error.strerror) from error
else:

    def _lock(descriptor: int) -> None:
        """Lock a file or a folder, or raise `BlockingIOError`."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


_FACT = "journal"  # the name under which a journal knows which one it is


class Owner(msgspec.Struct, frozen=True):
    """Who acts, or did last."""

    pid: int
    host: str
    account: str
    since: datetime
    journal: str  # which one, wherever it lies

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} for {self.account}, since {self.since:%Y-%m-%dT%H:%M:%SZ}"


class Tenure:
    """The right to act on a drop folder, which at most one process has, by whatever path, journal or account.

    The kernel takes it back when its owner ends, however it ends. Two files carry it, one beside the journal
    and one beside the drop folder; both name the owner. The folder itself is locked as well, where the file
    system can do that: a bind mount has other files beside it.
    """

    def __init__(self, settings: SubmitSettings, journal: Journal, clock: Clock) -> None:
        self._settings = settings
        self._journal = journal
        self._clock = clock
        self._held: list[int] = []  # descriptors, locked

    def acquire(self) -> str:
        """Be the one, and return nothing; or return, in words, who is or why nobody may be."""
        if self._held:
            return ""
        with contextlib.ExitStack() as undo:
            notes: list[int] = []
            beside = self._settings.folder.resolve()
            for file in (
                self._settings.journal.with_suffix(".lock"),
                beside.with_name(f".{beside.name}.lock"),
            ):
                descriptor = _locked(os.O_RDWR | os.O_CREAT, file)
                if descriptor is None:
                    return str(_owner(file) or "another process")
                undo.callback(os.close, descriptor)
                notes.append(descriptor)
            held = [*notes, *self._locked_folder(undo)]
            if len(held) == len(notes):
                return "another process, which knows the folder by another path"
            ours = self._us()
            before = _owner(file)
            if before is not None and before.journal != ours.journal and folders(self._settings.folder):
                return (
                    f"nobody: the journal of {before.account} knows what became of the folders in it, and "
                    f"this one does not. Mount that account; or move them out; or remove {file}, and each "
                    "becomes a job"
                )
            for descriptor in notes:
                os.ftruncate(descriptor, 0)
                os.write(
                    descriptor, msgspec.json.encode(ours) + b"\n"
                )  # what was opened just now: at its start
            undo.pop_all()
        self._held = [each for each in held if each >= 0]
        return ""

    def release(self) -> None:
        """Let another one act."""
        while self._held:
            os.close(self._held.pop())

    def _locked_folder(self, undo: contextlib.ExitStack) -> list[int]:
        """Its descriptor; -1 where folders cannot be locked (NFS); none if somebody has it."""
        try:
            descriptor = _locked(os.O_RDONLY, self._settings.folder)
        except OSError:
            return [-1]
        if descriptor is None:
            return []
        undo.callback(os.close, descriptor)
        return [descriptor]

    def _us(self) -> Owner:
        which = self._journal.fact(_FACT)
        if which is None:
            which = str(uuid.uuid4())
            self._journal.note(_FACT, which)
        return Owner(os.getpid(), socket.gethostname(), self._settings.account, self._clock.now(), which)


def _locked(flags: int, path: Path) -> int | None:
    """The file or folder, open and locked, and still the one of this name; None if another process has it."""
    while True:
        descriptor = os.open(path, flags, 0o600)
        try:
            _lock(descriptor)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except FileNotFoundError:
            pass  # somebody removed it between our opening and our locking it
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _owner(file: Path) -> Owner | None:
    """Who a lock file names; None where it names nobody."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Owner)
    except (OSError, msgspec.MsgspecError):
        return None
