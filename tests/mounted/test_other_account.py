"""A mount whose API key is of another account than its drops."""

from __future__ import annotations

import contextlib
import errno
import json
import os

import pytest

from rescalefs.simulator.world import OWNER
from tests.mounted.account import MountedAccount

pytestmark = pytest.mark.fuse

JOB = {
    "command": "while [ ! -e GO ]; do sleep 0.05; done",
    "software": "miniconda",
    "coretype": "cheapest",
    "cores": 2,
}
BEN = "ben@simulator.example"


def test_it_shows_whose_the_drops_are_takes_none_and_lets_them_go_on_with_the_right_key(
    account: MountedAccount,
) -> None:
    wing = account.root / "submit" / "wing"
    wing.mkdir()
    (wing / "job.json").write_text(json.dumps({**JOB, "name": "wing", "hours": 1, "inputFiles": []}))
    account.wait_for_status(wing, "Executing")
    planted = account.add_finished_job("annas", {"out.txt": b"anna's"})
    assert (account.root / "jobs" / planted / "outputs" / "out.txt").read_bytes() == b"anna's"
    account.run("umount", str(account.root))

    account.simulator.world.owner = BEN
    whose = f"these drops belong to {OWNER} in workspace Default workspace"
    done = account.run("mount", str(account.root))
    assert f"drops are submitted by nobody: {whose}" in done.stderr
    assert "--same-account" in done.stderr
    account.wait_for(lambda: whose in account.text(wing / "status"))
    assert account.text(wing / "status").startswith("Executing (")
    assert f"nobody: {whose}" in (account.root / ".rescalefs" / "status").read_text()
    tail, new, control = account.root / "submit" / "tail", wing / "new", wing / "control"
    for act in (tail.mkdir, new.touch, wing.rmdir, lambda: control.write_text("stop")):
        with pytest.raises(OSError, match=os.strerror(errno.EROFS)):
            act()
    for command in (["stop", str(wing), "--yes"], ["stop", "wing", "--yes"], ["delete", str(wing), "--yes"]):
        stopped = account.run(*command, check=False)
        assert stopped.returncode == 1, command
        assert f"of {BEN}" in stopped.stderr
    assert f"Executing ({whose}" in account.run("drops").stdout
    (shares,) = account.work.glob("cache/rescalefs/*/key-*")
    assert (shares / "listings").is_dir(), "nothing that Anna listed is shown to Ben"
    account.run("umount", str(account.root))

    account.simulator.world.owner = OWNER
    account.run("mount", str(account.root))
    account.wait_for_status(wing, "Executing")
    with contextlib.closing(account.client()) as client:
        (job,) = [each for each in client.jobs() if each.name == "wing"]
    assert f"job {job.id} has been told to stop" in account.run("stop", str(wing), "--yes").stdout
    account.wait_for(lambda: not account.text(wing / "status").startswith("Executing"))


def test_a_person_can_say_that_the_account_was_renamed(account: MountedAccount) -> None:
    wing = account.root / "submit" / "wing"
    wing.mkdir()
    (wing / "job.json").write_text(
        json.dumps({**JOB, "command": "true", "name": "wing", "hours": 1, "inputFiles": []})
    )
    account.wait_for_status(wing, "Completed")
    account.run("umount", str(account.root))
    account.simulator.world.owner = BEN
    said = account.run("drops", "--same-account").stderr
    assert f"the drops belong to {BEN}" in said
    done = account.run("mount", str(account.root))
    assert "drops are submitted by nobody" not in done.stderr
    (account.root / "submit" / "tail").mkdir()
