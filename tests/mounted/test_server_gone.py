"""The server goes away and comes back while it is mounted: cached data or a clear error, never a hang."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mounted.account import MountedAccount

pytestmark = pytest.mark.fuse

CONTENT = b"0123456789" * 1000
LIMIT = 60.0  # seconds; the mount of these tests is told to give up after 3


def fails_with(act: Callable[[], object]) -> int:
    """Run something that must fail; return its errno."""
    with pytest.raises(OSError, match=r"\[Errno \d+\]") as failure:
        act()
    assert failure.value.errno is not None
    return failure.value.errno


def test_what_is_cached_is_read_and_what_is_not_fails_until_the_server_is_back(
    account: MountedAccount,
) -> None:
    read = account.add_finished_job("read", {"result.dat": CONTENT})
    unread = account.add_finished_job("unread", {"result.dat": CONTENT[::-1]})
    jobs = account.root / "jobs"
    assert (jobs / read / "outputs" / "result.dat").read_bytes() == CONTENT
    list((jobs / unread / "outputs").iterdir())

    account.stop_server()
    assert (jobs / read / "outputs" / "result.dat").read_bytes() == CONTENT
    assert {read, unread} <= {path.name for path in jobs.iterdir()}
    code = fails_with((jobs / unread / "outputs" / "result.dat").read_bytes)
    assert code in (errno.EIO, errno.ETIMEDOUT), os.strerror(code)
    assert fails_with((jobs / "NoSuch" / "status").read_bytes) in (errno.EIO, errno.ENOENT, errno.ETIMEDOUT)
    assert "not reached" in (account.root / ".rescalefs" / "status").read_text()

    account.start_server()
    deadline = time.monotonic() + LIMIT
    while True:
        try:
            assert (jobs / unread / "outputs" / "result.dat").read_bytes() == CONTENT[::-1]
            break
        except OSError:
            assert time.monotonic() < deadline, "the mount did not recover"
            time.sleep(0.2)


def test_a_read_that_fails_never_looks_like_an_empty_file(account: MountedAccount) -> None:
    job_id = account.add_finished_job("wing", {"result.dat": CONTENT})
    file = account.root / "jobs" / job_id / "outputs" / "result.dat"
    with file.open("rb") as opened:
        account.stop_server()
        assert fails_with(opened.read) in (errno.EIO, errno.ETIMEDOUT)
    done = subprocess.run(["cat", str(file)], capture_output=True, timeout=LIMIT, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
    account.start_server()


def test_a_drop_made_while_the_server_is_gone_is_submitted_when_it_is_back(
    account: MountedAccount, pi_job: Path
) -> None:
    account.stop_server()
    subprocess.run(["cp", "-r", str(pi_job), str(account.root / "submit" / "pi")], check=True)
    status = account.root / "submit" / "pi" / "status"
    account.wait_for(lambda: "server" in account.text(status))
    account.start_server()
    account.wait_for(lambda: account.text(status).startswith("Completed"))
    assert account.jobs() == ["pi by Leibniz"]
