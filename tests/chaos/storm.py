"""One storm, from the first process to the last check."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.chaos.drops import Dropper, Drops, Submitter
from tests.chaos.ending import Ending, look_for_leftovers
from tests.chaos.forwarder import Forwarder
from tests.chaos.ground import Disk, Ground, until
from tests.chaos.keepers import Keeper
from tests.chaos.logbook import Logbook
from tests.chaos.mirrors import Downloader, SyncChecks, SyncWatcher
from tests.chaos.plan import CALL_LIMIT, Plan
from tests.chaos.readers import Follower, FsspecProgram, Lister, Program, Reader
from tests.chaos.scene import CROWD, Actor, Place, Scene
from tests.chaos.server import Server
from tests.chaos.weather import Weather

_MIB = 1 << 20
_SIZES = (0, 1, 4095, 131_072, 131_073, 700_000, 4 * _MIB - 1, 4 * _MIB + 1, 9_500_000, 9_500_000)
_PLANT_EVERY = 25.0  # seconds
_MOST_PLANTED = 40  # jobs
_CALM_PART = 0.25  # of the storm, at its end, in which no daemon is killed


class Planter(Actor):
    """Adds a finished job now and then, so that there is always something that no cache has."""

    name = "planter"

    def act(self) -> None:
        self.scene.stop.wait(self.chance.uniform(0.5, 1.5) * _PLANT_EVERY)
        if len(self.scene.jobs) < _MOST_PLANTED and not self.scene.stop.is_set():
            try:
                self.scene.plant(f"planted-{len(self.scene.jobs)}", files_of_a_job(self.chance))
            except OSError:
                return  # the server was killed in the middle


def files_of_a_job(chance: random.Random) -> dict[str, int | str]:
    """Some outputs in some folders."""
    files: dict[str, int | str] = {"process_output.log": "it went well\n"}
    for number in range(chance.randrange(2, 7)):
        folder = chance.choice(["", "fields/", "fields/deep/er/", "with space/"])
        files[f"{folder}data-{number}.bin"] = chance.choice(_SIZES)
    return files


def run(plan: Plan, logbook: Logbook, keep_logs: Path | None = None) -> None:
    """The whole storm. When this returns or raises, nothing of it is left but what the logbook holds."""
    with ExitStack() as undo:
        ground = undo.enter_context(Ground(plan.mutant))
        if keep_logs is not None:
            undo.callback(_keep, ground, keep_logs)
        synced_disk = ground.disk("synced", "2g")
        if not ground.has_disks:
            logbook.left_out.append("a disk that fills: small disks need the right to mount")
        server = Server(ground)
        server.start()
        undo.callback(server.kill)
        network = Forwarder(lambda: server.address)
        undo.callback(network.close)
        scene = Scene(plan, ground, server, network, logbook)
        undo.callback(scene.stop.set)
        chance = plan.chance("planting")
        for number in range(5):
            scene.plant(f"first-{number}", files_of_a_job(chance))
        scene.first = tuple(scene.jobs)
        scene.plant_crowd()
        _Storm(scene, synced_disk).run()
        logbook.facts["requests"] = server.requests()
        server.kill()
        look_for_leftovers(scene)


class _Storm:
    """The storm itself, once the server is there."""

    def __init__(self, scene: Scene, synced_disk: Disk) -> None:
        self._scene = scene
        self._plan = scene.plan
        ground = scene.ground
        self._modes = scene.plan.chance("modes")
        self._mount, self._second = (self._keeper(place) for place in scene.places)
        sync = ground.ours("sync", synced_disk.path / "mirror", "--live", "--exclude", f"{CROWD}/*")
        self._sync = Keeper(scene, "sync", lambda: sync, lambda: True, ground.elsewhere("sync-home"))
        self._sync_checks = SyncChecks(scene, synced_disk.path / "mirror")
        self._weather = Weather(scene, (self._mount, self._second), self._sync)
        self._weather.synced_disk = synced_disk
        self._drops = Drops()
        self._downloader = Downloader(scene)
        self._dropper = Dropper(scene, self._drops)
        self._submitter = Submitter(scene, self._drops)
        self._program = Program(scene, 0)

    def run(self) -> None:
        began = time.monotonic()
        with ExitStack() as undo:
            undo.callback(self._sync.stop_keeping)
            undo.callback(self._mount.stop_keeping)
            undo.callback(self._second.stop_keeping)
            self._mount.begin()
            self._second.begin()
            self._sync.begin()
            self._blow()
            if not self._has_enough():
                self._calm_down(began)

    def _actors(self) -> list[Actor]:
        scene, many = self._scene, range(self._plan.readers)
        return [
            self._weather,
            self._dropper,
            self._submitter,
            self._downloader,
            self._program,
            Planter(scene),
            Lister(scene),
            Follower(scene),
            FsspecProgram(scene),
            SyncWatcher(scene, self._sync_checks),
            *(Reader(scene, number) for number in many),
            *(Program(scene, number) for number in many if number),
        ]

    def _blow(self) -> None:
        actors = self._actors()
        for actor in actors:
            actor.thread.start()
        try:
            self._wait(self._plan.seconds * (1 - _CALM_PART))
            self._weather.may_kill = False
            self._wait(self._plan.seconds * _CALM_PART)
        finally:
            self._scene.stop.set()
        for actor in actors:
            actor.thread.join(600)
            if actor.thread.is_alive():
                self._scene.logbook.violation("checker", f"{actor.thread.name} did not come to its end")

    def _wait(self, seconds: float) -> None:
        until(self._has_enough, seconds)

    def _has_enough(self) -> bool:
        return self._scene.logbook.has_any(self._plan.enough)

    def _calm_down(self, began: float) -> None:
        self._weather.heal()
        ending = Ending(self._scene, self._mount, self._second, self._sync)
        self._scene.logbook.facts["stormed for seconds"] = round(time.monotonic() - began)
        if ending.daemons():
            program = Program(self._scene, 99)
            steps: tuple[tuple[str, Callable[[], None]], ...] = (
                ("submits", self._submitter.finish),
                ("drops", lambda: ending.drops(self._drops)),
                ("copies", lambda: ending.copies(self._downloader, self._sync_checks)),
                ("reads", lambda: ending.reads(program)),
                ("resources", lambda: ending.resources(program)),
            )
            for name, step in steps:
                if self._has_enough():
                    break
                since = time.monotonic()
                step()
                self._scene.logbook.facts[f"{name} checked in seconds"] = round(time.monotonic() - since)
            program.close()
        ending.goodbye()
        for keeper in (self._mount, self._second, self._sync):
            keeper.check_log()
            self._scene.logbook.facts[f"{keeper.name} starts"] = keeper.starts
        self._scene.logbook.facts["healed in seconds"] = round(
            time.monotonic() - began - self._scene.logbook.facts["stormed for seconds"]
        )

    def _keeper(self, place: Place) -> Keeper:
        ground = self._scene.ground

        def command() -> list[str]:
            verify = self._plan.verify or self._modes.choice(["eof", "strict"])
            place.is_strict = verify == "strict"
            place.restarts += 1
            return ground.ours("mount", "--foreground", f"--verify={verify}", place.path)

        def answers() -> bool:
            if str(place.path) not in ground.mounts():
                return False
            done = ground.run(["ls", str(place.path / ".rescalefs")], CALL_LIMIT)
            done.out.unlink(missing_ok=True)
            return done.code == 0

        name = "mount" if place is self._scene.places[0] else "mount-2"
        return Keeper(self._scene, name, command, answers)


def _keep(ground: Ground, where: Path) -> None:
    where.mkdir(parents=True, exist_ok=True)
    for path in ground.root.glob("*.log"):
        (where / path.name).write_bytes(path.read_bytes()[-(4 << 20) :])
