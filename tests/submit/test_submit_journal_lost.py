"""The journal's disk fills, breaks, is locked or taken away: one job for one drop, and `status` says so."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy

from rescalefs.submit import journal
from rescalefs.submit.control import Control
from rescalefs.submit.journal import JournalFailed
from rescalefs.submit.machine import State
from rescalefs.submit.owner import Tenure
from tests.fakes import FakeClock
from tests.submit.rig import GOOD, FakeRescale, Rig, drop_files, make_settings, only


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_PATIENCE", 0.0)


def finish(rig: Rig, rescale: FakeRescale) -> None:
    for _ in range(75):
        rig.turn(10.0)
        for job in rescale.on_server.values():
            if [each.status for each in job.statuses] == ["Pending"]:
                rescale.tell(job.id, "Executing", "Completed")
    assert rig.ledger.drops()[0].state is State.COMPLETED
    assert only(rescale.on_server.values()).id == rig.ledger.job_id("wing")


class Spell:
    """For a minute from some point on, the disk takes no event, or takes it and says no."""

    def __init__(self, clock: FakeClock, moment: str, at: int) -> None:
        self.clock = clock
        self.moment = moment
        self.at = at
        self.points: list[str] = []
        self.until = 0.0

    def __call__(self, name: str) -> None:
        if not name.startswith(self.moment):
            return
        self.points.append(name)
        if len(self.points) - 1 == self.at:
            self.until = self.clock.monotonic() + 60.0
        if self.clock.monotonic() < self.until:
            raise JournalFailed("cannot write journal.db: disk I/O error")


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_disk_that_fails_for_a_minute_at_any_write_leaves_one_job_that_is_followed_to_its_end(
    tmp_path: Path, moment: str
) -> None:
    at, count = 0, 1
    while at < count:
        clock = FakeClock()
        rescale = FakeRescale(clock)
        spell = Spell(clock, moment, at)
        settings = make_settings(tmp_path / str(at))
        drop_files(settings.folder / "wing")
        with Rig(settings, rescale, clock, spell) as rig:
            daemon_life(rig, rescale)
        count = len(set(spell.points))
        at += 1
    assert count > 10


def daemon_life(rig: Rig, rescale: FakeRescale) -> None:
    """A thread survives what its round raises, and looks again."""
    for _ in range(60):
        with contextlib.suppress(JournalFailed):
            rig.survey.everything()
        rig.work()
        rig.clock.advance(10.0)
        for job in rescale.on_server.values():
            if [each.status for each in job.statuses] == ["Pending"]:
                rescale.tell(job.id, "Executing", "Completed")
    assert rig.ledger.drops()[0].state is State.COMPLETED
    assert only(rescale.on_server.values()).id == rig.ledger.job_id("wing")
    assert rescale.requests.count("create_job") == 1


def test_a_full_disk_is_told_in_status_and_the_drop_goes_on_when_there_is_room(
    rig: Rig, rescale: FakeRescale
) -> None:
    engine = rig.journal._engine  # SQLite's own limit: not every user can make a disk that fills

    def no_more(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA max_page_count = 1")  # none beyond those that it has

    sqlalchemy.event.listen(engine, "connect", no_more)
    engine.dispose()
    long = {**GOOD["jobanalyses"][0], "command": f"python solve.py {'x' * 9000}"}  # more than a page takes
    drop_files(rig.settings.folder / "wing", {**GOOD, "jobanalyses": [long]})
    rig.turns(10)
    assert "database or disk is full" in rig.status()
    assert not rescale.on_server
    sqlalchemy.event.remove(engine, "connect", no_more)
    engine.dispose()
    finish(rig, rescale)


@pytest.mark.parametrize("how", ["removed", "replaced by a copy", "its folder is moved away"])
def test_a_journal_that_is_taken_away_while_it_is_in_use_stops_all_and_is_told(
    rig: Rig, rescale: FakeRescale, how: str
) -> None:
    drop_files(rig.settings.folder / "wing", None)
    rig.turns(2)
    path, away = rig.settings.journal, rig.settings.journal.parent.with_name("away")
    if how == "its folder is moved away":
        path.parent.rename(away)
    elif how == "removed":
        path.unlink()
    else:
        copy = Path(shutil.copy(path, f"{path}.copy"))
        copy.replace(path)
    drop_files(rig.settings.folder / "wing")
    rig.turns(10)
    assert not rescale.on_server
    assert "was removed or replaced while it was in use, so nothing is submitted" in rig.status()
    if how == "its folder is moved away":
        away.rename(path.parent)
        finish(rig, rescale)


def test_of_a_write_ahead_log_that_is_removed_nothing_is_lost(tmp_path: Path, rescale: FakeRescale) -> None:
    clock = FakeClock()
    settings = make_settings(tmp_path)
    drop_files(settings.folder / "wing")
    with Rig(settings, rescale, clock) as rig:
        rig.turns(2)
        for _ in range(3):
            Path(f"{settings.journal}-wal").unlink(missing_ok=True)
            rig.turns(3)
        known = rig.ledger.drops()
    with Rig(settings, rescale, clock) as rig:
        assert rig.ledger.drops() == known
        finish(rig, rescale)


def test_a_job_whose_creation_could_not_be_kept_is_not_created(
    tmp_path: Path, rescale: FakeRescale, clock: FakeClock
) -> None:
    """The journal is removed between the look at its file and the commit."""

    def remove(point: str) -> None:
        if point == "before CreateBegun":
            (tmp_path / "state" / "journal.db").unlink()

    drop_files(tmp_path / "submit" / "wing")
    with Rig(make_settings(tmp_path), rescale, clock, remove) as rig:
        rig.turns(10)
        assert not rescale.on_server


def test_after_a_journal_was_lost_no_folder_becomes_a_second_job(
    tmp_path: Path, rescale: FakeRescale, clock: FakeClock
) -> None:
    settings = make_settings(tmp_path)
    drop_files(settings.folder / "wing")
    with Rig(settings, rescale, clock) as rig:
        tenure = Tenure(settings, rig.journal, clock)
        assert tenure.acquire() == ""
        rig.turns(4)
        tenure.release()
    shutil.rmtree(settings.journal.parent)
    with Rig(settings, rescale, clock) as rig:
        assert Tenure(settings, rig.journal, clock).acquire().startswith("nobody: the journal of")
    assert len(rescale.on_server) == 1


def test_a_journal_that_another_process_locks_for_long_is_waited_for(rig: Rig, rescale: FakeRescale) -> None:
    drop_files(rig.settings.folder / "wing", None)
    rig.turns(2)
    drop_files(rig.settings.folder / "wing")
    with closing(sqlite3.connect(rig.settings.journal)) as other:
        other.execute("BEGIN IMMEDIATE")
        rig.turns(10)
        assert not rescale.on_server
        assert "database is locked" in rig.status()
        other.rollback()
    finish(rig, rescale)


def test_a_stop_that_cannot_be_written_down_is_a_stop_all_the_same(
    tmp_path: Path, rescale: FakeRescale, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(point: str) -> None:
        if point == "before StopAsked":
            raise JournalFailed("cannot write journal.db: disk full")

    drop_files(tmp_path / "submit" / "wing")
    with Rig(make_settings(tmp_path), rescale, clock, fail) as rig:
        rig.turns(4)
        Control(rescale, rig.ledger).stop("wing")
        assert only(rescale.on_server.values()).statuses[-1].status == "Stopping"
        assert "is not written down" in caplog.text


@pytest.mark.parametrize("moment", range(1, 9))
def test_a_journal_put_back_as_it_was_at_any_moment_makes_no_second_job(tmp_path: Path, moment: int) -> None:
    """It comes from a backup, or the disk said "written" too early and lost power."""
    clock = FakeClock()
    rescale = FakeRescale(clock)
    settings = make_settings(tmp_path)
    drop_files(settings.folder / "wing")
    with Rig(settings, rescale, clock) as rig:
        rig.turns(20)
        assert rig.ledger.drops()[0].state is State.RUNNING
        assert len(list(rig.journal.entries())) > moment
    with closing(sqlite3.connect(settings.journal)) as connection, connection:
        connection.execute("DELETE FROM events WHERE seq > ?", (moment,))
    clock.advance(600.0)
    with Rig(settings, rescale, clock) as rig:
        finish(rig, rescale)
