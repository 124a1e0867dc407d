"""The catalogue asks as little as truth allows."""

from __future__ import annotations

import dataclasses
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from rescalefs.background import Background
from rescalefs.clock import SystemClock, Wake, never
from rescalefs.errors import NotFound, ServerFailed, Unreachable
from rescalefs.model import Incomplete, Job, JobStatus
from rescalefs.tree.catalog import Catalog
from rescalefs.tree.settings import TreeSettings
from tests.fakes import FakeClock
from tests.tree.account import START, FakeService, file, minutes

DAY = 86_400.0


def catalog_of(service: FakeService, clock: FakeClock, directory: Path | None = None) -> Catalog:
    return Catalog(service, clock, Background(), TreeSettings(directory))


def test_a_list_is_renewed_by_one_request_for_the_newest() -> None:
    service, clock = FakeService(), FakeClock()
    service.add("old")
    catalog = catalog_of(service, clock)
    first = catalog.jobs()
    clock.advance(19)
    assert catalog.jobs() is first
    clock.advance(1)
    assert catalog.jobs() is first  # asked, and nothing is new
    service.add("new", at=1)
    clock.advance(20)
    assert [job.id for job in catalog.jobs().listed] == ["new", "old"]
    assert service.requests == {"jobs": 1, "newest_jobs": 2}


def test_a_deleted_job_is_missed_at_the_next_poll_also_if_it_was_the_oldest() -> None:
    service, clock = FakeService(), FakeClock()
    for number in range(4):
        service.add(f"j{number}", at=number)
    catalog = catalog_of(service, clock)
    catalog.jobs()
    for gone in ("j0", "j2"):
        del service.all[gone]
        clock.advance(20)
        assert set(catalog.jobs().by_id) == set(service.all)
    service.add("new", at=9)
    del service.all["j1"]
    clock.advance(20)
    assert set(catalog.jobs().by_id) == {"j3", "new"}
    clock.advance(20)
    catalog.jobs()
    assert service.requests == {"jobs": 3, "newest_jobs": 4}


def test_a_server_with_shorter_pages_is_asked_for_all_of_them_once(monkeypatch: pytest.MonkeyPatch) -> None:
    service, clock = FakeService(), FakeClock()
    for number in range(40):
        service.add(f"j{number}", at=number)
    whole = service.newest_jobs
    monkeypatch.setattr(service, "newest_jobs", lambda _: whole(10))
    catalog = catalog_of(service, clock)
    for _ in range(5):
        assert len(catalog.jobs().listed) == 40
        clock.advance(20)
    assert service.requests == {"jobs": 2, "newest_jobs": 4}


def test_all_pages_are_asked_for_now_and_then() -> None:
    service, clock = FakeService(), FakeClock()
    service.add("old", "wing", "Executing")
    for number in range(120):
        service.add(f"new{number}", at=1 + number)
    catalog = catalog_of(service, clock)
    catalog.jobs()
    service.add("old")  # has ended, below what one page shows
    clock.advance(1000)
    assert catalog.jobs().by_id["old"].status == "Executing"
    clock.advance(800)
    assert catalog.jobs().by_id["old"].status == "Completed"


def test_a_job_that_is_too_new_for_the_list_is_found_by_its_id() -> None:
    service, clock = FakeService(), FakeClock()
    service.add("old")
    catalog = catalog_of(service, clock)
    catalog.jobs()
    service.add("new", status="Executing", at=1)
    found = catalog.find("new")
    assert found is not None
    assert found.status == "Executing"
    assert catalog.find("new") is found
    assert service.requests == {"jobs": 1, "job": 1, "statuses": 1}
    assert "new" in catalog.jobs().by_id


def test_a_job_whose_status_cannot_be_had_is_found_all_the_same() -> None:
    service = FakeService()
    catalog = catalog_of(service, FakeClock())
    catalog.jobs()
    service.add("new", status="Executing")

    def fails(method: str) -> None:
        if method == "statuses":
            raise ServerFailed("500")

    service.on_request = fails
    found = catalog.find("new")
    assert found is not None
    assert found.status == ""


def test_an_absent_job_is_asked_for_once_in_a_while() -> None:
    service, clock = FakeService(), FakeClock()
    catalog = catalog_of(service, clock)
    for _ in range(5):
        assert catalog.find("nosuch") is None
    assert service.requests["job"] == 1
    clock.advance(21)  # a job that was made meanwhile would be in the list, which is polled
    service.add("nosuch")
    assert catalog.find("nosuch") is not None


def test_a_program_that_tries_names_is_not_asked_about_for_each() -> None:
    service, clock = FakeService(), FakeClock()
    catalog = catalog_of(service, clock)
    tried = [f"name{number}" for number in range(1000)]
    assert not any(map(catalog.find, tried))
    assert service.requests["job"] == 30
    clock.advance(60)
    service.add("new")
    assert catalog.find("new") is not None


def test_words_for_which_tools_look_everywhere_are_no_jobs_unless_the_list_has_them() -> None:
    service = FakeService()
    catalog = catalog_of(service, FakeClock())
    assert not any(map(catalog.find, ["HEAD", "CVS", "Makefile", "node_modules", "objects"]))
    assert service.requests["job"] == 0
    service, clock = FakeService(), FakeClock()
    service.add("HEAD")
    assert catalog_of(service, clock).find("HEAD") is not None


def test_a_name_that_can_be_no_id_costs_nothing() -> None:
    service = FakeService()
    catalog = catalog_of(service, FakeClock())
    assert catalog.find(".Trash") is catalog.find("autorun.inf") is None
    assert service.total == 0


def test_outputs_of_a_job_that_ended_long_ago_are_asked_for_once_a_day() -> None:
    service, clock = FakeService(), FakeClock()
    service.add("j", at=0)
    catalog = catalog_of(service, clock)
    catalog.jobs()
    first = catalog.outputs("j", ended=True)
    clock.advance(DAY - 1)
    assert catalog.outputs("j", ended=True) is first
    assert service.requests["output_files"] == 1
    clock.advance(1)
    assert catalog.outputs("j", ended=True) is first  # asked again, and they are the same
    assert service.requests["output_files"] == 2


def test_outputs_of_a_running_job_are_renewed_after_seconds() -> None:
    service, clock = FakeService(), FakeClock()
    service.add("j", status="Executing")
    catalog = catalog_of(service, clock)
    catalog.jobs()
    assert catalog.outputs("j", ended=False).files == ()
    service.files["j"] = (file("1"),)
    clock.advance(4)
    renewed = catalog.outputs("j", ended=False)
    assert (renewed.files, renewed.final) == ((file("1"),), False)


def test_a_job_that_was_just_made_is_listed_without_a_request() -> None:
    service, clock = FakeService(), FakeClock()
    service.add("old")
    catalog = catalog_of(service, clock)
    catalog.jobs()
    asked = service.requests.total()
    catalog.made(service.add("new", status="", at=3))
    assert catalog.jobs().by_id.keys() == {"old", "new"}
    catalog.heard("new", "Pending")
    assert catalog.jobs().by_id["new"].status == "Pending"
    assert service.requests.total() == asked


@pytest.mark.parametrize("known", [True, False])
def test_a_list_that_was_asked_for_before_a_job_was_made_does_not_take_it_away(known: bool) -> None:
    service, clock = FakeService(), FakeClock()
    service.add("old")
    catalog = catalog_of(service, clock)
    if known:
        catalog.jobs()
    clock.advance(20)
    new = Job("new", "wing", inserted=START)
    service.on_request = lambda _: catalog.made(new)
    assert catalog.jobs().by_id.keys() == {"old", "new"}
    service.on_request = lambda _: None
    service.all["new"] = new
    clock.advance(20)
    assert [job.id for job in catalog.jobs().listed] == ["old", "new"]
    del service.all["new"]
    clock.advance(20)
    assert catalog.jobs().by_id.keys() == {"old"}


def test_a_job_that_was_made_and_is_in_no_list_a_minute_later_is_gone() -> None:
    service, clock = FakeService(), FakeClock()
    service.add("old")
    catalog = catalog_of(service, clock)
    catalog.jobs()
    catalog.made(Job("new", "wing", inserted=START))
    clock.advance(40)
    assert catalog.jobs().by_id.keys() == {"old", "new"}
    clock.advance(40)
    assert catalog.jobs().by_id.keys() == {"old"}


def test_outputs_listed_before_the_end_are_listed_again_after_it() -> None:
    service, clock = FakeService(), FakeClock()
    service.add("j", status="Executing")
    catalog = catalog_of(service, clock)
    catalog.jobs()
    before = catalog.outputs("j", ended=False)
    service.add("j")
    catalog.heard("j", "Completed")
    after = catalog.outputs("j", ended=catalog.jobs().by_id["j"].is_finished)
    assert after is not before
    assert after.final


def test_outputs_listed_soon_after_the_end_are_listed_again_soon_and_then_ever_more_seldom() -> None:
    service, clock = FakeService(), FakeClock()
    service.add("j", status="Executing")
    service.files["j"] = (file("1"),)
    catalog = catalog_of(service, clock)
    catalog.jobs()
    service.add("j")
    clock.advance(20)
    catalog.jobs()
    for _ in range(int(DAY)):
        catalog.outputs("j", ended=True)
        clock.advance(1)
    # After 15 s, 15 more, 30, 60 … : doubling up to a day.
    assert service.requests["output_files"] == 14


def test_files_that_are_still_uploaded_are_looked_at_again_soon() -> None:
    service, clock = FakeService(), FakeClock()
    service.add("j")
    service.files["j"] = (file("1", uploaded=False),)
    catalog = catalog_of(service, clock)
    catalog.jobs()
    catalog.outputs("j", ended=True)
    service.files["j"] = (file("1"),)
    clock.advance(15)
    assert catalog.outputs("j", ended=True).files == service.files["j"]


def test_statuses_teach_the_list_that_a_job_has_ended() -> None:
    service, clock = FakeService(), FakeClock()
    service.add("j", status="Executing")
    catalog = catalog_of(service, clock)
    catalog.jobs()
    service.add("j")
    assert catalog.statuses("j", ended=False)[-1].status == "Completed"
    assert catalog.jobs().by_id["j"].is_finished
    clock.advance(1000)
    catalog.statuses("j", ended=True)
    assert service.requests == {"jobs": 1, "statuses": 1}


def test_a_clock_that_differs_from_the_servers_does_no_harm() -> None:
    service, clock = FakeService(), FakeClock()
    service.add("j")
    service.histories["j"] = (JobStatus("Completed", minutes(60 * 24 * 365)),)  # a year ahead of ours
    catalog = catalog_of(service, clock)
    catalog.jobs()
    catalog.statuses("j", ended=True)
    catalog.statuses("j", ended=True)
    assert service.requests["statuses"] == 1


def test_a_job_that_is_gone_is_forgotten_with_all_that_was_known_of_it(tmp_path: Path) -> None:
    service, clock = FakeService(), FakeClock()
    service.add("other")
    service.add("j", at=1)
    catalog = catalog_of(service, clock, tmp_path)
    catalog.jobs()
    catalog.outputs("j", ended=True)
    catalog.detail("j", ended=True)
    del service.all["j"]
    clock.advance(20)
    catalog.jobs()
    assert catalog.find("j") is None
    assert catalog.known_outputs("j") is None
    assert not list((tmp_path / "outputs").iterdir())


def test_a_page_that_is_gone_takes_the_job_out_of_the_list() -> None:
    service = FakeService()
    service.add("j")
    catalog = catalog_of(service, FakeClock())
    catalog.jobs()
    del service.all["j"]
    with pytest.raises(NotFound):
        catalog.detail("j", ended=True)
    assert "j" not in catalog.jobs().by_id


def test_forgetting_asks_afresh() -> None:
    service = FakeService()
    service.add("j")
    service.files["j"] = (file("1"),)
    catalog = catalog_of(service, FakeClock())
    catalog.jobs()
    catalog.outputs("j", ended=True)
    catalog.forget("j")
    catalog.outputs("j", ended=True)
    assert service.requests == {"jobs": 1, "output_files": 2}
    catalog.forget()
    catalog.jobs()
    catalog.outputs("j", ended=True)
    assert service.requests == {"jobs": 2, "output_files": 3}


def test_after_a_restart_without_a_server_all_that_was_seen_is_there(tmp_path: Path) -> None:
    service, clock = FakeService(), FakeClock()
    service.add("j")
    service.files["j"] = (file("1", "a/b"), file("2", at=None, sha512=None, size=None))
    service.inputs["j"] = (file("3"),)

    def seen() -> tuple[object, ...]:
        catalog = catalog_of(service, clock, tmp_path)
        return (
            catalog.jobs().listed,
            catalog.detail("j", ended=True),
            catalog.statuses("j", ended=True),
            catalog.cluster_statuses("j", ended=True),
            catalog.outputs("j", ended=True),
        )

    before = seen()
    service.failure = Unreachable("gone")
    clock.advance(10 * DAY)
    assert seen() == before


class HeldClock(FakeClock):
    """A clock whose waits end when the test says so, as if their time had passed."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Semaphore(0)
        self._turn = threading.Semaphore(0)

    def wait(self, wake: Wake, seconds: float) -> bool:
        self.begun.release()
        assert self._turn.acquire(timeout=30)
        if not wake.wait(0):
            self.advance(seconds)
        return wake.wait(0)

    def pass_turn(self) -> None:
        self._turn.release()


def test_the_background_keeps_the_list_fresh_and_survives_failures(tmp_path: Path) -> None:
    service, clock, background = FakeService(), HeldClock(), Background()
    service.add("j", status="Executing")
    catalog = Catalog(service, clock, background, TreeSettings(tmp_path))
    catalog.start()
    assert clock.begun.acquire(timeout=30)
    for failure in (None, Unreachable("gone"), None):
        service.failure = failure
        clock.pass_turn()
        assert clock.begun.acquire(timeout=30)
        assert catalog.health.offline == (failure is not None)
    service.add("k", status="Executing", at=1)
    clock.pass_turn()
    assert clock.begun.acquire(timeout=30)
    assert "k" in catalog.jobs().by_id
    assert service.requests == {"jobs": 1, "newest_jobs": 4}
    clock.pass_turn()
    background.close()


def test_the_background_learns_how_the_newest_jobs_ended_one_request_for_each_and_once(
    tmp_path: Path,
) -> None:
    service, background = FakeService(), Background()
    for number in range(12):
        service.add(f"j{number}", at=number)
        service.histories[f"j{number}"] = (JobStatus("Completed", minutes(number), "No licence"),)
    catalog = Catalog(service, SystemClock(), background, TreeSettings(tmp_path, poll_every=0.001))
    catalog.start()
    deadline = SystemClock().monotonic() + 30
    while not all(job.outcome for job in catalog.jobs().by_id.values()):
        assert SystemClock().monotonic() < deadline
        SystemClock().wait(never(), 0.01)
    background.close()
    words = {job.outcome.words for job in catalog.jobs().by_id.values() if job.outcome is not None}
    assert words == {"Completed, but failed: no licence"}
    assert service.requests["statuses"] == 12
    assert service.requests["end_of"] == service.requests["output_files"] == 0


def test_a_restart_asks_for_the_newest_first_and_soon_for_all_pages(tmp_path: Path) -> None:
    service, clock, background = FakeService(), HeldClock(), Background()
    service.add("old", status="Executing")
    catalog_of(service, FakeClock(), tmp_path).jobs()
    service.add("new", status="Executing", at=1)
    catalog = Catalog(service, clock, background, TreeSettings(tmp_path))
    catalog.start()
    assert clock.begun.acquire(timeout=30)
    assert set(catalog.jobs().by_id) == {"new", "old"}
    assert service.requests == {"jobs": 1, "newest_jobs": 1}
    clock.pass_turn()
    assert clock.begun.acquire(timeout=30)
    assert service.requests == {"jobs": 2, "newest_jobs": 1}
    clock.pass_turn()
    background.close()


def test_counters_tell_what_was_asked() -> None:
    service = FakeService()
    service.add("j")
    catalog = catalog_of(service, FakeClock())
    catalog.jobs()
    catalog.statuses("j", ended=True)
    catalog.cluster_statuses("j", ended=True)
    assert catalog.counters() == {
        "jobs": 1,
        "requests_jobs": 1,
        "requests_details": 0,
        "requests_statuses": 2,
        "requests_outputs": 0,
        "requests_runs": 0,
        "requests_live": 0,
        "requests_catalog": 0,
    }


def test_a_job_without_a_date_is_believed_for_a_day() -> None:
    service, clock = FakeService(), FakeClock()
    service.all["j"] = dataclasses.replace(service.add("j"), inserted=None)
    catalog = catalog_of(service, clock)
    catalog.jobs()
    catalog.outputs("j", ended=True)
    clock.advance(DAY - 1)
    catalog.outputs("j", ended=True)
    assert service.requests["output_files"] == 1


def test_a_list_of_which_entries_were_left_out_is_asked_for_again_soon(tmp_path: Path) -> None:
    """One odd answer must not hide an output of an old job for a day."""
    service, clock = FakeService(), FakeClock(START + timedelta(days=30))
    service.add("old")
    catalog = catalog_of(service, clock, tmp_path)
    catalog.jobs()
    service.files["old"] = Incomplete((file("a", "a.dat"),))
    assert len(catalog.outputs("old", ended=True).files) == 1
    service.files["old"] = (file("a", "a.dat"), file("b", "b.dat"))
    clock.advance(20)
    catalog.outputs("old", ended=True)  # asked, perhaps in the background
    assert len(catalog.outputs("old", ended=True).files) == 2
    clock.advance(DAY / 2)
    catalog.outputs("old", ended=True)
    assert service.requests["output_files"] == 2
