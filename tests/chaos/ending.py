"""After the storm: all is well again, and everything must be as if nothing had been."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.chaos.drops import DropChecks, Drops
from tests.chaos.ground import until
from tests.chaos.keepers import Keeper, Sample
from tests.chaos.mirrors import Downloader, SyncChecks
from tests.chaos.plan import CALL_LIMIT, WALK_LIMIT
from tests.chaos.readers import Program
from tests.chaos.scene import CROWD, Scene

_QUIET = 20.0  # seconds at most until a daemon that has nothing to do holds as little as it will
_MORE_DESCRIPTORS, _MORE_THREADS, _MORE_MEMORY = 16, 8, 32 << 10  # that a second equal round may leave behind
# Beside those at its start: 256 blocks that are kept open, connections, files of the journal and the caches.
_MOST_DESCRIPTORS = 256 + 150
_MOST_THREADS = 100
_MOST_MEMORY = 400 << 10  # KiB


class Ending:
    """Looks at all there is, once nothing misbehaves any more."""

    def __init__(self, scene: Scene, mount: Keeper, second: Keeper, sync: Keeper) -> None:
        self._scene = scene
        self._mount, self._second, self._sync = mount, second, sync

    def daemons(self) -> bool:
        """All are there."""
        for keeper in (self._mount, self._second, self._sync):
            if not keeper.ready():
                words = f"{keeper.name} does not start though all is well: {keeper.tail()}"
                self._scene.logbook.violation("never recovers", words)
        return self._mount.pid is not None

    def drops(self, drops: Drops) -> None:
        """Exactly one job each."""
        DropChecks(self._scene, drops).run()
        self._scene.logbook.facts["drops"] = {
            "made": len(drops.all()),
            "that stay": len(drops.staying()),
        }
        self._status_logs(drops)

    def _status_logs(self, drops: Drops) -> None:
        sizes = []
        for drop in drops.staying():
            if not drop.name:
                continue  # elsewhere
            path = self._scene.mountpoint / "submit" / drop.name / "status.log"
            done = self._scene.ground.run(["cat", str(path)], CALL_LIMIT)
            if done.code == 0:
                sizes.append((done.out.stat().st_size, drop.name))
            done.out.unlink(missing_ok=True)
        if sizes:
            self._scene.logbook.facts["largest status.log"] = max(sizes)[0]
            if max(sizes)[0] > 64_000:
                self._scene.logbook.violation("log without end", f"status.log of {max(sizes)}")

    def copies(self, downloader: Downloader, sync: SyncChecks) -> None:
        """Downloads and the synced folder are complete, and right."""
        downloader.finish()
        sync.finish()

    def reads(self, program: Program) -> None:
        """Every file there is can be read, whole, and is right: no trouble has stayed."""
        ends = time.monotonic() + 90  # for all of them together: what has not healed by then, does not
        for job in self._scene.server.truth.jobs().values():
            for file in job.outputs if job.has_ended and job.name != CROWD else ():
                self._read(program, str(self._scene.places[0].outputs(job) / file.path), file, ends)

    def _read(self, program: Program, path: str, file: Any, ends: float) -> None:
        while True:
            answer = program.worker.ask(WALK_LIMIT, op="whole", path=path)
            if "error" not in answer or time.monotonic() > ends:
                break
            time.sleep(1)
        if "error" in answer:
            self._scene.logbook.violation("never recovers", f"{path} cannot be read: {answer['error']}")
        elif answer["sha512"] != self._scene.server.truth.sha512(file):
            self._scene.logbook.violation("wrong result", f"{path}: {answer['count']} bytes for {file.size}")

    def resources(self, program: Program) -> None:
        """The mount holds what it held: after an equal round no more than before it."""
        self._round(program)
        before = self._settled()
        self._round(program)
        after = self._settled()
        first = self._mount.first
        facts = {
            "at its start": first,
            "after a round": before,
            "after one more": after,
            "most": self._mount.most,
        }
        self._scene.logbook.facts["mount held"] = {
            name: asdict(each) for name, each in facts.items() if each is not None
        }
        if before is None or after is None or first is None:
            return
        for what, found, most in (
            ("descriptors", after.descriptors, before.descriptors + _MORE_DESCRIPTORS),
            ("threads", after.threads, before.threads + _MORE_THREADS),
            ("KiB of memory", after.memory, before.memory + _MORE_MEMORY),
            ("descriptors", after.descriptors, first.descriptors + _MOST_DESCRIPTORS),
            ("threads", after.threads, _MOST_THREADS),
            ("KiB of memory", after.memory, _MOST_MEMORY),
        ):
            if found > most:
                words = f"the mount has {found} {what}, at most {most} are right; at its start: {first}"
                self._scene.logbook.violation("leak", words)

    def _round(self, program: Program) -> None:
        """Do equal reads each time: ranges of all planted files, and listings."""
        for job in list(self._scene.jobs.values())[:12]:
            where = self._scene.places[0].outputs(job)
            program.worker.ask(WALK_LIMIT, op="sizes", path=str(where))
            for file in job.outputs:
                for start in range(0, min(file.size, 400_000), 40_000):
                    path = str(where / file.path)
                    program.worker.ask(CALL_LIMIT, op="pread", path=path, offset=start, length=1000)

    def _settled(self) -> Sample | None:
        """What the mount holds once that does not become less any more."""
        pid = self._mount.pid
        found = Sample.of(pid) if pid is not None else None
        quiet_since = began = time.monotonic()
        while found is not None and pid is not None and time.monotonic() - quiet_since < 5:
            if time.monotonic() - began > _QUIET:
                break
            time.sleep(0.5)
            now = Sample.of(pid)
            if now is not None and (now.descriptors, now.threads) < (found.descriptors, found.threads):
                quiet_since = time.monotonic()
                found = now
            elif now is None:
                return None
        return found

    def goodbye(self) -> None:
        """All end as they should, and leave nothing behind."""
        for keeper in (self._mount, self._second, self._sync):
            keeper.stop_keeping()
        if self._mount.pid is not None:
            words = self._scene.ground.ours("umount", self._scene.mountpoint)
            done = self._scene.ground.run(words, 60)
            if done.code != 0:
                self._scene.logbook.violation("does not end", f"umount: {done.code} {done.err}")
            if not until(lambda: self._mount.pid is None, 20):
                self._scene.logbook.violation("does not end", f"the mount: {self._mount.tail()}")
        self._second.end()
        self._sync.end()


def look_for_leftovers(scene: Scene) -> None:
    """No process, no mount, no temporary file is left once the simulator has been ended, too."""
    until(lambda: not scene.ground.processes(), 10)
    for pid in scene.ground.processes():
        scene.logbook.violation("left behind", f"process {pid}: {_words(pid)}")
    for path in scene.ground.mounts():
        scene.logbook.violation("left behind", f"a mount at {path}")
    left = sorted(path.name for path in (scene.ground.root / "tmp").iterdir())
    if left:
        scene.logbook.violation("left behind", f"in TMPDIR: {left[:10]}")


def _words(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[-200:]
    except OSError:
        return "(gone)"
