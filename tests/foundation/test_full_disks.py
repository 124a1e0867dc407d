"""Databases opened on a disk that takes nothing: what they held is known, and they go on once there is room.

Root has a small disk, and fills it. Other users take the right to write from the folder.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path

import pytest
import sqlalchemy

from rescalefs import databases
from rescalefs.cli.main import _one_line
from rescalefs.errors import UserError
from rescalefs.mirror.ledger import Ledger, Mark
from rescalefs.reading.blocks import BlockStore, memory_spool
from rescalefs.reading.positioned import write_fully
from rescalefs.reading.upkeep import CacheUpkeep
from rescalefs.simulator.store import Store
from rescalefs.submit import journal, machine
from rescalefs.submit.journal import Journal, JournalFailed
from rescalefs.submit.machine import Drop
from tests.fakes import FakeClock

AT = datetime(2026, 11, 26, 12, tzinfo=timezone.utc)
FOUND = machine.Found("wing", 7, 8)
IS_ROOT = os.geteuid() == 0
WORDS = "is full. Free some room there" if IS_ROOT else "cannot|unable|readonly|denied"


class Disk:
    """A disk of a megabyte."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        if IS_ROOT:
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "full", path], check=True)

    def fill(self) -> None:
        if not IS_ROOT:
            self._allow(0o500)
            return
        with suppress(OSError), (self.path / "ballast").open("wb", buffering=0) as ballast:
            while True:
                ballast.write(b"x" * 4096)

    def empty(self) -> None:
        self._allow(0o700)
        (self.path / "ballast").unlink(missing_ok=True)

    def _allow(self, mode: int) -> None:
        for folder in (self.path, *(each for each in self.path.rglob("*") if each.is_dir())):
            folder.chmod(mode)

    def close(self) -> None:
        if IS_ROOT:
            subprocess.run(["umount", "--lazy", self.path], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with closing(Disk(tmp_path / "disk")) as disk:
        yield disk


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_PATIENCE", 0.0)


@contextmanager
def opened(path: Path, *, patient: bool = False) -> Iterator[Journal]:
    with closing(Journal(path, patient=patient)) as found:
        yield found


# --- the journal


def test_a_journal_opened_on_a_full_disk_is_read_and_written_again_once_there_is_room(disk: Disk) -> None:
    path = disk.path / "journal.sqlite"
    with opened(path) as before:
        drop = before.append(Drop("one"), FOUND, AT)
    disk.fill()
    with opened(path) as found:
        assert found.replay() == {"one": drop}
        with pytest.raises(JournalFailed, match=WORDS):
            found.note("name", "value")
        disk.empty()
        found.note("name", "value")
        assert found.fact("name") == "value"
        assert found.replay() == {"one": drop}


@pytest.mark.parametrize("patient", [False, True])
def test_a_journal_that_a_full_disk_keeps_from_being_made_is_made_once_there_is_room(
    disk: Disk, patient: bool
) -> None:
    disk.fill()
    with opened(disk.path / "journal.sqlite", patient=patient) as found:
        assert found.replay() == {}
        with pytest.raises(JournalFailed, match=WORDS):
            found.append(Drop("one"), FOUND, AT)
        disk.empty()
        drop = found.append(Drop("one"), FOUND, AT)
        assert found.replay() == {"one": drop}


def test_a_daemon_waits_for_a_journal_that_cannot_be_read_and_a_command_reports_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with opened(path) as before:
        drop = before.append(Drop("one"), FOUND, AT)
    log = tmp_path / "journal.sqlite-wal"
    log.mkdir()  # SQLite cannot make this file, without which it reads nothing
    with pytest.raises(JournalFailed, match="cannot read"):
        Journal(path)
    with opened(path, patient=True) as found:
        assert found.replay() == {}
        with pytest.raises(JournalFailed, match="cannot read"):
            found.append(Drop("one"), FOUND, AT)  # so nothing is done for a drop that has its job already
        log.rmdir()
        assert found.replay() == {"one": drop}
        found.note("name", "value")


def test_a_journal_whose_disk_fills_between_two_statements_is_still_read(tmp_path: Path) -> None:
    with opened(tmp_path / "journal.sqlite") as found:
        drop = found.append(Drop("one"), FOUND, AT)

        def interrupt(connection: sqlite3.Connection, *_: object) -> None:
            connection.set_progress_handler(lambda: 1, 1)  # every statement fails, and opening does not

        sqlalchemy.event.listen(found._engine, "checkout", interrupt)
        assert found.replay() == {"one": drop}
        assert found.fact("name") is None


# --- the list of what a mirror has put where


def test_a_ledger_opened_on_a_full_disk_is_read_and_written_again_once_there_is_room(disk: Disk) -> None:
    path, mark = disk.path / "mirror.sqlite", Mark(1, 2, "version")
    with closing(Ledger(path)) as before:
        before.note("a", mark)
    disk.fill()
    with closing(Ledger(path)) as ledger:
        assert ledger.marks("a") == [mark]
        with pytest.raises(OSError, match=WORDS) as caught:
            ledger.note("b", mark)
        assert caught.value.errno in (errno.ENOSPC, errno.EROFS, errno.EIO)
        disk.empty()
        ledger.note("b", mark)
        assert ledger.marks("b") == [mark]


def test_a_ledger_that_a_full_disk_keeps_from_being_made_is_made_once_there_is_room(disk: Disk) -> None:
    disk.fill()
    with closing(Ledger(disk.path / "mirror.sqlite")) as ledger:
        with pytest.raises(OSError, match=WORDS):
            ledger.fact("account")
        disk.empty()
        ledger.note_fact("account", "anna")
        assert ledger.fact("account") == "anna"


def test_a_ledger_that_was_removed_is_not_made_anew_so_that_its_absence_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "mirror.sqlite"
    with closing(Ledger(path)) as ledger:
        for each in tmp_path.iterdir():
            each.unlink()
        ledger._let_go()
        with pytest.raises(OSError, match="unable to open"):
            ledger.note_fact("account", "anna")
        assert not path.exists()


# --- the cache


def test_a_cache_opened_on_a_full_disk_keeps_nothing_and_keeps_blocks_again_later(disk: Disk) -> None:
    clock = FakeClock()
    folder = disk.path / "blocks"
    disk.fill()
    with closing(BlockStore(folder, 1 << 20, clock)) as store:
        store.open()
        assert store.get("key") is None
        disk.empty()
        clock.advance(60)
        descriptor = memory_spool()
        try:
            write_fully(descriptor, memoryview(b"block"), 0)
            assert store.put("key", "group", descriptor)
        finally:
            os.close(descriptor)
        assert store.stored() == ["key"]
    disk.fill()
    with pytest.raises(UserError, match=WORDS):
        CacheUpkeep(folder, 1 << 20, clock).info()


# --- the simulator's store


def test_a_simulator_on_a_full_disk_says_so_in_one_line(disk: Disk) -> None:
    disk.fill()
    with pytest.raises(OSError, match=WORDS) as caught:
        Store(disk.path / "world.sqlite")
    assert str(disk.path / "world.sqlite") in _one_line(caught.value)
    disk.empty()
    Store(disk.path / "world.sqlite").close()


# --- the words


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk of state is full. Free some room there; a megabyte is enough"),
        (
            errno.EDQUOT,
            "your quota on the disk of state is used up. Free some room there; a megabyte is enough",
        ),
        (errno.EROFS, "the disk of state is read-only. Mount it writable"),
    ],
)
def test_sqlites_words_give_way_to_those_of_the_disk(
    number: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, said = Path("state/journal.sqlite"), sqlite3.OperationalError("disk I/O error")
    monkeypatch.setattr(databases, "hindrance", lambda _: OSError(number, "whatever"))
    assert databases.words_for(file, said) == words
    assert databases.errno_for(file, said) == number
    assert _one_line(OSError(number, "whatever", "state/file")) == f"state/file: {words}"


def test_a_disk_that_is_well_leaves_sqlites_words(tmp_path: Path) -> None:
    said = sqlite3.OperationalError("disk I/O error")
    assert databases.words_for(tmp_path / "journal.sqlite", said) == "disk I/O error"
    assert databases.errno_for(tmp_path / "journal.sqlite", said) == errno.EIO
    assert list(tmp_path.iterdir()) == []
