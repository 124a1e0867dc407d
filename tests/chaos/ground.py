"""Where a storm happens: one folder, small disks in it, processes that all end with it.

Nothing here touches a mounted file itself: a call that hangs there would hang the storm.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from tests.chaos.plan import SETTINGS

CHECKOUT = Path(__file__).parents[2]
LAUNCHER = CHECKOUT / "tests" / "chaos" / "inside.py"
LOOK = 0.05  # seconds between two looks at a process
KEPT_OUTPUT = 64 << 20  # bytes of a tool's output that may lie on the disk


@dataclass(frozen=True, slots=True)
class Done:
    """A process that has ended: its exit code, or what ended it."""

    code: int | None  # None: it did not end in time, and was killed
    seconds: float
    out: Path
    err: str
    was_killed: bool = False  # by us, at random
    is_stuck: bool = False  # not even SIGKILL ended it in time


class Disk:
    """A small disk that can be filled. Without the right to mount, only a folder."""

    def __init__(self, path: Path, size: str) -> None:
        self.path = path
        path.mkdir(mode=0o700, parents=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "chaos", str(path)]
        done = subprocess.run(command, capture_output=True, timeout=20, check=False)
        self.is_real = done.returncode == 0

    def fill(self, leave: int = 0) -> None:
        """Take all room but ``leave`` bytes."""
        if not self.is_real:
            return
        room = os.statvfs(self.path)
        size = room.f_bavail * room.f_frsize - leave
        with contextlib.suppress(OSError), (self.path / "ballast").open("wb") as ballast:
            os.posix_fallocate(ballast.fileno(), 0, max(1, size))

    def empty(self) -> None:
        """Give the room back."""
        (self.path / "ballast").unlink(missing_ok=True)

    def close(self) -> None:
        if self.is_real:
            subprocess.run(["umount", "-l", str(self.path)], capture_output=True, timeout=20, check=False)


@final
class Ground:
    """The folder, its environment, and everything that was started in it."""

    def __init__(self, mutant: str | None = None) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="chaos-"))
        self._count = 0
        self._lock = threading.Lock()  # guards _count
        self._disks: list[Disk] = []
        for name in ("home", "run", "tmp", "out"):
            (self.root / name).mkdir(mode=0o700)
        self.clock = self.root / "clock"  # seconds by which the processes' clocks are wrong
        self.clock.write_text("0")
        self.cache = self.disk("cache", "80m")
        self.state = self.disk("state", "400m")  # 150 drops of a megabyte have room, and some
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RESCALE", "XDG_"))}
        self.env = {
            **kept,
            **SETTINGS,
            "HOME": str(self.root / "home"),
            "XDG_CONFIG_HOME": str(self.root / "home" / ".config"),
            "XDG_CACHE_HOME": str(self.cache.path),
            "XDG_STATE_HOME": str(self.state.path / "state"),
            "XDG_DATA_HOME": str(self.state.path / "data"),
            "XDG_RUNTIME_DIR": str(self.root / "run"),
            "TMPDIR": str(self.root / "tmp"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "CHAOS_CLOCK": str(self.clock),
            **({"CHAOS_MUTANT": mutant} if mutant else {}),
        }

    @property
    def has_disks(self) -> bool:
        """Whether the disks are real, and can be filled."""
        return all(disk.is_real for disk in self._disks)

    def disk(self, name: str, size: str) -> Disk:
        """A small disk of its own."""
        disk = Disk(self.root / name, size)
        self._disks.append(disk)
        return disk

    def elsewhere(self, name: str) -> dict[str, str]:
        """What makes a process believe to be on another machine: other folders for all that is kept."""
        home = self.root / name
        return {f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CACHE", "STATE", "DATA")}

    def ours(self, *words: object) -> list[str]:
        """The command line of a `rescalefs` command."""
        return [sys.executable, str(LAUNCHER), *map(str, words)]

    def place(self, suffix: str) -> Path:
        """A new path for what a process prints."""
        with self._lock:
            self._count += 1
            return self.root / "out" / f"{self._count}.{suffix}"

    def start(
        self,
        command: Sequence[str],
        out: Path | int = subprocess.DEVNULL,
        err: Path | int = subprocess.DEVNULL,
        env: Mapping[str, str] | None = None,
        descriptors: int | None = None,
        **more: Any,
    ) -> subprocess.Popen[bytes]:
        """Start a program in a group of its own; it ends with the ground at the latest."""

        def limited() -> None:
            if descriptors is not None:
                resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

        with contextlib.ExitStack() as opened:
            streams = [
                opened.enter_context(each.open("ab")) if isinstance(each, Path) else each
                for each in (out, err)
            ]
            return subprocess.Popen(
                command,
                stdin=more.pop("stdin", subprocess.DEVNULL),
                stdout=streams[0],
                stderr=streams[1],
                env={**self.env, **(env or {})},
                cwd=CHECKOUT,
                start_new_session=True,
                preexec_fn=limited if descriptors is not None else None,
                **more,
            )

    def run(
        self,
        command: Sequence[str],
        limit: float,
        stall: float | None = None,
        kill_after: float | None = None,
        death_limit: float = 30.0,
        env: Mapping[str, str] | None = None,
        number: signal.Signals = signal.SIGKILL,
    ) -> Done:
        """Run a program to its end.

        It is killed when it takes longer than ``limit``, or neither reads nor writes for ``stall`` seconds;
        and with ``kill_after`` at that moment, which is then its fate and no fault.
        """
        out, err = self.place("out"), self.place("err")
        began = time.monotonic()
        process = self.start(command, out, err, env)
        watch = _Watch(process.pid, limit, stall)
        was_killed = False
        while process.poll() is None and not watch.is_over():
            if kill_after is not None and time.monotonic() - began > kill_after:
                was_killed = True
                break
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(LOOK)
        code = process.poll()
        is_stuck = False
        if code is None:
            if was_killed and number != signal.SIGKILL:
                process.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(death_limit)
            is_stuck = not put_to_death(process, death_limit)
        said = err.read_text(errors="replace")[-2000:]
        err.unlink()
        return Done(code, time.monotonic() - began, out, said, was_killed, is_stuck)

    def processes(self) -> list[int]:
        """Everything that runs with our folder as its home, or below our folder."""
        mark = f"HOME={self.root}/home".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                is_ours = mark in (entry / "environ").read_bytes().split(b"\0")
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                if state != "Z" and is_ours:
                    found.append(int(entry.name))
        return found

    def mounts(self) -> list[str]:
        """What is mounted below our folder, but for the small disks."""
        lines = Path("/proc/mounts").read_text().splitlines()
        own = {str(disk.path) for disk in self._disks}
        found = [line.split()[1] for line in lines]
        return [path for path in found if path.startswith(f"{self.root}/") and path not in own]

    def close(self) -> None:
        """Leave no process, no mount and no file. Whatever happened before."""
        for path in reversed(self.mounts()):  # first: what waits in the mount is woken by its end
            subprocess.run(["umount", "-l", path], capture_output=True, timeout=20, check=False)
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in self.processes():
                with contextlib.suppress(OSError):
                    os.kill(pid, number)
            until(lambda: not self.processes(), 4)
        for path in reversed(self.mounts()):
            subprocess.run(["umount", "-l", path], capture_output=True, timeout=20, check=False)
        for disk in self._disks:
            disk.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self) -> Ground:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Watch:
    """Whether a process is over its limit."""

    def __init__(self, pid: int, limit: float, stall: float | None) -> None:
        self._io = Path(f"/proc/{pid}/io")
        self._ends = time.monotonic() + limit
        self._stall = stall
        self._moved = time.monotonic()
        self._looked = self._moved
        self._before = ""

    def is_over(self) -> bool:
        now = time.monotonic()
        if now > self._ends:
            return True
        if self._stall is None or now - self._looked < 1:
            return False
        self._looked = now
        with contextlib.suppress(OSError):
            seen = self._io.read_text()
            if seen != self._before:
                self._before, self._moved = seen, now
        return now - self._moved > self._stall


def put_to_death(process: subprocess.Popen[bytes], limit: float) -> bool:
    """SIGKILL for all of its group; False if it is still there after ``limit`` seconds."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    try:
        process.wait(limit)
    except subprocess.TimeoutExpired:
        return False
    return True


def until(condition: Callable[[], Any], seconds: float, every: float = 0.2) -> Any:
    """What the condition says as soon as that is true, or after so many seconds."""
    ends = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < ends:
        time.sleep(every)
    return found
