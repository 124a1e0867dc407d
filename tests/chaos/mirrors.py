"""Downloads and the synced folder: begun, killed, begun again. What has its final name is right."""

from __future__ import annotations

import hashlib
import signal
import time
from collections.abc import Iterable
from pathlib import Path

from tests.chaos.ground import Done, until
from tests.chaos.logbook import RIGHT, WRONG
from tests.chaos.scene import CROWD, Actor, Scene
from tests.chaos.server import TrueJob, files_below

_STALL = (
    90.0  # seconds without a byte: more than its patience with every kind of request, one after the other
)
_LIMIT = 300.0


class Downloader(Actor):
    """`rescalefs download`, at times two of them into one folder, at times ended in the middle."""

    name = "downloader"
    most_folders = 6

    def __init__(self, scene: Scene, number: int = 0) -> None:
        super().__init__(scene, number)
        self._folder = scene.ground.root / f"downloads-{number}"
        self._folder.mkdir()
        self._env = scene.ground.elsewhere(f"downloads-home-{number}")
        self.targets: dict[Path, TrueJob] = {}

    def act(self) -> None:
        self.scene.stop.wait(self.chance.uniform(0.5, 3))
        job = self.chance.choice(list(self.scene.jobs.values()))
        target = self._folder / job.id
        if target not in self.targets and len(self.targets) >= self.most_folders:
            target = self.chance.choice(list(self.targets))
            job = self.targets[target]
        self.targets[target] = job
        self.download(job, target)

    def download(self, job: TrueJob, target: Path, kill_chance: float = 0.5) -> int | None:
        """One, or two at once; judged by what is in the folder then."""
        command = self.scene.ground.ours("download", job.id, "--to", target)
        kill_chance = kill_chance if self.scene.plan.kills else 0
        second = self.scene.ground.start(command, env=self._env) if self.chance.random() < 0.25 else None
        kill_after = self.chance.uniform(0.3, 4) if self.chance.random() < kill_chance else None
        number = self.chance.choice([signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
        done = self.scene.ground.run(
            command, _LIMIT, stall=_STALL, kill_after=kill_after, death_limit=30, env=self._env, number=number
        )
        if done.was_killed and done.is_stuck:
            self.scene.logbook.violation("unkillable", f"download of {job.id}")
        if second is not None:
            if until(lambda: second.poll() is not None, _LIMIT) is False:
                self.scene.logbook.violation("over its limit", f"the second download of {job.id}")
                second.kill()
            second.wait(30)
        whole = done.code == 0 or (second is not None and second.returncode == 0)
        self.judge(
            "download",
            command,
            done,
            lambda _: named_rightly(self.scene, target, job, whole=whole),
        )
        if done.code != 0:  # whatever ended it, a final name stands for right bytes
            wrong = named_rightly(self.scene, target, job, whole=False)
            if wrong:
                self.scene.logbook.violation("unverified under its name", f"download {job.id}: {wrong}")
        done.out.unlink(missing_ok=True)
        self.last: Done = done
        return done.code

    def finish(self) -> None:
        """All is well: each folder is complete after one more, and nothing else is left in it."""
        for target, job in self.targets.items():
            code = self.download(job, target, kill_chance=0)
            if code != 0:
                self.scene.logbook.violation(
                    "never recovers", f"download of {job.id} ends with {code}: {self.last.err[-400:]}"
                )
                continue
            right = {file.path for file in job.outputs}
            left = sorted(path for path, _ in files_below(target) if path not in right)
            if left:
                self.scene.logbook.violation("left behind", f"in the folder of {job.id}: {left[:5]}")


class SyncChecks:
    """Looks at the synced folder, at any moment and at the end."""

    def __init__(self, scene: Scene, folder: Path) -> None:
        self._scene = scene
        self._folder = folder
        self._seen: dict[str, int] = {}  # path -> inode that was looked at: a right file is not read again

    def look(self) -> None:
        """Every final name there is stands for right bytes."""
        began = time.monotonic()
        wrong = []
        for job in self._ended():
            told = self._wrong(job)
            if told:
                wrong.append(told)
        self._scene.logbook.did("sync look", WRONG if wrong else RIGHT, time.monotonic() - began)
        for words in wrong:
            self._scene.logbook.violation("unverified under its name", f"sync: {words}")

    def finish(self) -> None:
        """All is well: soon the folder has all of it."""
        until(lambda: not self._missing(), self._scene.plan.heal_limit, every=2)
        for path in self._missing()[:5]:
            self._scene.logbook.violation("never recovers", f"sync has no {path}")
        self.look()
        parts = [path for path, _ in files_below(self._folder) if path.endswith((".part", ".spans"))]
        if parts:
            self._scene.logbook.violation("left behind", f"in the synced folder: {parts[:5]}")

    def _ended(self) -> Iterable[TrueJob]:
        jobs = self._scene.server.truth.jobs().values()
        return [job for job in jobs if job.has_ended and job.name != CROWD]

    def _outputs(self, job: TrueJob) -> Path:
        return self._folder / "jobs" / job.id / "outputs"

    def _missing(self) -> list[str]:
        return [
            f"{job.id}/{file.path}"
            for job in self._ended()
            for file in job.outputs
            if not (self._outputs(job) / file.path).exists()
        ]

    def _wrong(self, job: TrueJob) -> str | None:
        for file in job.outputs:
            path = self._outputs(job) / file.path
            try:
                inode = path.stat().st_ino
                if self._seen.get(str(path)) == inode:
                    continue
                digest = hashlib.sha512(path.read_bytes()).hexdigest()
            except OSError:
                continue
            if digest != self._scene.server.truth.sha512(file):
                return f"{job.id}/{file.path} has {path.stat().st_size} bytes for {file.size}, or wrong ones"
            self._seen[str(path)] = inode
        return None


class SyncWatcher(Actor):
    """Looks at the synced folder every few seconds."""

    name = "sync-watcher"

    def __init__(self, scene: Scene, checks: SyncChecks) -> None:
        super().__init__(scene)
        self._checks = checks

    def act(self) -> None:
        self.scene.stop.wait(4)
        self._checks.look()


def named_rightly(scene: Scene, folder: Path, job: TrueJob, *, whole: bool) -> str | None:
    """What is wrong with the files under their final names; with ``whole``, all must be there."""
    for file in job.outputs:
        path = folder / file.path
        try:
            digest = hashlib.sha512(path.read_bytes()).hexdigest()
        except OSError:
            if whole:
                return f"{file.path} is missing"
            continue
        if digest != scene.server.truth.sha512(file):
            return f"{file.path} has {path.stat().st_size} bytes for {file.size}, or wrong ones"
    return None
