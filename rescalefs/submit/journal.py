"""What happened to every drop: events in one SQLite table, each durable before the next act."""

from __future__ import annotations

import contextlib
import logging
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import msgspec
import sqlalchemy as sql
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError
from sqlalchemy.pool import NullPool

from rescalefs.databases import disk_words, leave_log, read_alone, words_for
from rescalefs.errors import RescaleFSError, UserError
from rescalefs.filesystems import Ability, ability_of, lack_words
from rescalefs.private import make_private
from rescalefs.submit.machine import AnyEvent, Drop, Event, OutOfPlace, step

log = logging.getLogger(__name__)

_FORMAT = 2  # PRAGMA user_version of the files we write; 2 has more kinds of events, which 1 cannot read

NO_LOCKS_REMEDY = (
    "Set XDG_STATE_HOME and XDG_DATA_HOME to folders on another disk; with rescalefs sync, choose another DIR"
)
_PATIENCE = 8.0  # seconds for another process's lock: shorter than a thread may take to end
_T = TypeVar("_T")
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


_TRIED = "tried"
_LITTLE_ROOM = 1 << 20  # bytes: some hundred events


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
    A file that cannot be made shows nothing and takes nothing until the disk has room for it.
    Not promised: mending. A damaged file is refused on opening.
    """

    def __init__(self, path: Path, *, patient: bool = False) -> None:
        """``patient``: a file that is there and cannot be read now is treated like one that cannot be made.

        A daemon goes on that way until the disk is well again. A command raises `JournalFailed` instead,
        because it would say that there are no drops.
        """
        self._path = path
        self._is_patient = patient
        self._why_not = ""  # why the file cannot be used, or not be written; each use tries again
        self._shows_nothing = False  # the file cannot even be read
        url = sql.URL.create("sqlite", database=str(path))
        self._engine = sql.create_engine(url, connect_args={"timeout": _PATIENCE})
        sql.event.listen(self._engine, "connect", self._make_durable)
        # For a disk that takes nothing, not even the file in which SQLite keeps who reads and writes.
        self._alone = sql.create_engine(
            "sqlite://", creator=lambda: read_alone(path, _PATIENCE), poolclass=NullPool
        )
        self._ability = Ability()  # of its file system
        self._file: _Which | None = None  # the one that SQLite has open
        self._has_log = False  # beside it SQLite's write-ahead log, where the file system can do that
        try:
            self._open()
        except BaseException:
            self.close()
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
        for row in self._read(lambda connection: connection.execute(query).all()):
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
        rows = self._read(lambda connection: connection.execute(query).all())
        try:
            return tuple(Upload(**{**row._asdict(), "at": datetime.fromisoformat(row.at)}) for row in rows)
        except (ValueError, TypeError) as error:
            raise self._damaged(f"an upload: {error}") from error

    def fact(self, name: str) -> str | None:
        """What was last noted under this name."""
        query = sql.select(_facts.c.value).where(_facts.c.name == name)
        return self._read(lambda connection: connection.execute(query).scalar())

    def note(self, name: str, value: str) -> None:
        """Note, durably, in place of what was noted before."""
        with self._writing() as connection:
            connection.execute(_facts.delete().where(_facts.c.name == name))
            connection.execute(_facts.insert().values(name=name, value=value))

    def try_out(self) -> None:
        """Write something that nothing reads; raises as `append` does."""
        self.note(_TRIED, "")

    @property
    def is_short_of_room(self) -> bool:
        """Whether its disk is nearly full, as far as the disk tells."""
        try:
            return shutil.disk_usage(self._path.parent).free < _LITTLE_ROOM
        except OSError:
            return True

    def forget_fact(self, name: str) -> None:
        """Have nothing noted under this name."""
        with self._writing() as connection:
            connection.execute(_facts.delete().where(_facts.c.name == name))

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    def _open(self) -> None:
        """Make the file or look at it; where the disk does not have that, go on with nothing.

        Threads may do this at the same time: what they find is the same.
        """
        try:
            make_private(self._path.parent)
            self._ability = ability_of(self._path.parent)
            if not self._path.exists():
                self._path.touch(mode=0o600)
            if self._ability.locks and not self._ability.maps:
                self._leave_log()
            why_not = self._check()
            self._file = None if why_not else _which(self._path)
        except (OSError, JournalFailed) as error:
            if not self._is_patient and self._path.exists() and self._path.stat().st_size:
                raise
            self._show_nothing(error)
            return
        self._has_log = self._log_path.exists()
        self._why_not, self._shows_nothing = why_not, False

    def _leave_log(self) -> None:
        """A journal from another file system has a log, which cannot be read here."""
        try:
            leave_log(self._path, _PATIENCE)
        except sqlite3.DatabaseError as error:
            log.debug("%s may have a log that cannot be used here: %s", self._path, error)

    def _check(self) -> str:
        """Refuse a damaged file, and one of another version; make the tables of a new one.

        Returns why the file cannot be written, where it is of an older version and can be read as it is.
        """
        found, version = self._ask_file(_state_of)
        if found != "ok":
            raise self._damaged(found)
        if version not in range(_FORMAT + 1):
            raise UserError(f"{self._path} was written by a newer rescalefs; use that one")
        if version == _FORMAT:
            return ""
        try:
            with self._transaction() as connection:
                _tables.create_all(connection)
                connection.exec_driver_sql(f"PRAGMA user_version = {_FORMAT}")
        except JournalFailed as error:
            if not version:
                raise
            return str(error)
        return ""

    def _show_nothing(self, why: OSError | JournalFailed) -> None:
        """Show no drops, and act on none."""
        self._engine.dispose()
        words = str(why)
        if isinstance(why, OSError):
            words = f"cannot make {self._path}: {disk_words(self._path.parent, why) or why.strerror}"
        self._why_not, self._shows_nothing = words, True

    @property
    def _log_path(self) -> Path:
        return self._path.with_name(f"{self._path.name}-wal")

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sql.Connection]:
        """One transaction: all of it is durable at the end, or nothing happened."""
        if self._why_not:
            self._open()  # there may be room by now
        if self._why_not:
            raise JournalFailed(self._why_not)
        self._make_sure_it_is_there()
        with self._transaction() as connection:
            yield connection
        # Afterwards as well: SQLite goes on writing to a file that was removed, and all is lost then.
        self._make_sure_it_is_there()
        self._make_sure_of_the_log()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sql.Connection]:
        if not self._ability.locks:
            lack = lack_words(self._path.parent, NO_LOCKS_REMEDY)
            raise JournalFailed(f"cannot write {self._path}: {lack}")
        try:
            with self._engine.begin() as connection:
                yield connection
        except DatabaseError as error:
            self._engine.dispose()  # a connection that was opened on a full disk stays unable to write
            raise JournalFailed(f"cannot write {self._path}: {self._words(error)}") from error
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

    def _read(self, ask: Callable[[sql.Connection], _T]) -> _T:
        """What ``ask`` gets from a connection; it may be called twice."""
        if self._shows_nothing:
            self._open()  # there may be room by now
        if self._shows_nothing:
            with _nothing() as connection:
                return ask(connection)
        return self._ask_file(ask)

    def _ask_file(self, ask: Callable[[sql.Connection], _T]) -> _T:
        """What goes wrong is damage, unless it may pass (a lock, a disk that is full or cannot be read)."""
        try:
            try:
                # Without locks, SQLite would wait for one; and no other process writes there, either.
                with (self._engine if self._ability.locks else self._alone).connect() as connection:
                    return ask(connection)
            except OperationalError:  # at any moment: a disk may be full from one statement to the next
                self._engine.dispose()  # the other way needs a lock that our own connections have
                with self._alone.connect() as connection:
                    return ask(connection)
        except OperationalError as error:
            raise JournalFailed(f"cannot read {self._path}: {self._words(error)}") from error
        except DatabaseError as error:
            raise self._damaged(str(error.orig)) from error
        except UnicodeError as error:  # as above
            raise self._damaged(str(error)) from error

    def _words(self, error: DatabaseError) -> str:
        return words_for(self._path, error.orig, NO_LOCKS_REMEDY)

    def _make_durable(self, connection: sqlite3.Connection, _record: Any) -> None:
        """Have SQLite sync each commit to the disk before it returns.

        WAL costs one sync a commit and lets others read meanwhile. Where the file system cannot do it, SQLite
        stays with its rollback journal, for which EXTRA also syncs the folder: with FULL a commit could be
        lost.
        """
        try:
            connection.execute(f"PRAGMA journal_mode = {'WAL' if self._ability.maps else 'DELETE'}")
            connection.execute("PRAGMA synchronous = EXTRA")
        except BaseException:
            connection.close()  # SQLAlchemy has not taken it over yet, so nothing else would close it
            raise

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


@contextlib.contextmanager
def _nothing() -> Iterator[sql.Connection]:
    """A connection to empty tables in memory."""
    with sql.create_engine("sqlite://", poolclass=NullPool).connect() as connection:
        _tables.create_all(connection)
        yield connection


def _state_of(connection: sql.Connection) -> tuple[str, int]:
    """What SQLite finds wrong with a file ("ok": nothing), and the version of its tables (0: none)."""
    found = connection.exec_driver_sql("PRAGMA quick_check").scalars().all()
    return str(found[0]), int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())


def _which(path: Path) -> _Which | None:
    """Which file lies there."""
    try:
        facts = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise JournalFailed(f"cannot look at {path}: {error.strerror}") from error
    return facts.st_dev, facts.st_ino
