"""Runs one command as a process group of its own, and ends all of it. The only importer of subprocess."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from rescalefs.clock import never

MARK = "RESCALEFS_SIMULATOR"  # in the environment of all we start: whose it is, also after a kill -9


class Leash:
    """What a run's processes are held by: anyone may pull, whoever waits for the process finds out why.

    Pulled before the process starts, it keeps it from starting. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards _group and reason; kill is called under it, so no pid is stale
        self._group: int | None = None
        self.reason: str | None = None

    def hold(self, group: int) -> None:
        """The process is there; if the leash was pulled already, end it at once."""
        with self._lock:
            self._group = group
            if self.reason is not None:
                with suppress(PermissionError):  # as in _signal
                    os.killpg(group, signal.SIGKILL)

    def let_go(self) -> None:
        """The process has ended and is about to be reaped: signal it no more."""
        with self._lock:
            self._group = None

    def pull(self, reason: str) -> None:
        """Ask the processes to end. The first reason stays."""
        self._signal(reason, signal.SIGTERM)

    def kill(self, reason: str) -> None:
        """End the processes without asking. The first reason stays."""
        self._signal(reason, signal.SIGKILL)

    def _signal(self, reason: str, number: signal.Signals) -> None:
        with self._lock:
            self.reason = self.reason or reason
            if self._group is not None:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._group, number)


def run_command(command: str, folder: Path, env: Mapping[str, str], log: Path, leash: Leash) -> int | None:
    """Run ``command`` in ``folder``, its output appended to ``log``; return its exit status.

    None: the leash was pulled before it started. When this returns, no process of its group is left.
    """
    if leash.reason is not None:
        return None
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - running what the job says is the point
            [_shell(), "-c", command],
            cwd=folder,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    leash.hold(process.pid)
    # The status is left unread: until it is, the kernel gives the group's number to nobody else.
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    leash.let_go()
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # what the command left in the background
    status = process.wait()
    _wait_until_gone(process.pid)
    return status


def _wait_until_gone(group: int) -> None:
    """Being killed takes a moment, and one who dies may still write: wait for it, but not for ever.

    For ever is how long a process stays that its new parent never reaps, as in a container without an init.
    """
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        never().wait(0.002)


def exit_reason(status: int) -> str | None:
    """In words, why a command did not end well; None if it did."""
    if status == 0:
        return None
    if status < 0:
        return f"The command was ended by {signal.Signals(-status).name}; see process_output.log"
    return f"The command exited with status {status}; see process_output.log"


def kill_marked(mark: str) -> int:
    """Kill every process whose environment has a `MARK` that starts so; return how many there were.

    These are the ones that left their group, or that a simulator left behind when it was killed. When this
    returns, they are gone. Where there is no /proc, none is found.
    """
    wanted = f"{MARK}={mark}".encode()
    killed = found = _kill_those_with(wanted)
    while found:
        never().wait(0.002)
        found = _kill_those_with(wanted)  # a dead one's environment is empty, reaped or not
    return killed


def _kill_those_with(entry_start: bytes) -> int:
    found = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile, or is not ours
            entries = (folder / "environ").read_bytes().split(b"\0")
            if any(entry.startswith(entry_start) for entry in entries):
                os.kill(int(folder.name), signal.SIGKILL)
                found += 1
    return found


def provide_python(folder: Path) -> None:
    """Put `python` and `python3` in ``folder``: this very interpreter, whatever the machine has or lacks."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("python", "python3"):
        wrapper = folder / name
        wrapper.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        wrapper.chmod(0o755)


def _shell() -> str:
    return shutil.which("bash") or "/bin/sh"
