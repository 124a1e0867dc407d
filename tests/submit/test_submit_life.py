"""Drops on their way, part by part, without threads."""

from __future__ import annotations

import shutil

from tests.submit.rig import GOOD, FakeRescale, Rig, drop_files, only


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
    assert rig.status().startswith('rejected: jobanalyses[0].command is "", must be a text')
    assert not rescale.on_server
    drop_files(folder)
    rig.turns(5)
    assert len(rescale.on_server) == 1
