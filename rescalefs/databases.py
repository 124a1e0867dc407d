"""SQLite files on a disk that takes nothing: they are still read, and messages name what the disk lacks.

Also on file systems without locks (Lustre, NFS without a lock daemon), by which SQLite keeps processes apart,
and without shared mappings (CIFS, 9p, sshfs), in which its write-ahead log keeps who reads and writes.

SQLite itself reports a full disk as "disk I/O error", "unable to open database file" or "database or disk is
full", depending on which of its three files it could not write.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
from pathlib import Path

from rescalefs.filesystems import ability_of, lack_words

_PROBE = bytes(64 << 10)  # more than the 32 KiB of the file in which SQLite keeps who reads and writes

_WORDS = {
    errno.ENOSPC: "the disk of {folder} is full. Free some room there; a megabyte is enough",
    errno.EDQUOT: "your quota on the disk of {folder} is used up. Free some room there; a megabyte is enough",
    errno.EROFS: "the disk of {folder} is read-only. Mount it writable",
}

_NO_LOCKS = "&vfs=unix-none"
_REMEDY = "Choose a folder on another disk"


def hindrance(file: Path) -> OSError | None:
    """What the disk answers to one more small file beside ``file``; None where it takes that."""
    try:
        with tempfile.TemporaryFile(dir=file.parent, buffering=0) as probe:
            left = memoryview(_PROBE)
            while left:
                left = left[probe.write(left) :]
    except OSError as error:
        return error
    return None


def disk_words(folder: Path, error: OSError | None) -> str:
    """What is wrong with the disk of ``folder``, and what to do; empty where that is not the disk's room."""
    words = _WORDS.get(error.errno or 0, "") if error is not None else ""
    return words.format(folder=folder)


def words_for(file: Path, error: BaseException | None, remedy: str = _REMEDY) -> str:
    """Why SQLite failed on ``file``, and what to do: by the disk where it is the disk, else by SQLite.

    ``remedy`` is what helps where the file system has no locks.
    """
    folder = file.parent
    return disk_words(folder, hindrance(file)) or lack_words(folder, remedy) or str(error)


def errno_for(file: Path, error: BaseException) -> int:
    """The number of what SQLite reported for ``file``; EIO where nothing more is known."""
    found = hindrance(file)
    if found is not None and found.errno in _WORDS:
        return found.errno or errno.EIO
    if "full" in str(error):  # by a limit of SQLite's own
        return errno.ENOSPC
    return errno.EROFS if "readonly" in str(error) else errno.EIO


def alone(file: Path, mode: str = "rwc") -> tuple[str, tuple[str, ...]]:
    """How a process opens a database that it has for itself: the URI, and the first statements.

    Something else sees to it that it is alone. Then SQLite needs neither locks nor a mapping, and has its
    write-ahead log all the same.
    """
    ability = ability_of(file.parent)
    uri = f"{file.absolute().as_uri()}?mode={mode}"
    if not ability.locks:
        uri += _NO_LOCKS
    usual = ("PRAGMA journal_mode = WAL",)
    return uri, usual if ability.locks and ability.maps else ("PRAGMA locking_mode = EXCLUSIVE", *usual)


def leave_log(file: Path, patience: float) -> None:
    """Have a database do without its write-ahead log from now on.

    Raises `sqlite3.Error`, as while another process uses it.
    """
    connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True, timeout=patience)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = DELETE")
    finally:
        connection.close()


def read_alone(file: Path, patience: float) -> sqlite3.Connection:
    """A connection that reads ``file`` and makes no other one. It waits ``patience`` seconds for locks.

    Where it cannot lock anything, the disk is mounted read-only, and no other process writes, either.
    Raises `sqlite3.Error`.
    """
    uri = file.absolute().as_uri()
    without = "" if ability_of(file.parent).locks else _NO_LOCKS
    connection = sqlite3.connect(f"{uri}?mode=rw{without}", uri=True, timeout=patience)  # does not make it
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # the index of the log is then kept in memory
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException as error:
        connection.close()
        # With write access, another process may write while it has the lock. That takes the folder as well,
        # where SQLite puts its log.
        may_write = os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)
        if not isinstance(error, sqlite3.OperationalError) or may_write:
            raise
        return sqlite3.connect(f"{uri}?mode=ro&immutable=1", uri=True)
    return connection
