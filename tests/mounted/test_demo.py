"""`rescalefs demo`, as a new user runs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rescalefs.mount.mountpoint import mounts

pytestmark = pytest.mark.fuse


def demo(tmp_path: Path, *flags: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TMPDIR": str(tmp_path), **variables}
    command = [sys.executable, "-m", "rescalefs", "demo", *flags]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=110, check=False)


def test_the_demo_shows_it_all_and_kept_it_ends_as_it_says_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done = demo(tmp_path, "--keep")
    assert done.returncode == 0, done.stdout + done.stderr
    for sign in (
        "$ rescalefs mount",
        "Completed",
        "residuals.log",
        "pi_estimate.bin: OK",
        "drops: 2 completed",
    ):
        assert sign in done.stdout
    (folder,) = tmp_path.iterdir()
    assert (folder / "Rescale").is_mount()
    ending = re.search(r"^  (rescalefs umount .*)$", done.stdout, re.MULTILINE)
    assert ending is not None
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(["bash", "-c", ending[1]], env={**os.environ, "PATH": path}, check=True, timeout=60)
    assert list(tmp_path.iterdir()) == []
    assert not [entry for entry in mounts() if str(tmp_path) in str(entry.path)]


def test_a_command_that_fails_fails_the_demo_and_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "bin"
    broken.mkdir()
    (broken / "tail").symlink_to("/bin/false")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    done = demo(scratch, PATH=f"{broken}:{os.environ['PATH']}")
    assert done.returncode == 1
    assert "exit code 1 from: timeout 3 tail" in done.stderr
    assert list(scratch.iterdir()) == []  # with a job that runs, and a mount
