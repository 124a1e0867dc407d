"""Kinds of files that users want apart, or not at all."""

from __future__ import annotations

import dataclasses

import pytest

from rescalefs.errors import NoSuchPath
from rescalefs.model import FileType, RemoteFile, Run
from rescalefs.tree import Directory, RemoteNode, Sorting, TextNode, Tree, TreeSettings
from tests.fakes import FakeClock
from tests.tree.account import FakeService, file, tree_of


def of_type(kind: FileType, file_id: str, path: str = "") -> RemoteFile:
    return dataclasses.replace(file(file_id, path), type_id=int(kind))


@pytest.fixture
def service() -> FakeService:
    service = FakeService()
    service.add("job")
    service.files["job"] = (
        file("o", "log"),
        of_type(FileType.SNAPSHOT, "s", "run1/snap.zip"),
        of_type(FileType.TEMPORARY, "t", "scratch.tmp"),
        of_type(FileType.TEMPLATE, "tp", "in.template"),
    )
    service.inputs["job"] = (
        dataclasses.replace(file("i", "mesh"), type_id=1),
        of_type(FileType.TEMPLATE, "ti", "in.template"),
        of_type(FileType.TEMPORARY, "tt", "old.tmp"),
    )
    return service


@pytest.fixture
def tree(service: FakeService) -> Tree:
    sorting = Sorting({FileType.SNAPSHOT, FileType.TEMPLATE}, {FileType.TEMPORARY})
    return tree_of(service, FakeClock(), TreeSettings(sorting=sorting))


def names(tree: Tree, path: str) -> set[str]:
    node = tree.node(path)
    assert isinstance(node, Directory)
    return set(node.entries())


def table(tree: Tree, path: str) -> dict[str, str]:
    """What files.tsv says: id -> path."""
    node = tree.node(path)
    assert isinstance(node, TextNode)
    rows = [line.split("\t") for line in node.text().decode().splitlines()]
    return {row[4]: row[6] for row in rows[1:]}


def test_without_a_choice_all_files_are_together(service: FakeService) -> None:
    tree = tree_of(service, FakeClock())
    assert names(tree, "/jobs/job/outputs") == {"log", "run1", "scratch.tmp", "in.template"}
    assert names(tree, "/jobs/job/inputs") == {"mesh", "in.template", "old.tmp"}
    assert "snapshots" not in names(tree, "/jobs/job")


def test_chosen_kinds_have_a_folder_of_their_own_with_outputs_and_inputs(tree: Tree) -> None:
    assert {"snapshots", "templates"} <= names(tree, "/jobs/job")
    assert names(tree, "/jobs/job/outputs") == {"log"}
    assert names(tree, "/jobs/job/inputs") == {"mesh"}
    assert names(tree, "/jobs/job/snapshots/run1") == {"snap.zip"}
    # The output keeps its name, whatever the input is called.
    assert names(tree, "/jobs/job/templates") == {"in.template", "in~ti.template"}
    node = tree.node("/jobs/job/templates/in.template")
    assert isinstance(node, RemoteNode)
    assert (node.file.id, node.final) == ("tp", True)
    assert tree.node("/jobs/job/templates/in.template") is node


def test_the_table_and_the_checksums_tell_where_files_are(tree: Tree) -> None:
    assert table(tree, "/jobs/job/files.tsv") == {
        "o": "log",
        "s": "../snapshots/run1/snap.zip",
        "tp": "../templates/in.template",
        "t": "-",
    }
    sums = tree.node("/jobs/job/SHA512SUMS")
    assert isinstance(sums, TextNode)
    paths = [line.split("  ")[1] for line in sums.text().decode().splitlines()]
    assert sorted(paths) == ["../snapshots/run1/snap.zip", "../templates/in.template", "log"]


def test_link_counts_and_inodes_are_right(tree: Tree) -> None:
    names(tree, "/jobs/job")
    job = tree.node("/jobs/job")
    assert isinstance(job, Directory)
    entries = job.entries()
    assert job.links == 2 + sum(isinstance(each, Directory) for each in entries.values())
    assert len({each.inode for each in entries.values()}) == len(entries)
    for folder in ("templates", "snapshots"):
        names(tree, f"/jobs/job/{folder}")
    snapshots = tree.node("/jobs/job/snapshots")
    assert isinstance(snapshots, Directory)
    assert snapshots.links == 2 + 1


def test_runs_have_these_folders_too(tree: Tree, service: FakeService) -> None:
    service.all_runs["job"] = (Run("1"), Run("2"))
    service.run_outputs["job", "2"] = service.files["job"]
    assert {"snapshots", "templates"} <= names(tree, "/jobs/job/runs/2")
    assert names(tree, "/jobs/job/runs/2/templates") == {"in.template"}
    assert names(tree, "/jobs/job/runs/1/templates") == set()
    with pytest.raises(NoSuchPath):
        tree.node("/jobs/job/runs/2/checkpoints")


def test_what_is_hidden_has_no_folder() -> None:
    sorting = Sorting({FileType.TEMPORARY, FileType.CHECKPOINT}, {FileType.TEMPORARY})
    assert sorting.folders == {"checkpoints": FileType.CHECKPOINT}
    assert Sorting(set(FileType)).folders["temporary"] is FileType.TEMPORARY
