"""Commands while a daemon does not answer: it is stopped, or hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rescalefs.mount.mountpoint import mount_at
from tests.mounted.account import PATIENCE, MountedAccount

pytestmark = pytest.mark.fuse

ROOT = Path(__file__).parents[2]


def test_no_command_waits_for_a_mount_whose_daemon_is_stopped(account: MountedAccount) -> None:
    drop = account.root / "submit" / "wing"
    drop.mkdir()
    account.wait_for_status(drop, "waiting")
    pid, root = account.daemon(), str(account.root)
    commands = {
        "status": ["status"],
        "top": ["top", "--json"],
        "drops": ["drops"],
        "doctor": ["doctor"],
        "stop": ["stop", f"{root}/submit/wing"],
        "submit": ["submit", f"{root}/submit/wing"],
        "mount": ["mount", root],
    }
    os.kill(pid, signal.SIGSTOP)
    try:
        account.wait_for(lambda: _is_silent(account.root))  # the kernel remembers attributes for a second
        ended = _all_at_once(account, commands)
        assert {name for name, (code, _) in ended.items() if code == 0} >= {"status", "top", "drops"}
        for name in ("status", "top", "doctor", "stop", "submit"):
            assert "does not answer" in ended[name][1], ended[name]
        assert "already mounted" in ended["mount"][1]
        assert "wing" in ended["drops"][1]
        done = account.run("umount", root, check=False)
        assert (done.returncode, f"kill -CONT {pid}" in done.stderr) == (1, True), done.stderr
        # A command's child that still waits for an answer keeps the mount in use, until the daemon goes on.
        # The table of mounts is asked: `Path.is_mount` would wait for the daemon as well, for ever.
        assert mount_at(account.root) is None or "in use" in done.stderr
    finally:
        os.kill(pid, signal.SIGCONT)


def _is_silent(mountpoint: Path) -> bool:
    from rescalefs.mount.mountpoint import Condition, condition_of

    return condition_of(mountpoint) is Condition.SILENT


def _all_at_once(account: MountedAccount, commands: dict[str, list[str]]) -> dict[str, tuple[int, str]]:
    """Exit code and all that was said, of each command."""
    started = {
        name: subprocess.Popen(
            [sys.executable, "-m", "rescalefs", *words],
            cwd=ROOT,
            env=account.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name, words in commands.items()
    }
    ended = {}
    try:
        for name, process in started.items():
            said, _ = process.communicate(timeout=PATIENCE)
            ended[name] = (process.returncode, said)
    finally:
        for process in started.values():
            process.kill()
    return ended
