"""The first signal ends every command, at any moment and whichever of its threads the kernel gives it to."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import rescalefs

PATIENCE = 40.0  # seconds; only something broken takes as long
_TGKILL = {"x86_64": 234, "aarch64": 131}  # its number, which libc has no name for everywhere
_ENDS = {
    signal.SIGTERM: {0, 130, 128 + signal.SIGTERM, -signal.SIGTERM},
    signal.SIGINT: {0, 130, -signal.SIGINT},
}
_OURS = str(Path(rescalefs.__file__).parent)
JOB = '{"name": "x", "jobanalyses": [{"analysis": {"code": "user_included"}, "command": "true"}]}'

COMMANDS = {
    "whoami": ["whoami"],
    "jobs": ["jobs"],
    "statuses": ["statuses", "aBcDeF"],
    "coretypes": ["coretypes"],
    "download": ["download", "aBcDeF", "--to", "out"],
    "download to a pipe": ["download", "aBcDeF", "--to", "-"],
    "one sync": ["sync", "mirror", "--once"],
    "sync": ["sync", "mirror"],
    "submit": ["submit", "drop", "--wait"],
    "top": ["top", "--every", "3600"],
    "simulator": ["simulator", "--port", "0"],
    "demo": ["demo", "--without-fuse"],
    "mount in the foreground": ["mount", "--foreground", "mnt"],
    "mount": ["mount", "mnt"],
}


@pytest.fixture
def silent_server() -> Iterator[str]:
    """An address where connections are taken and no request is ever answered."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


class Running:
    """One command in a folder of its own. At the end nothing of it is left."""

    def __init__(self, folder: Path, server: str, words: list[str]) -> None:
        (folder / "drop").mkdir(parents=True)
        (folder / "drop" / "job.json").write_text(JOB)
        self._folder = folder
        homes = {f"XDG_{kind}_HOME": str(folder / kind) for kind in ("CACHE", "CONFIG", "DATA", "STATE")}
        own = {"TMPDIR": str(folder), "RESCALE_API_URL": server, "RESCALE_API_KEY": "a" * 40}
        self._log = (folder / "said").open("w+b")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rescalefs", *words],
            cwd=folder,
            env={**os.environ, **homes, **own},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    def said(self) -> str:
        return (self._folder / "said").read_text(errors="replace")

    def other_threads(self) -> list[int]:
        """Those that are not the main one and may be given a SIGTERM, the youngest first."""
        found = []
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            with contextlib.suppress(OSError):
                status = (task / "status").read_text()
                blocked = int(status.partition("SigBlk:")[2].split()[0], 16)
                caught = int(status.partition("SigCgt:")[2].split()[0], 16)
                bit = 1 << (signal.SIGTERM - 1)
                if int(task.name) != self.process.pid and not blocked & bit and caught & bit:
                    found.append(int(task.name))
        return sorted(found, reverse=True)

    def left_behind(self) -> list[str]:
        """The command lines of what it started and did not end, once there was time to end."""
        deadline = time.monotonic() + PATIENCE
        while (found := self._left()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return found

    def _left(self) -> list[str]:
        mark = f"XDG_STATE_HOME={self._folder}/".encode()  # the demo's own homes are below it, too
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                ours = any(each.startswith(mark) for each in (process / "environ").read_bytes().split(b"\0"))
                if ours and "\nState:\tZ" not in (process / "status").read_text():
                    found.append((process / "cmdline").read_bytes().decode().replace("\0", " "))
        return found

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._log.close()
        with contextlib.suppress(OSError):
            subprocess.run(["umount", "-l", self._folder / "mnt"], capture_output=True, check=False)


def _marks(name: str) -> list[pytest.MarkDecorator]:
    return [pytest.mark.fuse] if name.startswith("mount") else []


every_command = pytest.mark.parametrize(
    "words", [pytest.param(words, id=name, marks=_marks(name)) for name, words in COMMANDS.items()]
)


def python_was_starting(said: str) -> bool:
    """Whether SIGINT came before any code of ours, on a busy machine: Python then ends in its own way."""
    return "KeyboardInterrupt" in said and _OURS not in said


@every_command
def test_a_signal_at_any_moment_ends_it(words: list[str], tmp_path: Path, silent_server: str) -> None:
    chance = random.Random(" ".join(words))
    for number, signal_number in enumerate((signal.SIGTERM, signal.SIGINT) * 2):
        running = Running(tmp_path / str(number), silent_server, words)
        with contextlib.closing(running):
            time.sleep(chance.uniform(0.05, 1.5))
            running.process.send_signal(signal_number)
            code = running.process.wait(PATIENCE)
            assert code in _ENDS[signal_number] or python_was_starting(running.said()), running.said()
            assert running.left_behind() == []


@every_command
def test_a_signal_that_not_its_main_thread_gets_ends_it(
    words: list[str], tmp_path: Path, silent_server: str
) -> None:
    """A signal that comes when the main thread had looked for signals, and did not yet wait for a lock."""
    running = Running(tmp_path / "one", silent_server, words)
    with contextlib.closing(running):
        deadline = time.monotonic() + PATIENCE
        while not (threads := running.other_threads()):
            assert running.process.poll() is None, running.said()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(1.0)  # it has come to its first wait by then, or has not: either is right
        threads = running.other_threads() or threads
        sent = ctypes.CDLL(None).syscall(
            _TGKILL[os.uname().machine], running.process.pid, threads[0], signal.SIGTERM
        )
        assert sent == 0
        assert running.process.wait(PATIENCE) in _ENDS[signal.SIGTERM], running.said()
        assert running.left_behind() == []


INTERRUPTED_AT = """
import os, signal, sys

class Interrupter:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, {handler})
sys.meta_path.insert(0, Interrupter())
sys.argv = ["rescalefs", "whoami"]
from rescalefs.__main__ import run
run()
"""


@pytest.mark.parametrize("module", ["rescalefs.cli.main", "click", "rescalefs.signals"])
def test_ctrl_c_while_python_imports_ends_the_command_without_a_traceback(module: str) -> None:
    program = INTERRUPTED_AT.format(module=module, handler="signal.default_int_handler")
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_a_sigint_that_the_parent_ignores_stays_ignored(tmp_path: Path) -> None:
    program = INTERRUPTED_AT.format(module="click", handler="signal.SIG_IGN")
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    environment.pop("RESCALE_API_KEY", None)
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env=environment,
    )
    assert done.returncode == 1
    assert "rescalefs: " in done.stderr  # the command ran, and found no key


def test_the_installed_command_has_its_first_line_where_ctrl_c_is_quiet() -> None:
    (command,) = entry_points(group="console_scripts", name="rescalefs")
    assert command.value == "rescalefs.__main__:run"
