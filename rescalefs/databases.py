"""SQLite files on a disk that takes nothing: they are still read, and messages name what the disk lacks.

SQLite itself reports a full disk as "disk I/O error", "unable to open database file" or "database or disk is
full", depending on which of its three files it could not write.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
from pathlib import Path

_PROBE = bytes(64 << 10)  # more than the 32 KiB of the file in which SQLite keeps who reads and writes

_WORDS = {
    errno.ENOSPC: "the disk of {folder} is full. Free some room there; a megabyte is enough",
    errno.EDQUOT: "your quota on the disk of {folder} is used up. Free some room there; a megabyte is enough",
    errno.EROFS: "the disk of {folder} is read-only. Mount it writable",
}


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


def words_for(file: Path, error: BaseException | None) -> str:
    """Why SQLite failed on ``file``, and what to do: by the disk where it is the disk, else by SQLite."""
    return disk_words(file.parent, hindrance(file)) or str(error)


def errno_for(file: Path, error: BaseException) -> int:
    """The number of what SQLite reported for ``file``; EIO where nothing more is known."""
    found = hindrance(file)
    if found is not None and found.errno in _WORDS:
        return found.errno or errno.EIO
    if "full" in str(error):  # by a limit of SQLite's own
        return errno.ENOSPC
    return errno.EROFS if "readonly" in str(error) else errno.EIO


def read_alone(file: Path, patience: float) -> sqlite3.Connection:
    """A connection that reads ``file`` and makes no other one. It waits ``patience`` seconds for locks.

    Where it cannot lock anything, the disk is mounted read-only, and no other process writes, either.
    Raises `sqlite3.Error`.
    """
    uri = file.absolute().as_uri()
    connection = sqlite3.connect(f"{uri}?mode=rw", uri=True, timeout=patience)  # does not make it
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # the index of the log is then kept in memory
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException as error:
        connection.close()
        # With write access, another process may write while it has the lock.
        if not isinstance(error, sqlite3.OperationalError) or os.access(file, os.W_OK):
            raise
        return sqlite3.connect(f"{uri}?mode=ro&immutable=1", uri=True)
    return connection
