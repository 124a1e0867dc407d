"""The whole room with its threads and the machine's time."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from rescalefs.background import Background
from rescalefs.clock import SystemClock
from rescalefs.errors import UserError
from rescalefs.submit import SubmitSettings, Submitter, submit_folder
from rescalefs.submit.journal import Journal, JournalFailed
from rescalefs.submit.limits import Limits
from rescalefs.submit.machine import State
from rescalefs.submit.report import DropReport
from rescalefs.submit.survey import below
from tests.submit.rig import FakeRescale, drop_files, make_settings, only

PATIENCE = 20.0  # seconds: far more than it takes, so that a busy machine fails no test


def quick(root: Path) -> SubmitSettings:
    return make_settings(root, settle_time=0.05, rescan=5.0, poll_least=0.02, poll_most=0.05)


class Ends:
    """Lets a job end as soon as it is submitted, and says when its end was seen."""

    def __init__(self) -> None:
        self.submitted = threading.Event()
        self.outputs_asked = threading.Event()
        self.rescale: FakeRescale | None = None

    def __call__(self, name: str) -> None:
        assert self.rescale is not None
        if name == "after submit_job":
            for job in self.rescale.on_server.values():
                if len(job.statuses) == 1:
                    self.rescale.tell(job.id, "Executing", "Completed")
            self.submitted.set()
        if name == "before output_files":
            self.outputs_asked.set()


@pytest.fixture
def ends() -> Ends:
    return Ends()


@pytest.fixture
def service(ends: Ends) -> FakeRescale:
    rescale = FakeRescale(SystemClock(), point=ends)
    ends.rescale = rescale
    return rescale


@pytest.fixture
def background() -> Iterator[Background]:
    background = Background()
    yield background
    background.close()


def until(submitter: Submitter, drop: str, status: bytes) -> None:
    """Wait for a status by the ledger's bell."""
    bell = submitter._ledger.bell()
    clock = SystemClock()
    end = clock.monotonic() + PATIENCE
    while submitter.status(drop) != status:
        assert clock.monotonic() < end, f"it is {submitter.status(drop)!r}, not {status!r}"
        bell.wait(0.5)
        bell.clear()


def test_the_drop_folder_is_watched_and_a_drop_ends_as_completed(
    tmp_path: Path, service: FakeRescale, ends: Ends
) -> None:
    background = Background()
    os.mkfifo(tmp_path / "told")
    settings = replace(quick(tmp_path), on_finished=f'echo "$RESCALEFS_JOB" > {tmp_path}/told')
    submitter = Submitter(service, settings, SystemClock(), background)
    submitter.start()
    try:
        drop_files(tmp_path / "submit" / "wing")
        assert ends.submitted.wait(PATIENCE)
        until(submitter, "wing", b"Completed\n")
        job_id = submitter.job_id("wing")
        assert job_id == only(service.on_server.values()).id
        assert (tmp_path / "told").read_text() == f"{job_id}\n"  # by `on_finished`; a FIFO waits for it
    finally:
        background.close()
        submitter.close()


def test_a_journal_that_takes_nothing_is_told_before_there_is_a_drop(
    tmp_path: Path, service: FakeRescale, background: Background, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = threading.Event()  # set: it has room

    def note(journal: Journal, name: str, value: str) -> None:
        if not disk.is_set():
            raise JournalFailed("cannot write journal.db: database or disk is full")

    monkeypatch.setattr(Journal, "note", note)
    submitter = Submitter(service, replace(quick(tmp_path), rescan=0.1), SystemClock(), background)
    submitter.start()
    acts(submitter, "nobody: cannot write journal.db: database or disk is full")
    disk.set()
    acts(submitter, "this process")
    background.close()
    submitter.close()


def acts(submitter: Submitter, actor: str) -> None:
    """Wait until this is told of who submits."""
    clock = SystemClock()
    end = clock.monotonic() + PATIENCE
    while submitter.actor != actor:
        assert clock.monotonic() < end, submitter.actor
        clock.wait(threading.Event(), 0.02)


def test_of_two_daemons_one_acts_and_the_other_shows_and_takes_over(
    tmp_path: Path, service: FakeRescale, ends: Ends
) -> None:
    first_threads, second_threads = Background(), Background()
    first = Submitter(service, quick(tmp_path), SystemClock(), first_threads)
    second = Submitter(service, quick(tmp_path), SystemClock(), second_threads)
    try:
        first.start()
        drop_files(tmp_path / "submit" / "wing")
        assert ends.submitted.wait(PATIENCE)
        until(first, "wing", b"Completed\n")
        second.start()
        until(second, "wing", b"Completed\n")
        first_threads.close()
        first.close()
        drop_files(tmp_path / "submit" / "wing-2")
        until(second, "wing-2", b"Completed\n")
        assert len(service.on_server) == 2
    finally:
        first_threads.close()
        second_threads.close()
        first.close()
        second.close()


def test_many_drops_at_once_each_become_one_job(tmp_path: Path, service: FakeRescale) -> None:
    background = Background()
    submitter = Submitter(service, quick(tmp_path), SystemClock(), background)
    names = [f"wing-{number}" for number in range(25)]
    for name in names:
        drop_files(tmp_path / "submit" / name, files={"only.txt": name.encode()})
    submitter.start()
    try:
        for name in names:
            until(submitter, name, b"Completed\n")
        sent = sorted(data for job in service.on_server for data in service.inputs(job).values())
        assert sent == sorted(name.encode() for name in names)
    finally:
        background.close()
        submitter.close()


def test_a_folder_is_submitted_without_a_mount_and_not_twice(
    tmp_path: Path, service: FakeRescale, background: Background
) -> None:
    folder = drop_files(tmp_path / "elsewhere" / "wing")
    seen: list[DropReport] = []
    report = submit_folder(
        folder,
        service,
        quick(tmp_path),
        SystemClock(),
        background,
        wait=True,
        name="other",
        progress=seen.append,
    )
    assert report.state is State.COMPLETED
    assert report.status == "Completed"
    assert only(service.on_server.values()).definition["name"] == "other"
    assert [each.state for each in seen][-1] is State.COMPLETED
    again = submit_folder(folder, service, quick(tmp_path), SystemClock(), background)
    assert again.job_id == report.job_id
    assert len(service.on_server) == 1


def test_a_held_folder_is_saved_and_submitted_when_asked_again(
    tmp_path: Path, service: FakeRescale, background: Background
) -> None:
    folder = drop_files(tmp_path / "wing")
    held = submit_folder(folder, service, quick(tmp_path), SystemClock(), background, hold=True)
    assert held.state is State.SAVED
    assert held.status.startswith(f"held: job {held.job_id} is saved")
    assert not only(service.on_server.values()).statuses
    report = submit_folder(folder, service, quick(tmp_path), SystemClock(), background)
    assert report.state is State.RUNNING
    assert report.job_id == held.job_id


def test_a_rejected_folder_is_checked_again_whenever_it_is_asked_for(
    tmp_path: Path, service: FakeRescale, background: Background
) -> None:
    folder = drop_files(tmp_path / "wing")
    poor = replace(quick(tmp_path), limits=Limits(cost=Decimal("0.1")))
    report = submit_folder(folder, service, poor, SystemClock(), background)
    assert report.state is State.REJECTED
    report = submit_folder(folder, service, quick(tmp_path), SystemClock(), background)
    assert report.state is State.RUNNING


def test_a_folder_in_the_drop_folder_is_left_to_the_daemon(
    tmp_path: Path, service: FakeRescale, background: Background, ends: Ends
) -> None:
    threads = Background()
    submitter = Submitter(service, quick(tmp_path), SystemClock(), threads)
    submitter.start()
    try:
        folder = drop_files(tmp_path / "submit" / "wing")
        assert ends.submitted.wait(PATIENCE)
        with pytest.raises(UserError, match="is being submitted by the mounted rescalefs"):
            submit_folder(folder, service, quick(tmp_path), SystemClock(), background)
    finally:
        threads.close()
        submitter.close()


@pytest.mark.parametrize(
    ("files", "message"),
    [(None, "is not a folder"), ({"a.txt": b"a"}, "has no job.json, which says what to run")],
)
def test_a_folder_that_cannot_be_a_drop_is_refused_in_one_sentence(
    tmp_path: Path, service: FakeRescale, background: Background, files: dict[str, bytes] | None, message: str
) -> None:
    folder = tmp_path / "wing"
    if files is not None:
        drop_files(folder, None, files)
    with pytest.raises(UserError, match=message):
        submit_folder(folder, service, quick(tmp_path), SystemClock(), background)


def test_a_drop_folder_may_be_named_from_where_we_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for told in (Path("here/submit/wing/job.json"), tmp_path / "here/submit/wing/job.json"):
        assert below(Path("here/submit"), told) == "wing"
    assert below(Path("here/submit"), Path("here/other")) is None
