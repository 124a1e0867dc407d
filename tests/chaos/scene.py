"""What all actors of a storm share, and how an operation is judged."""

from __future__ import annotations

import contextlib
import json
import random
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

from tests.chaos.forwarder import Forwarder
from tests.chaos.ground import Done, Ground, put_to_death
from tests.chaos.logbook import FAILED, KILLED, RIGHT, WRONG, Logbook
from tests.chaos.plan import CALL_LIMIT, DEATH_LIMIT, WALK_LIMIT, Plan
from tests.chaos.server import KEY, Server, TrueFile, TrueJob

CROWD = "crowd"  # the name of that job, and of its folder of outputs
Judge = Callable[[Done], "str | None"]  # of an operation that ended well: what is wrong with it


@dataclass
class Place:
    """A mount, and how it verifies."""

    path: Path
    is_strict: bool = False  # whether it checks all of a file before it gives a byte of it
    restarts: int = 0  # what began before one and ended after it is not judged as strict

    def outputs(self, job: TrueJob) -> Path:
        """Where it shows a job's outputs."""
        return self.path / "jobs" / job.id / "outputs"


@dataclass
class Scene:
    """The stage: one simulator behind one network, two mounts of one account, one folder of each kind."""

    plan: Plan
    ground: Ground
    server: Server
    network: Forwarder
    logbook: Logbook
    stop: threading.Event = field(default_factory=threading.Event)
    jobs: dict[str, TrueJob] = field(default_factory=dict)  # planted ones, which never change; by id
    first: tuple[str, ...] = ()  # ids of those that were there before the mount
    crowd: TrueJob | None = None  # a job with more outputs than a page of a list has; it is listed alone
    spoiled: set[str] = field(default_factory=set)  # ids of files that were sent with a wrong byte

    def __post_init__(self) -> None:
        self.places = tuple(Place(self.ground.root / name) for name in ("Rescale", "Rescale-2"))
        self.ground.env |= {"RESCALE_API_URL": self.network.url, "RESCALE_API_KEY": KEY}

    @property
    def mountpoint(self) -> Path:
        """Where the first mount is: drops go there."""
        return self.places[0].path

    def plant(self, name: str, files: dict[str, int | str]) -> str:
        """One more finished job."""
        job_id = self.server.plant(name, files)
        self.jobs = {**self.jobs, job_id: self.server.truth.jobs()[job_id]}  # readers have the old one
        return job_id

    def plant_crowd(self) -> None:
        """A finished job whose list of outputs has two pages."""
        job_id = self.server.plant(CROWD, {f"crowd/{number:04}": f"{number}" for number in range(1200)})
        self.crowd = self.server.truth.jobs()[job_id]

    def may_be_wrong(self, file: TrueFile, place: Place, restarts: int, was_strict: bool) -> bool:
        """Whether a range of the file may be wrong: bytes are checked at the file's end, unless strict."""
        checked = was_strict and place.is_strict and restarts == place.restarts
        return file.id in self.spoiled and not checked


class Actor:
    """Does one thing after the other, as its chance says, until the storm ends."""

    name = "actor"

    def __init__(self, scene: Scene, number: int = 0) -> None:
        self.scene = scene
        self.place = scene.places[number % len(scene.places)]
        self.chance = scene.plan.chance(f"{self.name}-{number}")
        self.thread = threading.Thread(target=self._run, name=f"{self.name}-{number}", daemon=True)

    def act(self) -> None:
        """One operation."""
        raise NotImplementedError

    def close(self) -> None:
        """What is left to do when the storm is over."""

    def _run(self) -> None:
        while not self.scene.stop.is_set():
            try:
                self.act()
            except Exception:  # noqa: BLE001  (a fault of the checker's own is shown, and the storm goes on)
                self.scene.logbook.violation("checker", traceback.format_exc())
                self.scene.stop.wait(1)
            self.scene.stop.wait(self.chance.expovariate(1 / self.scene.plan.pause))
        self.close()

    def tool(
        self,
        kind: str,
        command: list[str],
        judge: Judge,
        limit: float = WALK_LIMIT * 2,
        stall: float | None = CALL_LIMIT,
        kill_chance: float = 0.03,
        **more: Any,
    ) -> Done:
        """Run a shell tool and judge it. At times it is killed in the middle."""
        scene, kill_after = self.scene, None
        if scene.plan.kills and self.chance.random() < kill_chance:
            kill_after = self.chance.uniform(0, 1.5)
        done = scene.ground.run(
            command, limit, stall=stall, kill_after=kill_after, death_limit=DEATH_LIMIT, **more
        )
        try:
            self.judge(kind, command, done, judge)
        finally:
            done.out.unlink(missing_ok=True)
        return done

    def judge(self, kind: str, command: list[str], done: Done, judge: Judge) -> None:
        """Count an operation; a violation where it took too long, or ended well with a wrong result."""
        words = " ".join(command)[-300:]
        if done.is_stuck:
            self.scene.logbook.violation("unkillable", f"{words} is still there after SIGKILL")
        if done.was_killed:
            self.scene.logbook.did(kind, KILLED, done.seconds)
        elif done.code is None:
            self.scene.logbook.violation("over its limit", f"{words} after {done.seconds:.0f} s")
            self.scene.logbook.did(kind, WRONG, done.seconds)
        elif done.code != 0:
            self.scene.logbook.did(kind, FAILED, done.seconds)
        else:
            wrong = judge(done)
            self.scene.logbook.did(kind, WRONG if wrong else RIGHT, done.seconds)
            if wrong:
                self.scene.logbook.violation("wrong result", f"{kind}: {words}: {wrong}")


class Worker:
    """A Python program that reads as it is told; begun anew when it has ended."""

    def __init__(self, scene: Scene, kind: str, env: dict[str, str] | None = None) -> None:
        self._scene = scene
        self._kind = kind
        self._env = env or {}
        self._process: Popen[bytes] | None = None
        self._err = scene.ground.root / f"worker-{kind}.log"
        self._rest = b""

    def ask(self, limit: float, kill_after: float | None = None, **asked: Any) -> dict[str, Any]:
        """What it answers; ``{"error": …}`` as well where it was killed, by us or by a signal.

        ``is_late`` says that no answer came within the limit, ``is_stuck`` that SIGKILL did not end it then.
        """
        process = self._running()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(asked).encode() + b"\n")
            process.stdin.flush()
        except OSError:
            return self._over("it had ended")
        line = self._line(process, limit if kill_after is None else min(limit, kill_after))
        if line is None:
            is_stuck = not put_to_death(process, DEATH_LIMIT)
            late = {"is_late": True} if kill_after is None or kill_after > limit else {"was_killed": True}
            return {**self._over("killed"), **late, "is_stuck": is_stuck}
        if not line:
            code = process.wait(DEATH_LIMIT)
            odd = {} if code == -signal.SIGBUS else {"is_odd": True}
            return {**self._over(f"it ended with {code}"), **odd}
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End it."""
        if self._process is not None:
            put_to_death(self._process, DEATH_LIMIT)
            self._over("")

    def _over(self, why: str) -> dict[str, Any]:
        if self._process is not None:
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
        self._process, self._rest = None, b""
        return {"error": why}

    def _running(self) -> Popen[bytes]:
        if self._process is None:
            command = [sys.executable, "-m", "tests.chaos.worker", self._kind]
            self._process = self._scene.ground.start(command, PIPE, self._err, self._env, stdin=PIPE)
        return self._process

    def _line(self, process: Popen[bytes], limit: float) -> bytes | None:
        """A line; None where none came in time, b"" where none will come."""
        assert process.stdout is not None
        ends = time.monotonic() + limit
        while b"\n" not in self._rest:
            left = ends - time.monotonic()
            if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
                return None
            data = process.stdout.read1(1 << 20)  # type: ignore[attr-defined]  # a buffered reader has it
            if not data:
                return b""
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line


def pick_range(chance: random.Random, size: int) -> tuple[int, int]:
    """Somewhere in a file, and at times at its end or past it."""
    length = chance.choice([1, 100, 4096, 65536, 131072, 400_000])
    place = chance.choice(["anywhere", "anywhere", "start", "end", "past"])
    if place == "start":
        return 0, length
    if place == "end":
        return max(0, size - length), length
    if place == "past":
        return max(0, size - length // 2), length
    return chance.randrange(size + 1), length
