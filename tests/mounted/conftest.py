"""Real mounts in processes of their own, which are gone after each test, however it ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rescalefs.mount.mountpoint import detach, mount_at
from rescalefs.mount.notify import VARIABLE
from tests.mounted.account import account, pi_job, shared_account

__all__ = ["account", "mount", "pi_job", "shared_account", "state_home"]

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0  # s for a daemon to be ready, or to end: only a broken one takes as long


@dataclass
class Mounted:
    """A daemon and its mountpoint."""

    path: Path
    daemon: subprocess.Popen[bytes]
    messages: Path  # the daemon's stdout and stderr
    used: list[Path] = field(default_factory=list)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def unmount(self) -> int:
        """As a user would, with fusermount; return the daemon's exit code."""
        detach(self.path)
        return self.daemon.wait(PATIENCE)

    def signal(self, number: signal.Signals) -> int:
        """Send a signal to the daemon and return its exit code."""
        self.daemon.send_signal(number)
        return self.daemon.wait(PATIENCE)

    def said(self) -> str:
        return self.messages.read_text(errors="replace")


MountNow = Callable[..., Mounted]


@pytest.fixture
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test, and all it starts, keeps state; never the user's own."""
    home = tmp_path / "state"
    monkeypatch.setenv("XDG_STATE_HOME", str(home))
    return home


@pytest.fixture
def mount(tmp_path: Path, state_home: Path) -> Iterator[MountNow]:
    """``mount(command, mountpoint)`` starts a daemon in the foreground and returns once it says it is ready.

    ``command`` is everything after ``python``: ``["-m", "rescalefs", "mount", "--foreground", ...]``.
    After the test whatever is left is unmounted, lazily if need be, and killed.
    """
    running: list[Mounted] = []

    def start(
        command: Sequence[str], mountpoint: Path, environment: Mapping[str, str] | None = None
    ) -> Mounted:
        messages = tmp_path / f"daemon-{len(running)}.log"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as news, messages.open("wb") as said:
            # An abstract name: a path below tmp_path may be longer than the 108 bytes a socket's may have.
            address = f"\0rescalefs-test-{os.getpid()}-{os.urandom(6).hex()}"
            news.bind(address)
            daemon = subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env={**os.environ, **(environment or {}), VARIABLE: "@" + address[1:]},
            )
            mounted = Mounted(mountpoint, daemon, messages)
            running.append(mounted)
            _await(news, mounted)
        return mounted

    try:
        yield start
    finally:
        for mounted in reversed(running):
            _put_down(mounted)


def _await(news: socket.socket, mounted: Mounted) -> None:
    news.settimeout(0.1)
    for _ in range(int(PATIENCE / 0.1)):
        with contextlib.suppress(TimeoutError):
            if b"READY=1" in news.recv(4096):
                return
        if mounted.daemon.poll() is not None:
            break
    pytest.fail(f"the mount did not come up:\n{mounted.said()}")


def _put_down(mounted: Mounted) -> None:
    if mount_at(mounted.path) is not None:
        detach(mounted.path, lazy=True)
    try:
        mounted.daemon.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        mounted.daemon.kill()
        mounted.daemon.wait()
        pytest.fail(f"the daemon did not end when unmounted:\n{mounted.said()}")
    finally:
        if mount_at(mounted.path) is not None:
            detach(mounted.path, lazy=True)
