"""Runs one command as a process group of its own, and ends all of it. The only importer of subprocess."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from rescalefs.clock import never

_PIECE = 1 << 16  # bytes read at once of what a command prints
_MOST_PIECES = 16  # read after a command's end: a pipe holds one or so
_LOOK = 0.02  # seconds between two looks whether a command has ended, where the system does not tell
_LONGEST_LOOK = 60.0  # seconds; a limit of the wait, which the end of the command ends at once

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


def run_command(
    command: str, folder: Path, env: Mapping[str, str], printed: Callable[[bytes], None], leash: Leash
) -> int | None:
    """Run ``command`` in ``folder``, hand on what it prints as that comes; return its exit status.

    None: the leash was pulled before it started. When this returns, no process of its group is left.
    """
    if leash.reason is not None:
        return None
    with subprocess.Popen(  # noqa: S603 - running what the job says is the point
        [_shell(), "-c", command],
        cwd=folder,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        leash.hold(process.pid)
        try:
            _listen(process, printed)
        finally:
            leash.let_go()
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)  # what the command left in the background
        _drain(process, printed)
        status = process.wait()
    _wait_until_gone(process.pid)
    return status


def _listen(process: subprocess.Popen[bytes], printed: Callable[[bytes], None]) -> None:
    """Hand on what is printed until the command has ended, also while another process holds the pipe.

    The status is left unread: until it is, the kernel gives the group's number to no other.
    """
    assert process.stdout is not None
    pipe = process.stdout.fileno()
    with _ending_of(process.pid) as ending:
        watched = {pipe, *ending}
        while True:
            ready = _ready(watched, _LONGEST_LOOK if ending else _LOOK)
            if pipe in ready:
                found = os.read(pipe, _PIECE)
                printed(found)
                if not found:  # closed by all who could write: only the end is awaited
                    watched.remove(pipe)
            if ready.issuperset(ending) and _has_ended(process.pid):
                return


def _drain(process: subprocess.Popen[bytes], printed: Callable[[bytes], None]) -> None:
    """Hand on what is in the pipe still; a process that left the group may write to it for ever."""
    assert process.stdout is not None
    pipe = process.stdout.fileno()
    for _ in range(_MOST_PIECES):
        found = os.read(pipe, _PIECE) if _ready({pipe}, 0) else b""
        if not found:
            return
        printed(found)


def _ready(descriptors: Iterable[int], seconds: float) -> set[int]:
    """Those that can be read, or have come to their end, within so many seconds."""
    poll = select.poll()  # unlike select(2), it takes descriptors of any number
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return {descriptor for descriptor, _ in poll.poll(1000 * seconds)}


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None


@contextmanager
def _ending_of(pid: int) -> Iterator[list[int]]:
    """A descriptor that can be read once the process has ended; none where the system has no such thing."""
    if not hasattr(os, "pidfd_open"):
        yield []
        return
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        yield []
        return
    try:
        yield [descriptor]
    finally:
        os.close(descriptor)


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
