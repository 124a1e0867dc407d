"""Keeps a daemon running: starts it again when it was killed, and notes when it ended without that."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.ground import put_to_death, until
from tests.chaos.plan import CALL_LIMIT
from tests.chaos.scene import Scene

_START_LIMIT = 90.0  # seconds for a daemon to be there, once all is well
_END_LIMIT = 40.0  # seconds: the 30 s that the mount gives those who still use it, and some
_FEW_DESCRIPTORS = 256
_LOG_LIMIT = 8 << 20  # bytes of messages of one daemon in one storm


@dataclass(frozen=True, slots=True)
class Sample:
    """What a process holds."""

    descriptors: int
    threads: int
    memory: int  # KiB

    @classmethod
    def of(cls, pid: int) -> Sample | None:
        """Of this process; None where it is gone."""
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            values = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
            count = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
            return cls(count, int(values["Threads"][0]), int(values["VmRSS"][0]))
        except (OSError, KeyError):
            return None


class Keeper:
    """One daemon. Thread-safe."""

    def __init__(
        self,
        scene: Scene,
        name: str,
        command: Callable[[], list[str]],
        answers: Callable[[], bool],
        env: dict[str, str] | None = None,
    ) -> None:
        self._scene = scene
        self.name = name
        self._command = command
        self._answers = answers
        self._env = env
        self.log = scene.ground.root / f"{name}.log"
        self._lock = threading.Lock()  # guards _process and _is_ending
        self._process: subprocess.Popen[bytes] | None = None
        self._is_ending = False  # we ended it, or are about to
        self._has_answered = False
        self._over = threading.Event()
        self.first: Sample | None = None  # of the daemon that runs now, once it answered
        self.most = Sample(0, 0, 0)
        self.starts = 0
        self._chance: random.Random = scene.plan.chance(f"keeper-{name}")
        self._thread = threading.Thread(target=self._keep, name=f"keeper-{name}", daemon=True)

    @property
    def pid(self) -> int | None:
        with self._lock:
            process = self._process
        return None if process is None or process.poll() is not None else process.pid

    def begin(self) -> None:
        """Start it, and keep it; return once it answers."""
        self._thread.start()
        if not until(lambda: self._has_answered, _START_LIMIT):
            raise RuntimeError(f"{self.name} did not start: {self.tail()}")

    def ready(self, limit: float = _START_LIMIT) -> bool:
        """Wait until it answers again."""
        return bool(until(lambda: self.pid is not None and self._has_answered, limit))

    def kill(self) -> None:
        """kill -9."""
        with self._lock:
            process, self._is_ending = self._process, True
        if process is not None and not put_to_death(process, CALL_LIMIT):
            self._scene.logbook.violation("unkillable", f"{self.name} is still there after SIGKILL")

    def end(self) -> int | None:
        """SIGTERM, once: it must do. The exit code."""
        with self._lock:
            process, self._is_ending = self._process, True
        if process is None or process.poll() is not None:
            return None
        process.send_signal(self._chance.choice([signal.SIGTERM, signal.SIGTERM, signal.SIGINT]))
        try:
            return process.wait(_END_LIMIT)
        except subprocess.TimeoutExpired:
            words = f"{self.name} has not ended {_END_LIMIT:.0f} s after a signal: {self.tail()}"
            self._scene.logbook.violation("does not end", words)
            put_to_death(process, CALL_LIMIT)
            return None

    def stop_keeping(self) -> None:
        """Do not start it any more."""
        self._over.set()
        self._thread.join(_START_LIMIT)

    def tail(self) -> str:
        """Its last words."""
        with contextlib.suppress(OSError):
            return self.log.read_text(errors="replace")[-700:]
        return ""

    def check_log(self) -> None:
        """No traceback, and a bounded number of messages."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        self._scene.logbook.facts[f"{self.name} log bytes"] = len(text)
        if len(text) > _LOG_LIMIT:
            self._scene.logbook.violation("log without end", f"{self.name} wrote {len(text)} bytes")
        pieces = text.split("Traceback (most recent call last)")
        if len(pieces) > 1:
            before, after = pieces[0][-300:], pieces[1][-1500:] if len(pieces) == 2 else pieces[1][:1500]
            words = f"{self.name} has {len(pieces) - 1}; the first: {before} … {after}"
            self._scene.logbook.violation("traceback", words)

    def _keep(self) -> None:
        sampled = 0.0
        while not self._over.wait(0.2):
            if self.pid is None:
                self._note_end()
                self._start()
            elif time.monotonic() - sampled > 3:
                sampled = time.monotonic()
                self._sample()

    def _note_end(self) -> None:
        with self._lock:
            process, was_ours = self._process, self._is_ending
        if process is not None and self._has_answered and not was_ours:
            words = f"{self.name} ended with {process.returncode}, and nobody asked: {self.tail()}"
            self._scene.logbook.violation("daemon ended", words)

    def _start(self) -> None:
        self._has_answered = False
        limit = self._chance.choice([None, None, _FEW_DESCRIPTORS])
        if limit is not None:
            self._scene.logbook.blew(f"few descriptors for {self.name}")
        process = self._scene.ground.start(self._command(), self.log, self.log, self._env, descriptors=limit)
        with self._lock:
            self._process, self._is_ending = process, False
        self.starts += 1

        def has_come() -> bool:
            return process.poll() is not None or self._over.is_set() or self._answers()

        until(has_come, _START_LIMIT)
        if process.poll() is None and self._answers():
            self._has_answered = True
            self.first = Sample.of(process.pid)
        else:
            self._over.wait(1)  # it may be right not to start while nothing works

    def _sample(self) -> None:
        pid = self.pid
        found = Sample.of(pid) if pid is not None else None
        if found is not None:
            self.most = Sample(
                max(found.descriptors, self.most.descriptors),
                max(found.threads, self.most.threads),
                max(found.memory, self.most.memory),
            )
