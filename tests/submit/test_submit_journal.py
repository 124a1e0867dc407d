from __future__ import annotations

import sqlite3
from datetime import datetime, timezone
from pathlib import Path

import pytest

from rescalefs.databases import read_alone
from rescalefs.errors import UserError
from rescalefs.submit import machine
from rescalefs.submit.journal import (
    Journal,
    JournalDamaged,
    JournalFailed,
    Overtaken,
    Upload,
)
from rescalefs.submit.machine import Drop, Event, OutOfPlace, State

AT = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)
LIFE: tuple[Event, ...] = (
    machine.Found("wing", 7, 8),
    machine.Settled("print", "mark"),
    machine.Accepted("wing", 2, 10),
    machine.Uploaded('{"name": "wing"}'),
    machine.CreateBegun(),
    machine.Created("abc"),
    machine.Released(),
    machine.Submitted(AT),
    machine.StatusSeen("Completed", AT, "because"),
    machine.Completed(3, 100, 5.0),
)


def write(journal: Journal, events: tuple[Event, ...] = LIFE, drop_id: str = "one") -> list[Drop]:
    drops = [Drop(drop_id)]
    for event in events:
        drops.append(journal.append(drops[-1], event, AT))
    return drops


def replay_of(path: Path) -> dict[str, Drop]:
    journal = Journal(path)
    try:
        return journal.replay()
    finally:
        journal.close()


def test_what_was_appended_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "state" / "journal.db")
    drops = write(journal)
    journal.close()
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "state" / "journal.db").stat().st_mode & 0o077 == 0
    journal = Journal(tmp_path / "state" / "journal.db")
    assert journal.replay() == {"one": drops[-1]}
    assert [entry.event for entry in journal.entries()] == list(LIFE)
    assert [entry.number for entry in journal.entries(after=7)] == [8, 9, 10]
    journal.close()


def test_every_commit_is_synced_to_the_disk(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    with journal._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 3
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() in {"wal", "delete"}
    journal.close()


def test_of_two_who_act_on_one_state_the_second_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    first, second = Journal(tmp_path / "journal.db"), Journal(tmp_path / "journal.db")
    drop = write(first, LIFE[:4])[-1]
    first.append(drop, machine.CreateBegun(), AT)
    with pytest.raises(Overtaken):
        second.append(drop, machine.CreateBegun(), AT)
    assert len(list(second.entries())) == 5
    first.close()
    second.close()


def test_an_event_out_of_place_is_not_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    drop = write(journal, LIFE[:2])[-1]
    with pytest.raises(OutOfPlace):
        journal.append(drop, machine.Created("abc"), AT)
    assert len(list(journal.entries())) == 2
    journal.close()


def test_a_journal_cut_at_any_byte_replays_a_prefix(tmp_path: Path) -> None:
    """A power cut can leave any part of what was not yet synced: SQLite's log, cut short."""
    journal = Journal(tmp_path / "journal.db")
    drops = write(journal)
    main = (tmp_path / "journal.db").read_bytes()
    log = (tmp_path / "journal.db-wal").read_bytes()
    journal.close()
    reached = set()
    for end in [*range(0, len(log), 2039), len(log)]:
        folder = tmp_path / f"cut-{end}"
        folder.mkdir()
        (folder / "journal.db").write_bytes(main)
        (folder / "journal.db-wal").write_bytes(log[:end])
        cut = Journal(folder / "journal.db")
        found = cut.replay().get("one", drops[0])
        cut.close()
        assert found in drops
        reached.add(found.number)
    assert reached == set(range(len(LIFE) + 1))


def test_a_damaged_journal_is_refused_with_what_to_do_and_never_half_believed(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    for number in range(40):
        drops = write(journal, drop_id=f"drop-{number}")
    journal.close()
    whole = (tmp_path / "journal.db").read_bytes()
    assert drops[-1].state is State.COMPLETED
    refused = 0
    for end in range(100, len(whole), 1021):
        path = tmp_path / f"cut-{end}.db"
        path.write_bytes(whole[:end])
        with pytest.raises(
            JournalDamaged, match=r"is damaged \(.*\), so nothing is submitted\. Put back a copy"
        ):
            replay_of(path)
        refused += 1
    assert refused > 20


def test_an_event_that_is_missing_is_noticed(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    write(journal)
    journal.close()
    connection = sqlite3.connect(tmp_path / "journal.db")
    connection.execute("DELETE FROM events WHERE number = 6")
    connection.commit()
    connection.close()
    journal = Journal(tmp_path / "journal.db")
    with pytest.raises(JournalDamaged, match="event 6 of drop one is missing"):
        journal.replay()
    journal.close()


def test_something_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_text("Dear diary,\n" * 100)
    with pytest.raises(JournalDamaged, match="file is not a database"):
        Journal(tmp_path / "journal.db")


def test_a_journal_of_a_newer_rescalefs_is_left_alone(tmp_path: Path) -> None:
    Journal(tmp_path / "journal.db").close()
    connection = sqlite3.connect(tmp_path / "journal.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(UserError, match="was written by a newer rescalefs"):
        Journal(tmp_path / "journal.db")


def test_a_disk_that_takes_no_more_is_an_error_and_not_an_event(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    drop = write(journal, LIFE[:3])[-1]
    with journal._engine.connect() as connection:  # SQLite's own way to run out of room
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    large = machine.Uploaded("x" * 100_000)
    with pytest.raises(JournalFailed, match="database or disk is full"):
        journal.append(drop, large, AT)
    assert journal.replay()["one"] == drop
    journal.close()


def test_a_journal_that_another_holds_is_not_called_damaged(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    drop = write(journal, LIFE[:3])[-1]
    other = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with journal._engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 1")
    with pytest.raises(JournalFailed, match="database is locked"):
        journal.append(drop, LIFE[3], AT)
    other.execute("ROLLBACK")
    other.close()
    assert journal.replay()["one"] == drop
    journal.close()


def test_a_folder_in_the_place_of_the_journal_is_said_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "journal.db").mkdir()
    with pytest.raises(JournalFailed, match=r"cannot read .*journal.db: unable to open database file"):
        Journal(tmp_path / "journal.db")


def test_uploads_are_found_by_name_type_and_size_and_forgotten_on_demand(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    upload = Upload("id1", "mesh.msh", 1, 5, "ab" * 64, "mark", AT)
    journal.remember(upload)
    journal.remember(Upload("id1", "mesh.msh", 1, 5, "ab" * 64, "mark-2", AT))
    (found,) = journal.uploads("mesh.msh", 1, 5)
    assert found.mark == "mark-2"
    assert journal.uploads("mesh.msh", 2, 5) == journal.uploads("mesh.msh", 1, 6) == ()
    journal.forget("id1")
    assert journal.uploads("mesh.msh", 1, 5) == ()
    journal.close()


def test_facts_replace_each_other(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    assert journal.fact("folder") is None
    journal.note("folder", "1")
    journal.note("folder", "2")
    assert journal.fact("folder") == "2"
    journal.close()


def test_a_disk_that_takes_no_file_beside_the_journal_keeps_it_readable(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = Journal(path)
    drops = write(journal)
    kept = sqlite3.connect(path)  # what is only in SQLite's log is to be seen, too
    kept.execute("PRAGMA wal_autocheckpoint = 0")
    kept.execute("SELECT count(*) FROM events").fetchone()
    journal.note("name", "value")
    log = (tmp_path / "journal.db-wal").read_bytes()
    database = path.read_bytes()
    journal.close()
    kept.close()
    path.write_bytes(database)
    (tmp_path / "journal.db-wal").write_bytes(log)
    (tmp_path / "journal.db-shm").mkdir()  # SQLite cannot make this file now
    journal = Journal(path)
    try:
        assert journal.replay() == {"one": drops[-1]}
        assert journal.fact("name") == "value"
        with pytest.raises(JournalFailed, match="cannot write"):
            journal.append(drops[0], LIFE[0], AT)
        (tmp_path / "journal.db-shm").rmdir()  # there is room again
        with pytest.raises(Overtaken):
            journal.append(drops[0], LIFE[0], AT)
    finally:
        journal.close()


def test_a_journal_that_cannot_be_made_shows_nothing_and_takes_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    journal = Journal(tmp_path / "file" / "journal.db")
    try:
        assert journal.replay() == {}
        assert journal.fact("name") is None
        for write_something in (
            lambda: journal.append(Drop("one"), LIFE[0], AT),
            lambda: journal.note("name", "value"),
            lambda: journal.forget("id"),
        ):
            with pytest.raises(JournalFailed, match=r"cannot make .*: File exists"):
                write_something()
    finally:
        journal.close()


def test_a_lock_of_another_process_is_never_taken_for_a_disk_that_is_read_only(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = Journal(path)
    write(journal)
    journal.close()
    other = sqlite3.connect(path)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(sqlite3.OperationalError, match="database is locked"):
            read_alone(path, patience=0.1)
    finally:
        other.close()
