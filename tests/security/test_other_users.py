"""Other users of this machine: what they can read, take or have run. docs/security.md says what is promised.

As root, a second user really tries. As an ordinary user, who cannot become another one, the modes of every
folder on the way are what is looked at.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.mounted.account import MountedAccount

pytestmark = pytest.mark.fuse

NOBODY = 65534
IS_ROOT = os.geteuid() == 0

# Becomes the other user after it has started: an interpreter below /root could not be started as one.
READ_ALL = f"""
import os, sys
os.setgroups([]), os.setgid({NOBODY}), os.setuid({NOBODY})
for path in sys.stdin.read().split("\\0"):
    try:
        os.scandir(path).close() if os.path.isdir(path) else open(path, "rb").read(1)
    except OSError:
        continue
    print(path)
"""


def readable_by_another(paths: Iterable[Path]) -> list[str]:
    """Which of these files and folders a user without rights can open."""
    names = [str(path) for path in paths]
    if IS_ROOT:
        done = subprocess.run(
            [sys.executable, "-I", "-c", READ_ALL],
            input="\0".join(names),
            cwd="/",
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.splitlines()
    return [name for name in names if all(open_to_others(each) for each in (Path(name), *Path(name).parents))]


def open_to_others(path: Path) -> bool:
    mode = path.lstat().st_mode
    return bool(mode & (stat.S_IXOTH if stat.S_ISDIR(mode) else stat.S_IROTH))


@pytest.fixture
def shared() -> Iterator[MountedAccount]:
    """An account in a folder that everyone may pass, as a home of mode 755 is. pytest's own are closed."""
    work = Path(tempfile.mkdtemp(prefix="rescalefs-test-"))
    work.chmod(0o755)
    account = MountedAccount(work)
    try:
        account.mount()
        yield account
    finally:
        account.close()
        shutil.rmtree(work)


def made_by_us(account: MountedAccount) -> list[Path]:
    folders = [account.work / kind for kind in ("cache", "config", "data", "state")]
    return [path for folder in folders if folder.exists() for path in folder.rglob("*")]


def test_no_file_that_a_mount_makes_can_be_read_by_another_user(shared: MountedAccount, pi_job: Path) -> None:
    drop = shared.root / "submit" / "pi"
    shutil.copytree(pi_job, drop)
    shared.wait_for_status(drop, "Completed")
    (drop / "job" / "outputs" / "pi_estimate.res").read_bytes()
    made = made_by_us(shared)
    kinds = {path.name for path in made}
    assert {"journal.sqlite", "mount.log", "cache.db", "listings"} <= kinds
    assert readable_by_another(made) == []
    # The test itself can tell: a file beside them is found.
    (shared.work / "public").write_text("x")
    (shared.work / "public").chmod(0o644)
    assert readable_by_another([shared.work / "public"]) == [str(shared.work / "public")]


def test_no_one_else_can_look_into_the_mount(shared: MountedAccount) -> None:
    job_id = shared.add_finished_job("wing", {"result.dat": b"secret"})
    shared.wait_for(lambda: (shared.root / "jobs" / job_id / "outputs" / "result.dat").exists())
    if IS_ROOT:
        inside = [shared.root, shared.root / "jobs", shared.root / "jobs" / job_id / "outputs" / "result.dat"]
        assert readable_by_another(inside) == []
    options = next(
        line.split()[3] for line in Path("/proc/mounts").read_text().splitlines() if str(shared.root) in line
    )
    assert "allow_other" not in options.split(",")


def test_neither_set_uid_bits_nor_device_nodes_work_through_the_mount(account: MountedAccount) -> None:
    line = next(
        line for line in Path("/proc/mounts").read_text().splitlines() if line.split()[1] == str(account.root)
    )
    assert {"nosuid", "nodev"} <= set(line.split()[3].split(","))
    node = account.root / "submit" / "null"
    if IS_ROOT:
        os.mknod(node, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        with pytest.raises(PermissionError):
            node.open("rb")
    else:
        with pytest.raises(PermissionError):
            os.mknod(node, 0o666 | stat.S_IFCHR, os.makedev(1, 3))


def test_what_a_server_lists_with_odd_bits_is_an_ordinary_file(account: MountedAccount) -> None:
    job_id = account.add_finished_job("wing", {"run.sh": b"#!/bin/sh\n"})
    file = account.root / "jobs" / job_id / "outputs" / "run.sh"
    account.wait_for(file.exists)
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
