"""`scripts/setup` on machines that it cannot prepare: it names what is missing, and stops."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A folder for PATH, with Python and the shell's own tools, and neither rsync nor apt-get."""
    for name in ("bash", "env", "dirname", "uname", "grep", "sed", "touch"):
        found = shutil.which(name)
        assert found is not None
        (tmp_path / name).symlink_to(found)
    (tmp_path / "python3").symlink_to(sys.executable)
    return tmp_path


def command(path: Path, name: str, script: str) -> None:
    (path / name).write_text(f"#!/bin/sh\n{script}\n")
    (path / name).chmod(0o755)


def setup(path: Path) -> str:
    done = subprocess.run(
        [ROOT / "scripts" / "setup"], env={"PATH": str(path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    return done.stderr


def test_without_apt_get_it_names_the_packages_of_each_system_and_stops(path: Path) -> None:
    command(path, "id", "echo 0")
    said = setup(path)
    assert "this machine lacks:" in said
    assert "rsync" in said
    for manager in ("dnf install", "pacman -S", "zypper install", "apk add", "brew install"):
        assert manager in said


def test_without_root_and_sudo_it_says_what_root_has_to_run_and_stops(path: Path) -> None:
    command(path, "id", "echo 1000")
    command(path, "apt-get", "exit 9")
    said = setup(path)
    assert "apt-get install" in said
    assert "rsync" in said
    assert ".venv" not in said
