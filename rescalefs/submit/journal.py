"""What happened to every drop: events in one SQLite table, each durable before the next act."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import sqlalchemy as sql
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError
from sqlalchemy.pool import NullPool, StaticPool

from rescalefs.errors import RescaleFSError, UserError
from rescalefs.private import make_private
from rescalefs.submit.machine import AnyEvent, Drop, Event, OutOfPlace, step

_FORMAT = 2  # PRAGMA user_version of the files we write; 2 has more kinds of events, which 1 cannot read

_PATIENCE = 8.0  # seconds for another process's lock: shorter than a thread may take to end
_Which: TypeAlias = tuple[int, int]  # device and number of a file

_tables = sql.MetaData()

_events = sql.Table(
    "events",
    _tables,
    sql.Column("seq", sql.Integer, primary_key=True),
    sql.Column("drop_id", sql.String, nullable=False),
    sql.Column("number", sql.Integer, nullable=False),  # from 1, without gaps, for each drop
    sql.Column("at", sql.String, nullable=False),
    sql.Column("event", sql.LargeBinary, nullable=False),  # JSON
    # Of two threads or daemons that act on one state of a drop, the second finds its event's place taken.
    sql.UniqueConstraint("drop_id", "number"),
    sqlite_autoincrement=True,
)

_uploads = sql.Table(
    "uploads",
    _tables,
    sql.Column("file_id", sql.String, primary_key=True),
    sql.Column("name", sql.String, nullable=False),
    sql.Column("type_id", sql.Integer, nullable=False),
    sql.Column("size", sql.Integer, nullable=False),
    sql.Column("sha512", sql.String, nullable=False),
    sql.Column("mark", sql.String, nullable=False),  # of the local files it was made from
    sql.Column("at", sql.String, nullable=False),  # when the server was last known to have it
    sql.Index("by_content", "name", "size", "sha512"),
)

_facts = sql.Table(
    "facts",
    _tables,
    sql.Column("name", sql.String, primary_key=True),
    sql.Column("value", sql.String, nullable=False),
)


class JournalDamaged(UserError):
    """The journal cannot be believed, so nothing may be done on its word."""


class JournalFailed(RescaleFSError):
    """The disk did not take or give an event: what it tells of must not be relied on."""


class Overtaken(Exception):
    """The drop has an event with this number already: decide again. Caught by who acted."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the journal."""

    seq: int
    drop_id: str
    number: int
    at: datetime
    event: Event


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that the server got from here."""

    file_id: str
    name: str
    type_id: int
    size: int
    sha512: str
    mark: str
    at: datetime


class Journal:
    """Remembers events and uploads of one account. Thread-safe; several processes may have it open.

    `append` returns only when the event would survive a power cut, and only if no other took its place.
    Not promised: mending. A damaged file is refused on opening.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._why_not = ""  # why the file could not be made; then nothing can be written
        url = sql.URL.create("sqlite", database=str(path))
        self._engine = sql.create_engine(url, connect_args={"timeout": _PATIENCE})
        sql.event.listen(self._engine, "connect", _make_durable)
        # For a disk that takes nothing, not even the file in which SQLite keeps who reads and writes.
        self._alone = sql.create_engine("sqlite://", creator=lambda: _connect_alone(path), poolclass=NullPool)
        self._file: _Which | None = None  # the one that SQLite has open
        self._has_log = False  # beside it SQLite's write-ahead log, where the file system can do that
        try:
            self._open()
            self._file = None if self._why_not else _which(path)
            self._has_log = self._log_path.exists()
        except BaseException:
            self._engine.dispose()
            raise

    def append(self, drop: Drop, event: Event, at: datetime) -> Drop:
        """The drop after the event, which is durable; nothing happened on `OutOfPlace` and `Overtaken`."""
        after = step(drop, event)
        row = {
            "drop_id": drop.id,
            "number": after.number,
            "at": at.isoformat(),
            "event": msgspec.json.encode(event),
        }
        with self._writing() as connection:
            try:
                connection.execute(_events.insert().values(row))
            except IntegrityError as error:
                raise Overtaken(drop.id) from error
        return after

    def entries(self, after: int = 0) -> Iterator[Entry]:
        """All that was appended behind ``after``, in order."""
        query = sql.select(_events).where(_events.c.seq > after).order_by(_events.c.seq)
        with self._reading() as connection:
            rows = connection.execute(query).all()
        for row in rows:
            yield self._entry(row)

    def replay(self) -> dict[str, Drop]:
        """Every drop as its events tell it."""
        drops: dict[str, Drop] = {}
        for entry in self.entries():
            drops[entry.drop_id] = self.told(drops.get(entry.drop_id, Drop(entry.drop_id)), entry)
        return drops

    def told(self, drop: Drop, entry: Entry) -> Drop:
        """The drop after one entry; raises `JournalDamaged` where that does not fit what came before."""
        if entry.number != drop.number + 1:
            raise self._damaged(f"event {drop.number + 1} of drop {drop.id} is missing")
        try:
            return step(drop, entry.event)
        except OutOfPlace as error:
            raise self._damaged(f"event {entry.number} of drop {drop.id}: {error}") from error

    def remember(self, upload: Upload) -> None:
        """Note, durably, that the server has this file."""
        row = {
            "file_id": upload.file_id,
            "name": upload.name,
            "type_id": upload.type_id,
            "size": upload.size,
            "sha512": upload.sha512,
            "mark": upload.mark,
            "at": upload.at.isoformat(),
        }
        with self._writing() as connection:
            connection.execute(_uploads.delete().where(_uploads.c.file_id == upload.file_id))
            connection.execute(_uploads.insert().values(row))

    def forget(self, file_id: str) -> None:
        """The server does not have this file any more."""
        with self._writing() as connection:
            connection.execute(_uploads.delete().where(_uploads.c.file_id == file_id))

    def uploads(self, name: str, type_id: int, size: int) -> tuple[Upload, ...]:
        """The files of this name, type and size that the server got from here, the latest first."""
        query = (
            sql.select(_uploads)
            .where(_uploads.c.name == name, _uploads.c.type_id == type_id, _uploads.c.size == size)
            .order_by(_uploads.c.at.desc())
        )
        with self._reading() as connection:
            rows = connection.execute(query).all()
        try:
            return tuple(Upload(**{**row._asdict(), "at": datetime.fromisoformat(row.at)}) for row in rows)
        except (ValueError, TypeError) as error:
            raise self._damaged(f"an upload: {error}") from error

    def fact(self, name: str) -> str | None:
        """What was last noted under this name."""
        with self._reading() as connection:
            return connection.execute(sql.select(_facts.c.value).where(_facts.c.name == name)).scalar()

    def note(self, name: str, value: str) -> None:
        """Note, durably, in place of what was noted before."""
        with self._writing() as connection:
            connection.execute(_facts.delete().where(_facts.c.name == name))
            connection.execute(_facts.insert().values(name=name, value=value))

    def forget_fact(self, name: str) -> None:
        """Have nothing noted under this name."""
        with self._writing() as connection:
            connection.execute(_facts.delete().where(_facts.c.name == name))

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    def _open(self) -> None:
        try:
            make_private(self._path.parent)
            if not self._path.exists():
                self._path.touch(mode=0o600)
            self._check()
        except (OSError, JournalFailed) as error:
            if self._path.exists() and self._path.stat().st_size:
                raise
            self._be_empty(error)

    def _check(self) -> None:
        """Refuse a damaged file, and one of another version; make the tables of a new one."""
        with self._reading() as connection:
            found = connection.exec_driver_sql("PRAGMA quick_check").scalars().all()
            if found != ["ok"]:
                raise self._damaged(str(found[0]))
            version = connection.exec_driver_sql("PRAGMA user_version").scalar()
        if version not in range(_FORMAT + 1):
            raise UserError(f"{self._path} was written by a newer rescalefs; use that one")
        if version == _FORMAT:
            return
        try:
            with self._writing() as connection:
                _tables.create_all(connection)
                connection.exec_driver_sql(f"PRAGMA user_version = {_FORMAT}")
        except JournalFailed as error:
            if not version:
                raise
            self._why_not = f"{error}. Make room, and mount again"  # an older file can be read as it is

    def _be_empty(self, why: OSError | JournalFailed) -> None:
        """There is no file, and there can be none: show no drops, and act on none."""
        self._engine.dispose()
        self._engine = sql.create_engine("sqlite://", poolclass=StaticPool)
        with self._engine.begin() as connection:
            _tables.create_all(connection)
        words = f"cannot make {self._path}: {why.strerror}" if isinstance(why, OSError) else str(why)
        self._why_not = f"{words}. Make room, and mount again"

    @property
    def _log_path(self) -> Path:
        return self._path.with_name(f"{self._path.name}-wal")

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sql.Connection]:
        """One transaction: all of it is durable at the end, or nothing happened."""
        if self._why_not:
            raise JournalFailed(self._why_not)
        try:
            self._make_sure_it_is_there()
            with self._engine.begin() as connection:
                yield connection
            # Afterwards as well: SQLite goes on writing to a file that was removed, and all is lost then.
            self._make_sure_it_is_there()
            self._make_sure_of_the_log()
        except DatabaseError as error:
            self._engine.dispose()  # a connection that was opened on a full disk stays unable to write
            raise JournalFailed(f"cannot write {self._path}: {error.orig}") from error
        except UnicodeError as error:  # sqlite3 fails to say what SQLite says, which quotes the damage
            raise self._damaged(str(error)) from error

    def _make_sure_it_is_there(self) -> None:
        if self._file is not None and _which(self._path) != self._file:
            raise JournalFailed(
                f"{self._path} was removed or replaced while it was in use, so nothing is submitted. "
                "Put it back, or unmount, put back a copy, and mount again"
            )

    def _make_sure_of_the_log(self) -> None:
        if self._has_log and not self._log_path.exists():
            self._engine.dispose()  # the last connection to close writes the log into the journal
            raise JournalFailed(f"{self._log_path} was removed while it was in use")

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sql.Connection]:
        """A connection; what goes wrong is damage, unless it may pass (a lock, an unreadable disk)."""
        try:
            with self._connected() as connection:
                yield connection
        except OperationalError as error:
            raise JournalFailed(f"cannot read {self._path}: {error.orig}") from error
        except DatabaseError as error:
            raise self._damaged(str(error.orig)) from error
        except UnicodeError as error:  # as above
            raise self._damaged(str(error)) from error

    def _connected(self) -> sql.Connection:
        try:
            return self._engine.connect()
        except OperationalError:
            return self._alone.connect()

    def _entry(self, row: sql.Row[Any]) -> Entry:
        try:
            event = msgspec.json.decode(row.event, type=AnyEvent)
            return Entry(row.seq, row.drop_id, row.number, datetime.fromisoformat(row.at), event)
        except (msgspec.MsgspecError, ValueError, TypeError) as error:
            raise self._damaged(f"line {row.seq}: {error}") from error

    def _damaged(self, reason: str) -> JournalDamaged:
        reason = " ".join(reason.split())[:120]  # SQLite lists every fault it finds, a line each
        return JournalDamaged(
            f"the journal of the drop folder, {self._path}, is damaged ({reason}), so nothing is submitted. "
            "Put back a copy; or first move every drop that has its job out of the drop folder, then remove "
            "the journal and `.submit.lock` beside the drop folder: without them, every folder there counts "
            "as new and is submitted"
        )


def _connect_alone(path: Path, patience: float = 30.0) -> sqlite3.Connection:
    """A connection that reads and needs no other file.

    Where it cannot lock anything, the disk is mounted read-only, and no other process writes, either.
    """
    connection = sqlite3.connect(path, timeout=patience)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # the index of the log is then kept in memory
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException as error:
        connection.close()
        # With write access, another process may write while it has the lock.
        if not isinstance(error, sqlite3.OperationalError) or os.access(path, os.W_OK):
            raise
        return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    return connection


def _which(path: Path) -> _Which | None:
    """Which file lies there."""
    try:
        facts = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise JournalFailed(f"cannot look at {path}: {error.strerror}") from error
    return facts.st_dev, facts.st_ino


def _make_durable(connection: Any, _record: Any) -> None:
    """Have SQLite sync each commit to the disk before it returns.

    WAL costs one sync a commit and lets others read meanwhile. Where the file system cannot do it, SQLite
    stays with its rollback journal, for which EXTRA also syncs the folder: with FULL a commit could be lost.
    """
    try:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = EXTRA")
        cursor.close()
    except BaseException:
        connection.close()  # SQLAlchemy has not taken it over yet, so nothing else would close it
        raise
