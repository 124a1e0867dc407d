"""Stopping from the folder."""

from __future__ import annotations

import errno

import pytest

from rescalefs.errors import Unreachable
from rescalefs.submit.control import Control
from tests.submit.rig import GOOD, FakeRescale, Rig, drop_files, only


def test_a_running_job_is_stopped_and_the_log_says_so(rig: Rig, rescale: FakeRescale) -> None:
    drop_files(rig.settings.folder / "wing")
    control = Control(rescale, rig.ledger)
    assert not control.can_stop("wing")
    rig.turns(4)
    assert control.can_stop("wing")
    control.stop("wing")
    job = only(rescale.on_server.values())
    assert rescale.requests.count("stop_job") == 1
    assert rig.log()[-1] == f"job {job.id} has been told to stop"
    rescale.tell(job.id, "Stopped")
    rig.turns(4)
    assert rig.status() == "Stopped"
    assert not control.can_stop("wing")


def test_a_held_job_or_an_ended_one_has_nothing_to_stop(rig: Rig, rescale: FakeRescale) -> None:
    drop_files(rig.settings.folder / "wing", {**GOOD, "hold": True})
    rig.turns(4)
    control = Control(rescale, rig.ledger)
    for folder in ("wing", "nowhere"):
        with pytest.raises(OSError, match=r".") as caught:
            control.stop(folder)
        assert caught.value.errno == errno.ESRCH
    assert "stop_job" not in rescale.requests


def test_a_stop_that_the_server_did_not_hear_is_an_error_and_not_logged(
    rig: Rig, rescale: FakeRescale
) -> None:
    drop_files(rig.settings.folder / "wing")
    rig.turns(4)

    def cut(name: str) -> None:
        raise Unreachable("no connection")

    rescale.point = cut
    with pytest.raises(Unreachable):
        Control(rescale, rig.ledger).stop("wing")
    assert not any("stop" in line for line in rig.log())


def test_a_stop_while_the_status_changes_is_still_written_down(rig: Rig, rescale: FakeRescale) -> None:
    drop_files(rig.settings.folder / "wing")
    rig.turns(4)
    job = only(rescale.on_server.values())

    def meanwhile(name: str) -> None:
        if name == "before stop_job":
            rescale.point = lambda _: None
            rescale.tell(job.id, "Executing")
            rig.clock.advance(60.0)
            rig.work()

    rescale.point = meanwhile
    Control(rescale, rig.ledger).stop("wing")
    assert rig.log()[-2:] == ["Executing", f"job {job.id} has been told to stop"]


def test_stop_written_before_there_is_a_job_keeps_the_drop_from_becoming_one(
    rig: Rig, rescale: FakeRescale
) -> None:
    folder = drop_files(rig.settings.folder / "wing")
    (folder / "control").write_text("stop\n")
    rig.turns(6)
    assert rig.status() == (
        'rejected: control is "stop": remove that file, and it starts again; for example rm control'
    )
    (folder / "control").write_text("$title\n$operating system unix\n")  # a program's own input
    rig.turns(6)
    assert "control" in rescale.inputs(only(rescale.on_server.values()).id)
