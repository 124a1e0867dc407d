"""What extended attributes say."""

from __future__ import annotations

from rescalefs.model import RemoteFile
from rescalefs.tree.facts import FILE_FACTS, JOB_FACTS, facts
from rescalefs.tree.nodes import RemoteNode
from rescalefs.tree.tables import FILE_COLUMNS
from tests.fakes import FakeClock
from tests.tree.account import FakeService, file, tree_of


def test_a_file_has_the_columns_of_its_table_but_where_it_is() -> None:
    assert set(FILE_FACTS) == set(FILE_COLUMNS) - {"path"}
    node = RemoteNode(2, 0, file("f1", "a\tb/log"), final=True)
    assert facts(node, lambda _: "yes") == {
        "size": "3",
        "type": "output",
        "sha512": "ab" * 64,
        "verified": "yes",
        "id": "f1",
        "uploaded": "2026-11-01T12:01:00.000000Z",
        "original": "a\tb/log",
    }


def test_what_is_not_known_is_left_out() -> None:
    node = RemoteNode(2, 0, RemoteFile("f", "n", "", None), final=True)
    assert facts(node, lambda _: "unavailable") == {"verified": "unavailable", "id": "f", "original": "n"}


def test_a_jobs_folder_tells_of_the_job_and_other_things_nothing() -> None:
    service = FakeService()
    service.add("j", "wing")
    tree = tree_of(service, FakeClock())
    found = facts(tree.node("/jobs/j"), lambda _: "no")
    assert found == {
        "id": "j",
        "name": "wing",
        "status": "Completed",
        "inserted": "2026-11-01T12:00:00.000000Z",
    }
    assert set(found) < set(JOB_FACTS)
    for path in ("/", "/jobs", "/jobs/j/status", "/by-name/wing", "/submit"):
        assert facts(tree.node(path), lambda _: "no") == {}
