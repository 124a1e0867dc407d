"""Mounting, unmounting, and what is left behind when something dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest

from rescalefs.mount.claims import is_running
from rescalefs.simulator.faults import Fault, Hang
from tests.mounted.account import MountedAccount

pytestmark = pytest.mark.fuse


def test_mount_returns_once_the_mount_answers(account: MountedAccount) -> None:
    assert account.root.is_mount()
    assert {path.name for path in account.root.iterdir()} >= {"jobs", "by-name", "submit"}
    assert (account.root / ".rescalefs" / "status").read_text().count("\n") >= 5


def test_umount_ends_the_daemon_and_leaves_nothing_mounted(account: MountedAccount) -> None:
    pid = account.daemon()
    account.run("umount", str(account.root))
    assert not account.root.is_mount()
    assert not is_running(pid)


@pytest.mark.parametrize("command", ["rescalefs umount", "fusermount -u"])
def test_umount_does_not_wait_for_a_read_that_waits_for_the_network(
    account: MountedAccount, command: str
) -> None:
    account.run("umount", str(account.root))
    account.run(
        *("mount", str(account.root)),
        RESCALEFS_DEADLINE="300",
        RESCALEFS_READ_TIMEOUT="300",
        RESCALEFS_PATIENCE="300",
    )
    pid = account.daemon()
    job_id = account.add_finished_job("wing", {"result.dat": b"x" * 1_000_000})
    faults = account.simulator.faults
    faults.add(Fault(Hang(), path="contents", times=None))
    with subprocess.Popen(["cat", str(account.root / "jobs" / job_id / "outputs" / "result.dat")]) as reader:
        account.wait_for(lambda: faults.report()[0]["used"])
        reader.kill()
    program, *words = command.split()
    if program == "rescalefs":
        account.run(*words, str(account.root))
    else:
        subprocess.run([program, *words, account.root], check=True)
    account.wait_for(lambda: not is_running(pid))
    faults.clear()


def test_a_lazy_unmount_leaves_readers_their_files(account: MountedAccount) -> None:
    job_id = account.add_finished_job("wing", {"result.dat": b"x" * 1_000_000})
    pid = account.daemon()
    with (account.root / "jobs" / job_id / "outputs" / "result.dat").open("rb", buffering=0) as file:
        subprocess.run(["fusermount", "-u", "-z", account.root], check=True)
        assert not account.root.is_mount()
        assert file.read(1000) == b"x" * 1000
        assert is_running(pid)
    account.wait_for(lambda: not is_running(pid))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(account: MountedAccount, number: signal.Signals) -> None:
    pid = account.daemon()
    os.kill(pid, number)
    account.wait_for(lambda: not account.root.is_mount() and not is_running(pid))


def test_a_stale_mountpoint_is_recognised_and_cleared(account: MountedAccount) -> None:
    job_id = account.add_finished_job("wing", {"result.dat": b"x"})
    pid = account.daemon()
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(OSError, match="Transport endpoint is not connected"):
        account.wait_for(lambda: account.root.stat() is None)
    account.mount()
    assert (account.root / "jobs" / job_id / "outputs" / "result.dat").read_bytes() == b"x"


def test_a_second_mount_on_the_same_place_is_refused_with_the_reason(account: MountedAccount) -> None:
    done = account.run("mount", str(account.root), check=False)
    assert done.returncode == 1
    assert "already mounted" in done.stderr
    assert account.root.is_mount()


def test_a_mountpoint_that_is_not_fit_is_refused_with_the_reason(account: MountedAccount) -> None:
    full = account.work / "full"
    full.mkdir()
    (full / "file").touch()
    done = account.run("mount", str(full), check=False)
    assert done.returncode == 1
    assert str(full) in done.stderr
    assert "empty" in done.stderr
    done = account.run("mount", str(full / "file"), check=False)
    assert done.returncode == 1
    assert "not a directory" in done.stderr


def test_a_wrong_key_is_told_before_anything_is_mounted(account: MountedAccount) -> None:
    other = account.work / "other"
    done = account.run("mount", str(other), check=False, RESCALE_API_KEY="f" * 40)
    assert done.returncode == 1
    assert "key" in done.stderr
    assert "f" * 40 not in done.stderr
    assert not other.is_mount()


def test_a_mount_without_a_server_says_so(account: MountedAccount) -> None:
    account.run("umount", str(account.root))
    account.stop_server()
    done = account.run("mount", str(account.root))
    assert "mounted on" in done.stderr
    assert "(not reached: " in done.stderr
    account.start_server()


def test_foreground_tells_systemd_that_it_is_ready_and_that_it_stops(account: MountedAccount) -> None:
    account.run("umount", str(account.root))
    with account.notify_socket() as (address, messages):
        process = account.start("mount", "--foreground", str(account.root), NOTIFY_SOCKET=address)
        assert "READY=1" in messages()
        assert account.root.is_mount()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert "STOPPING=1" in messages()
    assert not account.root.is_mount()


def test_read_only_refuses_drops_too(account: MountedAccount) -> None:
    account.run("umount", str(account.root))
    account.mount("--read-only")
    done = subprocess.run(
        ["mkdir", str(account.root / "submit" / "x")], capture_output=True, text=True, check=False
    )
    assert "Read-only file system" in done.stderr


def test_top_tells_what_happens_between_two_looks(account: MountedAccount) -> None:
    job_id = account.add_finished_job("wing", {"result.dat": b"x" * 1_000_000})
    (account.root / "jobs" / job_id / "outputs" / "result.dat").read_bytes()
    shown = json.loads(account.run("top", "--json", "--every", "1").stdout)
    ours = next(each for each in shown if each["mounted_on"] == str(account.root))
    assert ours["bytes_fetched"] == 1_000_000
    assert ours["bytes_per_second"] == 0
    assert ours["jobs"] == 1
    assert ours["trouble"] is None


def test_status_names_the_mount_and_its_account(account: MountedAccount) -> None:
    done = account.run("status")
    assert str(account.root) in done.stdout
    began = time.monotonic()
    account.run("umount", str(account.root))
    assert time.monotonic() >= began
    assert str(account.root) not in account.run("status").stdout
