"""Keeps records as JSON documents in one SQLite file. The only importer of sqlite3.

What a method returned from survives a kill -9 of the simulator (not a power cut: the log is not synced).
Thread-safe. Two threads may send two versions of one record in either order: the newer one stays.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from rescalefs.databases import alone, errno_for, words_for
from rescalefs.simulator.records import FileRecord, JobRecord

Record = JobRecord | FileRecord
R = TypeVar("R", JobRecord, FileRecord)

_KINDS: dict[type[Record], str] = {JobRecord: "jobs", FileRecord: "files"}

_TABLE = """
CREATE TABLE IF NOT EXISTS {0} (
    id TEXT PRIMARY KEY, number INTEGER NOT NULL, version INTEGER NOT NULL, document BLOB NOT NULL
) WITHOUT ROWID
"""
_FACTS = "CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"
_ADD = "INSERT INTO {0} (id, number, version, document) VALUES (:id, :number, :version, :document)"
_CHANGE = "UPDATE {0} SET version = :version, document = :document WHERE id = :id AND version < :version"
_REMOVE = "DELETE FROM {0} WHERE id = :id"


class Store:
    """The documents of one data folder."""

    def __init__(self, path: Path) -> None:
        """Raises `OSError` where the file is damaged, or the disk does not take it."""
        self._path = path
        self._lock = threading.Lock()  # guards _connection: SQLite wants one thread at a time on it
        with self._said_plainly():
            uri, first = alone(path)
            self._connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
            self._make_tables(first)

    @contextmanager
    def _said_plainly(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, UnicodeError) as error:  # the latter: what it says quotes the damage
            words = words_for(self._path, error)
            raise OSError(errno_for(self._path, error), words, str(self._path)) from error

    def _make_tables(self, first: tuple[str, ...]) -> None:
        try:
            for statement in first:
                self._connection.execute(statement)
            self._connection.execute("PRAGMA synchronous = NORMAL")
            for table in _KINDS.values():
                self._connection.execute(_TABLE.format(table))
            self._connection.execute(_FACTS)
        except BaseException:
            self._connection.close()
            raise

    def fact(self, name: str, new: Callable[[], str]) -> str:
        """What is noted under this name; ``new`` makes it the first time."""
        with self._lock, self._said_plainly():
            self._connection.execute("INSERT OR IGNORE INTO facts VALUES (?, ?)", (name, new()))
            (value,) = self._connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return str(value)

    def load(self, kind: type[R]) -> list[R]:
        """All records of a kind, in the order of their numbers."""
        query = f"SELECT document FROM {_KINDS[kind]} ORDER BY number"  # noqa: S608 - a table of ours
        with self._lock, self._said_plainly():
            rows = self._connection.execute(query).fetchall()
        decoder = msgspec.json.Decoder(kind)
        return [decoder.decode(document) for (document,) in rows]

    def add(self, records: Iterable[Record]) -> None:
        """Keep these new records, all or none."""
        self._execute(_ADD, records)

    def change(self, records: Iterable[Record]) -> None:
        """Keep these versions, all or none; of records that were removed or are newer here, nothing."""
        self._execute(_CHANGE, records)

    def remove(self, records: Iterable[Record]) -> None:
        """Forget these records, all or none."""
        self._execute(_REMOVE, records)

    def _execute(self, statement: str, records: Iterable[Record]) -> None:
        rows: dict[str, list[dict[str, object]]] = {}
        for record in records:
            row = {
                "id": record.id,
                "number": record.number,
                "version": record.version,
                "document": msgspec.json.encode(record),
            }
            rows.setdefault(_KINDS[type(record)], []).append(row)
        with self._lock, self._said_plainly():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                for table, values in rows.items():
                    self._connection.executemany(statement.format(table), values)
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()
