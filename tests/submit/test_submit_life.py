"""Drops on their way, part by part, without threads."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rescalefs.errors import Forbidden, Throttled, Unreachable
from rescalefs.model import JobStatus, Outcome, RemoteFile, Result
from rescalefs.submit.journal import JournalFailed
from rescalefs.submit.machine import Moved, State
from tests.consoles import console_log
from tests.fakes import FakeClock
from tests.submit.rig import GOOD, FakeRescale, Rig, drop_files, make_settings, only


def test_a_dropped_folder_becomes_one_job_that_is_followed_to_its_end(rig: Rig, rescale: FakeRescale) -> None:
    drop_files(rig.settings.folder / "wing")
    rig.turns(4)
    job = only(rescale.on_server.values())
    assert rescale.inputs(job.id) == {"solve.py": b"print(42)\n", "mesh.msh": b"1 2 3\n"}
    assert rig.status() == "Pending"
    rescale.tell(job.id, "Queued", "Executing")
    rig.turns(4)
    assert rig.status() == "Executing"
    rescale.tell(job.id, "Completed", reason="Completed successfully")
    rig.turns(8)
    assert rig.status() == "Completed"
    assert rig.ledger.job_id("wing") == job.id
    assert rescale.requests.count("create_job") == rescale.requests.count("submit_job") == 1


@pytest.mark.parametrize("lost", [False, True])
def test_a_drop_names_its_job_only_when_others_were_told_of_it(
    tmp_path: Path, rescale: FakeRescale, clock: FakeClock, lost: bool
) -> None:
    told: list[str] = []

    def journalled(name: str) -> None:
        if name == "before Created":
            told.extend(rig.made)

    def lose(name: str) -> None:
        if name == "after create_job" and lost:
            raise Unreachable("no answer")

    rescale.point = lose
    with Rig(make_settings(tmp_path), rescale, clock, journalled) as rig:
        drop_files(rig.settings.folder / "wing")
        rig.turns(20)
        assert told == [rig.ledger.job_id("wing")] == [*rescale.on_server]


def test_a_renamed_drop_is_not_submitted_again_and_a_copied_one_is(rig: Rig, rescale: FakeRescale) -> None:
    folder = drop_files(rig.settings.folder / "wing")
    rig.turns(4)
    folder.rename(rig.settings.folder / "wing-2")
    rig.turns(4)
    assert len(rescale.on_server) == 1
    assert rig.ledger.status("wing") is None
    assert rig.status("wing-2") == "Pending"
    (rig.settings.folder / "wing-2" / "status").write_text(
        "Pending\n"
    )  # as `cp -r` through the mount leaves it
    shutil.copytree(rig.settings.folder / "wing-2", rig.settings.folder / "wing-3")
    rig.turns(4)
    assert len(rescale.on_server) == 2
    assert all("status" not in rescale.inputs(job) for job in rescale.on_server)
    assert rescale.requests.count("upload") == 2  # the copy's files were there already


def test_a_rejected_drop_starts_again_when_it_is_mended(rig: Rig, rescale: FakeRescale) -> None:
    bad = {**GOOD, "jobanalyses": [{**GOOD["jobanalyses"][0], "command": ""}]}
    folder = drop_files(rig.settings.folder / "wing", bad)
    rig.turns(4)
    assert rig.status().startswith('rejected: jobanalyses[0].command is "": must be a text')
    assert not rescale.on_server
    drop_files(folder)
    rig.turns(5)
    assert len(rescale.on_server) == 1


def test_before_its_job_file_comes_a_drop_waits_and_says_so(rig: Rig, rescale: FakeRescale) -> None:
    folder = drop_files(rig.settings.folder / "wing", None)
    rig.turns(10)
    assert rig.status() == "waiting for job.json"
    assert not rescale.requests
    drop_files(folder)
    rig.turns(3)
    assert len(rescale.on_server) == 1


def test_an_input_that_is_named_and_missing_is_awaited_by_name(rig: Rig, rescale: FakeRescale) -> None:
    wanted = {**GOOD, "jobanalyses": [{**GOOD["jobanalyses"][0], "inputFiles": ["solve.py", "late.msh"]}]}
    folder = drop_files(rig.settings.folder / "wing", wanted)
    rig.turns(200, 30.0)
    assert rig.status() == "waiting for late.msh, named in job.json"
    assert rig.log().count("waiting for late.msh, named in job.json") == 1
    (folder / "late.msh").write_bytes(b"here")
    rig.turns(3)
    job = only(rescale.on_server.values())
    assert rescale.inputs(job.id) == {"solve.py": b"print(42)\n", "late.msh": b"here"}


def test_a_slow_copy_is_not_submitted_before_it_ends(rig: Rig, rescale: FakeRescale) -> None:
    folder = drop_files(rig.settings.folder / "wing", files={})
    for number in range(100):
        with (folder / "slow.dat").open("ab") as file:
            file.write(b"%d" % (number % 10))
        rig.turn(1.0)
    assert not rescale.on_server
    assert rig.status() == "waiting until nothing changes any more"
    rig.turns(64, 1.0)
    job = only(rescale.on_server.values())
    assert len(rescale.inputs(job.id)["slow.dat"]) == 100


@pytest.mark.parametrize("seed", range(5))
def test_a_byte_a_second_to_files_in_any_order_with_a_long_pause_is_one_drop(
    rig: Rig, rescale: FakeRescale, seed: int
) -> None:
    chance = random.Random(seed)
    folder = drop_files(rig.settings.folder / "wing", files={})
    names = [name for name in ("a.dat", "b.dat", "mesh/c.dat", "d.dat") for _ in range(10)]
    chance.shuffle(names)
    pause = chance.randrange(4, 40)
    (folder / "mesh").mkdir()
    for number, name in enumerate(names):
        rig.turns(30 if number == pause else 1, 1.0)
        with (folder / name).open("ab") as file:
            file.write(b"x")
    assert not rescale.on_server
    rig.turns(64, 1.0)
    sent = rescale.inputs(only(rescale.on_server.values()).id)
    assert sum(len(data) for name, data in sent.items() if name.endswith(".dat")) == 30
    assert rescale.requests.count("create_job") == 1


def test_a_file_that_a_program_still_has_open_in_the_backing_directory_is_waited_for(
    rig: Rig, rescale: FakeRescale
) -> None:
    folder = drop_files(rig.settings.folder / "wing")
    with (folder / "slow.dat").open("wb") as file:
        file.write(b"half of it")
        file.flush()
        rig.turns(100)
        assert rig.status() == "waiting until slow.dat is not open for writing any more"
        file.write(b", and the rest")
    assert not rescale.on_server
    rig.turns(16)
    sent = rescale.inputs(only(rescale.on_server.values()).id)
    assert sent["slow.dat"] == b"half of it, and the rest"


def test_an_empty_folder_only_waits(rig: Rig, rescale: FakeRescale) -> None:
    (rig.settings.folder / "wing").mkdir(parents=True)
    rig.turns(100, 30.0)
    assert rig.status() == "waiting for job.json"
    assert not rescale.requests


def test_an_input_that_is_taken_off_the_list_is_not_awaited_any_more(rig: Rig, rescale: FakeRescale) -> None:
    analysis = GOOD["jobanalyses"][0]
    folder = drop_files(
        rig.settings.folder / "wing",
        {**GOOD, "jobanalyses": [{**analysis, "inputFiles": ["solve.py", "late"]}]},
    )
    rig.turns(10)
    assert rig.status() == "waiting for late, named in job.json"
    drop_files(folder, {**GOOD, "jobanalyses": [{**analysis, "inputFiles": ["solve.py"]}]})
    rig.turns(4)
    assert list(rescale.inputs(only(rescale.on_server.values()).id)) == ["solve.py"]


def test_nothing_is_taken_while_a_file_is_open_for_writing(rig: Rig, rescale: FakeRescale) -> None:
    folder = drop_files(rig.settings.folder / "wing")
    rig.unfinished[folder] = "until no file is open for writing"
    rig.turns(20)
    assert rig.status() == "waiting until no file is open for writing"
    assert not rescale.on_server
    rig.unfinished.clear()
    rig.turns(3)
    assert len(rescale.on_server) == 1


def test_what_changes_while_it_is_uploaded_is_sent_as_it_is_then(rig: Rig, rescale: FakeRescale) -> None:
    folder = drop_files(rig.settings.folder / "wing", files={"a.dat": b"old", "b.dat": b"b"})

    def change_once(name: str) -> None:
        if name == "after upload" and len(rescale.files) == 1:
            (folder / "a.dat").write_bytes(b"newer")

    rescale.point = change_once
    rig.turns(8)
    job = only(rescale.on_server.values())
    assert rescale.inputs(job.id) == {"a.dat": b"newer", "b.dat": b"b"}
    assert "the folder changed: looking at it again" in rig.log()


def test_a_file_added_while_others_are_uploaded_is_sent_with_them(rig: Rig, rescale: FakeRescale) -> None:
    folder = drop_files(rig.settings.folder / "wing", files={"b.dat": b"b", "c.dat": b"c"})
    rig.turn()
    rig.survey.everything()
    while rig.ledger.drops()[0].state is not State.UPLOADING or not rig.carrier.carry_one():
        assert rig.worker.serve_one(rig.ledger.open_drops())
    (folder / "a.dat").write_bytes(b"a")
    rig.survey.everything()
    while rig.carrier.carry_one():  # what was on its way before the change arrives
        pass
    rig.turns(6)
    job = only(rescale.on_server.values())
    assert rescale.inputs(job.id) == {"a.dat": b"a", "b.dat": b"b", "c.dat": b"c"}
    assert rescale.requests.count("upload") == 3


def test_editing_job_json_after_the_job_exists_changes_nothing_and_is_told_once(
    rig: Rig, rescale: FakeRescale
) -> None:
    folder = drop_files(rig.settings.folder / "wing")
    rig.turns(4)
    drop_files(folder, {**GOOD, "name": "another"})
    rig.turns(6)
    job = only(rescale.on_server.values())
    assert job.definition["name"] == "wing"
    told = f"job.json was edited after job {job.id} was made from it: that job stays as it is"
    assert rig.log().count(told) == 1
    assert rig.status() == "Pending"


def test_a_held_job_is_saved_and_submitted_when_the_key_is_removed(rig: Rig, rescale: FakeRescale) -> None:
    folder = drop_files(rig.settings.folder / "wing", {**GOOD, "hold": True})
    rig.turns(6)
    job = only(rescale.on_server.values())
    assert not job.statuses
    assert rig.status() == f'held: job {job.id} is saved; remove "hold" from job.json to submit it'
    drop_files(folder)
    rig.turns(4)
    assert rig.status() == "Pending"
    assert not any("edited" in line for line in rig.log())


def test_a_held_job_that_is_submitted_elsewhere_is_followed(rig: Rig, rescale: FakeRescale) -> None:
    drop_files(rig.settings.folder / "wing", {**GOOD, "hold": True})
    rig.turns(4)
    job = only(rescale.on_server.values())
    rescale.tell(job.id, "Pending", "Executing")
    rig.turns(4, 30.0)
    assert rig.status() == "Executing"
    assert f"job {job.id} was submitted elsewhere" in rig.log()


def test_what_the_server_refuses_is_told_and_a_mended_drop_has_one_job(
    rig: Rig, rescale: FakeRescale
) -> None:
    rescale.refuse_create = ("name: this name is taken", "projectId: no budget")
    folder = drop_files(rig.settings.folder / "wing")
    rig.turns(4)
    assert rig.status() == "rejected: name: this name is taken (2 problems, see status.log)"
    assert "rejected: projectId: no budget" in rig.log()
    rescale.refuse_create = ()
    drop_files(folder)
    rig.turns(5)
    assert len(rescale.on_server) == 1


def test_a_job_that_may_not_be_submitted_is_replaced_when_the_folder_is_mended(
    rig: Rig, rescale: FakeRescale
) -> None:
    rescale.refuse_submit = ("license: none left",)
    folder = drop_files(rig.settings.folder / "wing")
    rig.turns(4)
    first = only(rescale.on_server.values()).id
    assert rig.status() == "rejected: license: none left"
    rescale.refuse_submit = ()
    drop_files(folder, {**GOOD, "name": "mended"})
    rig.turns(5)
    assert (
        rig.status() == f"creating the job: looking whether job {first} was submitted, before it is made anew"
    )
    rig.turns(15)
    job = only(rescale.on_server.values())
    assert job.id != first
    assert job.definition["name"] == "mended"
    assert f"job {first} deleted: it never ran, and is made anew" in rig.log()


def test_a_refused_job_that_was_submitted_elsewhere_meanwhile_stays_the_one_job(
    rig: Rig, rescale: FakeRescale
) -> None:
    rescale.refuse_submit = ("license: none left",)
    folder = drop_files(rig.settings.folder / "wing")
    rig.turns(4)
    first = only(rescale.on_server.values()).id
    rescale.tell(first, "Pending")
    drop_files(folder, {**GOOD, "name": "mended"})
    rig.turns(6)
    assert only(rescale.on_server.values()).id == first
    assert rig.status() == "Pending"


def test_a_job_deleted_in_the_web_interface_shows(rig: Rig, rescale: FakeRescale) -> None:
    drop_files(rig.settings.folder / "wing")
    rig.turns(4)
    job = only(rescale.on_server.values())
    del rescale.on_server[job.id]
    rig.turns(20)
    told = f"Pending: the server does not show job {job.id} (404), which may pass, asking again in "
    assert rig.status().startswith(told)
    rig.turns(6, 60.0)
    assert rig.status() == f"deleted: job {job.id} is not on the server any more"
    rig.turns(6)
    assert not rescale.on_server


def test_a_deleted_drop_is_forgotten_and_a_new_one_of_its_name_is_new(rig: Rig, rescale: FakeRescale) -> None:
    folder = drop_files(rig.settings.folder / "wing")
    rig.turns(4)
    shutil.rmtree(folder)
    rig.turns(2)
    assert rig.ledger.status("wing") is None
    drop_files(folder)
    rig.turns(4)
    assert len(rescale.on_server) == 2


def test_a_drop_deleted_before_its_job_is_made_never_becomes_one(rig: Rig, rescale: FakeRescale) -> None:
    folder = drop_files(rig.settings.folder / "wing")
    rig.turn(2.5)
    rig.survey.everything()  # complete, and not yet worked at
    shutil.rmtree(folder)
    rig.turns(6)
    assert not rescale.on_server


def test_a_drop_moved_out_and_in_again_is_the_same(rig: Rig, rescale: FakeRescale, tmp_path: Path) -> None:
    folder = drop_files(rig.settings.folder / "wing")
    rig.turns(4)
    folder.rename(tmp_path / "wing")
    rig.turns(2)
    assert rig.ledger.status("wing") is None
    (tmp_path / "wing").rename(rig.settings.folder / "back")
    rig.turns(4)
    assert rig.status("back") == "Pending"
    assert len(rescale.on_server) == 1


def test_what_was_renamed_copied_and_deleted_while_no_daemon_ran_is_sorted_out(
    tmp_path: Path, rescale: FakeRescale, clock: FakeClock
) -> None:
    settings = make_settings(tmp_path)
    with Rig(settings, rescale, clock) as rig:
        for name in ("a", "b", "c"):
            drop_files(settings.folder / name, {**GOOD, "name": name})
        rig.turns(4)
    (settings.folder / "a").rename(settings.folder / "x")
    (settings.folder / "b").rename(settings.folder / "a")  # in the place of another
    shutil.rmtree(settings.folder / "c")
    drop_files(settings.folder / "c", {**GOOD, "name": "new c"})
    with Rig(settings, rescale, clock) as rig:
        rig.turns(4)
        names = {each.definition["name"]: each.id for each in rescale.on_server.values()}
        assert sorted(names) == ["a", "b", "c", "new c"]
        assert rig.ledger.job_id("x") == names["a"]
        assert rig.ledger.job_id("a") == names["b"]
        assert rig.ledger.job_id("c") == names["new c"]


def test_a_drop_folder_restored_from_a_backup_submits_nothing_again(
    tmp_path: Path, rescale: FakeRescale, clock: FakeClock
) -> None:
    settings = make_settings(tmp_path)
    with Rig(settings, rescale, clock) as rig:
        drop_files(settings.folder / "wing")
        rig.turns(4)
    shutil.copytree(settings.folder, tmp_path / "backup")
    shutil.rmtree(settings.folder)
    (tmp_path / "backup").rename(settings.folder)
    with Rig(settings, rescale, clock) as rig:
        rig.turns(4)
        assert rig.status() == "Pending"
    assert len(rescale.on_server) == 1


@pytest.mark.parametrize("kept", [False, True])
def test_drops_put_back_one_by_one_while_no_daemon_ran_are_themselves_unless_some_stayed(
    tmp_path: Path, rescale: FakeRescale, clock: FakeClock, kept: bool
) -> None:
    settings = make_settings(tmp_path)
    with Rig(settings, rescale, clock) as rig:
        for name in ("wing", "tail"):
            drop_files(settings.folder / name, {**GOOD, "name": name})
        rig.turns(4)
    for name in ("wing",) if kept else ("wing", "tail"):
        shutil.copytree(settings.folder / name, tmp_path / name)
        shutil.rmtree(settings.folder / name)
        shutil.copytree(tmp_path / name, settings.folder / name)
    drop_files(settings.folder / "new")
    with Rig(settings, rescale, clock) as rig:
        rig.turns(5)
        assert len(rescale.on_server) == (4 if kept else 3)
        assert ("was put back from a copy: it is the same drop" in rig.log()) is not kept


def test_without_times_of_birth_a_reused_inode_is_told_apart_by_the_job_file(
    rig: Rig, rescale: FakeRescale
) -> None:
    folder = drop_files(rig.settings.folder / "wing")
    rig.turns(4)
    drop = rig.ledger.drops()[0]
    rig.ledger.record(drop, Moved("wing", drop.inode, None))
    rig.turns(2)
    assert len(rig.ledger.drops()) == 1
    mark = rig.ledger.drops()[0].job_file
    folder.rename(rig.settings.folder / ".out")
    rig.turns(2)
    (rig.settings.folder / ".out").rename(folder)
    rig.turns(4)
    assert [each.job_file for each in rig.ledger.drops()] == [mark], "the same folder, by its job file"
    folder.rename(rig.settings.folder / ".out")
    rig.ledger.record(rig.ledger.drops()[0], Moved("wing", drop.inode, None))
    rig.turns(2)
    drop_files(rig.settings.folder / ".out", {**GOOD, "name": "another"})
    (rig.settings.folder / ".out").rename(folder)
    rig.turns(4)
    assert len(rescale.on_server) == 2, "the number is the same, the job file is not: a new drop"


def test_trouble_shows_in_the_status_with_when_it_is_tried_again_and_passes(
    rig: Rig, rescale: FakeRescale, clock: FakeClock
) -> None:
    def cut(name: str) -> None:
        if clock.monotonic() < 600:
            raise Unreachable("rescale.example cannot be reached: check the network")

    rescale.point = cut
    drop_files(rig.settings.folder / "wing")
    rig.turns(3)
    assert re.fullmatch(
        r"checking job.json: rescale.example cannot be reached: check the network, trying again in \d+ s",
        rig.status(),
    )
    rig.turns(40, 20.0)
    assert rig.status() == "Pending"
    assert len(rescale.requests) < 40, "an outage of ten minutes costs few requests"


def test_many_running_jobs_cost_one_request_as_long_as_nothing_happens(
    rig: Rig, rescale: FakeRescale
) -> None:
    for number in range(20):
        drop_files(rig.settings.folder / f"wing-{number}")
    rig.turns(4)
    assert len(rescale.on_server) == 20
    rig.turns(20, 60.0)
    rescale.requests.clear()
    rig.turns(1, 60.0)
    assert rescale.requests == ["newest_jobs"]
    rescale.tell("job5" if "job5" in rescale.on_server else next(iter(rescale.on_server)), "Executing")
    rescale.requests.clear()
    rig.turns(1, 60.0)
    assert rescale.requests == ["newest_jobs", "statuses"]


def test_jobs_submitted_at_any_moments_share_the_list_that_is_asked_for(
    rig: Rig, rescale: FakeRescale
) -> None:
    for number in range(20):
        drop_files(rig.settings.folder / f"wing-{number}")
        rig.turns(1, 0.7)
    rig.turns(20, 60.0)
    rescale.requests.clear()
    rig.turns(600, 1.0)
    assert set(rescale.requests) == {"newest_jobs"}
    assert len(rescale.requests) <= 11, "ten minutes, once a minute"


def test_one_job_that_may_not_be_looked_at_does_not_keep_the_others(rig: Rig, rescale: FakeRescale) -> None:
    for name in ("a", "b", "c", "d"):
        drop_files(rig.settings.folder / name, {**GOOD, "name": name})
    rig.turns(4)
    jobs = {job.definition["name"]: job for job in rescale.on_server.values()}
    for job in jobs.values():
        rescale.tell(job.id, "Executing")
    asked = rescale.statuses

    def refused(job_id: str) -> tuple[JobStatus, ...]:
        if job_id == jobs["a"].id:
            raise Forbidden("GET jobs/a/statuses/: 403, not yours")
        return asked(job_id)

    rescale.statuses = refused  # type: ignore[method-assign]
    rig.turns(4, 60.0)
    assert [rig.status(name) for name in ("b", "c", "d")] == ["Executing"] * 3
    assert rig.status("a").startswith("Pending: GET jobs/a/statuses/: 403, not yours, asking again in ")


def test_a_server_that_is_asked_too_much_is_let_be_for_as_long_as_it_says(
    rig: Rig, rescale: FakeRescale
) -> None:
    for number in range(5):
        drop_files(rig.settings.folder / f"wing-{number}")
    rig.turns(4)
    rescale.requests.clear()

    def throttled(name: str) -> None:
        raise Throttled("429", retry_after=300.0)

    rescale.point = throttled
    rig.turns(290, 1.0)
    assert len(rescale.requests) == 1


def test_each_status_is_logged_once_with_the_servers_time_and_the_end_with_what_came_out(
    rig: Rig, rescale: FakeRescale, clock: FakeClock
) -> None:
    drop_files(rig.settings.folder / "wing")
    rig.turns(3)
    job = only(rescale.on_server.values())
    rescale.outputs += (RemoteFile("o1", "a", "a", 1_500_000), RemoteFile("o2", "b", "b", None))
    rescale.tell(job.id, "Executing")
    rescale.tell(job.id, "Completed", reason="Completed successfully")
    rig.turns(8)
    text = (rig.ledger.log("wing") or b"").decode().splitlines()
    dates = {each.status: each.date for each in job.statuses}
    assert [line for line in text if "Completed" in line] == [
        f"{dates['Completed'].isoformat(timespec='seconds')}\tCompleted: Completed successfully"
    ]
    ended = "ended after 1 s, less than 0.01 USD: 3 outputs, of unknown size, in job/outputs; "
    assert rig.log()[-1] == f"{ended}its console output is process_output.log there"


def test_a_job_that_was_stopped_ends_as_stopped_once_its_outputs_are_collected(
    rig: Rig, rescale: FakeRescale
) -> None:
    drop_files(rig.settings.folder / "wing")
    rig.turns(4)
    job = only(rescale.on_server.values())
    rescale.tell(job.id, "Executing", "Stopping", "Force Stop")
    rig.turns(4)
    assert rig.status() == "Force Stop"
    assert not any(line.startswith("ended") for line in rig.log())
    rescale.tell(job.id, "Completed", reason="Stopped by the user")
    rig.turns(20)
    assert rig.ledger.drops()[0].state is State.STOPPED
    assert rig.log()[-3:-1] == ["Completed: Stopped by the user", "Completed, but stopped by a user"]


def test_a_job_whose_command_fails_is_no_success_and_its_complaint_is_in_the_drop(
    rig: Rig, rescale: FakeRescale
) -> None:
    rescale.console = console_log((["reading mesh", "ERROR: no such patch: inlet"], 2))
    ended_as(rig, rescale, ("Executing", None), ("Completed", "Completed successfully"))
    assert rig.ledger.drops()[0].state is State.FAILED
    words = "Completed, but the command ended with exit code 2 (see outputs/process_output.log)"
    assert rig.status() == words
    log = rig.log()
    began = log.index(words)
    assert log[began + 1 : began + 3] == ["| reading mesh", "| ERROR: no such patch: inlet"]
    assert log[began + 3].startswith("ended after")
    assert rescale.requests.count("end_of") == 1


def test_of_a_job_that_worked_no_line_of_the_log_is_told(rig: Rig, rescale: FakeRescale) -> None:
    ended_as(rig, rescale, ("Executing", None), ("Completed", "Completed successfully"))
    assert rig.status() == "Completed"
    assert not any(line.startswith("|") for line in rig.log())


def test_a_stop_is_a_stop_whichever_of_its_two_ways_the_service_tells(rig: Rig, rescale: FakeRescale) -> None:
    rescale.console = console_log((["step 1"], 143))
    ended_as(rig, rescale, ("Executing", None), ("Stopping", "User Terminated"), ("Completed", None))
    assert rig.ledger.drops()[0].state is State.STOPPED
    assert rig.status() == "Completed, but stopped by a user"


def test_a_job_that_never_began_ends_without_outputs_being_waited_for(rig: Rig, rescale: FakeRescale) -> None:
    rescale.outputs = ()
    reason = "Could not allocate compute resources from the compute provider"
    ended_as(rig, rescale, ("Queued", None), ("Completed", reason))
    assert rig.ledger.drops()[0].state is State.FAILED
    assert rig.status() == f"Completed, but failed: c{reason[1:]}"


def test_a_log_that_cannot_be_read_leaves_the_word_to_the_service(rig: Rig, rescale: FakeRescale) -> None:
    def refuse(request: str) -> None:
        if request == "before end_of":
            raise Forbidden("403")

    rescale.point = refuse
    ended_as(rig, rescale, ("Executing", None), ("Completed", "Completed successfully"))
    assert rig.status().startswith("collecting outputs")
    rig.turns(8, 60.0)
    assert rig.status() == "Completed"
    assert rig.ledger.drops()[0].outcome == Outcome(Result.SUCCEEDED, "Completed", None, log_seen=True)


def test_who_shows_the_job_is_told_how_it_ended_before_the_drop_says_so(
    rig: Rig, rescale: FakeRescale
) -> None:
    rescale.console = console_log((["x"], 1))
    ended_as(rig, rescale, ("Executing", None), ("Completed", "Completed successfully"))
    ((words, status),) = rig.concluded
    assert words.startswith("Completed, but the command ended with exit code 1")
    assert not status.startswith("Completed")


def ended_as(rig: Rig, rescale: FakeRescale, *statuses: tuple[str, str | None]) -> None:
    """A drop whose job goes through these statuses, with their reasons."""
    drop_files(rig.settings.folder / "wing")
    rig.turns(4)
    job = only(rescale.on_server.values())
    for status, reason in statuses:
        rescale.tell(job.id, status, reason=reason)
    rig.turns(4)


def test_a_stopped_job_of_which_nothing_more_is_heard_has_ended(rig: Rig, rescale: FakeRescale) -> None:
    drop_files(rig.settings.folder / "wing")
    rig.turns(4)
    rescale.tell(only(rescale.on_server.values()).id, "force_stop")
    rig.turns(20, 60.0)
    assert rig.ledger.drops()[0].state is State.STOPPED


def test_a_remembered_file_that_left_the_server_is_sent_again(
    tmp_path: Path, rescale: FakeRescale, clock: FakeClock
) -> None:
    with Rig(make_settings(tmp_path, trust_upload=60.0), rescale, clock) as rig:
        drop_files(rig.settings.folder / "wing")
        rig.turns(4)
        lost = next(iter(rescale.files))
        del rescale.files[lost]
        clock.advance(100.0)
        drop_files(rig.settings.folder / "wing-2")
        rig.turns(4)
        assert rescale.requests.count("upload") == 3
        second = list(rescale.on_server)[-1]
        assert len(rescale.inputs(second)) == 2


def test_a_remembered_file_that_may_not_be_asked_for_is_sent_again(
    tmp_path: Path, rescale: FakeRescale, clock: FakeClock
) -> None:
    def forbid(point: str) -> None:
        if point == "before file":
            raise Forbidden("GET files/file1/: 403")

    with Rig(make_settings(tmp_path, trust_upload=60.0), rescale, clock) as rig:
        drop_files(rig.settings.folder / "wing")
        rig.turns(4)
        clock.advance(100.0)
        rescale.point = forbid
        drop_files(rig.settings.folder / "wing-2")
        rig.turns(4)
        assert rescale.requests.count("upload") == 4
        assert len(rescale.inputs(list(rescale.on_server)[-1])) == 2


def test_no_dropped_byte_is_changed(rig: Rig, rescale: FakeRescale) -> None:
    folder = drop_files(rig.settings.folder / "wing", files={"a": b"1", "sub/b": b"2", "status": b"mine"})
    before = {path: (path.read_bytes(), path.stat()) for path in folder.rglob("*") if path.is_file()}
    rig.turns(4)
    rescale.tell(only(rescale.on_server.values()).id, "Completed")
    rig.turns(4)
    after = {path: (path.read_bytes(), path.stat()) for path in folder.rglob("*") if path.is_file()}
    assert {path: (data, facts.st_mtime_ns) for path, (data, facts) in before.items()} == {
        path: (data, facts.st_mtime_ns) for path, (data, facts) in after.items()
    }


def test_a_name_cannot_forge_a_line_of_the_log(rig: Rig) -> None:
    drop_files(rig.settings.folder / "wing", files={"a\n2026\tCompleted": b"1"})
    rig.turns(4)
    assert all(line.count("\t") == 1 for line in (rig.ledger.log("wing") or b"").decode().splitlines())
    assert rig.status().startswith("rejected: a\\n2026\\tCompleted has a name with control characters")


def test_a_full_disk_stops_the_work_and_nothing_is_done_that_is_not_written_down(
    tmp_path: Path, rescale: FakeRescale, clock: FakeClock
) -> None:
    def full(name: str) -> None:
        if name in {"before CreateBegun", "before Created"} and clock.monotonic() < 300:
            raise JournalFailed("cannot write journal.db: database or disk is full")

    with Rig(make_settings(tmp_path), rescale, clock, full) as rig:
        drop_files(rig.settings.folder / "wing")
        rig.turns(6)
        assert not rescale.on_server
        assert "database or disk is full" in rig.status()
        rig.turns(80, 5.0)
        assert len(rescale.on_server) == 1


def test_a_drop_deleted_while_it_is_uploaded_keeps_nobody_busy(
    rig: Rig, rescale: FakeRescale, tmp_path: Path
) -> None:
    folder = drop_files(rig.settings.folder / "wing", files={f"{n}.dat": b"x" for n in range(5)})

    def delete(name: str) -> None:
        if name == "before upload" and folder.exists():
            shutil.rmtree(folder)

    rescale.point = delete
    rig.turns(5)
    assert rescale.requests.count("upload") == 1
    assert rig.depot.wait_time() > 1.0
    assert not rescale.on_server


def test_uploading_tells_files_bytes_percent_and_the_time_left(
    rig: Rig, rescale: FakeRescale, clock: FakeClock
) -> None:
    drop_files(rig.settings.folder / "wing", files={f"{n}.dat": b"x" * 1000 for n in range(4)})
    told: list[str] = []

    def slowly(name: str) -> None:
        if name == "before upload":
            told.append(rig.status())
        if name == "after upload":
            clock.advance(5.0)

    rescale.point = slowly
    rig.turns(5)
    assert told == [
        "uploading 0 of 4 files, 0 % of 4 kB",
        "uploading 1 of 4 files, 25 % of 4 kB, 15 s left",
        "uploading 2 of 4 files, 50 % of 4 kB, 10 s left",
        "uploading 3 of 4 files, 75 % of 4 kB, 5 s left",
    ]


def test_a_drop_deleted_while_it_is_uploaded_leaves_nothing_in_memory(rig: Rig, rescale: FakeRescale) -> None:
    folder = drop_files(rig.settings.folder / "wing", files={f"{n}.dat": b"x" for n in range(5)})

    def delete(name: str) -> None:
        if name == "before upload" and folder.exists():
            shutil.rmtree(folder)

    rescale.point = delete
    rig.turns(5)
    assert rescale.requests.count("upload") == 1
    assert rig.depot.drops() == frozenset()
    assert rig.ledger.open_drops() == ()


def test_a_drop_deleted_while_its_submission_is_not_answered_is_followed_if_it_was_submitted(
    rig: Rig, rescale: FakeRescale
) -> None:
    folder = drop_files(rig.settings.folder / "wing")

    def lose(name: str) -> None:
        if name == "after submit_job" and folder.exists():
            shutil.rmtree(folder)
            raise Unreachable("no answer")

    rescale.point = lose
    rig.turns(6)
    (drop,) = rig.ledger.drops()
    assert (drop.state, drop.status, drop.here) == (State.RUNNING, "Pending", False)
    assert rescale.requests.count("submit_job") == 1


@pytest.mark.parametrize("moment", ["after create_job", "before submit_job"])
def test_a_drop_deleted_before_its_job_is_submitted_leaves_the_job_saved(
    rig: Rig, rescale: FakeRescale, moment: str
) -> None:
    folder = drop_files(rig.settings.folder / "wing")

    def lose(name: str) -> None:
        if name == moment and folder.exists():
            shutil.rmtree(folder)
            raise Unreachable("no answer")

    rescale.point = lose
    rig.turns(20)
    (drop,) = rig.ledger.drops()
    job = only(rescale.on_server.values())
    assert drop.job_id == job.id
    assert not job.statuses
    rescale.tell(job.id, "Pending", "Completed")  # someone submits it in the web interface
    rig.turns(30)
    assert rig.ledger.drops()[0].state is State.COMPLETED


def test_a_new_folder_costs_a_survey_no_look_at_what_was_dropped_before(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(60):
        folder = drop_files(rig.settings.folder / f"wing-{number}", None, {})
        rig.survey.everything()
        folder.rename(rig.settings.folder.parent / f"out-{number}")
        rig.survey.everything()
    looks: list[tuple[object, ...]] = []
    for name in ("drop", "drops_with_inode", "drops", "present_drops"):
        method = getattr(rig.ledger, name)

        def counted(*args: object, method: Callable[..., object] = method) -> object:
            found = method(*args)
            looks.append(found if isinstance(found, tuple) else (found,))
            return found

        monkeypatch.setattr(rig.ledger, name, counted)
    drop_files(rig.settings.folder / "one-more", None, {})
    rig.survey.everything()
    rig.survey.hinted(frozenset({"one-more"}))
    assert sum(map(len, looks)) <= 6  # of 61


def test_an_event_that_is_said_to_have_failed_and_is_there_makes_no_second_drop(
    tmp_path: Path, rescale: FakeRescale, clock: FakeClock
) -> None:
    failed: list[str] = []

    def fail(name: str) -> None:
        if name == "after Found" and not failed:
            failed.append(name)
            raise JournalFailed("cannot write journal.db: disk I/O error")

    with Rig(make_settings(tmp_path), rescale, clock, fail) as rig:
        drop_files(rig.settings.folder / "wing")
        with pytest.raises(JournalFailed):
            rig.survey.everything()
        rig.turns(4)
        assert failed
        assert len(rig.ledger.drops()) == len(rescale.on_server) == 1


def test_a_drop_folder_replaced_while_the_daemon_runs_is_recognised_at_a_hint(
    rig: Rig, rescale: FakeRescale
) -> None:
    drop_files(rig.settings.folder / "wing")
    rig.turns(4)
    backup = rig.settings.folder.parent / "backup"
    shutil.copytree(rig.settings.folder, backup)
    shutil.rmtree(rig.settings.folder)
    backup.rename(rig.settings.folder)
    rig.survey.hinted(frozenset({"wing"}))
    rig.turns(4)
    assert len(rescale.on_server) == 1
