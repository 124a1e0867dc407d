"""What this mirror has put where, in a SQLite file beside the parts."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from rescalefs.databases import alone, errno_for, read_alone, words_for
from rescalefs.errors import UserError

_PATIENCE = 30.0  # seconds for another process's lock

_SCHEMA = """
CREATE TABLE IF NOT EXISTS marks (
    path TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, version TEXT NOT NULL,
    PRIMARY KEY (path, size, mtime_ns)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_version ON marks (version);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


class Mark(NamedTuple):
    """How a file looked when we put it there: one that looks so is ours, and holds ``version``."""

    size: int
    mtime_ns: int
    version: str


class Ledger:
    """Remembers marks. Thread-safe.

    A mark is noted before its file is put in place, and older ones go later: so whatever kills us in between,
    what lies there has a mark. A power cut may lose the newest marks: files are then known by checksum.

    On a disk that takes nothing, notes raise `OSError` until there is room again, and what was noted before
    is still known.
    """

    def __init__(self, file: Path | None) -> None:
        """``file`` is made if it is missing; None remembers for as long as this object lives.

        Raises `UserError` where the file is damaged. A file that the disk does not take now is made later.
        """
        self._file = file
        self._lock = threading.Lock()  # guards the three below: the connection runs one statement at a time
        self._connection: sqlite3.Connection | None = None
        self._is_closed = False
        self._mode = "rwc"  # of SQLite: it is made once, because its absence tells that the folder is gone
        try:
            with self._lock:
                self._open()
        except sqlite3.OperationalError:  # full, read-only or locked: each question tries again
            pass
        except (sqlite3.DatabaseError, UnicodeError) as error:  # the latter: what it says quotes the damage
            raise UserError(
                f"{file}: what was put there before cannot be read: {error}. Remove it: files that are "
                "as the server's are then recognised by their checksums, and others are kept"
            ) from error

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            self._let_go()

    def marks(self, path: str) -> list[Mark]:
        return [
            Mark(*row) for row in self._ask("SELECT size, mtime_ns, version FROM marks WHERE path = ?", path)
        ]

    def note(self, path: str, mark: Mark) -> None:
        """Remember that a file which looks like this, at this path, is ours."""
        self._ask(
            "INSERT OR REPLACE INTO marks VALUES (?, ?, ?, ?)", path, mark.size, mark.mtime_ns, mark.version
        )

    def keep_only(self, path: str, mark: Mark) -> None:
        """The file is in place: other marks of the path are history."""
        self._ask(
            "DELETE FROM marks WHERE path = ? AND NOT (size = ? AND mtime_ns = ?)",
            path,
            mark.size,
            mark.mtime_ns,
        )

    def forget_mark(self, path: str, mark: Mark) -> None:
        self._ask(
            "DELETE FROM marks WHERE path = ? AND size = ? AND mtime_ns = ?", path, mark.size, mark.mtime_ns
        )

    def forget(self, path: str) -> None:
        self._ask("DELETE FROM marks WHERE path = ?", path)

    def holders(self, version: str) -> list[tuple[str, Mark]]:
        """Where files of this version were put; a few will do."""
        rows = self._ask("SELECT path, size, mtime_ns, version FROM marks WHERE version = ? LIMIT 3", version)
        return [(row[0], Mark(*row[1:])) for row in rows]

    def below(self, folder: str) -> list[str]:
        """Paths with marks in a folder, whose name ends in a slash."""
        rows = self._ask(
            "SELECT DISTINCT path FROM marks WHERE path >= ? AND path < ?", folder, folder[:-1] + "0"
        )  # "0" comes right after "/"
        return [row[0] for row in rows]

    def fact(self, name: str) -> str | None:
        rows = self._ask("SELECT value FROM facts WHERE name = ?", name)
        return str(rows[0][0]) if rows else None

    def note_fact(self, name: str, value: str) -> None:
        self._ask("INSERT OR REPLACE INTO facts VALUES (?, ?)", name, value)

    def facts(self, prefix: str) -> dict[str, str]:
        """All facts whose names begin so; by what follows in the name."""
        rows = self._ask("SELECT name, value FROM facts WHERE substr(name, 1, ?) = ?", len(prefix), prefix)
        return {str(name)[len(prefix) :]: str(value) for name, value in rows}

    def forget_fact(self, name: str) -> None:
        self._ask("DELETE FROM facts WHERE name = ?", name)

    def _ask(self, statement: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]
        try:
            with self._lock:
                return self._answer(statement, values)
        except (sqlite3.Error, UnicodeError) as error:  # the latter: what it says quotes the damage
            file = self._file or Path(":memory:")
            words = f"the list of what is here: {words_for(file, error)}"
            raise OSError(errno_for(file, error), words, str(file)) from error

    def _answer(self, statement: str, values: tuple[object, ...]) -> list[tuple]:  # type: ignore[type-arg]
        if self._is_closed:
            raise sqlite3.ProgrammingError("it is closed")
        try:
            return (self._connection or self._open()).execute(statement, values).fetchall()
        except sqlite3.OperationalError:
            if self._file is None:
                raise
            self._let_go()  # a connection that was opened on a full disk stays unable to write
            if not statement.startswith("SELECT"):
                raise
            with closing(read_alone(self._file, _PATIENCE)) as connection:
                return connection.execute(statement, values).fetchall()

    def _open(self) -> sqlite3.Connection:
        uri, first = alone(self._file, self._mode) if self._file else (":memory:", ())
        self._connection = _connect(uri, first)
        self._mode = "rw"
        return self._connection

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _connect(uri: str, first: tuple[str, ...]) -> sqlite3.Connection:
    connection = sqlite3.connect(
        uri, uri=True, isolation_level=None, check_same_thread=False, timeout=_PATIENCE
    )
    try:
        # In a log, and without waiting for the disk at each note: a kill loses nothing, and a power cut
        # only what a checksum tells again.
        for statement in first:
            connection.execute(statement)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(_SCHEMA)
    except BaseException:
        connection.close()
        raise
    return connection
