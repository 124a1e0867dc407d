"""What the world keeps, and in which order."""

from __future__ import annotations

from pathlib import Path

import pytest

from rescalefs.simulator import life
from rescalefs.simulator.contents import Digest
from rescalefs.simulator.definition import plain_definition
from rescalefs.simulator.seed import SeedFile
from rescalefs.simulator.world import NoSuchRecord, World
from tests.fakes import FakeClock


def saved(world: World) -> str:
    return world.create_job("wing", plain_definition("true")).id


def test_all_survives_a_restart(tmp_path: Path) -> None:
    world = World(tmp_path, FakeClock())
    world.submit(saved(world), [{"angle": "1"}, {"angle": "2"}])
    world.add_finished_job("done", [SeedFile("a/b", b"12"), SeedFile(None, b"", name="x")])
    file_id = world.new_file_id()
    world.add_file(file_id, "in.txt", world.contents.write(file_id, [b"in"]))
    jobs, files = world.jobs(), world.files()
    world.close()  # a crash would do: each record was kept before its method returned

    again = World(tmp_path, FakeClock())
    assert again.jobs() == jobs
    assert again.files() == files
    assert again.contents.path(file_id).read_bytes() == b"in"
    assert [file.relative_path for file in again.outputs(jobs[0].id)] == ["a/b", None]
    again.close()


def test_times_grow_even_when_the_clock_stands_still_or_goes_back(tmp_path: Path) -> None:
    world = World(tmp_path, FakeClock())
    job_id = saved(world)
    world.submit(job_id, [{}])
    for status in (life.QUEUED, life.STARTED):
        world.advance(job_id, status)
    dates = [status.date for status in world.job(job_id).statuses]
    world.close()

    again = World(tmp_path, FakeClock())  # which begins at the same moment
    again.advance(job_id, life.VALIDATED)
    dates.append(again.job(job_id).statuses[-1].date)
    assert dates == sorted(set(dates))
    again.close()


def test_a_job_takes_no_step_that_may_not_follow(tmp_path: Path) -> None:
    world = World(tmp_path, FakeClock())
    job_id = saved(world)
    assert not world.advance(job_id, life.EXECUTING)
    assert not world.stop(job_id, "never begun")
    assert world.submit(job_id, [{}])
    assert not world.submit(job_id, [{}])
    assert world.stop(job_id, "enough")
    assert not world.advance(job_id, life.QUEUED)
    assert world.job(job_id).status == life.STOPPING
    world.close()


def test_a_job_that_is_gone_stays_gone(tmp_path: Path) -> None:
    world = World(tmp_path, FakeClock())
    job_id = world.add_finished_job("done", {"a": b"1"}).id
    stale = world.job(job_id)
    assert world.remove_job(job_id)
    world._store.change([stale])  # a thread that was late
    world.advance_cluster(job_id, life.CLUSTER_STOPPED)
    for look in (lambda: world.job(job_id), lambda: world.remove_job(job_id)):
        with pytest.raises(NoSuchRecord):
            look()
    world.close()
    again = World(tmp_path, FakeClock())
    assert again.jobs() == []
    assert again.files() == []
    again.close()


def test_an_older_version_never_replaces_a_newer_one(tmp_path: Path) -> None:
    world = World(tmp_path, FakeClock())
    job_id = saved(world)
    older = world.job(job_id)
    newer = world.change_job(job_id, name="tail")
    world._store.change([older])  # two threads, the slower with the older version
    world.close()
    again = World(tmp_path, FakeClock())
    assert again.job(job_id) == newer
    again.close()


def test_bytes_without_a_record_are_swept_up(tmp_path: Path) -> None:
    world = World(tmp_path, FakeClock())
    file_id = world.new_file_id()
    world.contents.write(file_id, [b"lost in a crash"])
    half = world.contents.receive("halfway")
    half.write(b"x")
    half._file.close()
    world.close()
    again = World(tmp_path, FakeClock())
    assert not again.contents.path(file_id).exists()
    assert not list((tmp_path / "contents" / "incoming").iterdir())
    again.close()


def test_ids_differ_even_ignoring_case(tmp_path: Path) -> None:
    world = World(tmp_path, FakeClock())
    ids = [world.new_file_id() for _ in range(2000)]
    assert len({each.lower() for each in ids}) == 2000
    world.close()


def test_ten_thousand_files_and_a_thousand_jobs_are_nothing_special(tmp_path: Path) -> None:
    world = World(tmp_path, FakeClock())
    job = world.add_finished_job("many", {f"d{n % 100}/f{n}": b"" for n in range(10_000)})
    for number in range(1000):
        world.add_finished_job(f"job-{number}")
    assert len(world.outputs(job.id)) == 10_000
    assert [each.name for each in world.jobs()[:2]] == ["job-999", "job-998"]
    world.close()


def test_changing_or_finding_a_file_that_is_not_there_fails(tmp_path: Path) -> None:
    world = World(tmp_path, FakeClock())
    with pytest.raises(NoSuchRecord):
        world.change_file("nobody", name="x")
    with pytest.raises(NoSuchRecord):
        world.file("nobody")
    world.remove_files(["nobody"])
    assert world.add_file(world.new_file_id(), "n", Digest(0, "")).size == 0
    world.close()


def test_generated_content_is_the_same_for_the_same_path_and_has_the_size_asked(tmp_path: Path) -> None:
    world = World(tmp_path, FakeClock())
    source = tmp_path / "source"
    source.write_bytes(b"from a file")
    first = world.add_finished_job("a", [SeedFile("g", 3_000_001), SeedFile("s", source)])
    second = world.add_finished_job("b", {"g": 3_000_001})
    made, copied = world.outputs(first.id)
    assert made.size == 3_000_001
    assert made.sha512 == world.outputs(second.id)[0].sha512
    assert world.contents.path(copied.id).read_bytes() == b"from a file"
    world.close()
