"""What is at which path."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from rescalefs.background import Background
from rescalefs.errors import (
    ApiError,
    Forbidden,
    NoSuchPath,
    NotADirectory,
    ServerFailed,
    Unauthenticated,
    Unreachable,
)
from rescalefs.model import Job, JobStatus, LiveFile, RemoteFile
from rescalefs.tree import (
    Directory,
    DropFolder,
    LinkNode,
    LiveNode,
    RemoteNode,
    TextNode,
    Tree,
    TreeSettings,
)
from rescalefs.tree.nodes import nanoseconds
from tests.consoles import console_log
from tests.fakes import FakeClock
from tests.tree.account import FakeService, file, minutes, tree_of

JOB_ENTRIES = {
    "job.json",
    "status",
    "statuses",
    "cluster_statuses",
    "files.tsv",
    "SHA512SUMS",
    "inputs",
    "outputs",
}


def text(tree: Tree, path: str) -> str:
    node = tree.node(path)
    assert isinstance(node, TextNode), path
    content = node.text()
    assert size_of(tree, path) == len(content)
    return content.decode()


def names(tree: Tree, path: str) -> set[str]:
    node = tree.node(path)
    assert isinstance(node, Directory), path
    return set(node.entries())


def links(tree: Tree, path: str) -> dict[str, str]:
    node = tree.node(path)
    assert isinstance(node, Directory)
    found = {}
    for name, entry in node.entries().items():
        assert isinstance(entry, LinkNode)
        found[name] = entry.target
    return found


def walk(tree: Tree, path: str = "") -> dict[str, int]:
    """Every path and its inode."""
    node = tree.node(path or "/")
    found = {path or "/": node.inode}
    if isinstance(node, Directory):
        for name, entry in node.entries().items():
            assert tree.node(f"{path}/{name}").inode == entry.inode
            found |= walk(tree, f"{path}/{name}")
    return found


@pytest.fixture
def service() -> FakeService:
    service = FakeService()
    service.add("XkpTse", "wing", "Completed", at=0)
    service.files["XkpTse"] = (file("f1", "fields/p.vtk", at=6), file("f2", "log", at=7, sha512=None))
    service.inputs["XkpTse"] = (file("i1", "user/mesh.msh", at=-1),)
    return service


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def tree(service: FakeService, clock: FakeClock) -> Tree:
    return tree_of(service, clock)


def test_the_tree_is_what_the_documentation_draws(tree: Tree) -> None:
    job = "/jobs/XkpTse"
    assert set(walk(tree)) == {
        "/",
        "/jobs",
        "/by-name",
        "/by-name/wing",
        "/by-status",
        "/by-status/Completed",
        "/by-status/Completed/XkpTse",
        "/by-date",
        "/by-date/2026",
        "/by-date/2026/11",
        "/by-date/2026/11/XkpTse",
        "/by-project",
        "/by-project/none",
        "/by-project/none/XkpTse",
        "/catalog",
        "/catalog/coretypes.tsv",
        "/catalog/analyses.tsv",
        "/catalog/projects.tsv",
        "/catalog/user.json",
        "/submit",
        "/.rescalefs",
        "/.rescalefs/status",
        job,
        *(f"{job}/{name}" for name in JOB_ENTRIES),
        f"{job}/inputs/mesh.msh",
        f"{job}/outputs/fields",
        f"{job}/outputs/fields/p.vtk",
        f"{job}/outputs/log",
    }


def test_inodes_are_unique_and_outlive_the_process(service: FakeService, clock: FakeClock) -> None:
    first = walk(tree_of(service, clock))
    assert len(set(first.values())) == len(first)
    assert walk(tree_of(service, clock)) == first
    assert first["/"] == 1


def test_texts_of_a_job_say_what_the_server_says(tree: Tree) -> None:
    job = "/jobs/XkpTse"
    assert json.loads(text(tree, f"{job}/job.json")) == {"id": "XkpTse"}
    assert text(tree, f"{job}/status") == "Completed\n"
    assert text(tree, f"{job}/statuses").splitlines() == [
        "2026-11-01T12:00:00.000000Z\tPending\t-",
        "2026-11-01T12:05:00.000000Z\tCompleted\tCompleted successfully",
    ]
    assert text(tree, f"{job}/cluster_statuses") == ""
    assert [line.split("\t")[6] for line in text(tree, f"{job}/files.tsv").splitlines()] == [
        "path",
        "fields/p.vtk",
        "log",
    ]
    assert text(tree, f"{job}/SHA512SUMS") == "ab" * 64 + "  fields/p.vtk\n"


def test_files_are_the_servers(tree: Tree, service: FakeService) -> None:
    node = tree.node("/jobs/XkpTse/outputs/fields/p.vtk")
    assert isinstance(node, RemoteNode)
    assert (node.file, node.final) == (service.files["XkpTse"][0], True)
    mesh = tree.node("/jobs/XkpTse/inputs/mesh.msh")
    assert isinstance(mesh, RemoteNode)
    assert mesh.final


def test_dates_tell_the_truth(tree: Tree) -> None:
    job = "/jobs/XkpTse"
    assert tree.node(job).modified_ns == nanoseconds(minutes(0))
    for path, date in {
        f"{job}/statuses": 5,
        job: 0,  # whatever is known by now
        f"{job}/status": 0,
        f"{job}/cluster_statuses": 0,
        f"{job}/files.tsv": 7,
        f"{job}/SHA512SUMS": 7,
        f"{job}/outputs": 0,
        f"{job}/outputs/fields": 6,
        f"{job}/outputs/fields/p.vtk": 6,
        f"{job}/inputs/mesh.msh": -1,
        "/by-name/wing": 0,
    }.items():
        assert tree.node(path).modified_ns == nanoseconds(minutes(date)), path


def test_dates_of_folders_of_a_job_that_has_ended_do_not_change_as_one_looks_into_them(tree: Tree) -> None:
    job = "/jobs/XkpTse"
    folders = [job, *(f"{job}/{name}" for name in names(tree, job))]
    folders = [path for path in folders if isinstance(tree.node(path), Directory)]
    folders += [f"{job}/status", f"{job}/job.json"]
    before = {path: tree.node(path).modified_ns for path in folders}
    for path in folders[:-2]:
        names(tree, path)
    for name in ("statuses", "files.tsv", "job.json", "SHA512SUMS"):
        text(tree, f"{job}/{name}")
    assert {path: tree.node(path).modified_ns for path in folders} == before
    assert f"{job}/outputs" in before


def test_a_folder_of_jobs_has_its_date_before_it_is_listed(tree: Tree) -> None:
    tree.node("/jobs/XkpTse")  # the list is known from here on
    before = tree.node("/by-name").modified_ns
    names(tree, "/by-name")
    assert tree.node("/by-name").modified_ns == before == tree.node("/jobs").modified_ns


def test_link_counts_are_right_where_they_are_told(tree: Tree) -> None:
    def count(path: str) -> int:
        node = tree.node(path)
        assert isinstance(node, Directory)
        return node.links

    assert count("/") == 2 + 8
    assert (
        count("/jobs") == count("/jobs/XkpTse/outputs") == count("/jobs/XkpTse/inputs") == 1
    )  # not known yet
    walk(tree)
    assert (count("/jobs"), count("/by-name"), count("/jobs/XkpTse")) == (3, 2, 4)
    assert (count("/jobs/XkpTse/outputs"), count("/jobs/XkpTse/inputs")) == (3, 2)


@pytest.mark.parametrize(
    "path",
    [
        "/nosuch",
        "/jobs/nosuch",
        "/jobs/.Trash",
        "/jobs/XkpTse/nosuch",
        "/jobs/XkpTse/outputs/nosuch",
        "/jobs/XkpTse/inputs/nosuch",
        "/by-name/nosuch",
        "/by-name/wing~nosuch",
        "/submit/drop",
        "/jobs/xkptse",
        "/jobs/..",
    ],
)
def test_where_nothing_is_there_is_no_path(tree: Tree, path: str) -> None:
    with pytest.raises(NoSuchPath):
        tree.node(path)


@pytest.mark.parametrize(
    "path",
    ["/jobs/XkpTse/status/x", "/jobs/XkpTse/outputs/log/x", "/by-name/wing/status", "/.rescalefs/status/x"],
)
def test_what_is_no_directory_leads_nowhere(tree: Tree, path: str) -> None:
    with pytest.raises(NotADirectory):
        tree.node(path)


def test_submit_is_only_marked(tree: Tree) -> None:
    assert isinstance(tree.node("/submit"), DropFolder)


def test_listing_jobs_with_all_their_attributes_costs_one_listing(clock: FakeClock) -> None:
    service = FakeService()
    for number in range(500):
        service.add(f"j{number}", status="Executing", at=number)
    tree = tree_of(service, clock)
    for name in names(tree, "/jobs"):
        node = tree.node(f"/jobs/{name}")
        assert isinstance(node, Directory)
        assert (node.links, node.modified_ns > 0) == (1, True)  # there may be runs/
        assert set(node.entries()) == JOB_ENTRIES | {"live"}
    assert service.requests == {"jobs": 1, "runs": 8}  # a sweep over all does not ask about each


def test_a_look_at_the_statuses_of_jobs_that_do_not_run_costs_nothing(clock: FakeClock) -> None:
    service = FakeService()
    for number, status in enumerate(["Completed", "Failed", "", "Force Stopped"]):
        service.add(f"j{number}", status=status, at=number)
    tree = tree_of(service, clock)
    sizes = [size_of(tree, f"/jobs/j{number}/status") for number in range(4)]
    assert sizes == [10, 7, 14, 14]
    assert service.requests == {"jobs": 1}


def size_of(tree: Tree, path: str) -> int:
    node = tree.node(path)
    assert isinstance(node, TextNode)
    return node.size


def failing(service: FakeService, job_id: str, code: int = 2, reason: str = "Completed successfully") -> None:
    """A job that has ended so, with a console log that ends with this exit code."""
    service.add(job_id)
    service.histories[job_id] = (
        JobStatus("Executing", minutes(0)),
        JobStatus("Completed", minutes(5), reason),
    )
    log = f"log-{job_id}"
    service.consoles[log] = console_log((["solving"], code))
    size = len(service.consoles[log])
    service.files[job_id] = (RemoteFile(log, "process_output.log", "process_output.log", size),)


def test_the_status_of_a_job_that_failed_says_so_and_is_asked_for_once(
    tmp_path: Path, clock: FakeClock
) -> None:
    service = FakeService()
    failing(service, "bad")
    failing(service, "good", code=0)
    for _ in range(2):
        tree = tree_of(service, clock, TreeSettings(directory=tmp_path))
        words = "Completed, but the command ended with exit code 2 (see outputs/process_output.log)\n"
        assert text(tree, "/jobs/bad/status") == words
        assert size_of(tree, "/jobs/bad/status") == len(words)
        assert text(tree, "/jobs/good/status") == "Completed\n"
        assert service.requests["end_of"] == service.requests["statuses"] == 2
        assert service.requests["output_files"] == 2
        clock.advance(3600)


def test_a_sweep_over_all_jobs_asks_for_the_endings_of_some(clock: FakeClock) -> None:
    service = FakeService()
    for number in range(300):
        failing(service, f"j{number}")
    tree = tree_of(service, clock)
    for number in range(300):
        text(tree, f"/jobs/j{number}/status")
    assert service.requests["end_of"] == 60
    assert text(tree, "/jobs/j299/status") == "Completed\n"
    outputs = tree.node("/jobs/j299/outputs")
    assert isinstance(outputs, Directory)
    assert outputs.entries()
    assert "exit code 2" in text(tree, "/jobs/j299/status")


def test_a_log_that_cannot_be_read_leaves_the_word_to_the_service(tree: Tree, service: FakeService) -> None:
    failing(service, "job")

    def refuse(request: str) -> None:
        if request == "end_of":
            raise Forbidden("403")

    service.on_request = refuse
    assert text(tree, "/jobs/job/status") == "Completed\n"


def test_an_ending_is_not_asked_for_without_a_server(tree: Tree, service: FakeService) -> None:
    failing(service, "job")
    assert isinstance(tree.node("/jobs/job/status"), TextNode)
    service.failure = Unreachable("no route")
    assert text(tree, "/jobs/job/status") == "Completed\n"


def test_outputs_that_are_listed_late_are_asked_for_again_before_there_are_none(
    tree: Tree, service: FakeService, clock: FakeClock
) -> None:
    failing(service, "job")
    listed, service.files["job"] = service.files["job"], ()
    now = clock.now()
    service.histories["job"] = (JobStatus("Executing", now), JobStatus("Completed", now))
    times = iter([(), listed])

    def list_late(request: str) -> None:
        if request == "output_files":
            service.files["job"] = next(times, listed)

    service.on_request = list_late
    outputs = tree.node("/jobs/job/outputs")
    assert isinstance(outputs, Directory)
    assert set(outputs.entries()) == {"process_output.log"}
    assert service.requests["output_files"] == 2


def test_a_job_without_outputs_that_ended_long_ago_is_believed(tree: Tree, service: FakeService) -> None:
    service.add("job")
    outputs = tree.node("/jobs/job/outputs")
    assert isinstance(outputs, Directory)
    assert not outputs.entries()
    assert service.requests["output_files"] == 1


def test_the_status_of_a_running_job_is_seconds_old(
    tree: Tree, service: FakeService, clock: FakeClock
) -> None:
    service.add("run", status="Queued", at=1)
    assert text(tree, "/jobs/run/status") == "Queued\n"
    service.add("run", status="Executing", at=1)
    clock.advance(4)
    assert text(tree, "/jobs/run/status") == "Executing\n"
    assert tree.node("/jobs/run/status").modified_ns == nanoseconds(minutes(6))


def test_a_job_that_ended_shows_its_outputs_as_soon_as_its_status_says_so(
    tree: Tree, service: FakeService, clock: FakeClock
) -> None:
    service.add("run", status="Executing", at=1)
    assert names(tree, "/jobs/run/outputs") == set()
    service.add("run", status="Completed", at=1)
    service.files["run"] = (file("f3", "out"),)
    clock.advance(4)
    assert text(tree, "/jobs/run/status") == "Completed\n"
    node = tree.node("/jobs/run/outputs/out")
    assert isinstance(node, RemoteNode)
    assert node.final


def test_a_status_that_was_heard_elsewhere_counts_at_once(tree: Tree, service: FakeService) -> None:
    service.add("run", status="Executing", at=1)
    assert names(tree, "/jobs/run/outputs") == set()
    service.files["run"] = (file("f3", "out"),)
    tree.heard("run", "Completed")
    assert names(tree, "/jobs/run/outputs") == {"out"}
    assert text(tree, "/jobs/run/status") == "Completed\n"


def test_a_job_of_which_a_status_was_heard_is_in_the_list_at_once(tree: Tree, service: FakeService) -> None:
    assert names(tree, "/jobs") == {"XkpTse"}
    service.add("fresh", "new wing", "Queued", at=3)
    service.add("other", "old wing", "Queued", at=2)
    tree.heard("fresh", "Completed")
    assert names(tree, "/jobs") == {"XkpTse", "fresh", "other"}
    assert "new wing" in names(tree, "/by-name")
    assert text(tree, "/jobs/fresh/status") == "Completed\n"
    asked = service.requests.total()
    tree.heard("other", "Executing")
    assert service.requests.total() == asked


def test_a_job_that_is_too_new_for_the_list_is_there_by_its_id(tree: Tree, service: FakeService) -> None:
    assert names(tree, "/jobs") == {"XkpTse"}
    service.add("fresh", "new wing", "Completed", at=3)
    service.unlisted.add("fresh")
    assert text(tree, "/jobs/fresh/status") == "Completed\n"
    assert names(tree, "/jobs") == {"XkpTse", "fresh"}
    assert "new wing" in names(tree, "/by-name")


def test_a_found_job_that_was_never_submitted_says_so(tree: Tree, service: FakeService) -> None:
    assert names(tree, "/jobs") == {"XkpTse"}
    service.add("fresh", status="", at=3)
    assert text(tree, "/jobs/fresh/status") == "Not submitted\n"


def test_a_known_path_asks_nothing_and_makes_nothing(tree: Tree, service: FakeService) -> None:
    path = "/jobs/XkpTse/outputs/fields/p.vtk"
    first, requests = tree.node(path), service.total
    assert tree.node(path) is first
    assert tree.node("/jobs/XkpTse") is tree.node("/jobs/XkpTse")
    assert service.total == requests


def test_a_new_list_keeps_what_was_made_of_jobs_that_did_not_change(
    tree: Tree, service: FakeService, clock: FakeClock
) -> None:
    before = tree.node("/jobs/XkpTse")
    service.add("other", at=1)
    clock.advance(20)
    assert names(tree, "/jobs") == {"XkpTse", "other"}
    assert tree.node("/jobs/XkpTse") is before


def test_of_several_jobs_with_one_name_the_oldest_has_it(tree: Tree, service: FakeService) -> None:
    service.add("second", "wing", at=1)
    service.add("third", "wing", at=2)
    service.add("sl", "a/b", at=3)
    service.add("none", "", at=4)
    assert links(tree, "/by-name") == {
        "wing": "../jobs/XkpTse",
        "wing~second": "../jobs/second",
        "wing~third": "../jobs/third",
        "a_b": "../jobs/sl",
        "_": "../jobs/none",
    }


def test_a_name_in_use_outlives_the_job_that_had_it_bare(
    tree: Tree, service: FakeService, clock: FakeClock
) -> None:
    service.add("second", "wing", at=1)
    before = tree.node("/by-name/wing~second")
    del service.all["XkpTse"]
    clock.advance(2000)
    assert links(tree, "/by-name") == {"wing": "../jobs/second"}
    assert tree.node("/by-name/wing~second") == before


def test_a_job_whose_id_is_no_word_is_left_out(
    service: FakeService, tree: Tree, caplog: pytest.LogCaptureFixture
) -> None:
    service.all["../etc"] = Job("../etc", "evil", "Completed", minutes(1))
    assert names(tree, "/jobs") == {"XkpTse"}
    assert names(tree, "/by-name") == {"wing"}
    assert "no word" in caplog.text


def test_what_was_never_known_raises_the_servers_error(tree: Tree, service: FakeService) -> None:
    failures: list[ApiError] = [Unauthenticated("401"), ServerFailed("500"), Unreachable("gone")]
    for failure in failures:
        service.failure = failure
        fresh = tree_of(service, FakeClock())
        with pytest.raises(type(failure)):
            names(fresh, "/jobs")
        with pytest.raises(type(failure)):
            fresh.node("/jobs/XkpTse")
        assert str(fresh.last_error) == str(failure)
        assert fresh.last_error_at is not None


def test_while_the_server_is_away_what_is_known_is_shown(
    tree: Tree, service: FakeService, clock: FakeClock
) -> None:
    service.add("run", status="Executing", at=1)
    text(tree, "/jobs/XkpTse/files.tsv")
    service.failure = Unreachable("gone")
    clock.advance(3600)
    assert names(tree, "/jobs/XkpTse/outputs") == {"fields", "log"}
    assert text(tree, "/jobs/run/status") == "Executing\n"  # by the list; its history was never asked for
    assert tree.offline
    with pytest.raises(Unreachable):
        text(tree, "/jobs/run/statuses")
    service.failure = None
    clock.advance(60)
    assert text(tree, "/jobs/run/statuses")
    assert not tree.offline


def test_a_key_that_is_refused_shows_in_what_changes_and_not_in_what_is_final(
    tree: Tree, service: FakeService, clock: FakeClock
) -> None:
    service.add("run", status="Executing", at=1)
    text(tree, "/jobs/run/status")
    names(tree, "/jobs/XkpTse/outputs")
    service.failure = Unauthenticated("401")
    clock.advance(10)
    with pytest.raises(Unauthenticated):
        text(tree, "/jobs/run/status")
    assert names(tree, "/jobs/XkpTse/outputs") == {"fields", "log"}


def test_a_restart_without_a_server_shows_the_account(
    service: FakeService, clock: FakeClock, tmp_path: Path
) -> None:
    settings = TreeSettings(tmp_path)
    before = walk(tree_of(service, clock, settings))
    service.failure = Unreachable("gone")
    clock.advance(3600)
    assert walk(tree_of(service, clock, settings)) == before


def test_own_texts_are_written_anew_after_a_second(service: FakeService, clock: FakeClock) -> None:
    said = [b"one\n"]
    write: Callable[[], bytes] = lambda: said[0]  # noqa: E731
    tree = Tree(service, clock, Background(), TreeSettings(), lambda _: "no", {"status": write})
    began = tree.node("/.rescalefs/status").modified_ns
    clock.advance(5)
    assert tree.node("/.rescalefs/status").modified_ns == began  # it says the same as then
    said[0] = b"two\n"
    assert text(tree, "/.rescalefs/status") == "one\n"
    clock.advance(1)
    assert text(tree, "/.rescalefs/status") == "two\n"
    assert tree.node("/.rescalefs/status").modified_ns == nanoseconds(clock.now())


def test_the_table_tells_what_reading_has_verified(service: FakeService, clock: FakeClock) -> None:
    verdicts = {"f1": "yes", "f2": "unavailable"}
    tree = Tree(service, clock, Background(), TreeSettings(), lambda each: verdicts[each.id], {})
    rows = [line.split("\t") for line in text(tree, "/jobs/XkpTse/files.tsv").splitlines()[1:]]
    assert {row[4]: row[3] for row in rows} == verdicts


def test_forgetting_a_job_asks_for_it_afresh(tree: Tree, service: FakeService) -> None:
    names(tree, "/jobs/XkpTse/outputs")
    service.files["XkpTse"] = ()
    tree.forget("XkpTse")
    assert names(tree, "/jobs/XkpTse/outputs") == set()
    assert tree.counters()["requests_outputs"] == 2


def test_a_started_tree_lists_jobs_before_anyone_asks(service: FakeService, clock: FakeClock) -> None:
    listed, background = threading.Event(), Background()
    service.on_request = lambda _: listed.set()

    class Still(FakeClock):
        def wait(self, wake: object, seconds: float) -> bool:
            assert isinstance(wake, threading.Event)
            return wake.wait()

    tree = Tree(service, Still(), background, TreeSettings(), lambda _: "no", {})
    tree.start()
    assert listed.wait(30)
    background.close()


# --- live/


def test_a_running_job_shows_what_it_writes(clock: FakeClock) -> None:
    service = FakeService()
    service.add("runs", status="Executing")
    service.working["runs"] = ("residuals.log", "fields/step_1/t.bin", "../escape", "fields/")
    tree = tree_of(service, clock)
    assert names(tree, "/jobs/runs/live") == {"residuals.log", "fields", "__"}
    node = tree.node("/jobs/runs/live/fields/step_1/t.bin")
    assert isinstance(node, LiveNode)
    assert node.file == LiveFile("runs", "1", "fields/step_1/t.bin")
    service.working["runs"] += ("new.log",)
    clock.advance(3)
    assert "new.log" in names(tree, "/jobs/runs/live")


def test_live_is_there_only_between_submission_and_end(clock: FakeClock) -> None:
    service = FakeService()
    for job_id, status in {"saved": "", "queued": "Queued", "done": "Completed"}.items():
        service.add(job_id, status=status)
    tree = tree_of(service, clock)
    assert names(tree, "/jobs/queued/live") == set()  # the run has not begun: the server refuses
    for job_id in ("saved", "done"):
        assert "live" not in names(tree, f"/jobs/{job_id}")
        with pytest.raises(NoSuchPath):
            tree.node(f"/jobs/{job_id}/live")


def test_live_is_listed_once_for_many_that_look(clock: FakeClock) -> None:
    service = FakeService()
    service.add("runs", status="Executing")
    service.working["runs"] = tuple(f"step_{number}.bin" for number in range(100))
    tree = tree_of(service, clock)
    for name in names(tree, "/jobs/runs/live"):
        tree.node(f"/jobs/runs/live/{name}")
    assert service.requests["directory_contents"] == 1


def test_what_tools_look_for_everywhere_costs_nothing_and_is_there_where_a_listing_has_it(
    service: FakeService, tree: Tree
) -> None:
    service.files["XkpTse"] += (file("f3", ".directory", at=7),)
    outputs, inputs = "/jobs/XkpTse/outputs", "/jobs/XkpTse/inputs"
    tree.node("/jobs/XkpTse")
    before = service.total
    for folder in (outputs, inputs):
        for name in (".git", ".hidden", ".Trash-1000", "._log", ".directory", "desktop.ini"):
            with pytest.raises(NoSuchPath):
                tree.node(f"{folder}/{name}")
    assert service.total == before
    assert isinstance(tree.node(f"{outputs}/log"), RemoteNode)
    assert isinstance(tree.node(f"{outputs}/.directory"), RemoteNode)
    with pytest.raises(NoSuchPath):
        tree.node(f"{outputs}/.git")
