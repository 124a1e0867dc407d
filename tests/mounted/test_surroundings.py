"""A mount depends neither on the folder that it is started in nor on room for temporary files."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from rescalefs import surroundings
from rescalefs.mount.claims import daemon_of
from rescalefs.mount.mountpoint import absolute, is_mounted
from tests.mounted.account import MountedAccount

pytestmark = pytest.mark.fuse


def test_the_daemon_keeps_no_folder_busy(account: MountedAccount) -> None:
    assert Path(f"/proc/{account.daemon()}/cwd").readlink() == Path("/")


def test_a_foreground_mount_keeps_none_busy_either(account: MountedAccount) -> None:
    account.run("umount", str(account.root))
    with account.notify_socket() as (address, messages):
        process = account.start("mount", "--foreground", str(account.root), NOTIFY_SOCKET=address)
        assert "READY=1" in messages()
        assert Path(f"/proc/{process.pid}/cwd").readlink() == Path("/")


def test_no_program_that_the_daemon_starts_can_find_the_key(account: MountedAccount, pi_job: Path) -> None:
    found = account.work / "found"
    account.run("umount", str(account.root))
    hook = f"env > {found}; command -v rescalefs >> {found}"
    account.run("mount", str(account.root), RESCALEFS_ON_FINISHED=hook)
    shutil.copytree(pi_job, account.root / "submit" / "pi")
    account.wait_for(lambda: account.text(found).endswith("/rescalefs\n"))
    key = account.environment["RESCALE_API_KEY"]
    assert key not in found.read_text()
    assert "RESCALEFS_JOB=" in found.read_text()


@pytest.mark.parametrize("folder", ["x" * 120, "missing"])
def test_temporary_files_are_not_needed(account: MountedAccount, folder: str) -> None:
    job_id = account.add_finished_job("wing", {"result.dat": b"x" * 100_000})
    account.run("umount", str(account.root))
    if folder != "missing":
        (account.work / folder).mkdir()
    account.run("mount", str(account.root), TMPDIR=str(account.work / folder))
    assert (account.root / "jobs" / job_id / "outputs" / "result.dat").stat().st_size == 100_000


def test_relative_settings_mean_the_folder_that_the_command_was_given_in(account: MountedAccount) -> None:
    account.run("umount", str(account.root))
    relative = os.path.relpath(account.work / "elsewhere", Path(__file__).parents[2])
    account.run("mount", str(account.root), f"--cache-dir={relative}")
    assert (account.work / "elsewhere").is_dir()
    rows = [line.split("\t") for line in (account.root / ".rescalefs" / "config").read_text().splitlines()]
    (shown,) = (Path(value) for name, value, _ in rows if name == "cache_dir")
    assert shown.is_absolute()
    assert shown.samefile(account.work / "elsewhere")
    account.run("umount", str(account.root))
    account.run("mount", str(account.root), XDG_STATE_HOME=os.path.relpath(account.work / "s", Path.cwd()))
    assert (account.work / "s" / "rescalefs").is_dir()


def test_a_mountpoint_that_is_a_link_is_the_folder_that_it_leads_to(
    account: MountedAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", account.environment["XDG_STATE_HOME"])
    account.run("umount", str(account.root))
    link, relative = account.work / "link", account.work / "relative"
    link.symlink_to(account.root)
    relative.symlink_to("link")
    account.run("mount", str(relative))
    assert is_mounted(relative)
    assert is_mounted(account.root)
    daemon = daemon_of(absolute(relative))
    assert daemon == (account.daemon(), account.root)
    assert f"mounted on: {account.root}\n" in account.run("status").stdout
    done = account.run("mount", str(link), check=False)
    assert "already mounted" in done.stderr

    os.kill(account.daemon(), signal.SIGKILL)
    account.wait_for(lambda: daemon_of(absolute(relative)) is None)
    account.run("mount", str(relative))  # clears the dead one
    os.kill(account.daemon(), signal.SIGKILL)
    account.wait_for(lambda: daemon_of(absolute(relative)) is None)
    account.run("umount", str(relative))
    assert not is_mounted(account.root)
    assert link.is_symlink()

    account.run("mount", str(link))
    account.run("umount", str(link))
    assert not is_mounted(account.root)


def test_the_log_of_a_mount_is_its_owners_alone_and_goes_on_after_the_start(account: MountedAccount) -> None:
    account.run("umount", str(account.root))
    (log,) = (account.work / "state").glob("rescalefs/*/mount.log")
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert "watching" in log.read_text()
    log.write_text("x" * 2_000_001 + "\n")
    log.chmod(0o400)
    account.mount()
    account.wait_for(lambda: log.with_name("mount.log.1").exists())
    account.run("umount", str(account.root))
    assert log.stat().st_size < 10_000


def test_results_can_be_read_where_the_home_takes_nothing(account: MountedAccount) -> None:
    job_id = account.add_finished_job("wing", {"result.dat": b"x" * 1000})
    account.run("umount", str(account.root))
    (account.work / "file").touch()
    nowhere = {f"XDG_{kind}_HOME": str(account.work / "file" / kind) for kind in ("CACHE", "DATA", "STATE")}
    account.run("mount", str(account.root), "--read-only", check=True, **nowhere)
    assert (account.root / "jobs" / job_id / "outputs" / "result.dat").read_bytes() == b"x" * 1000
    assert list((account.root / "submit").iterdir()) == []
    assert "nobody: --read-only" in (account.root / ".rescalefs" / "status").read_text()
    account.run("umount", str(account.root), check=True, **nowhere)
    assert account.run("drops", check=True, **nowhere).stdout == ""
    assert job_id in account.run("jobs", check=True, **nowhere).stdout

    done = account.run("mount", str(account.root), check=False, **nowhere)
    assert done.returncode == 1
    assert done.stderr.startswith("rescalefs: cannot make ")
    assert "--read-only` does without" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_mountpoint_may_be_written_in_any_way(account: MountedAccount) -> None:
    account.run("umount", str(account.root))
    done = account.run("mount", f"{account.work}/not-there/../Rescale/.")
    assert account.root.is_mount()
    assert "until it is back" not in done.stderr
    account.run("umount", f"{account.root}/")
    assert not account.root.is_mount()


def test_a_current_folder_that_was_removed_is_named(account: MountedAccount) -> None:
    script = 'mkdir gone && cd gone && rmdir ../gone && "$@"'
    command = ["sh", "-c", script, "sh", *surroundings.ourselves("mount", "here")]
    done = subprocess.run(
        command, cwd=account.work, env=account.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.endswith("which was removed. Give the whole path\n")
    assert done.stderr.count("\n") == 1


def test_links_that_lead_in_a_circle_are_refused(account: MountedAccount) -> None:
    (account.work / "a").symlink_to("b")
    (account.work / "b").symlink_to("a")
    done = account.run("mount", str(account.work / "a"), check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1


def test_a_folder_whose_name_is_not_utf8_is_shown_as_it_is(account: MountedAccount) -> None:
    folder = os.fsdecode(bytes(account.work) + b"/state \xff")
    account.run("umount", str(account.root))
    account.run("mount", str(account.root), XDG_STATE_HOME=folder)
    assert os.fsencode(folder) in (account.root / ".rescalefs" / "status").read_bytes()
