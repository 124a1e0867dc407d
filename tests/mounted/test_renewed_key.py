"""A mount whose API key is revoked while it runs, and replaced by another one in the profile."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rescalefs.simulator.world import OWNER
from tests.canary import CANARY
from tests.mounted.account import PATIENCE, ROOT, MountedAccount

pytestmark = pytest.mark.fuse

RENEWED = "f" * 40
BEN = "ben@simulator.example"


@pytest.fixture
def account(tmp_path: Path) -> Iterator[MountedAccount]:
    """A mount whose key is in a profile."""
    account = MountedAccount(tmp_path)
    account.environment["HOME"] = str(tmp_path / "home")
    del account.environment["RESCALE_API_URL"], account.environment["RESCALE_API_KEY"]
    try:
        log_in(account, CANARY)
        account.mount()
        yield account
    finally:
        account.close()


def log_in(account: MountedAccount, key: str) -> None:
    words = ["login", "--url", account.simulator.url, "--key-stdin"]
    subprocess.run(
        [sys.executable, "-m", "rescalefs", *words],
        cwd=ROOT,
        env=account.environment,
        input=key,
        text=True,
        capture_output=True,
        timeout=PATIENCE,
        check=True,
    )


def revoke(account: MountedAccount) -> None:
    """Have the server take another key, and the former no more."""
    account.stop_server()
    account.start_server(RENEWED)


def server_line(account: MountedAccount) -> str:
    lines = account.text(account.root / ".rescalefs" / "status").splitlines()
    return next((line for line in lines if line.startswith("server: ")), "")


def test_a_renewed_key_is_taken_and_a_drop_that_waited_for_it_goes_on(account: MountedAccount) -> None:
    job = account.add_finished_job("wing", {"a.txt": b"a", "b.txt": b"b"})
    outputs = account.root / "jobs" / job / "outputs"
    assert (outputs / "a.txt").read_bytes() == b"a"
    revoke(account)
    with pytest.raises(OSError, match=os.strerror(errno.EACCES)):
        (outputs / "b.txt").read_bytes()
    drop = account.root / "submit" / "tail"
    drop.mkdir()
    (drop / "mesh.txt").write_text("mesh")
    definition = {
        "name": "tail",
        "command": "cat mesh.txt",
        "software": "miniconda",
        "coretype": "cheapest",
        "cores": 2,
        "hours": 1,
    }
    (drop / "job.json").write_text(json.dumps(definition))
    account.wait_for(lambda: "401" in account.text(drop / "status") + account.text(drop / "status.log"))
    log_in(account, RENEWED)
    account.wait_for(lambda: account.text(outputs / "b.txt") == "b")
    account.wait_for_status(drop, "Completed")
    assert account.jobs().count("tail") == 1
    account.wait_for(lambda: server_line(account).endswith("(reached)"))
    assert RENEWED not in account.last_words()


def test_a_key_of_another_account_is_refused_with_the_reason(account: MountedAccount) -> None:
    job = account.add_finished_job("wing", {"a.txt": b"a", "b.txt": b"b"})
    outputs = account.root / "jobs" / job / "outputs"
    assert (outputs / "a.txt").read_bytes() == b"a"
    revoke(account)
    account.simulator.world.owner = BEN
    log_in(account, RENEWED)
    account.wait_for(lambda: "the new API key in the profile is not taken" in server_line(account))
    assert f"it is of {BEN}" in server_line(account)
    assert OWNER in server_line(account)
    with pytest.raises(OSError, match=os.strerror(errno.EACCES)):
        (outputs / "b.txt").read_bytes()
