"""Drops: made, renamed, mended, copied, deleted in every way; and afterwards, how many jobs each one has."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.ground import Done, until
from tests.chaos.plan import CALL_LIMIT, WALK_LIMIT
from tests.chaos.readers import LIVE_FILE, LIVE_LINES
from tests.chaos.scene import Actor, Scene
from tests.chaos.server import TrueJob

_MOST_DROPS = 150  # in submit/ at once
_NUMBERS = itertools.count(1)
_COMMAND = (
    "cat in-* > all.bin; sha512sum in-* > sums.txt; "
    f"for n in $(seq 0 {LIVE_LINES - 1}); do "
    "printf 'line %06d of a file that grows\\n' $n; [ $((n % 40)) = 39 ] && sleep 0.4; done > " + LIVE_FILE
)
STAYS, GONE = "stays", "gone"


@dataclass
class Dropped:
    """One drop: the names it had, and what must become of it."""

    names: set[str]  # of its folder, and so of its job
    fate: str  # `STAYS`: exactly one job. `GONE`: at most one
    inputs: tuple[dict[str, str], ...]  # name -> SHA-512 of each version that it had
    name: str  # of its folder now
    history: list[str] = field(default_factory=list)


class Drops:
    """All drops of a storm. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards _all
        self._all: list[Dropped] = []

    def add(self, drop: Dropped) -> None:
        with self._lock:
            self._all.append(drop)

    def all(self) -> list[Dropped]:
        with self._lock:
            return list(self._all)

    def staying(self) -> list[Dropped]:
        return [drop for drop in self.all() if drop.fate == STAYS]


class Dropper(Actor):
    """Drops a folder every few seconds."""

    name = "dropper"
    every = 3.0  # seconds, on average

    def __init__(self, scene: Scene, drops: Drops, number: int = 0) -> None:
        super().__init__(scene, number)
        self._drops = drops
        self._sources = scene.ground.root / f"{self.name}-{number}"
        self._sources.mkdir()
        self.unfinished: list[tuple[Path, Dropped]] = []  # folders that were not submitted to the end

    @property
    def _submit(self) -> Path:
        return self.scene.mountpoint / "submit"

    def act(self) -> None:
        self.scene.stop.wait(self.chance.expovariate(1 / self.every))
        if self.scene.stop.is_set() or len(self._drops.staying()) >= _MOST_DROPS:
            return
        ways = (
            (self._plain, 4),
            (self._staged, 4),
            (self._renamed, 2),
            (self._mended, 2),
            (self._edited, 2),
            (self._deleted, 2),
            (self._copied, 1),
        )
        way = self.chance.choices([way for way, _ in ways], [weight for _, weight in ways])[0]
        way(f"drop-{next(_NUMBERS)}")

    # --- the ways

    def _plain(self, name: str) -> None:
        """`cp -r` right into submit/. If the copying failed, what arrived is not known: it is removed."""
        source, inputs = self._source(name)
        drop = Dropped({name}, GONE, (inputs,), name)
        self._drops.add(drop)
        if self._did("drop cp", ["cp", "-r", str(source), str(self._submit)], drop):
            drop.fate = STAYS
        else:
            self._remove(drop)

    def _staged(self, name: str) -> None:
        """Copied into a hidden folder, which is no drop, and renamed when it is complete."""
        drop = self._stage(name, *self._source(name))
        if drop is not None and not self._move(drop, f".{name}", name):
            drop.fate = GONE

    def _renamed(self, name: str) -> None:
        drop = self._stage(name, *self._source(name))
        if drop is None or not self._move(drop, f".{name}", name):
            return
        self.scene.stop.wait(self.chance.uniform(0, 6))
        other = f"{name}-renamed"
        drop.names.add(other)
        if not self._move(drop, name, other):
            drop.fate = GONE

    def _mended(self, name: str) -> None:
        """Rejected at first, because of its software; then mended."""
        source, inputs = self._source(name, software="no-such-software")
        drop = self._stage(name, source, inputs)
        if drop is None or not self._move(drop, f".{name}", name):
            return
        self.scene.stop.wait(self.chance.uniform(0.2, 5))
        self._job_file(source, "miniconda")
        fresh, target = self._submit / name / "job.json.part", self._submit / name / "job.json"
        words = f"cp '{source / 'job.json'}' '{fresh}' && mv '{fresh}' '{target}'"
        for _ in range(30):  # a person would not give up either
            if self._did("drop mend", ["sh", "-c", words], drop):
                return
            time.sleep(1)
        drop.fate = GONE

    def _edited(self, name: str) -> None:
        """An input is written over: the job gets what was there before, or after, and nothing between."""
        source, inputs = self._source(name)
        drop = self._stage(name, source, inputs)
        if drop is None or not self._move(drop, f".{name}", name):
            return
        self.scene.stop.wait(self.chance.uniform(0, 3))
        data = self.chance.randbytes(self.chance.choice([20, 500_000]))
        (source / "in-0").write_bytes(data)
        drop.inputs = (*drop.inputs, {**inputs, "in-0": hashlib.sha512(data).hexdigest()})
        if not self._did("drop edit", ["cp", str(source / "in-0"), str(self._submit / name)], drop):
            drop.inputs = ()  # not known: half of it may have been written
            self._remove(drop)

    def _deleted(self, name: str) -> None:
        drop = self._stage(name, *self._source(name))
        if drop is None:
            return
        drop.fate = GONE
        self._move(drop, f".{name}", name)
        self.scene.stop.wait(self.chance.uniform(0, 5))
        self._remove(drop)

    def _copied(self, name: str) -> None:
        """A copy of a drop is another drop, with the same bytes."""
        others = [drop for drop in self._drops.staying() if drop.name]
        if not others:
            return self._staged(name)
        other = self.chance.choice(others)
        drop = Dropped({name}, GONE, other.inputs, name)
        self._drops.add(drop)
        hidden = self._submit / f".{name}"
        if not self._did("drop copy", ["cp", "-r", str(self._submit / other.name), str(hidden)], drop):
            self._remove(drop)
        elif self._move(drop, f".{name}", name):
            drop.fate = STAYS
        return None

    # --- the steps

    def _source(self, name: str, software: str = "miniconda") -> tuple[Path, dict[str, str]]:
        """A folder to drop, and its inputs' digests."""
        source = self._sources / name
        source.mkdir()
        inputs = {}
        for number in range(self.chance.randrange(1, 4)):
            data = self.chance.randbytes(self.chance.choice([10, 3000, 200_000, 900_000]))
            (source / f"in-{number}").write_bytes(data)
            inputs[f"in-{number}"] = hashlib.sha512(data).hexdigest()
        self._job_file(source, software)
        return source, inputs

    @staticmethod
    def _job_file(source: Path, software: str) -> None:
        inputs = sorted(path.name for path in source.glob("in-*"))
        job = {
            "command": _COMMAND,
            "software": software,
            "coretype": "cheapest",
            "cores": 2,
            "hours": 1,
            "inputFiles": inputs,
        }
        (source / "job.json").write_text(json.dumps(job))

    def _stage(self, name: str, source: Path, inputs: dict[str, str]) -> Dropped | None:
        """Copied into a hidden folder; None where that failed."""
        drop = Dropped({name}, GONE, (inputs,), name)
        self._drops.add(drop)
        hidden = self._submit / f".{name}"
        for _ in range(30):
            if self._did("drop cp", ["cp", "-rT", str(source), str(hidden)], drop):
                drop.fate = STAYS
                return drop
            if self.scene.stop.wait(1):
                break
        self._remove(drop)
        return None

    def _move(self, drop: Dropped, old: str, new: str) -> bool:
        """Rename it, again and again: a daemon that dies in the middle does not say whether it was done."""
        before, after = self._submit / old, self._submit / new
        words = f"test -d '{after}' || mv -T '{before}' '{after}'"
        for _ in range(60):
            if self._did("drop mv", ["sh", "-c", words], drop):
                drop.name = new
                return True
            time.sleep(1)
        self.scene.logbook.violation(
            "checker", f"{old} could not be renamed in 60 tries: {drop.history[-3:]}"
        )
        return False

    def _remove(self, drop: Dropped) -> None:
        drop.fate = GONE
        paths = [str(self._submit / name) for each in drop.names for name in (each, f".{each}")]
        for _ in range(60):
            if self._did("drop rm", ["rm", "-rf", *paths], drop):
                return
            time.sleep(1)

    def _did(self, kind: str, command: list[str], drop: Dropped) -> bool:
        said = ""

        def judge(_: Done) -> str | None:
            return None

        done = self.tool(kind, command, judge, limit=WALK_LIMIT, stall=CALL_LIMIT, kill_chance=0)
        said = done.err.strip()[-200:]
        drop.history.append(f"{kind}: {done.code} {said}")
        return done.code == 0

    def close(self) -> None:
        shutil.rmtree(self._sources, ignore_errors=True)


class Submitter(Dropper):
    """`rescalefs submit DIR` on a folder elsewhere: killed at times, and begun again until it is done."""

    name = "submitter"
    every = 8.0

    def act(self) -> None:
        self.scene.stop.wait(self.chance.expovariate(1 / self.every))
        if self.scene.stop.is_set() or len(self._drops.staying()) >= _MOST_DROPS:
            return
        name = f"drop-{next(_NUMBERS)}"
        source, inputs = self._source(name)
        drop = Dropped({name}, STAYS, (inputs,), "")
        self._drops.add(drop)
        for _ in range(10):
            if self._submitted(source, drop, self.chance.choice([0.0, 0.5])):
                return
            if self.scene.stop.is_set():
                break
        self.unfinished.append((source, drop))

    def finish(self) -> None:
        """All is well: each folder that has no job yet gets one."""
        for source, drop in self.unfinished:
            if not self._submitted(source, drop, 0) and not self._submitted(source, drop, 0):
                words = f"submit of {source.name} does not succeed: {drop.history[-2:]}"
                self.scene.logbook.violation("never recovers", words)
        super().close()

    def close(self) -> None:
        """The folders are needed until the end."""

    def _submitted(self, source: Path, drop: Dropped, kill_chance: float) -> bool:
        known = {job.id for job in self.scene.server.truth.jobs().values()}

        def judge(done: Done) -> str | None:
            told = done.out.read_text().strip()
            return None if told in known or told in self.scene.server.truth.jobs() else f"printed {told!r}"

        command = self.scene.ground.ours("submit", source)
        done = self.tool("submit", command, judge, limit=900, stall=150, kill_chance=kill_chance)
        drop.history.append(f"submit: {done.code} {done.err.strip()[-200:]}")
        return done.code == 0


class DropChecks:
    """What must be true of all drops once all is well again."""

    def __init__(self, scene: Scene, drops: Drops) -> None:
        self._scene = scene
        self._drops = drops

    def run(self) -> None:
        """Wait until every drop has what it must have, and say what has not."""
        until(lambda: not self._open(self._jobs()), self._scene.plan.heal_limit, every=2)
        jobs = self._jobs()
        for words in self._open(jobs):
            self._scene.logbook.violation("lost job", words)
        for drop in self._drops.all():
            self._count(drop, jobs)
        self._strays(jobs)
        self._statuses(jobs)

    def _jobs(self) -> list[TrueJob]:
        return [job for job in self._scene.server.truth.jobs().values() if job.name.startswith("drop-")]

    def _of(self, drop: Dropped, jobs: list[TrueJob]) -> list[TrueJob]:
        return [job for job in jobs if job.name in drop.names]

    def _open(self, jobs: list[TrueJob]) -> list[str]:
        """Drops that have no job yet, or one that was not submitted or has not ended."""
        found = []
        for drop in self._drops.staying():
            own = [job for job in self._of(drop, jobs) if job.has_ended]
            if not own:
                states = [(job.id, job.statuses[-1:]) for job in self._of(drop, jobs)]
                found.append(f"{sorted(drop.names)} has no job that ended: {states}; {drop.history[-4:]}")
        return found

    def _count(self, drop: Dropped, jobs: list[TrueJob]) -> None:
        own = self._of(drop, jobs)
        if len(own) > 1:
            told = [(job.id, job.statuses[-1:]) for job in own]
            self._scene.logbook.violation("second job", f"{sorted(drop.names)} has {told}; {drop.history}")
        files = self._scene.server.truth.input_files()
        for job in own:
            sent = {files[each][0]: self._scene.server.truth.sha512(files[each][1]) for each in job.inputs}
            if drop.inputs and sent not in drop.inputs:
                self._scene.logbook.violation("wrong input", f"{job.id} of {sorted(drop.names)} got {sent}")

    def _strays(self, jobs: list[TrueJob]) -> None:
        known = Counter(name for drop in self._drops.all() for name in drop.names)
        for job in jobs:
            if job.name not in known:
                self._scene.logbook.violation("second job", f"{job.id} {job.name} is of no drop")

    def _statuses(self, jobs: list[TrueJob]) -> None:
        """Each drop that stays says what became of its job, and leads to its outputs."""
        ends = time.monotonic() + 60  # for all of them together: each poll of the daemon tells of many
        for drop in self._drops.staying():
            own = [job for job in self._of(drop, jobs) if job.has_ended]
            if own and drop.name:
                self._status(drop, own[0], ends)

    def _status(self, drop: Dropped, job: TrueJob, ends: float) -> None:
        path = self._scene.mountpoint / "submit" / drop.name / "status"
        while True:
            done = self._scene.ground.run(["cat", str(path)], CALL_LIMIT)
            told = done.out.read_text().strip() if done.code == 0 else f"(cat: {done.err.strip()})"
            done.out.unlink(missing_ok=True)
            if told.startswith(job.statuses[-1]):
                return
            if time.monotonic() > ends:
                break
            time.sleep(1)
        right = f"{job.statuses[-1]} ({job.reason})"
        self._scene.logbook.violation("wrong status", f"{drop.name} says {told!r}, right is {right}")
