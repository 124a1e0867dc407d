"""Who may act on a drop folder: one process, and only with the journal that knows what lies there."""

from __future__ import annotations

import contextlib
import os
import socket
import uuid
from collections.abc import Iterator
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

    def _lock(descriptor: int, shared: bool = False) -> None:  # noqa: ARG001  # no folder is locked here
        """Lock a file, or raise `BlockingIOError`."""
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError as error:
            raise BlockingIOError(error.errno, error.strerror) from error
else:

    def _lock(descriptor: int, shared: bool = False) -> None:
        """Lock a file or a folder, or raise `BlockingIOError`."""
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


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
            beside = _lock_file(self._settings.folder.resolve())
            for file in (self._settings.journal.with_suffix(".lock"), beside):
                descriptor = _locked(os.O_RDWR | os.O_CREAT, file)
                if descriptor is None:
                    return str(_owner(file) or "another process")
                undo.callback(os.close, descriptor)
                notes.append(descriptor)
            held = [*notes, *self._locked_folder(undo)]
            if len(held) == len(notes):
                return "another process, which knows the folder by another path"
            ours = self._us()
            before = _owner(beside)
            if before is not None and before.journal != ours.journal and folders(self._settings.folder):
                return (
                    f"nobody: the journal of {before.account} knows what became of the folders in it, and "
                    f"this one does not. Mount that account; or move them out; or remove {beside}, and each "
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
        account, now = self._settings.account, self._clock.now()
        return Owner(os.getpid(), socket.gethostname(), account, now, _identity(self._journal))


@contextlib.contextmanager
def claimed(folder: Path, journal: Journal) -> Iterator[str]:
    """Be the one process that submits a folder outside our drop folder: yields nothing, or why it may not be.

    Whatever the journals and accounts: the kernel holds the folder itself for us, where it can (not on NFS),
    and the folder around it keeps its daemon away, should it be the drop folder of another one.
    """
    with contextlib.ExitStack() as undo:
        around = _lock_file(folder.parent)
        owner = _owner(around)
        if owner is not None and owner.journal != _identity(journal):
            yield (
                f"is in the drop folder of {owner.account}, so it becomes a job there. "
                f"To submit it from here, copy it out of {folder.parent}"
            )
            return
        yield (
            _objection(undo, folder.parent, "in the drop folder of another rescalefs", shared=True)
            or _objection(undo, folder, "being submitted by another `rescalefs submit`", shared=False)
        )


def _objection(undo: contextlib.ExitStack, folder: Path, words: str, shared: bool) -> str:
    try:
        descriptor = _locked(os.O_RDONLY, folder, shared)
    except OSError:  # not ours to read, or no locks for folders there
        return ""
    if descriptor is None:
        return f"is {words}"
    undo.callback(os.close, descriptor)
    return ""


def _identity(journal: Journal) -> str:
    """Which journal it is, wherever it lies."""
    which = journal.fact(_FACT)
    if which is None:
        which = str(uuid.uuid4())
        journal.note(_FACT, which)
    return which


def _lock_file(folder: Path) -> Path:
    return folder.parent / f".{folder.name}.lock"  # the root has no name


def _locked(flags: int, path: Path, shared: bool = False) -> int | None:
    """The file or folder, open and locked, and still the one of this name; None if another process has it."""
    while True:
        descriptor = os.open(path, flags, 0o600)
        try:
            _lock(descriptor, shared)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except FileNotFoundError:
            pass  # somebody removed it between our opening and our locking it
        except OSError as error:
            os.close(descriptor)
            error.filename = str(path)  # the kernel's word names none: "No locks available"
            raise
        os.close(descriptor)


def _owner(file: Path) -> Owner | None:
    """Who a lock file names; None where it names nobody."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Owner)
    except (OSError, msgspec.MsgspecError):
        return None
