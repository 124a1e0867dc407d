"""Jobs of several runs show each of them; others show none of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rescalefs.errors import InvalidRequest, NoSuchPath, Unreachable
from rescalefs.model import LiveFile, Run
from rescalefs.tree import Directory, LiveNode, RemoteNode, TextNode, Tree, TreeSettings
from rescalefs.tree.nodes import nanoseconds
from rescalefs.tree.tables import run_state, runs_table
from tests.fakes import FakeClock
from tests.tree.account import FakeService, file, minutes, tree_of

SWEEP = (
    Run("1", minutes(1), minutes(3), {"speed": "10", "status": "a\tb"}, 1, 3),
    Run("2", minutes(3), None, {"speed": "20", "angle": "2.5"}),
    Run("3"),
)


@pytest.fixture
def service() -> FakeService:
    service = FakeService()
    service.add("sweep", status="Executing")
    service.all_runs["sweep"] = SWEEP
    service.run_outputs["sweep", "1"] = (file("f1", "log", at=3),)
    service.files["sweep"] = service.run_outputs["sweep", "1"]
    service.working["sweep/2"] = ("residuals.log",)
    return service


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def tree(service: FakeService, clock: FakeClock) -> Tree:
    return tree_of(service, clock)


def names(tree: Tree, path: str) -> set[str]:
    node = tree.node(path)
    assert isinstance(node, Directory)
    found = node.entries()
    for name, entry in found.items():
        assert tree.node(f"{path}/{name}").inode == entry.inode
    if node.links > 1:
        assert node.links == 2 + sum(isinstance(each, Directory) for each in found.values()), path
    return set(found)


def text(tree: Tree, path: str) -> str:
    node = tree.node(path)
    assert isinstance(node, TextNode)
    return node.text().decode()


def test_each_run_has_what_is_its_own(tree: Tree) -> None:
    assert {"runs", "runs.tsv"} <= names(tree, "/jobs/sweep")
    assert "live" not in names(tree, "/jobs/sweep")  # each run has one
    assert names(tree, "/jobs/sweep/runs") == {"1", "2", "3"}
    own = {"status", "files.tsv", "SHA512SUMS", "outputs"}
    assert names(tree, "/jobs/sweep/runs/1") == names(tree, "/jobs/sweep/runs/3") == own
    assert names(tree, "/jobs/sweep/runs/2") == own | {"live"}
    states = [text(tree, f"/jobs/sweep/runs/{run}/status") for run in "123"]
    assert states == ["Completed\n", "Executing\n", "Not started\n"]
    assert "\tlog\tlog\n" in text(tree, "/jobs/sweep/runs/1/files.tsv")
    assert text(tree, "/jobs/sweep/runs/1/SHA512SUMS").endswith("  log\n")
    assert tree.node("/jobs/sweep/runs/1").modified_ns == nanoseconds(minutes(3))


def test_outputs_of_a_run_that_has_ended_are_final_while_the_job_goes_on(
    tree: Tree, service: FakeService, clock: FakeClock
) -> None:
    node = tree.node("/jobs/sweep/runs/1/outputs/log")
    assert isinstance(node, RemoteNode)
    assert node.final
    assert names(tree, "/jobs/sweep/runs/2/outputs") == set()
    service.all_runs["sweep"] = (SWEEP[0], Run("2", minutes(3), minutes(4)), SWEEP[2])
    service.run_outputs["sweep", "2"] = (file("f2", "log", at=4),)
    clock.advance(5)
    assert names(tree, "/jobs/sweep/runs") == {"1", "2", "3"}
    second = tree.node("/jobs/sweep/runs/2/outputs/log")
    assert isinstance(second, RemoteNode)
    assert second.final
    assert second.inode != node.inode != tree.node("/jobs/sweep/outputs/log").inode


def test_a_run_that_goes_on_has_a_working_directory_of_its_own(tree: Tree) -> None:
    node = tree.node("/jobs/sweep/runs/2/live/residuals.log")
    assert isinstance(node, LiveNode)
    assert node.file == LiveFile("sweep", "2", "residuals.log")
    with pytest.raises(NoSuchPath):
        tree.node("/jobs/sweep/runs/1/live")


def test_a_job_of_one_run_has_no_runs(tree: Tree, service: FakeService) -> None:
    service.add("basic", status="Executing")
    service.add("saved", status="")
    for job in ("basic", "saved"):
        assert not {"runs", "runs.tsv"} & names(tree, f"/jobs/{job}")
        for name in ("runs", "runs.tsv"):
            with pytest.raises(NoSuchPath):
                tree.node(f"/jobs/{job}/{name}")
    with pytest.raises(NoSuchPath):
        tree.node("/jobs/sweep/runs/4")
    assert service.requests["runs"] == 2  # not about the job that was never submitted


def test_a_server_without_runs_and_one_that_is_away_leave_the_rest_of_the_job(
    tree: Tree, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(job_id: str) -> tuple[Run, ...]:
        raise InvalidRequest("no such endpoint")

    monkeypatch.setattr(service, "runs", refuse)
    assert "outputs" in names(tree, "/jobs/sweep")
    service.failure = Unreachable("gone")
    service.add("other", status="Executing")
    assert "outputs" in names(tree, "/jobs/sweep")


def test_what_is_known_of_runs_outlives_the_process(
    service: FakeService, clock: FakeClock, tmp_path: Path
) -> None:
    settings = TreeSettings(tmp_path)
    first = tree_of(service, clock, settings)
    assert "runs" in names(first, "/jobs/sweep")
    assert names(first, "/jobs/sweep/runs/1/outputs") == {"log"}
    service.failure = Unreachable("gone")
    again = tree_of(service, clock, settings)
    assert "runs" in names(again, "/jobs/sweep")
    assert names(again, "/jobs/sweep/runs/1/outputs") == {"log"}


def test_a_run_that_is_found_after_a_sweep_used_up_the_looks_is_there_by_its_name(
    tree: Tree, service: FakeService
) -> None:
    for number in range(20):
        service.add(f"j{number}")
        service.all_runs[f"j{number}"] = SWEEP
        names(tree, f"/jobs/j{number}")
    assert "runs" not in names(tree, "/jobs/j19")
    assert names(tree, "/jobs/j19/runs") == {"1", "2", "3"}
    assert "runs" in names(tree, "/jobs/j19")


def test_forgetting_a_job_forgets_its_runs(tree: Tree, service: FakeService) -> None:
    assert names(tree, "/jobs/sweep/runs/1/outputs") == {"log"}
    service.run_outputs["sweep", "1"] = ()
    tree.forget("sweep")
    assert names(tree, "/jobs/sweep/runs/1/outputs") == set()


def test_the_table_of_runs_has_a_column_for_each_variable(tree: Tree) -> None:
    lines = [line.split("\t") for line in runs_table(SWEEP, "Executing").decode().splitlines()]
    start, end = "2026-11-01T12:01:00.000000Z", "2026-11-01T12:03:00.000000Z"
    assert lines == [
        ["run", "status", "started", "completed", "files", "size", "speed", "status~variable", "angle"],
        ["1", "Completed", start, end, "1", "3", "10", "a b", "-"],
        ["2", "Executing", end, "-", "-", "-", "20", "-", "2.5"],
        ["3", "Not started", "-", "-", "-", "-", "-", "-", "-"],
    ]
    assert text(tree, "/jobs/sweep/runs.tsv") == runs_table(SWEEP, "Executing").decode()
    assert tree.node("/jobs/sweep/runs.tsv").modified_ns == nanoseconds(minutes(3))


@pytest.mark.parametrize(
    ("run", "job", "word"),
    [
        (SWEEP[0], "Executing", "Completed"),
        (SWEEP[1], "Executing", "Executing"),
        (SWEEP[1], "Force Stop", "Force Stop"),
        (SWEEP[2], "Queued", "Not started"),
        (SWEEP[2], "Stopped", "Stopped"),
    ],
)
def test_a_run_that_never_ended_has_its_jobs_end(run: Run, job: str, word: str) -> None:
    assert run_state(run, job) == word
