from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from rescalefs.clock import Clock, SystemClock
from rescalefs.errors import CannotMount
from rescalefs.mount import MountSettings, mount_background, umount

READY = """
import os, sys
from rescalefs.mount.notify import Notifier
print("coming up", flush=True)
Notifier.from_environment().ready("fine")
assert os.getsid(0) == os.getpid()
assert sys.stdin.read() == ""
os.read(os.open(sys.argv[1], os.O_RDONLY), 1)
"""


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


class ClockOfDays(SystemClock):
    """A day passes at each look, as soon as a file has something in it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._days = 0

    def monotonic(self) -> float:
        self._days += self._file.exists() and self._file.stat().st_size > 0
        return 86_400.0 * self._days


def start(tmp_path: Path, script: str, clock: Clock | None = None) -> int:
    command = [sys.executable, "-c", script, str(tmp_path / "fifo")]
    return mount_background(command, tmp_path / "mnt", tmp_path / "logs" / "mount.log", clock=clock)


def test_it_returns_once_the_daemon_says_it_is_ready(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    pid = start(tmp_path, READY)
    assert os.waitpid(pid, os.WNOHANG) == (0, 0)
    (tmp_path / "fifo").write_text("end")
    assert os.waitpid(pid, 0) == (pid, 0)
    assert (tmp_path / "logs" / "mount.log").read_text() == "coming up\n"


def test_a_daemon_that_ends_first_is_reported_in_its_own_words(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "mount.log"
    log.parent.mkdir()
    log.write_text("words of an earlier daemon\n")
    with pytest.raises(CannotMount) as caught:
        start(tmp_path, "raise SystemExit('cannot mount on ~/x: it is not empty')")
    assert str(caught.value) == "cannot mount on ~/x: it is not empty"


def test_of_what_a_daemon_says_the_reason_alone_is_told_once(tmp_path: Path) -> None:
    said = "2026-11-24 WARNING the server is not reached\\nrescalefs: cannot mount on ~/x: it is a file"
    with pytest.raises(CannotMount) as caught:
        start(tmp_path, f"raise SystemExit('{said}')")
    assert str(caught.value) == "cannot mount on ~/x: it is a file"


def test_a_daemon_that_ends_without_a_word_is_reported_with_its_exit_code(tmp_path: Path) -> None:
    with pytest.raises(CannotMount, match=f"cannot mount on {tmp_path / 'mnt'}: .* exit code 7"):
        start(tmp_path, "raise SystemExit(7)")


def test_a_daemon_that_never_answers_is_ended(tmp_path: Path) -> None:
    script = "import os, signal, sys; open(sys.argv[1], 'w').write(str(os.getpid())); signal.pause()"
    with pytest.raises(CannotMount, match="no answer within"):
        start(tmp_path, script, ClockOfDays(tmp_path / "fifo"))
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "fifo").read_text()), signal.SIG_DFL)


def test_what_is_not_ours_is_not_unmounted(tmp_path: Path) -> None:
    with pytest.raises(CannotMount, match="/proc is not ours: proc"):
        umount(Path("/proc"))
    with pytest.raises(CannotMount, match="nothing is mounted on"):
        umount(tmp_path)


def test_the_kernel_checks_modes_only_where_other_users_may_come_in() -> None:
    assert not MountSettings().options()["default_permissions"]
    assert MountSettings(allow_other=True).options()["default_permissions"]
    assert MountSettings(read_only=True).options()["ro"]
