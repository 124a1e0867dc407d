"""Every view has a link for each job, in the right folder, and takes nothing away that is in use."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from rescalefs.errors import Forbidden, NoSuchPath, Unreachable
from rescalefs.model import Outcome, Project, Result
from rescalefs.tree import Directory, LinkNode, TextNode, Tree, TreeSettings
from rescalefs.tree.nodes import nanoseconds
from tests.fakes import FakeClock
from tests.tree.account import FakeService, minutes, tree_of


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def tree(service: FakeService, clock: FakeClock) -> Tree:
    return tree_of(service, clock)


def links(tree: Tree, view: str) -> dict[str, str]:
    """Every link below a view and where it leads, seen from the mount's own folder."""
    found: dict[str, str] = {}

    def look(path: str) -> None:
        node = tree.node(path)
        if isinstance(node, LinkNode):
            target = Path(path).parent / node.target
            found[path.removeprefix(f"/{view}/")] = str(target)
            assert node.target == "../" * (path.count("/") - 1) + "jobs/" + path.rpartition("/")[2]
        elif isinstance(node, Directory):
            subfolders = sum(isinstance(each, Directory) for each in node.entries().values())
            assert node.links == 2 + subfolders
            for name in node.entries():
                look(f"{path}/{name}")

    look(f"/{view}")
    return found


def names(tree: Tree, path: str) -> set[str]:
    node = tree.node(path)
    assert isinstance(node, Directory)
    return set(node.entries())


def test_by_status_has_a_folder_for_each_status(tree: Tree, service: FakeService) -> None:
    service.add("a", status="Completed")
    service.add("b", status="Executing", at=1)
    service.add("c", status="", at=2)
    service.add("d", status="../up", at=3)
    assert set(links(tree, "by-status")) == {"Completed/a", "Executing/b", "Not submitted/c", ".._up/d"}
    assert service.requests == {"jobs": 1}


def test_a_job_known_to_have_failed_is_not_among_the_completed_ones(tree: Tree, service: FakeService) -> None:
    for number, job_id in enumerate("abc"):
        service.add(job_id, at=number)
    assert set(links(tree, "by-status")) == {"Completed/a", "Completed/b", "Completed/c"}
    tree.concluded("a", Outcome(Result.FAILED, "Completed, but failed: no licence"))
    tree.concluded("b", Outcome(Result.STOPPED, "Completed, but stopped by a user"))
    tree.concluded("c", Outcome(Result.SUCCEEDED, "Completed"))
    assert set(links(tree, "by-status")) == {"Failed/a", "Stopped/b", "Completed/c"}
    assert isinstance(tree.node("/by-status/Completed/a"), LinkNode)  # as before: a name in use still works
    tree.heard("a", "Completed")
    assert set(links(tree, "by-status")) == {"Failed/a", "Stopped/b", "Completed/c"}


def test_by_date_goes_by_the_month_in_utc(tree: Tree, service: FakeService) -> None:
    service.add("a")
    service.add("b", at=-60 * 24 * 40)
    service.all["c"] = dataclasses.replace(service.add("c"), inserted=None)
    assert set(links(tree, "by-date")) == {"2026/11/a", "2026/09/b", "undated/c"}
    assert tree.node("/by-date/2026/11").modified_ns == nanoseconds(minutes(0))
    assert tree.node("/by-date/2026").modified_ns == nanoseconds(minutes(0))


def test_by_project_names_projects_and_tells_apart_those_of_one_name(
    tree: Tree, service: FakeService
) -> None:
    service.all_projects = (Project("p2", "Wing"), Project("p1", "Wing"), Project("p3", "none"))
    for number, project in enumerate(["p1", "p2", "p3", "gone", None]):
        service.all[f"j{number}"] = dataclasses.replace(service.add(f"j{number}"), project_id=project)
    assert set(links(tree, "by-project")) == {"Wing/j0", "Wing~p2/j1", "none~p3/j2", "gone/j3", "none/j4"}
    assert service.requests == {"jobs": 1, "projects": 1}


def test_projects_that_may_not_be_listed_go_by_their_ids(tree: Tree, service: FakeService) -> None:
    service.all["a"] = dataclasses.replace(service.add("a"), project_id="p1")
    names(tree, "/jobs")
    service.failure = Forbidden("403")
    assert set(links(tree, "by-project")) == {"p1/a"}


def test_by_tag_is_there_when_a_job_has_a_tag(tree: Tree, service: FakeService, clock: FakeClock) -> None:
    service.add("a")
    names(tree, "/jobs")
    assert "by-tag" not in names(tree, "/")
    with pytest.raises(NoSuchPath):
        tree.node("/by-tag")
    service.all["b"] = dataclasses.replace(service.add("b", at=1), tags=("final", "a/b", "final"))
    clock.advance(20)
    names(tree, "/jobs")
    assert "by-tag" in names(tree, "/")
    root = tree.node("/")
    assert isinstance(root, Directory)
    assert root.links == 2 + sum(not isinstance(each, TextNode) for each in root.entries().values())
    assert set(links(tree, "by-tag")) == {"final/b", "a_b/b"}


def test_a_job_that_moves_on_leaves_a_link_that_works_and_is_not_listed(
    tree: Tree, service: FakeService, clock: FakeClock
) -> None:
    service.add("a", status="Executing")
    before = tree.node("/by-status/Executing/a")
    folder = tree.node("/by-status/Executing").inode
    service.add("a", status="Completed")
    clock.advance(20)
    assert set(links(tree, "by-status")) == {"Completed/a"}
    assert names(tree, "/by-status/Executing") == set()  # somebody's working directory, perhaps
    assert tree.node("/by-status/Executing").inode == folder
    assert tree.node("/by-status/Executing/a") == before
    del service.all["a"]
    clock.advance(2000)
    with pytest.raises(NoSuchPath):
        tree.node("/by-status/Executing/a")


def test_a_view_is_made_once_for_each_list(tree: Tree, service: FakeService, clock: FakeClock) -> None:
    service.add("a")
    first = tree.node("/by-status/Completed/a")
    assert tree.node("/by-status/Completed/a") is first
    service.add("b", at=1)
    clock.advance(20)
    assert names(tree, "/by-status/Completed") == {"a", "b"}
    assert tree.node("/by-status/Completed/a") is first


# --- catalog/


def text(tree: Tree, path: str) -> str:
    node = tree.node(path)
    assert isinstance(node, TextNode)
    return node.text().decode()


def test_the_catalog_is_renewed_by_the_hour_and_its_date_is_that_of_its_last_change(
    tree: Tree, service: FakeService, clock: FakeClock
) -> None:
    service.all_projects = (Project("p1", "Wing"),)
    assert text(tree, "/catalog/projects.tsv") == "id\tname\np1\tWing\n"
    assert "ada@example.com" in text(tree, "/catalog/user.json")
    assert text(tree, "/catalog/coretypes.tsv").startswith("code\t")
    assert text(tree, "/catalog/analyses.tsv").startswith("code\t")
    asked, date = service.total, tree.node("/catalog/projects.tsv").modified_ns
    clock.advance(3000)
    text(tree, "/catalog/projects.tsv")
    assert service.total == asked
    clock.advance(700)
    text(tree, "/catalog/projects.tsv")
    assert tree.node("/catalog/projects.tsv").modified_ns == date  # it says the same as before
    service.all_projects += (Project("p2", "Heat"),)
    clock.advance(3700)
    assert "p2" in text(tree, "/catalog/projects.tsv")
    assert tree.node("/catalog/projects.tsv").modified_ns > date


def test_the_catalog_is_there_after_a_restart_without_a_server(
    service: FakeService, clock: FakeClock, tmp_path: Path
) -> None:
    service.all_projects = (Project("p1", "Wing"),)
    before = text(tree_of(service, clock, TreeSettings(tmp_path)), "/catalog/projects.tsv")
    service.failure = Unreachable("gone")
    clock.advance(10 * 86_400)
    assert text(tree_of(service, clock, TreeSettings(tmp_path)), "/catalog/projects.tsv") == before
