"""What one answer says of a drop's end is not believed, and what was believed is taken back."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rescalefs.errors import Forbidden, InvalidRequest, NotFound, ServerFailed
from rescalefs.model import JobDetail, JobStatus, RemoteFile
from rescalefs.submit import machine
from rescalefs.submit.absence import Absence, Looks
from rescalefs.submit.machine import State
from tests.fakes import FakeClock
from tests.submit.rig import GOOD, FakeRescale, Rig, ServerJob, drop_files, make_settings, only

GONE = NotFound("404 Not Found")
READS = ("statuses", "job", "newest_jobs")


class Missing:
    """Requests that are answered with an error for a while."""

    def __init__(self, *requests: str, error: Exception = GONE) -> None:
        self.requests = requests
        self.error = error
        self.count = 0

    def __call__(self, point: str) -> None:
        moment, request = point.split()
        if moment == "before" and request in self.requests:
            self.count += 1
            raise self.error


def nothing(_: str) -> None:
    """No request makes trouble."""


def running(rig: Rig, rescale: FakeRescale) -> ServerJob:
    """The job of a drop that was just made."""
    drop_files(rig.settings.folder / "wing")
    rig.turns(4)
    assert rig.status() == "Pending"
    return only(rescale.on_server.values())


def completes(rig: Rig, rescale: FakeRescale, job: ServerJob) -> None:
    rescale.tell(job.id, "Executing", "Completed")
    rig.turns(8, 60.0)
    assert rig.status() == "Completed"
    assert rig.ledger.drops()[0].state is State.COMPLETED
    assert only(rescale.on_server.values()) is job


def test_three_looks_over_three_minutes_have_to_agree() -> None:
    clock = FakeClock()
    looks = Looks(clock)
    assert not any(looks.agree("a") for _ in range(100)), "in one moment, as often as you like"
    clock.advance(180.0)
    assert looks.agree("a")
    looks.differ("a")
    assert not looks.agree("a")
    clock.advance(1000.0)
    assert not looks.agree("a"), "two looks are too few"
    clock.advance(1.0)
    assert looks.agree("a")


@pytest.mark.parametrize("witness", ["job", "newest_jobs"])
def test_a_job_that_its_page_or_the_list_shows_is_not_gone(
    rig: Rig, rescale: FakeRescale, clock: FakeClock, witness: str
) -> None:
    job = running(rig, rescale)
    absence = Absence(rescale, clock)
    rescale.point = Missing(*({"job", "statuses"} - {witness}))
    for _ in range(10):
        assert not absence.is_certain(job.id)
        clock.advance(120.0)
    rescale.point = nothing
    del rescale.on_server[job.id]
    absence.seen(job.id)
    assert not absence.is_certain(job.id), "it was seen a moment ago, so the looks are counted anew"
    clock.advance(90.0)
    assert not absence.is_certain(job.id)
    clock.advance(90.0)
    assert absence.is_certain(job.id)


def test_where_even_the_list_of_jobs_is_404_no_job_is_gone(
    rig: Rig, rescale: FakeRescale, clock: FakeClock
) -> None:
    job = running(rig, rescale)
    rescale.point = Missing(*READS)
    rig.turns(60, 60.0)
    assert rig.status().startswith(f"Pending: the server does not show job {job.id} (404), which may pass")
    rescale.point = nothing
    completes(rig, rescale, job)


def test_a_404_of_its_statuses_now_and_then_does_not_end_a_drop(rig: Rig, rescale: FakeRescale) -> None:
    job = running(rig, rescale)
    for _ in range(10):
        rescale.point = Missing("statuses", "job")
        rig.turns(3, 50.0)
        rescale.point = nothing
        rig.turns(2, 60.0)
        assert rig.status() == "Pending"
    completes(rig, rescale, job)


@pytest.mark.parametrize("state", [State.SAVED, State.SUBMITTING, State.RUNNING])
def test_a_drop_that_counts_as_deleted_goes_on_when_its_job_is_seen_again(
    tmp_path: Path, rescale: FakeRescale, clock: FakeClock, state: State
) -> None:
    drop_files(tmp_path / "submit" / "wing", {**GOOD, "hold": state is State.SAVED})
    with Rig(make_settings(tmp_path), rescale, clock) as rig:
        if state is State.SUBMITTING:
            rescale.point = Missing("submit_job", error=ServerFailed("502"))
        rig.turns(4)
        assert rig.ledger.drops()[0].state is state
        job = only(rescale.on_server.values())
        rescale.on_server.clear()
        rig.turns(10, 60.0)
        assert rig.status() == f"deleted: job {job.id} is not on the server any more"
        rig.turns(10, 600.0)
    rescale.point = nothing
    rescale.on_server[job.id] = job
    with Rig(make_settings(tmp_path), rescale, clock) as rig:  # after a restart as well
        rig.turns(4, 5.0)
        assert f"job {job.id} is on the server after all" in "\n".join(rig.log())
        if state is State.SAVED:
            assert rig.status().startswith(f"held: job {job.id} is saved")
            drop_files(tmp_path / "submit" / "wing")
            rig.turns(4)
        completes(rig, rescale, job)
        assert rescale.requests.count("create_job") == 1


def test_a_drop_that_an_older_version_took_for_deleted_goes_on(
    tmp_path: Path, rescale: FakeRescale, clock: FakeClock
) -> None:
    with Rig(make_settings(tmp_path), rescale, clock) as rig:
        job = running(rig, rescale)
        rig.ledger.record(rig.ledger.drops()[0], machine.Lost())
        assert rig.status().startswith("deleted")
    rescale.tell(job.id, "Executing")
    with Rig(make_settings(tmp_path), rescale, clock) as rig:
        rig.turns(2)
        assert rig.status() == "Executing"
        completes(rig, rescale, job)


def test_deleted_drops_are_looked_at_ever_more_rarely_and_at_once_when_the_list_shows_their_job(
    rig: Rig, rescale: FakeRescale, clock: FakeClock
) -> None:
    job = running(rig, rescale)
    rescale.on_server.clear()
    rig.turns(10, 60.0)
    assert rig.status().startswith("deleted")
    asked = rescale.requests.count("statuses")
    for _ in range(30 * 24):
        rig.poll()
        clock.advance(3600.0)
    assert 100 < rescale.requests.count("statuses") - asked < 200, "four a day, and some more at first"
    rescale.on_server[job.id] = job
    for name in ("a", "b", "c"):
        drop_files(rig.settings.folder / name)
    rig.turns(4)
    assert rig.status() == "Pending"


def test_a_job_that_goes_on_after_its_end_is_followed_again_and_its_end_announced_again(
    rig: Rig, rescale: FakeRescale
) -> None:
    job = running(rig, rescale)
    completes(rig, rescale, job)
    (drop,) = rig.ledger.unannounced()
    rig.ledger.record(drop, machine.Announced())
    rescale.tell(job.id, "Executing")
    rig.turns(2, 60.0)
    assert rig.status() == "Executing"
    assert f"job {job.id} goes on after all: it is followed again" in rig.log()
    rescale.tell(job.id, "Completed")
    rig.turns(4, 60.0)
    assert rig.ledger.drops()[0].state is State.COMPLETED
    assert len(rig.ledger.unannounced()) == 1


def test_a_status_that_a_replica_shows_late_does_not_take_the_place_of_a_newer_one(
    rig: Rig, rescale: FakeRescale
) -> None:
    job = running(rig, rescale)
    rescale.tell(job.id, "Queued", "Started", "Executing")
    all_of_them = tuple(job.statuses)
    shown = [each for each in all_of_them if each.status != "Queued"]
    rescale.statuses = lambda _: tuple(shown)  # type: ignore[method-assign, assignment]
    rig.turns(3, 30.0)
    shown[:] = all_of_them
    rig.turns(3, 30.0)
    assert rig.status() == "Executing"
    shown[2:] = []
    rig.turns(3, 30.0)
    assert rig.status() == "Executing"
    assert [line for line in rig.log() if line in {"Pending", "Queued", "Started", "Executing"}] == [
        "Pending",
        "Started",
        "Executing",
        "Queued",
    ]


def test_a_server_that_dates_a_status_anew_each_time_does_not_fill_the_journal(
    rig: Rig, rescale: FakeRescale, clock: FakeClock
) -> None:
    job = running(rig, rescale)
    before = len(list(rig.journal.entries()))
    for _ in range(100):
        job.statuses[-1] = replace(job.statuses[-1], date=clock.now())
        rig.turn(60.0)
    assert len(list(rig.journal.entries())) == before


# Creating.


@pytest.mark.parametrize("times", [1, 2, 5])
@pytest.mark.parametrize("error", [GONE, Forbidden("403"), InvalidRequest("400")], ids=["404", "403", "400"])
def test_a_new_jobs_page_that_is_not_shown_at_first_does_not_lead_to_a_second_job(
    tmp_path: Path, rescale: FakeRescale, clock: FakeClock, error: Exception, times: int
) -> None:
    def trouble(point: str, seen: list[str] = []) -> None:  # noqa: B006  # remembers what happened
        if point == "after create_job":
            raise ServerFailed("504 Gateway Timeout")
        if point == "before job" and len(seen) < times:
            seen.append(point)
            raise error

    rescale.point = trouble
    drop_files(tmp_path / "submit" / "wing")
    with Rig(make_settings(tmp_path), rescale, clock) as rig:
        rig.turns(30, 10.0)
        assert rig.status() == "Pending"
        completes(rig, rescale, only(rescale.on_server.values()))


def test_a_new_jobs_page_that_lacks_its_variables_at_first_does_not_reject_the_drop(
    tmp_path: Path, rescale: FakeRescale, clock: FakeClock
) -> None:
    page, seen = rescale.job, []

    def shown(job_id: str) -> JobDetail:
        seen.append(job_id)
        return replace(page(job_id), env_vars={}) if len(seen) < 4 else page(job_id)

    def lose(point: str) -> None:
        if point == "after create_job":
            raise ServerFailed("504 Gateway Timeout")

    rescale.point, rescale.job = lose, shown  # type: ignore[method-assign]
    drop_files(tmp_path / "submit" / "wing")
    with Rig(make_settings(tmp_path), rescale, clock) as rig:
        rig.turns(30, 10.0)
        assert not any("rejected" in line for line in rig.log())
        completes(rig, rescale, only(rescale.on_server.values()))


@pytest.mark.parametrize("lag", [1.0, 20.0, 60.0, 170.0])
def test_a_list_that_lags_behind_the_creation_does_not_lead_to_a_second_job(
    tmp_path: Path, rescale: FakeRescale, clock: FakeClock, lag: float
) -> None:
    def lose(point: str) -> None:
        if point == "after create_job":
            raise ServerFailed("504 Gateway Timeout")

    rescale.point = lose
    rescale.lags = lambda: lag
    drop_files(tmp_path / "submit" / "wing")
    with Rig(make_settings(tmp_path), rescale, clock) as rig:
        rig.turns(120, 5.0)
        assert rig.status() == "Pending"
        assert rescale.requests.count("create_job") == 1


def test_the_pauses_between_attempts_that_the_server_refuses_double_so_that_the_journal_stays_small(
    tmp_path: Path, rescale: FakeRescale, clock: FakeClock
) -> None:
    rescale.point = Missing("create_job", error=Forbidden("403 Forbidden"))
    drop_files(tmp_path / "submit" / "wing")
    with Rig(make_settings(tmp_path), rescale, clock) as rig:
        rig.turns(24 * 120, 30.0)
        assert len(list(rig.journal.entries())) < 100
        assert len(rig.ledger.log("wing") or b"") < 10_000
        rescale.point = nothing
        rig.turns(130, 30.0)
        completes(rig, rescale, only(rescale.on_server.values()))


# Rejecting.


def borrowing() -> dict[str, Any]:
    return {**GOOD, "jobanalyses": [{**GOOD["jobanalyses"][0], "inputFiles": [{"id": "file1"}]}]}


def test_a_file_that_one_answer_does_not_know_rejects_its_drop_for_a_minute_only(
    rig: Rig, rescale: FakeRescale
) -> None:
    rescale.files["file1"] = (RemoteFile("file1", "mesh.msh", "mesh.msh", 1), b"1")
    drop_files(rig.settings.folder / "wing", borrowing())
    rescale.point = Missing("file")
    rig.turns(4)
    assert rig.status().startswith("rejected: jobanalyses[0].inputFiles[0]")
    rescale.point = nothing
    rig.turns(6, 30.0)
    assert "what the server offers has changed: looking at it again" in rig.log()
    completes(rig, rescale, only(rescale.on_server.values()))


def test_a_drop_that_a_list_cut_short_rejected_starts_again_when_the_list_is_whole(
    rig: Rig, rescale: FakeRescale
) -> None:
    whole = rescale.catalogue
    rescale.catalogue = replace(whole, analyses=whole.analyses[1:])
    drop_files(rig.settings.folder / "wing")
    rig.turns(4)
    assert "no such software" in rig.status()
    rescale.catalogue = whole
    rig.turns(6, 30.0)
    completes(rig, rescale, only(rescale.on_server.values()))


def test_a_drop_that_is_wrong_itself_is_checked_again_ever_more_rarely_and_in_silence(
    rig: Rig, rescale: FakeRescale
) -> None:
    drop_files(rig.settings.folder / "wing", {**GOOD, "jobanalyses": []})
    rig.turns(4)
    told, events = rig.log(), len(list(rig.journal.entries()))
    asked = len(rescale.requests)
    rig.turns(3 * 24 * 12, 300.0)
    assert 0 < len(rescale.requests) - asked < 60, "in three days"
    assert rig.log() == told
    assert len(list(rig.journal.entries())) == events


def test_what_the_server_refused_is_not_tried_again_without_a_person(rig: Rig, rescale: FakeRescale) -> None:
    rescale.refuse_create = ("projectId: no budget",)
    drop_files(rig.settings.folder / "wing")
    rig.turns(4)
    rescale.refuse_create = ()
    rig.turns(100, 300.0)
    assert rig.status() == "rejected: projectId: no budget"
    assert not rescale.on_server


def test_a_folder_that_changes_whenever_it_is_looked_at_does_not_fill_the_journal(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a file system tells other facts of an open file than of its name, nothing can be opened."""
    monkeypatch.setattr("rescalefs.submit.folder.open_listed", lambda *_: None)
    drop_files(rig.settings.folder / "wing")
    rig.turns(24 * 60, 60.0)
    assert len(list(rig.journal.entries())) < 150
    assert rig.status() == "waiting a while: it changes each time it is looked at, and is as before"
    monkeypatch.undo()
    rig.turns(65, 60.0)
    assert rig.status() == "Pending"


# Submitting.


def test_a_no_to_submitting_is_not_believed_of_a_job_that_has_a_status(
    tmp_path: Path, rescale: FakeRescale, clock: FakeClock
) -> None:
    submit = rescale.submit_job

    def told_by_another(job_id: str) -> None:
        submit(job_id)
        raise InvalidRequest("400 Bad Request", ("the job was submitted already",))

    rescale.submit_job = told_by_another  # type: ignore[method-assign]
    drop_files(tmp_path / "submit" / "wing")
    with Rig(make_settings(tmp_path), rescale, clock) as rig:
        rig.turns(6)
        completes(rig, rescale, only(rescale.on_server.values()))


def test_a_drop_that_was_rejected_at_submitting_is_followed_once_its_job_has_a_status(
    rig: Rig, rescale: FakeRescale
) -> None:
    rescale.refuse_submit = ("license: none left",)
    drop_files(rig.settings.folder / "wing")
    rig.turns(4)
    assert rig.status() == "rejected: license: none left"
    job = only(rescale.on_server.values())
    rig.turns(5, 60.0)
    rescale.tell(job.id, "Pending")
    rig.turns(5, 60.0)
    assert rig.status() == "Pending"
    assert f"job {job.id} was submitted all the same: it is followed" in rig.log()
    completes(rig, rescale, job)


@pytest.mark.parametrize("request_", ["statuses", "submit_job"])
def test_one_404_at_submitting_does_not_end_a_drop(
    tmp_path: Path, rescale: FakeRescale, clock: FakeClock, request_: str
) -> None:
    rescale.point = Missing(request_)
    drop_files(tmp_path / "submit" / "wing")
    with Rig(make_settings(tmp_path), rescale, clock) as rig:
        rig.turns(6)
        assert rig.status().startswith("submitting job")
        rescale.point = nothing
        rig.turns(6, 10.0)
        completes(rig, rescale, only(rescale.on_server.values()))


# Mending.


def mended(rig: Rig, rescale: FakeRescale) -> ServerJob:
    """The saved job of a drop that the server refused to submit, and that was mended."""
    rescale.refuse_submit = ("license: none left",)
    folder = drop_files(rig.settings.folder / "wing")
    rig.turns(4)
    rescale.refuse_submit = ()
    drop_files(folder, {**GOOD, "name": "mended"})
    return only(rescale.on_server.values())


@pytest.mark.parametrize("request_", ["statuses", "delete_job"])
def test_before_a_mended_drop_gets_another_job_one_404_of_the_first_is_not_believed(
    rig: Rig, rescale: FakeRescale, request_: str
) -> None:
    first = mended(rig, rescale)
    rescale.point = Missing(request_)
    rig.turns(20)
    assert rescale.requests.count("create_job") == 1
    rescale.point = nothing
    rig.turns(30, 5.0)
    assert only(rescale.on_server.values()).id != first.id
    assert rig.status() == "Pending"


def test_a_job_whose_statuses_lag_behind_its_submission_is_not_deleted(
    rig: Rig, rescale: FakeRescale, clock: FakeClock
) -> None:
    first = mended(rig, rescale)
    rescale.tell(first.id, "Executing", "Completed")  # so the server would not refuse to delete it
    told, when = rescale.statuses, clock.monotonic()
    rescale.statuses = lambda job_id: told(job_id) if clock.monotonic() > when + 15 else ()  # type: ignore[method-assign]
    rig.turns(20)
    assert only(rescale.on_server.values()) is first
    assert "delete_job" not in rescale.requests
    assert rig.status() == "Completed"


def test_nor_is_one_that_only_the_list_of_jobs_shows_to_run(rig: Rig, rescale: FakeRescale) -> None:
    first = mended(rig, rescale)
    rescale.tell(first.id, "Executing", "Completed")
    rescale.statuses = lambda job_id: ()  # type: ignore[method-assign]
    rig.turns(40)
    assert only(rescale.on_server.values()) is first
    assert "delete_job" not in rescale.requests


# The end.


def test_an_end_waits_for_the_outputs_to_be_listed_but_not_for_ever(
    rig: Rig, rescale: FakeRescale, clock: FakeClock
) -> None:
    job = running(rig, rescale)
    outputs, rescale.outputs = rescale.outputs, ()
    rescale.tell(job.id, "Executing", "Completed")
    rig.turns(4, 5.0)
    assert rig.status().startswith(f"collecting outputs: job {job.id} is over")
    assert not rig.ledger.unannounced()
    rescale.outputs = outputs
    rig.turns(4, 5.0)
    assert rig.status() == "Completed"
    assert any("1 output, 10 bytes" in line for line in rig.log())
    assert rig.ledger.unannounced()


@pytest.mark.parametrize(
    ("error", "said"),
    [(GONE, "the server does not list its outputs"), (None, "0 outputs")],
    ids=["404", "none"],
)
def test_a_job_whose_outputs_are_never_listed_ends_all_the_same(
    rig: Rig, rescale: FakeRescale, error: Exception | None, said: str
) -> None:
    job = running(rig, rescale)
    rescale.outputs = ()
    rescale.tell(job.id, "Executing", "Completed")
    if error is not None:
        rescale.point = Missing("output_files", error=error)
    rig.turns(10, 30.0)
    assert any(line.startswith("ended") and said in line for line in rig.log())
    assert rig.ledger.drops()[0].state is State.COMPLETED


def test_a_404_of_its_outputs_does_not_count_as_the_jobs_deletion(rig: Rig, rescale: FakeRescale) -> None:
    job = running(rig, rescale)
    rescale.tell(job.id, "Executing", "Completed")
    rescale.point = Missing("output_files")
    rig.turns(3)
    rescale.point = nothing
    rig.turns(5, 10.0)
    assert rig.status() == "Completed"
    assert not any("not on the server" in line for line in rig.log())


# Clocks.


class WrongClock(FakeClock):
    """The machine's clock, whose hands are moved; the server's is another one, at the same pace."""

    def __init__(self, right: FakeClock) -> None:
        super().__init__()
        self.right = right
        self.days = 0

    def now(self) -> datetime:
        return super().now() + timedelta(days=self.days)

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        self.right.advance(seconds)


@pytest.mark.parametrize("days", [-1, 365], ids=["a day back", "a year forward"])
@pytest.mark.parametrize("state", list(State))
def test_a_clock_that_jumps_leaves_one_job_that_is_followed_to_its_end(
    tmp_path: Path, rescale: FakeRescale, clock: FakeClock, state: State, days: int
) -> None:
    wrong = WrongClock(clock)
    drop_files(tmp_path / "submit" / "wing")
    with Rig(make_settings(tmp_path), rescale, wrong) as rig:

        def jump(point: str) -> None:
            drops = rig.ledger.drops()
            if (drops[0].state if drops else State.UNSEEN) is state:
                wrong.days = days
            if point == "after create_job":
                raise ServerFailed("504 Gateway Timeout")

        rescale.point = jump
        rig.turns(60, 5.0)
        wrong.days = days
        job = only(rescale.on_server.values())
        rescale.tell(job.id, "Executing", "Completed")
        rig.turns(20, 60.0)
        assert rig.ledger.drops()[0].state is State.COMPLETED
        assert rescale.requests.count("create_job") == 1


def test_a_stopped_job_ends_though_the_clock_is_set_back_by_a_day(
    rig: Rig, rescale: FakeRescale, clock: FakeClock
) -> None:
    job = running(rig, rescale)
    tomorrow = clock.now() + timedelta(days=1)
    job.statuses.append(JobStatus("Force Stopped", tomorrow, None))
    job.told.append(clock.monotonic())
    rig.turns(12, 60.0)
    assert rig.ledger.drops()[0].state is State.STOPPED
    assert "ended: 1 output, 10 bytes" in "\n".join(rig.log()) or "ended after" in "\n".join(rig.log())


def test_an_upload_that_was_noted_in_the_future_is_not_trusted(
    tmp_path: Path, rescale: FakeRescale, clock: FakeClock
) -> None:
    wrong = WrongClock(clock)
    wrong.days = 365
    drop_files(tmp_path / "submit" / "wing")
    with Rig(make_settings(tmp_path), rescale, wrong) as rig:
        rig.turns(4)
        wrong.days = 0
        rescale.files.clear()
        drop_files(tmp_path / "submit" / "wing-2", {**GOOD, "name": "wing-2"})
        rig.turns(4)
        second = list(rescale.on_server.values())[1]
        assert len(rescale.inputs(second.id)) == 2
