"""Every flag of `rescalefs mount` has its effect."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import time
from pathlib import Path

import pytest

from rescalefs.config import write_profile
from rescalefs.mount.mountpoint import mount_at
from rescalefs.simulator import Fault
from rescalefs.simulator.faults import Hang
from tests.mounted.account import MountedAccount, as_nobody

pytestmark = pytest.mark.fuse


@pytest.fixture
def unmounted(account: MountedAccount) -> MountedAccount:
    """An account that is to be mounted with other flags."""
    account.run("umount", str(account.root))
    return account


def status(account: MountedAccount) -> dict[str, str]:
    text = (account.root / ".rescalefs" / "status").read_text()
    return dict(line.split(": ", 1) for line in text.splitlines())


def size_of(folder: Path) -> int:
    """The bytes of all blocks in a cache that may evict some meanwhile, with the folders they were in."""
    total = 0
    for where, _, names in os.walk(folder):  # passes over folders that are gone
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += (Path(where) / name).stat().st_size if name.endswith(".val") else 0
    return total


def test_cache_dir_is_where_bytes_are_kept_and_cache_size_how_many(unmounted: MountedAccount) -> None:
    cache = unmounted.work / "elsewhere"
    content = {f"{number}.bin": bytes([number]) * 5_000_000 for number in range(8)}
    unmounted.mount("--cache-dir", str(cache), "--cache-size", "12M", "--connections", "1")
    job_id = unmounted.add_finished_job("wing", content)
    for name, expected in content.items():
        assert (unmounted.root / "jobs" / job_id / "outputs" / name).read_bytes() == expected
    assert status(unmounted)["cache"].endswith("of 12.0 MiB")
    # One block for each connection may be over it while it is written.
    unmounted.wait_for(lambda: 0 < size_of(cache) <= (12 + 2 * 4) << 20)
    assert cache.stat().st_mode & 0o777 == 0o700


def test_connections_is_how_many_fetch_at_once(unmounted: MountedAccount) -> None:
    unmounted.mount("--connections", "2")
    job_id = unmounted.add_finished_job("wing", {f"{number}.bin": b"x" for number in range(6)})
    faults = unmounted.simulator.faults
    faults.add(Fault(Hang(), path="contents", times=None))

    def hanging() -> int:
        return int(faults.report()[0]["used"])

    outputs = unmounted.root / "jobs" / job_id / "outputs"
    readers = [subprocess.Popen(["cat", str(file)], stderr=subprocess.DEVNULL) for file in outputs.iterdir()]
    unmounted.wait_for(lambda: hanging() == 3)  # and a spare one, for a reader who has nothing under way
    for _ in range(20):  # a fourth one would come at once, if it came
        assert hanging() == 3
        time.sleep(0.02)
    faults.clear()
    for reader in readers:
        reader.wait()


def test_profile_names_the_account(unmounted: MountedAccount) -> None:
    home = unmounted.work / "home"
    home.mkdir()
    write_profile(
        home / ".config" / "rescale" / "apiconfig", "eu", unmounted.simulator.url, unmounted.simulator.api_key
    )
    unmounted.environment["HOME"] = str(home)
    del unmounted.environment["RESCALE_API_KEY"], unmounted.environment["RESCALE_API_URL"]
    unmounted.mount("--profile", "eu")
    assert status(unmounted)["account"].startswith("eu@127.0.0.1_")
    done = unmounted.run("mount", "--profile", "us", str(unmounted.work / "other"), check=False)
    assert done.returncode == 1
    assert "no profile [us]" in done.stderr


def test_allow_other_lets_other_users_read_and_without_it_nobody_else_may(unmounted: MountedAccount) -> None:
    """Root becomes another user; an ordinary user, who cannot, looks at what the kernel was asked for."""
    job_id = unmounted.add_finished_job("wing", {"result.dat": b"42"})
    file = f"jobs/{job_id}/outputs/result.dat"
    is_root = os.geteuid() == 0
    unmounted.mount()
    assert "allow_other" not in mount_options(unmounted)
    if is_root:
        assert as_nobody(unmounted.root, "cat", file).returncode == 1
    unmounted.run("umount", str(unmounted.root))
    if not is_root and not may_allow_other():
        refused = unmounted.run("mount", str(unmounted.root), "--allow-other", check=False)
        assert refused.returncode == 1
        assert "--allow-other needs the line user_allow_other in /etc/fuse.conf" in refused.stderr
        assert mount_at(unmounted.root) is None
        return
    unmounted.mount("--allow-other")
    assert {"allow_other", "default_permissions"} <= mount_options(unmounted)  # modes and owners count
    if is_root:
        assert as_nobody(unmounted.root, "cat", file).stdout == "42"
        assert "Permission denied" in as_nobody(unmounted.root, "touch", "submit/x").stderr
    assert stat.S_IMODE((unmounted.root / "submit").stat().st_mode) & 0o022 == 0


def may_allow_other() -> bool:
    settings = Path("/etc/fuse.conf")
    return settings.exists() and "user_allow_other" in settings.read_text().split("\n")


def mount_options(account: MountedAccount) -> set[str]:
    lines = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    return next(set(options.split(",")) for _, where, _, options, *_ in lines if where == str(account.root))


def test_a_wrong_flag_is_refused_with_what_would_be_right(account: MountedAccount) -> None:
    wrong = ("--cache-size", "huge", "--connections", "none", "--verify", "maybe")
    done = account.run("mount", *wrong, str(account.work / "other"), check=False)
    assert done.returncode == 2
    for right in ("20G", "auto", "eof, strict, off"):
        assert right in done.stderr


def test_inode32_keeps_numbers_below_2_to_the_32_and_the_same_for_the_life_of_the_mount(
    unmounted: MountedAccount,
) -> None:
    job_id = unmounted.add_finished_job("wing", {f"fields/{number}.vtk": b"x" for number in range(50)})

    def numbers() -> dict[str, int]:
        found = {}
        for folder, folders, files in os.walk(unmounted.root):
            listed = {entry.name: entry.inode() for entry in os.scandir(folder)}
            for name in (*folders, *files):
                path = Path(folder, name)
                found[str(path)] = path.lstat().st_ino
                assert listed[name] == path.lstat().st_ino
        return found

    unmounted.mount("--inode32")
    (unmounted.root / "submit" / "note").write_text("a file of the backing directory")
    unmounted.wait_for(lambda: (unmounted.root / "jobs" / job_id).exists())
    before = numbers()
    assert len(before) > 60
    assert max(before.values()) < 1 << 32
    assert len(set(before.values())) == len(before)
    again = numbers()
    assert {path: again[path] for path in before} == before
    unmounted.run("umount", str(unmounted.root))
    unmounted.mount()
    assert max(numbers().values()) > 1 << 32
