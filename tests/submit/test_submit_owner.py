"""One process acts on a drop folder, whatever its journal and account, and names itself."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rescalefs import filesystems
from rescalefs.background import Background
from rescalefs.clock import SystemClock
from rescalefs.errors import UserError
from rescalefs.submit import SubmitSettings, Submitter, submit_folder
from rescalefs.submit.journal import Journal
from rescalefs.submit.owner import Tenure, claimed
from tests.fakes import FakeClock
from tests.submit.rig import FakeRescale, drop_files, make_settings

ROOT = Path(__file__).parents[2]
PATIENCE = 20.0  # seconds: far more than it takes
Tenant = Callable[[Path, Path], "subprocess.Popen[str]"]


@pytest.fixture
def tenant() -> Iterator[Tenant]:
    """Starts processes that take a folder; they are gone at the end."""
    started: list[subprocess.Popen[str]] = []

    def start(folder: Path, journal: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.submit.tenant", str(folder), str(journal)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.communicate()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


class Held:
    """Rights of this process, let go at the end of a test."""

    def __init__(self) -> None:
        self._all: list[tuple[Tenure, Journal]] = []

    def tenure(self, settings: SubmitSettings) -> Tenure:
        journal = Journal(settings.journal)
        tenure = Tenure(settings, journal, FakeClock())
        self._all.append((tenure, journal))
        return tenure

    def close(self) -> None:
        for tenure, journal in self._all:
            tenure.release()
            journal.close()


@pytest.fixture
def held() -> Iterator[Held]:
    held = Held()
    yield held
    held.close()


def test_a_daemon_of_another_journal_only_shows_who_acts_and_takes_over_when_that_is_killed(
    tmp_path: Path, tenant: Tenant
) -> None:
    settings = make_settings(tmp_path, settle_time=0.05, poll_least=0.02, poll_most=0.05)
    settings.folder.mkdir()
    first = tenant(settings.folder, tmp_path / "other" / "journal.sqlite")
    assert said(first) == "ours"
    clock = SystemClock()
    background = Background()
    submitter = Submitter(FakeRescale(clock), settings, clock, background)
    submitter.start()
    try:
        until(submitter, rf"process {first.pid} on .+ for other@host, since 20.+Z")
        first.send_signal(signal.SIGKILL)
        first.wait(PATIENCE)
        until(submitter, "this process")
    finally:
        background.close()
        submitter.close()


def until(submitter: Submitter, actor: str) -> None:
    clock = SystemClock()
    end = clock.monotonic() + PATIENCE
    while re.fullmatch(actor, submitter.actor) is None:
        assert clock.monotonic() < end, submitter.actor
        clock.wait(threading.Event(), 0.02)


def test_a_journal_that_knows_nothing_of_the_folders_that_another_handled_does_not_act(
    tmp_path: Path, held: Held
) -> None:
    ours = make_settings(tmp_path, account="ours@host")
    theirs = replace(ours, journal=tmp_path / "theirs" / "journal.sqlite", account="theirs@host")
    folder = drop_files(ours.folder / "wing")
    first = held.tenure(theirs)
    assert first.acquire() == ""
    first.release()
    second = held.tenure(ours)
    assert second.acquire().startswith("nobody: the journal of theirs@host knows what became of the folders")
    assert first.acquire() == ""  # it goes on
    first.release()
    folder.rename(tmp_path / "out")
    assert second.acquire() == ""


def test_removing_the_lock_file_that_it_names_lets_another_journal_act(tmp_path: Path, held: Held) -> None:
    ours = make_settings(tmp_path)
    drop_files(ours.folder / "wing")
    first = held.tenure(replace(ours, journal=tmp_path / "theirs" / "journal.sqlite"))
    assert first.acquire() == ""
    (tmp_path / ".submit.lock").unlink()
    second = held.tenure(ours)
    assert "by another path" in second.acquire()  # but not as long as the first one is at it
    first.release()
    assert second.acquire() == ""


def test_a_journal_that_was_moved_is_still_the_one_that_knows(tmp_path: Path, held: Held) -> None:
    before = make_settings(tmp_path)
    drop_files(before.folder / "wing")
    first = held.tenure(before)
    assert first.acquire() == ""
    held.close()
    after = replace(before, journal=tmp_path / "moved" / "journal.sqlite")
    before.journal.parent.rename(after.journal.parent)
    before_name = after.journal.with_name(before.journal.name)
    before_name.rename(after.journal)
    assert held.tenure(after).acquire() == ""


def test_a_folder_is_one_by_whatever_path(tmp_path: Path, held: Held, tenant: Tenant) -> None:
    ours = make_settings(tmp_path)
    ours.folder.mkdir(parents=True)
    link = tmp_path / "elsewhere" / "drops"
    link.parent.mkdir()
    link.symlink_to(ours.folder)
    assert held.tenure(ours).acquire() == ""
    other = tenant(link, tmp_path / "other.sqlite")
    assert said(other).startswith("process ")


def test_two_folders_cannot_share_a_journal_at_a_time(tmp_path: Path, held: Held) -> None:
    ours = make_settings(tmp_path)
    other = replace(ours, folder=tmp_path / "other")
    for each in (ours, other):
        each.folder.mkdir(parents=True)
    first = held.tenure(ours)
    assert first.acquire() == ""
    assert first.acquire() == ""
    assert held.tenure(other).acquire().startswith("process ")


def submitted(folder: Path, settings: SubmitSettings) -> str:
    """What `rescalefs submit` says where it refuses; nothing where it made a job."""
    background = Background()
    clock = SystemClock()
    try:
        submit_folder(folder, FakeRescale(clock), settings, clock, background)
    except UserError as error:
        return str(error)
    finally:
        background.close()
    return ""


def test_a_folder_elsewhere_is_submitted_by_one_process_whatever_its_journal_and_account(
    tmp_path: Path, tenant: Tenant
) -> None:
    folder = drop_files(tmp_path / "elsewhere" / "wing")
    ours = make_settings(tmp_path)
    other = tenant(folder, tmp_path / "other" / "journal.sqlite")  # it holds the folder, as `submit` does
    assert said(other) == "ours"
    assert submitted(folder, ours) == f"{folder} is being submitted by another `rescalefs submit`"
    other.communicate()
    assert submitted(folder, ours) == ""


def test_a_folder_in_the_drop_folder_of_another_account_is_left_to_that(
    tmp_path: Path, tenant: Tenant
) -> None:
    theirs = tmp_path / "theirs" / "submit"
    folder = drop_files(theirs / "wing")
    ours = make_settings(tmp_path)
    daemon = tenant(theirs, tmp_path / "other" / "journal.sqlite")
    assert said(daemon) == "ours"
    whose = f"{folder} is in the drop folder of other@host, so it becomes a job there."
    assert submitted(folder, ours).startswith(whose)
    daemon.communicate()
    assert submitted(folder, ours).startswith(whose), "also while it does not run"
    (theirs.parent / ".submit.lock").unlink()
    assert submitted(folder, ours) == ""


def test_folders_beside_each_other_are_submitted_at_the_same_time(tmp_path: Path) -> None:
    folders = [drop_files(tmp_path / "elsewhere" / name) for name in ("wing", "tail")]
    journal = Journal(tmp_path / "journal.sqlite")
    with claimed(folders[0], journal) as first, claimed(folders[1], journal) as second:
        assert (first, second) == ("", "")
        with claimed(folders[0], journal) as again:
            assert again == "is being submitted by another `rescalefs submit`"
    journal.close()


def test_a_lock_that_cannot_be_taken_is_reported_in_words_and_with_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: Tenure) -> str:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "/x/.submit.lock")

    monkeypatch.setattr(Tenure, "acquire", refused)
    clock, background = SystemClock(), Background()
    submitter = Submitter(FakeRescale(clock), make_settings(tmp_path), clock, background)
    submitter.start()
    try:
        until(submitter, "nobody: /x/.submit.lock: Read-only file system")
    finally:
        background.close()
        submitter.close()


def test_a_drop_folder_without_file_locks_is_shown_and_not_submitted_and_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lockless = filesystems.Ability(locks=False, file_locks=False)
    settings = make_settings(tmp_path)
    settings.journal.parent.mkdir(parents=True, exist_ok=True)
    drop_files(settings.folder / "wing")
    monkeypatch.setattr(filesystems, "ability_of", lambda _: lockless)
    clock, background = SystemClock(), Background()
    submitter = Submitter(FakeRescale(clock), settings, clock, background)
    submitter.start()
    try:
        until(submitter, r"nobody: .* has no file locks\. Set XDG_STATE_HOME and XDG_DATA_HOME .*")
    finally:
        background.close()
        submitter.close()
    assert [line for line in caplog.messages if "are shown and not submitted: " in line]


def test_where_nothing_can_be_locked_nothing_is_submitted_and_the_place_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    settings = make_settings(tmp_path)
    folder = drop_files(tmp_path / "elsewhere" / "wing")
    monkeypatch.setattr("fcntl.flock", refused)
    assert ".lock cannot be locked (No locks available)" in submitted(folder, settings)
    settings.folder.mkdir(parents=True, exist_ok=True)
    journal = Journal(settings.journal)
    with contextlib.closing(journal), pytest.raises(OSError, match=r"No locks available: '.*\.lock'"):
        Tenure(settings, journal, FakeClock()).acquire()
