"""The disk below submit/ refuses what is written: the program is told, and no drop is submitted with it."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rescalefs.mount.mountpoint import detach
from tests.mounted.account import ROOT, MountedAccount

pytestmark = pytest.mark.fuse

OPERATIONS = {"write": errno.ENOSPC, "flush": errno.EDQUOT, "fsync": errno.EIO}


class Disk:
    """Where the account keeps its drops; refuses what it is told to."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "disk"
        self._orders = folder / "refuse"

    def refuse(self, operation: str, number: int) -> None:
        self._orders.with_suffix(".new").write_text(f"{operation} {number}")
        self._orders.with_suffix(".new").rename(self._orders)

    def accept(self) -> None:
        self._orders.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path)
    (tmp_path / "backing").mkdir()
    disk.path.mkdir()
    command = [sys.executable, "-m", "tests.mounted.refusing_disk", str(disk.path), str(tmp_path / "backing")]
    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            deadline = time.monotonic() + 20
            while not disk.path.is_mount():
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.02)
            yield disk
        finally:
            if disk.path.is_mount():
                detach(disk.path, lazy=True)
            else:
                process.terminate()


@pytest.fixture
def account(disk: Disk, tmp_path: Path) -> Iterator[MountedAccount]:
    account = MountedAccount(tmp_path / "account")
    account.environment["XDG_DATA_HOME"] = str(disk.path)
    try:
        account.mount()
        yield account
    finally:
        account.close()


def errno_of(act: Callable[[], object]) -> int:
    """What it fails with; 0 where it succeeds."""
    try:
        act()
    except OSError as error:
        return error.errno or -1
    return 0


@pytest.mark.parametrize("operation", list(OPERATIONS))
def test_the_program_that_writes_is_told_what_the_disk_said(
    account: MountedAccount, disk: Disk, operation: str
) -> None:
    file = account.root / "submit" / "notes.txt"
    descriptor = os.open(file, os.O_CREAT | os.O_WRONLY)
    disk.refuse(operation, OPERATIONS[operation])
    said = {
        "write": errno_of(lambda: os.write(descriptor, b"x")),
        "fsync": errno_of(lambda: os.fsync(descriptor)),
        "flush": errno_of(lambda: os.close(descriptor)),
    }
    assert said == {each: OPERATIONS[each] if each == operation else 0 for each in OPERATIONS}


def test_a_copy_that_failed_at_close_fails_and_is_not_submitted(
    account: MountedAccount, disk: Disk, pi_job: Path
) -> None:
    drop = account.root / "submit" / "pi"
    drop.mkdir()
    disk.refuse("flush", errno.EDQUOT)
    first, *others = sorted(pi_job.iterdir(), key=lambda file: file.name == "job.json")
    copied = subprocess.run(["cp", first, drop], capture_output=True, text=True, check=False)
    assert copied.returncode == 1
    assert os.strerror(errno.EDQUOT) in copied.stderr
    disk.accept()
    for file in others:
        shutil.copyfile(file, drop / file.name)
    account.wait_for(lambda: "writing it failed" in account.text(drop / "status"))
    assert account.text(drop / "status") == (
        f"waiting until {first.name} is written again, or removed: "
        f"writing it failed ({os.strerror(errno.EDQUOT)})\n"
    )
    assert account.jobs() == []
    subprocess.run(["cp", first, drop], check=True)
    account.wait_for_status(drop, "Completed")


def test_a_mapped_write_that_the_disk_refuses_is_told_by_fsync(account: MountedAccount, disk: Disk) -> None:
    file = account.root / "submit" / "notes.txt"
    file.write_bytes(b"." * 4096)
    disk.refuse("write", errno.ENOSPC)
    program = (
        "import mmap, os, sys; file = open(sys.argv[1], 'r+b'); pages = mmap.mmap(file.fileno(), 4096)\n"
        "pages[:4] = b'text'\n"
        "try: pages.flush(); os.fsync(file.fileno())\n"
        "except OSError as error: print(error.errno)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, file], capture_output=True, text=True, check=False)
    assert int(done.stdout) in (errno.ENOSPC, errno.EIO)
